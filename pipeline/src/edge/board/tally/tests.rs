use proptest::prelude::*;
use schemas::JobId;
use schemas::event::{Failure, JobEnded};
use schemas::job::{JobEvent, StatusView};

use super::told::{CAPTION, ILLUSTRATE};
use super::*;

fn event(stage: &str, state: StageState, unit: u32, done: u64) -> JobProgress {
    JobProgress {
        job: JobId::from_parts(1, 1),
        stage: stage.into(),
        state,
        unit,
        units: 4,
        done,
        weight: 100,
        total_weight: if stage == TRANSCODE { 400 } else { 0 },
        playable: false,
        attempt: 1,
        worker: "w".into(),
        at: 1_000,
        note: None,
    }
}

fn row() -> JobRow {
    JobRow::new(JobId::from_parts(1, 1))
}

fn ended(outcome: Outcome, stage: Option<&str>) -> JobRow {
    let mut row = row();
    let error = stage.map(|stage| Failure { code: "c".into(), stage: stage.into(), message: "m".into() });
    let end = JobEnded { job: row.id, outcome, at: 5, playable_at: None, error, warnings: Vec::new() };
    row.apply(JobEvent::Ended(end), Some(0));
    row
}

#[test]
fn frames_weigh_most() {
    let mut tally = Tally::default();
    tally.hear(&event(TRANSCODE, StageState::Running, 0, 50));
    assert!((tally.live(&row(), 0).progress - (0.015 + 0.97 * 0.125)).abs() < 1e-9);
    tally.hear(&event(TRANSCODE, StageState::Done, 0, 0));
    tally.hear(&event(TRANSCODE, StageState::Done, 2, 100));
    let live = tally.live(&row(), 0);
    assert!((live.progress - (0.015 + 0.97 * 0.5)).abs() < 1e-9);
    let view = live.stages.iter().find(|stage| stage.name == TRANSCODE).unwrap();
    assert_eq!((view.done, view.total, view.state), (2, 4, StageState::Running));
    let before: Vec<_> = live.stages.iter().take(2).map(|stage| stage.state).collect();
    assert_eq!(before, [StageState::Done, StageState::Done], "whoever encodes has probed and cut");
}

#[test]
fn a_second_attempt_takes_nothing_back() {
    let mut tally = Tally::default();
    tally.hear(&event(TRANSCODE, StageState::Running, 0, 80));
    let before = tally.live(&row(), 0).progress;
    tally.hear(&JobProgress { attempt: 2, ..event(TRANSCODE, StageState::Running, 0, 10) });
    assert!(tally.live(&row(), 0).progress >= before);
}

#[test]
fn finished_chunks_are_enough_to_go_on_from() {
    let mut tally = Tally::default();
    let finished = Finished { units: 4, chunks: vec![(1, 100), (2, 100)], total_weight: 400, playable_at: Some(77) };
    tally.resume(&finished);
    let live = tally.live(&row(), 0);
    assert!((live.progress - (0.015 + 0.97 * 0.5)).abs() < 1e-9);
    assert_eq!((live.playable, live.playable_at), (true, Some(77)));
}

#[test]
fn the_end_settles_every_stage() {
    let mut tally = Tally::default();
    tally.hear(&event(TRANSCODE, StageState::Running, 0, 80));
    let states =
        |row: &JobRow| -> Vec<StageState> { tally.live(row, 0).stages.into_iter().map(|stage| stage.state).collect() };
    assert_eq!(states(&ended(Outcome::Ready, None)), [StageState::Done; 4]);
    use StageState::{Done, Failed, Skipped};
    assert_eq!(states(&ended(Outcome::Failed, Some(TRANSCODE))), [Done, Done, Failed, Skipped]);
    assert_eq!(states(&ended(Outcome::Cancelled, None)), [Done, Done, Skipped, Skipped]);
}

fn state_of(tally: &Tally, row: &JobRow, name: &str) -> Option<StageState> {
    tally.live(row, 0).stages.into_iter().find(|stage| stage.name == name).map(|stage| stage.state)
}

#[test]
fn what_only_adds_to_a_video_is_told_of_and_delays_nothing() {
    let state = |tally: &Tally, row: &JobRow| state_of(tally, row, ILLUSTRATE);
    let mut tally = Tally::default();
    assert_eq!(state(&tally, &row()), None, "nothing was heard of it");
    tally.hear(&JobProgress { units: 1, ..event(ILLUSTRATE, StageState::Running, 0, 50) });
    assert_eq!(tally.live(&row(), 0).progress, 0.0);
    let ready = ended(Outcome::Ready, None);
    assert_eq!(state(&tally, &ready), Some(StageState::Running), "it goes on after the job is ready");
    assert_eq!(StatusView::of(&ready, &tally.live(&ready, 0)).progress, 1.0);
    assert_eq!(state(&tally, &ended(Outcome::Cancelled, None)), Some(StageState::Skipped));
    let told = |text| {
        let mut row = ended(Outcome::Ready, None);
        let event: schemas::event::SourceIllustrated = serde_json::from_str(text).unwrap();
        row.apply(JobEvent::Illustrated(event), Some(1));
        row
    };
    let whole = told(include_str!("../../../../../schemas/examples/source.illustrated/v1/whole.json"));
    let none = told(include_str!("../../../../../schemas/examples/source.illustrated/v1/unavailable.json"));
    assert_eq!(state(&Tally::default(), &whole), Some(StageState::Done), "long after, the row knows");
    assert_eq!(state(&Tally::default(), &none), Some(StageState::Failed));
    tally.hear(&JobProgress { units: 1, ..event(ILLUSTRATE, StageState::Failed, 0, 50) });
    assert_eq!(state(&tally, &none), Some(StageState::Failed));
    tally.hear(&JobProgress { units: 1, ..event(ILLUSTRATE, StageState::Running, 0, 0) });
    assert_eq!(state(&tally, &none), Some(StageState::Running), "once more");
}

#[test]
fn captions_that_nobody_could_write_are_skipped() {
    let state = |tally: &Tally, row: &JobRow| state_of(tally, row, CAPTION);
    let told = |text| {
        let mut row = ended(Outcome::Ready, None);
        row.apply(JobEvent::Captioned(serde_json::from_str(text).unwrap()), Some(1));
        row
    };
    let english = told(include_str!("../../../../../schemas/examples/captions.written/v1/english.json"));
    let none = told(include_str!("../../../../../schemas/examples/captions.written/v1/unavailable.json"));
    let mut tally = Tally::default();
    assert_eq!(state(&tally, &english), Some(StageState::Done));
    assert_eq!(state(&tally, &none), Some(StageState::Skipped));
    tally.hear(&JobProgress { units: 1, ..event(CAPTION, StageState::Running, 0, 50) });
    assert_eq!(state(&tally, &none), Some(StageState::Skipped), "that it is over comes after its result");
    tally.hear(&JobProgress { at: i64::MAX, ..event(CAPTION, StageState::Running, 0, 50) });
    assert_eq!(state(&tally, &none), Some(StageState::Running), "once more");
    tally.hear(&JobProgress { units: 1, ..event(CAPTION, StageState::Done, 0, 100) });
    assert_eq!(state(&tally, &none), Some(StageState::Skipped));
}

#[test]
fn stitch_is_not_done_before_the_job_is() {
    let mut tally = Tally::default();
    tally.hear(&JobProgress { units: 1, ..event(STITCH, StageState::Done, 0, 0) });
    let stages = tally.live(&row(), 0).stages;
    assert_eq!(stages.iter().find(|stage| stage.name == STITCH).unwrap().state, StageState::Waiting);
}

#[test]
fn the_rest_is_guessed_from_the_pace() {
    let mut tally = Tally::default();
    tally.hear(&JobProgress { at: 0, ..event(TRANSCODE, StageState::Running, 0, 0) });
    assert_eq!(tally.live(&row(), 0).eta_s, None);
    tally.hear(&JobProgress { at: 10_000, ..event(TRANSCODE, StageState::Done, 0, 100) });
    tally.hear(&JobProgress { at: 10_000, ..event(TRANSCODE, StageState::Done, 1, 100) });
    let eta = tally.live(&row(), 10_000).eta_s.unwrap();
    assert!((10.0..11.0).contains(&eta), "half in ten seconds: {eta}");
}

proptest! {
    #[test]
    fn progress_never_goes_down_and_is_whole_only_when_ready(
        heard in prop::collection::vec((0..4_usize, 0..5_usize, 0..4_u32, 0..150_u64), 1..60),
    ) {
        let states =
            [StageState::Waiting, StageState::Running, StageState::Done, StageState::Failed, StageState::Skipped];
        let mut tally = Tally::default();
        let mut before = 0.0;
        for (stage, state, unit, done) in heard {
            tally.hear(&event(STAGES[stage].0, states[state], unit, done));
            let status = StatusView::of(&row(), &tally.live(&row(), 0));
            prop_assert!(status.progress >= before && status.progress < 1.0);
            before = status.progress;
        }
        prop_assert_eq!(StatusView::of(&ended(Outcome::Ready, None), &tally.live(&row(), 0)).progress, 1.0);
    }
}
