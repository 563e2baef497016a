//! Whether every stage consumes, for readiness.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a stage of this process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StageStatus {
    /// It has not joined its group yet.
    Joining,
    /// It consumes.
    Consuming,
    /// It said that it cannot go on, in these words; its events wait for another worker.
    Stopped(String),
    /// It was drained.
    Drained,
}

/// How the stages of this process stand. Shared; always current.
#[derive(Debug, Default)]
pub struct Status {
    stages: Mutex<BTreeMap<&'static str, StageStatus>>,
}

impl Status {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, StageStatus>> {
        self.stages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, stage: &'static str, status: StageStatus) {
        let mut stages = self.lock();
        // The reason for a stop outlives the drain that follows from it.
        if !(status == StageStatus::Drained && matches!(stages.get(stage), Some(StageStatus::Stopped(_)))) {
            stages.insert(stage, status);
        }
    }

    /// Every stage and how it stands.
    pub fn stages(&self) -> Vec<(&'static str, StageStatus)> {
        self.lock().iter().map(|(name, status)| (*name, status.clone())).collect()
    }

    /// Nothing when every stage consumes; else one sentence about the first that does not.
    pub fn not_ready(&self) -> Option<String> {
        let stages = self.lock();
        if stages.is_empty() {
            return Some("no stage has been started".to_owned());
        }
        stages.iter().find_map(|(name, status)| match status {
            StageStatus::Consuming => None,
            StageStatus::Joining => Some(format!("stage `{name}` has not joined its group yet")),
            StageStatus::Stopped(why) => Some(format!("stage `{name}` has stopped: {why}")),
            StageStatus::Drained => Some(format!("stage `{name}` is drained")),
        })
    }
}
