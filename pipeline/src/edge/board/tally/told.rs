//! Stages that only add to a video, and what the row says of them.

use schemas::event::StageState;
use schemas::job::JobRow;

/// Makes pictures.
pub const ILLUSTRATE: &str = "illustrate";
/// Writes captions.
pub const CAPTION: &str = "caption";
/// Finds labels.
const CLASSIFY: &str = "classify";
/// Compares with the source.
const ASSESS: &str = "assess";

/// Those whose result the row knows, with the state that follows from it and since when.
pub fn told(row: &JobRow) -> Vec<(&'static str, StageState, i64)> {
    let state = |reason: &Option<String>| if reason.is_none() { StageState::Done } else { StageState::Failed };
    let illustrated = row.illustrated.as_ref().map(|fact| &fact.event);
    let illustrated = illustrated.map(|event| (ILLUSTRATE, state(&event.reason), event.made_at));
    let heard = |model: &str| if model.is_empty() { StageState::Skipped } else { StageState::Done };
    let captioned = row.current_captions().map(|event| (CAPTION, heard(&event.model), event.written_at));
    let classified = row.classified.as_ref().map(|fact| &fact.event);
    let classified = classified.map(|event| (CLASSIFY, state(&event.reason), event.classified_at));
    let is_assessed =
        !row.renditions.is_empty() && row.renditions.keys().all(|quality| row.assessed.contains_key(quality));
    let assessed_at = row.assessed.values().filter_map(|fact| fact.timing.as_ref()).map(|made| made.ended_at).max();
    let assessed = is_assessed.then(|| (ASSESS, StageState::Done, assessed_at.unwrap_or(i64::MAX)));
    illustrated.into_iter().chain(captioned).chain(classified).chain(assessed).collect()
}

#[cfg(test)]
mod tests {
    use schemas::job::JobEvent;

    use super::*;

    #[test]
    fn a_video_is_assessed_when_all_its_renditions_are() {
        let mut row = JobRow::new(schemas::JobId::from_parts(1, 1));
        assert!(told(&row).is_empty());
        let of = |name: &str| std::fs::read_to_string(format!("../schemas/examples/{name}")).unwrap();
        let stitched = serde_json::from_str(&of("rendition.stitched/v1/720p.json")).unwrap();
        let assessed = serde_json::from_str(&of("rendition.assessed/v1/720p.json")).unwrap();
        row.apply(JobEvent::Stitched(stitched), Some(1));
        assert!(told(&row).is_empty());
        let made = schemas::job::Timing { began_at: Some(3), ended_at: 7, worker: None };
        row.apply_made(JobEvent::Assessed(assessed), Some(2), Some(made));
        assert_eq!(told(&row), [(ASSESS, StageState::Done, 7)]);
    }

    #[test]
    fn labels_of_signals_alone_are_a_result_and_none_at_all_is_a_failure() {
        let state = |text: &str| {
            let event = JobEvent::Classified(serde_json::from_str(text).unwrap());
            let mut row = JobRow::new(event.job());
            row.apply(event, Some(1));
            told(&row)
        };
        let slides = state(include_str!("../../../../../schemas/examples/source.classified/v1/slides.json"));
        assert_eq!(slides, [(CLASSIFY, StageState::Done, 1_795_428_009_500)]);
        let none = state(include_str!("../../../../../schemas/examples/source.classified/v1/unavailable.json"));
        assert_eq!(none, [(CLASSIFY, StageState::Failed, 1_795_428_009_500)]);
    }
}
