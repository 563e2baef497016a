//! What the progress events of one job add up to.

use std::collections::BTreeMap;

use schemas::event::{JobProgress, Outcome, StageState};
use schemas::job::view::StageView;
use schemas::job::{JobRow, Live};

mod told;

use told::told;

/// The stages that every job passes, in order, with the share of the work that each stands for.
///
/// Stages that only add to a video are shown when they are heard of, and stand for nothing: they never delay its end.
pub const STAGES: [(&str, f64); 4] = [("probe", 0.01), ("split", 0.005), (TRANSCODE, 0.97), (STITCH, 0.015)];

const TRANSCODE: &str = "transcode";
const STITCH: &str = "stitch";

/// Time that must have passed before a guess of the rest is worth showing, milliseconds.
const GUESS_AFTER_MS: i64 = 500;

/// Sums up the progress of one job.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    stages: BTreeMap<String, Stage>,
    /// Work of the whole job, in frames; 0 while not known.
    total_weight: u64,
    playable_at: Option<i64>,
    /// The furthest that was ever shown; progress never goes down.
    best: f64,
    /// When encoding was first heard of, and how far the job was then.
    began: Option<(i64, f64)>,
    latest_ms: i64,
}

#[derive(Clone, Debug, Default)]
struct Stage {
    units: u32,
    by_unit: BTreeMap<u32, Unit>,
}

#[derive(Clone, Debug)]
struct Unit {
    state: StageState,
    done: u64,
    weight: u64,
    attempt: u32,
    worker: String,
    note: Option<String>,
    at: i64,
}

/// One unit that is being worked on or has trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The stage.
    pub stage: String,
    /// The unit.
    pub unit: u32,
    /// How many units the stage has.
    pub units: u32,
    /// Its state.
    pub state: StageState,
    /// Which attempt.
    pub attempt: u32,
    /// Who works.
    pub worker: String,
    /// Why the last attempt failed.
    pub note: Option<String>,
    /// Last heard of, milliseconds since the Unix epoch.
    pub at: i64,
}

/// What the catalog and the blob store know about a job of which no progress was heard.
#[derive(Clone, Debug, Default)]
pub struct Finished {
    /// Chunks in the plan; 0 when not known.
    pub units: u32,
    /// Index and weight of each finished chunk.
    pub chunks: Vec<(u32, u64)>,
    /// Frames of the source, by its index.
    pub total_weight: u64,
    /// When the video could first be watched.
    pub playable_at: Option<i64>,
}

impl Tally {
    /// Takes note of one event. Events of one unit must come in the order of the log.
    pub fn hear(&mut self, event: &JobProgress) {
        let stage = self.stages.entry(event.stage.clone()).or_default();
        stage.units = stage.units.max(event.units);
        let unit = stage.by_unit.entry(event.unit).or_insert_with(|| Unit {
            state: event.state,
            done: 0,
            weight: 0,
            attempt: 0,
            worker: String::new(),
            note: None,
            at: 0,
        });
        // What is finished stays finished, even if its event is delivered once more.
        if !matches!(unit.state, StageState::Done | StageState::Skipped) {
            unit.state = event.state;
        }
        unit.done = unit.done.max(event.done);
        unit.weight = unit.weight.max(event.weight);
        unit.attempt = event.attempt;
        unit.worker.clone_from(&event.worker);
        unit.note.clone_from(&event.note);
        unit.at = event.at;
        self.total_weight = self.total_weight.max(event.total_weight);
        self.latest_ms = self.latest_ms.max(event.at);
        if event.playable && self.playable_at.is_none() {
            self.playable_at = Some(event.at);
        }
        self.best = self.best.max(self.measured(false));
        if event.stage == TRANSCODE && event.state == StageState::Running && self.began.is_none() {
            self.began = Some((event.at, self.best));
        }
    }

    /// Goes on where finished chunks say that the job stands.
    pub fn resume(&mut self, finished: &Finished) {
        if !finished.chunks.is_empty() {
            let stage = self.stages.entry(TRANSCODE.to_owned()).or_default();
            stage.units = stage.units.max(finished.units);
            for (index, weight) in &finished.chunks {
                stage.by_unit.entry(*index).or_insert_with(|| Unit {
                    state: StageState::Done,
                    done: *weight,
                    weight: *weight,
                    attempt: 1,
                    worker: String::new(),
                    note: None,
                    at: 0,
                });
            }
        }
        if self.total_weight == 0 {
            self.total_weight = finished.total_weight;
        }
        self.playable_at = self.playable_at.or(finished.playable_at);
        self.best = self.best.max(self.measured(false));
    }

    /// The picture of the job whose row is `row`, at `now_ms`.
    pub fn live(&self, row: &JobRow, now_ms: i64) -> Live {
        let progress = self.best.max(self.measured(row.probed.is_some())).min(1.0);
        Live {
            progress,
            playable: self.playable_at.is_some(),
            playable_at: self.playable_at,
            stages: self.stage_views(row),
            eta_s: self.eta(progress, now_ms),
        }
    }

    /// Units that are worked on, wait for another attempt or failed, newest first.
    pub fn busy(&self) -> Vec<Busy> {
        let mut busy: Vec<Busy> = self
            .stages
            .iter()
            .flat_map(|(name, stage)| {
                let open = |unit: &&Unit| !matches!(unit.state, StageState::Done | StageState::Skipped);
                stage.by_unit.iter().filter(move |(_, unit)| open(unit)).map(|(index, unit)| Busy {
                    stage: name.clone(),
                    unit: *index,
                    units: stage.units,
                    state: unit.state,
                    attempt: unit.attempt,
                    worker: unit.worker.clone(),
                    note: unit.note.clone(),
                    at: unit.at,
                })
            })
            .collect();
        busy.sort_by_key(|unit| std::cmp::Reverse(unit.at));
        busy
    }

    /// Share of the work that is done, by what was heard.
    fn measured(&self, is_probed: bool) -> f64 {
        let is_cutting = self.stages.contains_key(TRANSCODE);
        STAGES
            .iter()
            .map(|(name, share)| {
                let implied = match *name {
                    "probe" => is_probed || is_cutting || self.stages.contains_key("split"),
                    "split" => is_cutting,
                    _ => false,
                };
                let fraction = match self.stages.get(*name) {
                    _ if implied => 1.0,
                    Some(stage) if *name == TRANSCODE => stage.frames(self.total_weight),
                    Some(stage) => stage.finished(),
                    None => 0.0,
                };
                share * fraction
            })
            .sum()
    }

    fn stage_views(&self, row: &JobRow) -> Vec<StageView> {
        let is_cutting = self.stages.contains_key(TRANSCODE);
        let outcome = row.ended.as_ref().map(|fact| &fact.event);
        let failed_in = outcome.and_then(|end| end.error.as_ref()).map(|error| error.stage.as_str());
        let passed = STAGES.iter().map(|(name, _)| *name);
        let told = told(row);
        let mut more: Vec<&str> =
            self.stages.keys().map(String::as_str).chain(told.iter().map(|(name, ..)| *name)).collect();
        more.retain(|name| !is_passed(name));
        more.sort_unstable();
        more.dedup();
        passed
            .chain(more)
            .map(|name| {
                let stage = self.stages.get(name);
                let total = stage.map_or(1, |stage| stage.units.max(stage.by_unit.len() as u32).max(1));
                let mut done = stage.map_or(0, Stage::done).min(total);
                let is_passed = is_passed(name);
                let told = told.iter().find(|(known, ..)| *known == name);
                let is_again = told.is_some_and(|(.., at)| stage.is_some_and(|stage| stage.is_at_work_after(*at)));
                let told = told.map(|(_, state, _)| *state);
                let implied = match name {
                    "probe" => row.probed.is_some() || is_cutting,
                    "split" => is_cutting,
                    _ => false,
                };
                let is_ready = outcome.is_some_and(|end| end.outcome == Outcome::Ready);
                if implied || (is_ready && is_passed) || told == Some(StageState::Done) {
                    done = total;
                } else if name == STITCH && outcome.is_none() {
                    // It hears of every chunk; only the end of the job says that it was the last.
                    done = done.min(total - 1);
                }
                let state = match (&outcome, stage) {
                    _ if failed_in == Some(name) => StageState::Failed,
                    _ if told == Some(StageState::Skipped) && !is_again => StageState::Skipped,
                    _ if done == total => StageState::Done,
                    (Some(_), _) if is_passed || !is_ready => StageState::Skipped,
                    // Asked for once more, it is at work again.
                    (_, Some(stage)) if told.is_some() && stage.state(done) != StageState::Running => {
                        told.unwrap_or(StageState::Failed)
                    }
                    (_, None) if told.is_some() => told.unwrap_or(StageState::Failed),
                    (_, Some(stage)) => stage.state(done),
                    (Some(_), None) => StageState::Skipped,
                    (None, None) => StageState::Waiting,
                };
                StageView { name: name.to_owned(), state, done, total }
            })
            .collect()
    }

    fn eta(&self, progress: f64, now_ms: i64) -> Option<f64> {
        let (began_ms, began) = self.began?;
        let (took, came) = (self.latest_ms - began_ms, progress - began);
        if took < GUESS_AFTER_MS || came < 0.005 {
            return None;
        }
        let rest_ms = took as f64 * (1.0 - progress) / came - (now_ms - self.latest_ms).max(0) as f64;
        Some((rest_ms.max(0.0) / 100.0).round() / 10.0)
    }
}

/// Whether every job passes the stage `name`.
pub fn is_passed(name: &str) -> bool {
    STAGES.iter().any(|(known, _)| *known == name)
}

impl Stage {
    /// Whether it was said to be at work after `at`.
    fn is_at_work_after(&self, at: i64) -> bool {
        self.by_unit.values().any(|unit| unit.state == StageState::Running && unit.at > at)
    }

    fn done(&self) -> u32 {
        let finished = |unit: &&Unit| matches!(unit.state, StageState::Done | StageState::Skipped);
        self.by_unit.values().filter(finished).count() as u32
    }

    fn finished(&self) -> f64 {
        f64::from(self.done()) / f64::from(self.units.max(self.by_unit.len() as u32).max(1))
    }

    /// Share of the frames that are encoded; of the units while frames are not known.
    fn frames(&self, total_weight: u64) -> f64 {
        if total_weight == 0 {
            return self.finished();
        }
        let done: u64 = self
            .by_unit
            .values()
            .map(|unit| if unit.state == StageState::Done { unit.weight } else { unit.done.min(unit.weight) })
            .sum();
        (done as f64 / total_weight as f64).min(1.0)
    }

    fn state(&self, done: u32) -> StageState {
        let any = |state| self.by_unit.values().any(|unit| unit.state == state);
        if any(StageState::Running) {
            StageState::Running
        } else if any(StageState::Failed) {
            StageState::Failed
        } else if done > 0 {
            // Between two units: the next one waits for a slot, the stage is under way.
            StageState::Running
        } else {
            StageState::Waiting
        }
    }
}

#[cfg(test)]
mod tests {
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
        let finished =
            Finished { units: 4, chunks: vec![(1, 100), (2, 100)], total_weight: 400, playable_at: Some(77) };
        tally.resume(&finished);
        let live = tally.live(&row(), 0);
        assert!((live.progress - (0.015 + 0.97 * 0.5)).abs() < 1e-9);
        assert_eq!((live.playable, live.playable_at), (true, Some(77)));
    }

    #[test]
    fn the_end_settles_every_stage() {
        let mut tally = Tally::default();
        tally.hear(&event(TRANSCODE, StageState::Running, 0, 80));
        let states = |row: &JobRow| -> Vec<StageState> {
            tally.live(row, 0).stages.into_iter().map(|stage| stage.state).collect()
        };
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
        let whole = told(include_str!("../../../../schemas/examples/source.illustrated/v1/whole.json"));
        let none = told(include_str!("../../../../schemas/examples/source.illustrated/v1/unavailable.json"));
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
        let english = told(include_str!("../../../../schemas/examples/captions.written/v1/english.json"));
        let none = told(include_str!("../../../../schemas/examples/captions.written/v1/unavailable.json"));
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
}
