//! `/api/workers`: who works, and on what.

use std::time::Duration;

use connectors::catalog::WorkerRow;
use schemas::job::view::rfc3339;
use serde_json::{Value, json};
use warp::reply::Response;

use super::Edge;
use super::jobs::fresh;
use super::problem::Problem;

impl Edge {
    /// `GET /api/workers`: those that are alive first, each in order of its start.
    pub(super) async fn workers(&self) -> Result<Response, Problem> {
        let mut workers = self.doors.catalog.workers().await?;
        let (now_ms, timeout) = (self.doors.clock.now_ms(), self.settings.worker_timeout);
        workers.sort_by_key(|worker| (!is_alive(worker, now_ms, timeout), worker.started_at, worker.id.clone()));
        let shown: Vec<Value> = workers.iter().map(|worker| shown(worker, now_ms, timeout)).collect();
        Ok(fresh(warp::reply::json(&json!({ "workers": shown }))))
    }
}

/// Whether `worker` gave a sign of life within `timeout`. Nothing is decided by it: a wrong clock makes a wrong list and
/// no wrong video.
pub fn is_alive(worker: &WorkerRow, now_ms: i64, timeout: Duration) -> bool {
    let timeout_ms = i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_sub(worker.seen_at) <= timeout_ms
}

fn shown(worker: &WorkerRow, now_ms: i64, timeout: Duration) -> Value {
    let is_alive = is_alive(worker, now_ms, timeout);
    let stages: Vec<Value> = worker
        .stages
        .iter()
        .map(|(name, slots, busy)| json!({ "name": name, "slots": slots, "busy": if is_alive { *busy } else { 0 } }))
        .collect();
    json!({
        "id": worker.id,
        "version": worker.version,
        "state": if is_alive { "alive" } else { "gone" },
        "stages": stages,
        // What a worker did that is gone, others do.
        "current": if is_alive { worker.current.as_slice() } else { &[] },
        "load": if is_alive { worker.load } else { 0.0 },
        "started_at": rfc3339(worker.started_at),
        "seen_at": rfc3339(worker.seen_at),
    })
}
