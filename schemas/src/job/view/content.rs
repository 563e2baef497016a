//! What a video shows, as users see it in the job.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::rfc3339;
use crate::event::{Label, Origin, SourceClassified};

/// Labels of a video, or why there are none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Content)]
pub struct ContentView {
    /// Why there are none.
    #[schema(required)]
    pub unavailable: Option<String>,
    /// The kind of content, such as `screen`, `animation`, `camera`, `still` or `dark`: the first label.
    #[schema(required)]
    pub kind: Option<String>,
    /// All labels, each with its confidence and what it is told from.
    pub labels: Vec<Label>,
    /// What was measured, by name. Left out where jobs are listed.
    pub features: BTreeMap<String, f64>,
    /// Pictures that were looked at.
    pub frames: u64,
    /// What measured, with its version.
    pub maker: String,
    /// The image model; empty when none looked.
    pub model: String,
    /// Its version.
    pub version: String,
    /// Why no label is of a model.
    #[schema(required)]
    pub no_model: Option<String>,
    /// How is measured and decided, and which pictures a model sees.
    pub parameters: String,
    /// RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub classified_at: String,
}

impl ContentView {
    /// The view of `event`.
    pub fn of(event: &SourceClassified) -> Self {
        let kind = event.labels.iter().find(|label| label.origin == Origin::Signals);
        Self {
            unavailable: event.reason.clone(),
            kind: kind.map(|label| label.name.clone()),
            labels: event.labels.clone(),
            features: event.features.iter().map(|feature| (feature.name.clone(), feature.value)).collect(),
            frames: event.frames,
            maker: event.maker.clone(),
            model: event.model.clone(),
            version: event.version.clone(),
            no_model: event.no_model.clone(),
            parameters: event.parameters.clone(),
            classified_at: rfc3339(event.classified_at),
        }
    }
}

/// Whether `event` has a label that `wanted` names: all of it, or one of the names between its commas, as models write labels
/// (`tabby, tabby cat`). Capitals make no difference.
pub fn is_labelled(event: &SourceClassified, wanted: &str) -> bool {
    let wanted = wanted.trim().to_lowercase();
    let is_named = |name: &str| name.trim().to_lowercase() == wanted;
    event.labels.iter().any(|label| is_named(&label.name) || label.name.split(',').any(is_named))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::job::{JobEvent, JobRow, JobView, Live};

    fn example(text: &str) -> SourceClassified {
        serde_json::from_str(text).unwrap()
    }

    fn beach() -> SourceClassified {
        example(include_str!("../../../examples/source.classified/v1/beach.json"))
    }

    #[test]
    fn content_looks_as_documented() {
        let view = serde_json::to_value(ContentView::of(&beach())).unwrap();
        assert_eq!(
            view,
            json!({
                "unavailable": null, "kind": "camera",
                "labels": [
                    { "name": "camera", "confidence": 0.94, "origin": "signals", "because": "noise 1.25, alive 0.98" },
                    { "name": "speech", "confidence": 0.71, "origin": "signals", "because": "speech 0.71" },
                    { "name": "seashore, coast, seacoast, sea-coast", "confidence": 0.83, "origin": "model", "because": "" },
                    { "name": "sandbar, sand bar", "confidence": 0.11, "origin": "model", "because": "" },
                ],
                "features": { "changed": 0.61, "noise": 1.25, "shots_per_minute": 6.0 },
                "frames": 412, "maker": "ffmpeg 5.1.9", "model": "mobilenet-v2-1.0-224", "version": "0f5a1c3e8b7d2a49",
                "no_model": null, "parameters": "signals-v1+kinds-v1+8x456", "classified_at": "2026-11-23T10:00:09.5Z",
            })
        );
        let nobody = ContentView::of(&example(include_str!("../../../examples/source.classified/v1/unavailable.json")));
        assert_eq!((nobody.kind, nobody.unavailable.is_some()), (None, true));
    }

    #[test]
    fn the_newest_labels_are_shown_and_lists_have_no_features() {
        let slides = example(include_str!("../../../examples/source.classified/v1/slides.json"));
        let mut row = JobRow::new(slides.job);
        assert_eq!(JobView::of(&row, &Live::default(), "/").content, None);
        row.apply(JobEvent::Classified(slides), Some(5));
        row.apply(JobEvent::Classified(beach()), Some(3));
        let view = JobView::of(&row, &Live::default(), "/");
        let content = view.clone().content.unwrap();
        assert_eq!((content.kind.as_deref(), content.features.len()), (Some("screen"), 2));
        assert!(view.in_brief().content.unwrap().features.is_empty());
    }

    #[test]
    fn labels_are_found_by_any_of_their_names() {
        for wanted in ["camera", "Speech", "seacoast", " sandbar ", "sandbar, sand bar"] {
            assert!(is_labelled(&beach(), wanted), "{wanted}");
        }
        for wanted in ["", "sea", "screen", "sand", "bar"] {
            assert!(!is_labelled(&beach(), wanted), "{wanted}");
        }
    }
}
