//! Signs of life: the worker's row, and the gauges that are sampled rather than counted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use connectors::catalog::WorkerRow;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::door::chain;
use super::station::Station;
use crate::metrics;

/// How long one sign of life may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Acts at once and then every `period`, until `over`; what is under way then is dropped.
async fn every<F: Future<Output = ()>>(period: Duration, over: &CancellationToken, mut act: impl FnMut() -> F) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = act() => {}
        }
    }
}

/// Keeps the worker's row fresh until `over`, then removes it.
pub(super) async fn beat(shared: Arc<Shared>, stations: Vec<Arc<Station>>, over: CancellationToken) {
    let started_at = shared.doors.clock.now_ms();
    every(shared.settings.heartbeat_interval, &over, || give_sign(&shared, &stations, started_at)).await;
    // Without it the row grows stale, which says the same a little later.
    let _ = timeout(PATIENCE, shared.doors.catalog.remove_worker(&shared.settings.worker)).await;
}

async fn give_sign(shared: &Shared, stations: &[Arc<Station>], started_at: i64) {
    let mut row = WorkerRow {
        id: shared.settings.worker.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        stages: Vec::with_capacity(stations.len()),
        current: Vec::new(),
        load: 0.0,
        started_at,
        seen_at: shared.doors.clock.now_ms(),
    };
    let (mut busy, mut slots, mut counted) = (0, 0, Vec::new());
    for station in stations {
        let current = station.current();
        metrics::slots(station.name(), current.len(), station.pool.slots);
        row.stages.push((station.name().to_owned(), small(station.pool.slots), small(current.len())));
        busy += current.len();
        // Stages may share their slots.
        if !counted.iter().any(|pool| Arc::ptr_eq(pool, &station.pool)) {
            slots += station.pool.slots;
            counted.push(Arc::clone(&station.pool));
        }
        row.current.extend(current);
    }
    row.load = f64::from(small(busy)) / f64::from(small(slots).max(1));
    match timeout(PATIENCE, shared.doors.catalog.put_worker(&row)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = chain(&error), "no sign of life: the catalog refuses it"),
        Err(_) => tracing::debug!("no sign of life: the catalog does not answer"),
    }
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Samples how far each stage is behind until `over`.
pub(super) async fn sample_lag(shared: Arc<Shared>, stations: Vec<Arc<Station>>, over: CancellationToken) {
    every(shared.settings.sample_interval, &over, || sample_lag_once(&shared, &stations)).await;
}

async fn sample_lag_once(shared: &Shared, stations: &[Arc<Station>]) {
    for station in stations {
        let (group, input) = (station.group(), station.stage.input());
        let progress = match timeout(PATIENCE, shared.doors.log.progress(&group, &[input])).await {
            Ok(Ok(progress)) => progress,
            Ok(Err(error)) => {
                tracing::debug!(group, error = chain(&error), "cannot sample the lag");
                continue;
            }
            Err(_) => continue,
        };
        let events = progress.iter().map(|partition| partition.end - partition.committed).sum();
        let oldest = progress.iter().filter_map(|partition| partition.oldest_pending_ms).min();
        let age = oldest.map_or(0, |oldest| shared.doors.clock.now_ms().saturating_sub(oldest));
        metrics::lag(station.name(), events, Duration::from_millis(u64::try_from(age).unwrap_or(0)));
    }
}

/// Samples how much the blob store holds until `over`.
pub(super) async fn sample_storage(shared: Arc<Shared>, over: CancellationToken) {
    every(shared.settings.storage_interval, &over, || sample_storage_once(&shared)).await;
}

async fn sample_storage_once(shared: &Shared) {
    // One of all workers counts for all: on a bucket every count lists all of it, and lists are paid for.
    let (now_ms, worker) = (shared.doors.clock.now_ms(), &shared.settings.worker);
    let period = i64::try_from(shared.settings.storage_interval.as_millis()).unwrap_or(i64::MAX);
    let until_ms = now_ms.saturating_add(period.saturating_mul(2));
    match timeout(PATIENCE, shared.doors.catalog.lease("sample the storage", worker, now_ms, until_ms)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return,
        Ok(Err(_)) | Err(_) => {}
    }
    match shared.doors.blobs.usage().await {
        Ok(bytes) => metrics::storage(bytes),
        Err(error) => tracing::debug!(error = chain(&error), "cannot sample the storage"),
    }
}
