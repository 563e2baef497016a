//! `/api/workers`: who works, and on what.

use std::time::Duration;

use connectors::catalog::WorkerRow;
use schemas::job::view::rfc3339;
use serde::Serialize;
use utoipa::ToSchema;
use warp::reply::Response;

use super::Edge;
use super::jobs::fresh;
use super::problem::Problem;

/// Who works.
#[derive(Debug, Serialize, ToSchema)]
pub struct Workers {
    workers: Vec<Worker>,
}

/// One process that works.
#[derive(Debug, Serialize, ToSchema)]
struct Worker {
    id: String,
    version: String,
    state: WorkerState,
    stages: Vec<WorkerStage>,
    /// What it does right now, in words.
    current: Vec<String>,
    /// Busy slots of all slots.
    #[schema(minimum = 0, maximum = 1)]
    load: f64,
    #[schema(format = DateTime)]
    started_at: String,
    /// Its last sign of life.
    #[schema(format = DateTime)]
    seen_at: String,
}

/// Whether a worker gave a sign of life lately.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WorkerState {
    Alive,
    Gone,
}

/// A stage that a worker runs.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerStage {
    name: String,
    slots: u32,
    busy: u32,
}

impl Edge {
    /// `GET /api/workers`: those that are alive first, each in order of its start.
    pub(super) async fn workers(&self) -> Result<Response, Problem> {
        let mut workers = self.doors.catalog.workers().await?;
        let (now_ms, timeout) = (self.doors.clock.now_ms(), self.settings.worker_timeout);
        workers.sort_by_key(|worker| (!is_alive(worker, now_ms, timeout), worker.started_at, worker.id.clone()));
        let workers = workers.iter().map(|row| Worker::of(row, now_ms, timeout)).collect();
        Ok(fresh(warp::reply::json(&Workers { workers })))
    }
}

/// Whether `worker` gave a sign of life within `timeout`. Nothing is decided by it: a wrong clock makes a wrong list and
/// no wrong video.
pub fn is_alive(worker: &WorkerRow, now_ms: i64, timeout: Duration) -> bool {
    let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_sub(worker.seen_at) <= timeout_ms
}

impl Worker {
    fn of(row: &WorkerRow, now_ms: i64, timeout: Duration) -> Self {
        let is_alive = is_alive(row, now_ms, timeout);
        let stage = |(name, slots, busy): &(String, u32, u32)| WorkerStage {
            name: name.clone(),
            slots: *slots,
            busy: if is_alive { *busy } else { 0 },
        };
        Self {
            id: row.id.clone(),
            version: row.version.clone(),
            state: if is_alive { WorkerState::Alive } else { WorkerState::Gone },
            stages: row.stages.iter().map(stage).collect(),
            // What a worker did that is gone, others do.
            current: if is_alive { row.current.clone() } else { Vec::new() },
            load: if is_alive { row.load } else { 0.0 },
            started_at: rfc3339(row.started_at),
            seen_at: rfc3339(row.seen_at),
        }
    }
}
