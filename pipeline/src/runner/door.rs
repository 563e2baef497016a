//! Calls on the doors that must succeed in the end: a door that is away for a while costs time and nothing else.

use std::future::Future;

use connectors::Doors;
use tokio::time::{Duration, sleep, timeout};

use super::backoff::Backoff;
use super::task::{Stops, Why};
use crate::metrics;
pub(super) use crate::stage::chain;

/// Calls until it succeeds or `stops` says that it must not any more.
pub(super) async fn insist<T, E, F>(
    doing: &'static str,
    backoff: Backoff,
    stops: &Stops,
    mut call: impl FnMut() -> F,
) -> Result<T, Why>
where
    E: std::error::Error + 'static,
    F: Future<Output = Result<T, E>>,
{
    let mut failures = 0;
    loop {
        if let Some(why) = stops.now() {
            return Err(why);
        }
        let error = tokio::select! {
            // What the door has answered counts, whatever has happened meanwhile.
            biased;
            result = call() => match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            },
            why = stops.any() => return Err(why),
        };
        failures += 1;
        metrics::door_failed(doing);
        tracing::warn!(doing, failures, error = chain(&error), "a door does not answer: trying again");
        tokio::select! {
            biased;
            () = sleep(backoff.wait(failures)) => {}
            why = stops.any() => return Err(why),
        }
    }
}

/// Which door is away right now, in words.
pub(super) async fn outage(doors: &Doors) -> Option<String> {
    const PATIENCE: Duration = Duration::from_secs(5);
    let late = || Some("does not answer".to_owned());
    let log = timeout(PATIENCE, doors.log.check()).await;
    if let Some(error) = log.map_or_else(|_| late(), |result| result.err().map(|error| chain(&error))) {
        return Some(format!("log: {error}"));
    }
    let catalog = timeout(PATIENCE, doors.catalog.check()).await;
    if let Some(error) = catalog.map_or_else(|_| late(), |result| result.err().map(|error| chain(&error))) {
        return Some(format!("catalog: {error}"));
    }
    let blobs = timeout(PATIENCE, doors.blobs.check()).await;
    let error = blobs.map_or_else(|_| late(), |result| result.err().map(|error| chain(&error)))?;
    Some(format!("blobs: {error}"))
}
