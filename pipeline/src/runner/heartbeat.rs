//! Signs of life: the worker's row, and the gauges that are sampled rather than counted.

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

/// Keeps the worker's row fresh until `over`, then removes it.
pub(super) async fn beat(shared: Arc<Shared>, stations: Vec<Arc<Station>>, over: CancellationToken) {
    let started_at = shared.doors.clock.now_ms();
    let mut ticks = interval(shared.settings.heartbeat_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => break,
            _ = ticks.tick() => {}
        }
        let mut row = WorkerRow {
            id: shared.settings.worker.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            stages: Vec::with_capacity(stations.len()),
            current: Vec::new(),
            started_at,
            seen_at: shared.doors.clock.now_ms(),
        };
        for station in &stations {
            let current = station.current();
            metrics::slots(station.name(), current.len(), station.pool.slots);
            row.stages.push((station.name().to_owned(), small(station.pool.slots), small(current.len())));
            row.current.extend(current);
        }
        match timeout(PATIENCE, shared.doors.catalog.put_worker(&row)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(error = chain(&error), "no sign of life: the catalog refuses it"),
            Err(_) => tracing::debug!("no sign of life: the catalog does not answer"),
        }
    }
    // Without it the row grows stale, which says the same a little later.
    let _ = timeout(PATIENCE, shared.doors.catalog.remove_worker(&shared.settings.worker)).await;
}

fn small(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Samples how far each stage is behind until `over`.
pub(super) async fn sample_lag(shared: Arc<Shared>, stations: Vec<Arc<Station>>, over: CancellationToken) {
    let mut ticks = interval(shared.settings.sample_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            _ = ticks.tick() => {}
        }
        for station in &stations {
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
}

/// Samples how much the blob store holds until `over`.
pub(super) async fn sample_storage(shared: Arc<Shared>, over: CancellationToken) {
    let mut ticks = interval(shared.settings.storage_interval);
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
            usage = shared.doors.blobs.usage() => match usage {
                Ok(bytes) => metrics::storage(bytes),
                Err(error) => tracing::debug!(error = chain(&error), "cannot sample the storage"),
            },
        }
    }
}
