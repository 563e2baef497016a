//! The record projection: events fold into job rows.
//!
//! All edges are members of one group, so each event is folded by one of them. Rows are written by compare-and-set, so a
//! row that this edge or another has just written is never lost; offsets are committed after the rows.

use std::collections::BTreeMap;
use std::time::Duration;

use connectors::catalog::Swap;
use connectors::log::{Consumer, Delivery, Record, TopicPartition};
use connectors::{Doors, blobs, catalog, log};
use futures::{StreamExt, stream};
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::{JobEvent, JobRow, Timing};
use schemas::{ledger, manifest};
use tokio_util::sync::CancellationToken;

use super::events;
use crate::header::{replay, timing};
use crate::metrics;
use crate::stage::chain;

/// The group that folds events into rows.
pub const GROUP: &str = "streamforge.record";

/// The longest that a worker may go on writing for a job that is deleted already: then its prefix is removed again.
pub const LONGEST_LEASE: Duration = Duration::from_secs(15 * 60);

/// How often due removals are looked for.
const REMOVALS_EVERY: Duration = Duration::from_secs(30);

/// Removals that are worked off at a time.
const REMOVALS: usize = 100;

/// Jobs whose rows are written at the same time: the catalog commits them together.
const SIDE_BY_SIDE: usize = 16;

/// Shortest and longest wait before a door is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// Why folding stopped.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("read events for the job rows")]
    Log(#[from] log::Error),
    #[error("write job rows")]
    Catalog(#[from] catalog::Error),
    #[error("remove the bytes of a job")]
    Blobs(#[from] blobs::Error),
}

/// Folds events into rows, and removes what deleted jobs leave behind, until `shutdown`.
pub async fn record(doors: Doors, shutdown: CancellationToken) {
    tokio::join!(fold(&doors, GROUP, &shutdown), remove_again(&doors, &shutdown));
}

/// Folds as a member of `group`. Whatever goes wrong, it begins again at the committed offsets.
pub async fn fold(doors: &Doors, group: &str, shutdown: &CancellationToken) {
    let mut wait = BACKOFF.0;
    while !shutdown.is_cancelled() {
        let mut did_something = false;
        match follow(doors, group, shutdown, &mut did_something).await {
            Ok(()) => return,
            Err(error) => {
                metrics::door_failed("record");
                tracing::warn!(error = chain(&error), "job rows fall behind; trying again");
            }
        }
        wait = if did_something { BACKOFF.0 } else { (wait * 2).min(BACKOFF.1) };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn follow(
    doors: &Doors,
    group: &str,
    shutdown: &CancellationToken,
    did_something: &mut bool,
) -> Result<(), Error> {
    let mut consumer = doors.log.join(group, &JobEvent::TOPICS).await?;
    let mut committed = BTreeMap::new();
    loop {
        let delivery = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            delivery = consumer.next() => delivery?,
        };
        match delivery {
            Delivery::Records(records) => {
                apply(doors, &records).await?;
                commit(consumer.as_mut(), &records, &mut committed).await?;
                *did_something = true;
            }
            Delivery::Gained(partitions) | Delivery::Lost(partitions) => {
                committed.retain(|at, _| !partitions.contains(at));
            }
        }
    }
}

/// Commits what lies behind `records`, unless more is `committed` already: a record may be delivered twice.
async fn commit(
    consumer: &mut dyn Consumer,
    records: &[Record],
    committed: &mut BTreeMap<TopicPartition, i64>,
) -> Result<(), Error> {
    let mut next: BTreeMap<TopicPartition, i64> = BTreeMap::new();
    for record in records {
        let offset = next.entry(record.at.clone()).or_insert(0);
        *offset = (*offset).max(record.offset + 1);
    }
    for (at, offset) in next {
        if committed.get(&at).is_some_and(|known| *known >= offset) {
            continue;
        }
        match consumer.commit(&[(at.clone(), offset)]).await {
            Ok(()) => {
                committed.insert(at, offset);
            }
            // Another member has it now and folds the same records again, with the same result.
            Err(log::Error::NotOwner(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// An event, where it lies, and what its record says of its making.
type Made = (JobEvent, i64, Timing);

/// Folds `records` into the rows of their jobs.
async fn apply(doors: &Doors, records: &[Record]) -> Result<(), Error> {
    let mut by_job: BTreeMap<JobId, Vec<Made>> = BTreeMap::new();
    // What lies there once more has been folded.
    for record in records.iter().filter(|record| replay::stage(&record.headers).is_none()) {
        match events::read(record) {
            Ok(Some(event)) => {
                let made = (event, record.offset, timing::of(record));
                by_job.entry(made.0.job()).or_default().push(made);
            }
            Ok(None) => {}
            Err(error) => {
                let (topic, partition) = (&record.at.topic, record.at.partition);
                tracing::error!(topic, partition, record.offset, %error, "a record was skipped: it cannot be read");
                metrics::error("record", "unreadable_record");
            }
        }
    }
    let writes = by_job.into_iter().map(|(job, events)| fold_job(doors, job, events));
    let mut writes = stream::iter(writes).buffer_unordered(SIDE_BY_SIDE);
    while let Some(written) = writes.next().await {
        written?;
    }
    Ok(())
}

async fn fold_job(doors: &Doors, job: JobId, events: Vec<Made>) -> Result<(), Error> {
    let is_deleted = events.iter().any(|(event, ..)| matches!(event, JobEvent::Deleted(_)));
    let apply = |row: &mut JobRow| {
        for (event, offset, timing) in &events {
            row.apply_made(event.clone(), Some(*offset), Some(timing.clone()));
        }
    };
    let row = change_row(doors, job, apply).await?;
    let has_ended = events.iter().any(|(event, ..)| matches!(event, JobEvent::Ended(_)));
    let is_wanted = !has_ended || !is_in_vain(&row);
    if is_wanted && !is_deleted {
        return Ok(());
    }
    put_removal(doors, job, LONGEST_LEASE).await?;
    // A store that is away holds up no rows: what cannot be removed now is removed soon.
    if let Err(error) = remove(doors, &row).await {
        metrics::door_failed("remove");
        tracing::warn!(%job, error = chain(&error), "the bytes of an ended job stay for now");
        put_removal(doors, job, REMOVALS_EVERY).await?;
    }
    Ok(())
}

/// Whether the job has ended without a video to play.
fn is_in_vain(row: &JobRow) -> bool {
    row.ended.as_ref().is_some_and(|end| end.event.outcome != Outcome::Ready)
}

/// Changes the row of `job` by compare-and-set until it holds; a row that stays as it is is not written.
pub async fn change_row(
    doors: &Doors,
    job: JobId,
    mut change: impl FnMut(&mut JobRow),
) -> Result<JobRow, catalog::Error> {
    let mut found = doors.catalog.job(job).await?;
    loop {
        let before = found.as_ref().map(|found| &found.row);
        let mut row = before.cloned().unwrap_or_else(|| JobRow::new(job));
        change(&mut row);
        if before == Some(&row) {
            return Ok(row);
        }
        match doors.catalog.swap_job(&row, found.as_ref().map(|found| found.epoch)).await? {
            Swap::Won => return Ok(row),
            Swap::Lost(newer) => found = newer.map(|newer| *newer),
        }
    }
}

/// Removes everything of a deleted job but its tombstone, all bytes of a cancelled one, and what a failed one has made; answers
/// how many blobs there were.
async fn remove(doors: &Doors, row: &JobRow) -> Result<u64, Error> {
    let job = row.id;
    let is_failed = row.ended.as_ref().is_some_and(|end| end.event.outcome == Outcome::Failed);
    let (blobs, prefix) = (&doors.blobs, manifest::prefix(job));
    let blobs = match !row.deleted && is_failed {
        true => blobs.delete_prefix_but(&prefix, &ledger::kept_of_failed(job)).await?,
        false => blobs.delete_prefix(&prefix).await?,
    };
    if row.deleted {
        doors.catalog.forget(job).await?;
    }
    if blobs > 0 {
        tracing::info!(%job, blobs, is_deleted = row.deleted, "removed the bytes of a job that nobody wants");
    }
    Ok(blobs)
}

/// Has the bytes of `job` removed again `after` so long.
async fn put_removal(doors: &Doors, job: JobId, after: Duration) -> Result<(), Error> {
    let again = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
    Ok(doors.catalog.put_removal(job, doors.clock.now_ms().saturating_add(again)).await?)
}

/// A worker that did not hear of the end may have written for a while: removes its leftovers, when they are due.
async fn remove_again(doors: &Doors, shutdown: &CancellationToken) {
    loop {
        if let Err(error) = remove_due(doors).await {
            metrics::door_failed("remove");
            tracing::warn!(error = chain(&error), "leftovers of ended jobs stay for now");
        }
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(REMOVALS_EVERY) => {}
        }
    }
}

/// Works off the removals that are due; answers how many there were.
async fn remove_due(doors: &Doors) -> Result<usize, Error> {
    let mut removed = 0;
    loop {
        let due = doors.catalog.due_removals(doors.clock.now_ms(), REMOVALS).await?;
        for job in &due {
            let blobs = match doors.catalog.job(*job).await?.map(|found| found.row) {
                Some(row) => remove(doors, &row).await?,
                None => {
                    doors.catalog.forget(*job).await?;
                    doors.blobs.delete_prefix(&manifest::prefix(*job)).await?
                }
            };
            // Whoever has written until now may write once more, for as long as its lease lasts.
            match blobs {
                0 => doors.catalog.clear_removal(*job).await?,
                _ => put_removal(doors, *job, LONGEST_LEASE).await?,
            }
        }
        removed += due.len();
        if due.len() < REMOVALS {
            return Ok(removed);
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// A membership that only keeps what is committed.
    #[derive(Default)]
    struct Heard(Vec<i64>);

    #[async_trait]
    impl Consumer for Heard {
        async fn next(&mut self) -> Result<Delivery, log::Error> {
            Err(log::Error::Closed)
        }

        fn pause(&mut self, _partitions: &[TopicPartition]) {}

        fn resume(&mut self, _partitions: &[TopicPartition]) {}

        async fn commit(&mut self, offsets: &[(TopicPartition, i64)]) -> Result<(), log::Error> {
            self.0.extend(offsets.iter().map(|(_, offset)| *offset));
            Ok(())
        }

        async fn seek(&mut self, _at: &TopicPartition, _offset: i64) -> Result<(), log::Error> {
            Ok(())
        }

        async fn seek_to_time(&mut self, _at: &TopicPartition, _time_ms: i64) -> Result<(), log::Error> {
            Ok(())
        }
    }

    fn record(offset: i64) -> Record {
        Record {
            at: TopicPartition { topic: "job.ended".to_owned(), partition: 1 },
            offset,
            timestamp_ms: 0,
            key: Vec::new().into(),
            value: Vec::new().into(),
            headers: Vec::new(),
        }
    }

    #[tokio::test]
    async fn records_that_come_again_do_not_take_the_group_back() {
        let (mut heard, mut committed) = (Heard::default(), BTreeMap::new());
        for offsets in [vec![0, 1, 2], vec![0], vec![1, 2, 3]] {
            let records: Vec<Record> = offsets.into_iter().map(record).collect();
            commit(&mut heard, &records, &mut committed).await.expect("committed");
        }
        assert_eq!(heard.0, [3, 4]);
    }
}
