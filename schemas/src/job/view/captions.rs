//! Captions as users see them in the job.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{address, rfc3339};
use crate::event::CaptionsWritten;

/// The captions of a video.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Captions)]
pub struct CaptionsView {
    /// BCP 47 tag of the language; `zxx` when nothing is said, `und` when nobody could listen.
    pub language: String,
    /// Cues.
    pub cues: u32,
    /// Address of the WebVTT file.
    #[schema(required)]
    pub vtt: Option<String>,
    /// Address of the SubRip file.
    #[schema(required)]
    pub srt: Option<String>,
    /// The model that listened.
    pub model: String,
    /// Its version.
    pub version: String,
    /// How speech was found, heard and written.
    pub parameters: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub written_at: String,
    /// Why there are none.
    #[schema(required)]
    pub reason: Option<String>,
}

impl CaptionsView {
    /// The view of `event`; addresses begin with `public_path`.
    pub fn of(event: &CaptionsWritten, public_path: &str) -> Self {
        let file = |name| event.vtt.as_ref().map(|_| address(public_path, event.job, name));
        Self {
            language: event.language.clone(),
            cues: event.cues,
            vtt: file("captions.vtt"),
            srt: file("captions.srt"),
            model: event.model.clone(),
            version: event.version.clone(),
            parameters: event.parameters.clone(),
            written_at: rfc3339(event.written_at),
            reason: event.reason.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::job::{JobEvent, JobRow, JobView, Live};

    #[test]
    fn the_newest_captions_are_shown_and_nobody_s_absence_hides_them() {
        let told = |text: &str, offset| -> (JobEvent, Option<i64>) {
            (JobEvent::Captioned(serde_json::from_str(text).unwrap()), Some(offset))
        };
        let english = || told(include_str!("../../../examples/captions.written/v1/english.json"), 4);
        let silence = |at| told(include_str!("../../../examples/captions.written/v1/silence.json"), at);
        let nobody = |at| told(include_str!("../../../examples/captions.written/v1/unavailable.json"), at);
        let shown = |events: Vec<(JobEvent, Option<i64>)>| {
            let mut row = JobRow::new(english().0.job());
            events.into_iter().for_each(|(event, offset)| row.apply(event, offset));
            JobView::of(&row, &Live::default(), "/videos").captions
        };
        assert_eq!(shown(Vec::new()), None);
        let missing = shown(vec![nobody(1)]).unwrap();
        let reason = "captions: unavailable (no model: run streamforge models pull whisper-base.en)";
        assert_eq!((missing.reason.as_deref(), missing.vtt), (Some(reason), None));
        let heard = shown(vec![english(), nobody(9), silence(3)]).unwrap();
        assert_eq!((heard.language.as_str(), heard.cues, heard.model.as_str()), ("en", 14, "whisper-base.en"));
        let address = format!("/videos/api/stream/{}/captions.vtt", english().0.job());
        assert_eq!((heard.vtt, heard.reason), (Some(address), None));
        let again = shown(vec![silence(7), english()]).unwrap();
        assert_eq!((again.language.as_str(), again.vtt), ("zxx", None), "whoever listened later knows better");
    }
}
