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

/// The stage that encodes.
pub const TRANSCODE: &str = "transcode";
const STITCH: &str = "stitch";
/// Stages that hear of every part.
pub const COUNTED: [&str; 2] = [TRANSCODE, STITCH];

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
    /// When this attempt was first heard of.
    since: i64,
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
    /// When this attempt was first heard of, milliseconds since the Unix epoch.
    pub since: i64,
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
            since: event.at,
            at: 0,
        });
        if unit.attempt != event.attempt || unit.worker != event.worker || unit.state == StageState::Waiting {
            unit.since = event.at;
        }
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
                    since: 0,
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
                    since: unit.since,
                    at: unit.at,
                })
            })
            .collect();
        busy.sort_by_key(|unit| std::cmp::Reverse(unit.at));
        busy
    }

    /// When anything was last heard of the job, milliseconds since the Unix epoch.
    pub fn heard_at(&self) -> Option<i64> {
        (self.latest_ms > 0).then_some(self.latest_ms)
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
mod tests;
