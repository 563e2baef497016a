//! Job rows: compare-and-set, and listings that follow it.
//!
//! A row says which entry of its state's listing, and which entry of the listing of all jobs, stands for it. An entry is
//! written before the row names it and removed after the row names another; one that no row names does not count. So a
//! listing is right at every moment, whoever dies between two writes.

use std::collections::HashMap;

use futures::TryStreamExt;
use schemas::JobId;
use schemas::job::{JobRow, State};

use super::Scylla;
use super::cql::{Outcome, failed};
use super::days::{Direction, day_of, first_ms};
use crate::catalog::{Error, Page, Swap, Versioned, from_json, page, to_json};

/// The listing of all jobs that are not deleted; states are numbered.
const ALL: i32 = 10;
/// Tombstones are kept in a listing that nobody is shown, so that they can be wiped.
const DELETED: i32 = 11;

/// Rows read at the same time for one listing.
const SIDE_BY_SIDE: usize = 16;
/// Entries that one page looks at before it answers with what it has.
const MOST_LOOKED_AT: usize = 10_000;
/// Epochs of which a row remembers who wrote them. Whoever wants to know what became of a write that got no answer looks
/// within seconds.
const REMEMBERED: i64 = 32;
/// An entry is swept two days after it was written, so a writer must name it in its row well before.
const LONGEST_SWAP_MS: i64 = 3_600_000;

fn listing(state: Option<State>) -> i32 {
    match state {
        None => ALL,
        Some(State::Received) => 0,
        Some(State::Processing) => 1,
        Some(State::Ready) => 2,
        Some(State::Failed) => 3,
        Some(State::Cancelled) => 4,
    }
}

fn listing_of(row: &JobRow) -> i32 {
    if row.deleted { DELETED } else { listing(Some(row.state())) }
}

/// A row with everything that a swap needs to know.
struct Stored {
    epoch: i64,
    write: String,
    listing: i32,
    listed: String,
    all_listed: Option<String>,
    body: String,
    writes: HashMap<i64, String>,
}

type StoredColumns = (i64, String, i32, String, Option<String>, String, Option<HashMap<i64, String>>);

/// What is to be written.
struct Next {
    epoch: i64,
    write: String,
    listing: i32,
    listed: String,
    all_listed: Option<String>,
    body: String,
}

impl Stored {
    fn versioned(&self) -> Result<Versioned, Error> {
        versioned(self.epoch, &self.body)
    }
}

fn versioned(epoch: i64, body: &str) -> Result<Versioned, Error> {
    Ok(Versioned { epoch: epoch.unsigned_abs(), row: from_json(body.as_bytes(), "jobs")? })
}

impl Scylla {
    pub(super) async fn read_job(&self, job: JobId) -> Result<Option<Versioned>, Error> {
        let found = self.cql.row("read a job row", &self.cql.statements.job, (job.to_string(),)).await?;
        found.map(|(epoch, body): (i64, String)| versioned(epoch, &body)).transpose()
    }

    async fn settled(&self, id: &str) -> Result<Option<Stored>, Error> {
        let found = self.cql.row("read a job row", &self.cql.statements.settled_job, (id,)).await?;
        Ok(found.map(|(epoch, write, listing, listed, all_listed, body, writes): StoredColumns| Stored {
            epoch,
            write,
            listing,
            listed,
            all_listed,
            body,
            writes: writes.unwrap_or_default(),
        }))
    }

    pub(super) async fn swap(&self, row: &JobRow, expected: Option<u64>) -> Result<Swap, Error> {
        const DOING: &str = "write a job row";
        let id = row.id.to_string();
        let before = self.settled(&id).await?;
        if before.as_ref().map(|before| before.epoch.unsigned_abs()) != expected {
            return lost(before);
        }
        let body = String::from_utf8(to_json(row, DOING)?).map_err(|error| failed(DOING, error.to_string()))?;
        let (write, started) = (self.fresh(), self.clock.now_ms());
        let listing = listing_of(row);
        let kept = before.as_ref().filter(|before| before.listing == listing).map(|before| before.listed.clone());
        let all = before.as_ref().and_then(|before| before.all_listed.clone());
        let next = Next {
            epoch: before.as_ref().map_or(1, |before| before.epoch + 1),
            write: write.clone(),
            listing,
            listed: kept.unwrap_or_else(|| write.clone()),
            all_listed: if row.deleted { None } else { Some(all.unwrap_or_else(|| write.clone())) },
            body,
        };
        let entries: Vec<i32> = [
            (next.listed == write).then_some(listing),
            next.all_listed.as_ref().filter(|all| **all == write).map(|_| ALL),
        ]
        .into_iter()
        .flatten()
        .collect();
        for listing in &entries {
            self.mark(*listing, day_of(row.id)).await?;
            let entry = (*listing, day_of(row.id), id.as_str(), write.as_str());
            self.cql.write(DOING, &self.cql.statements.put_listed, entry).await?;
        }
        if self.clock.now_ms().saturating_sub(started) > LONGEST_SWAP_MS {
            return Err(failed(DOING, "this process stood still, and what it prepared may be swept".to_owned()));
        }
        let answer = self.compare_and_set(&id, before.as_ref(), &next).await?;
        match &answer {
            // What no row names does not count: it may stay when it cannot be removed now.
            Swap::Won => {
                if let Some(before) = &before {
                    if before.listed != next.listed {
                        self.unlist(before.listing, row.id, &before.listed).await;
                    }
                    if let Some(all) = before.all_listed.as_ref().filter(|_| next.all_listed.is_none()) {
                        self.unlist(ALL, row.id, all).await;
                    }
                }
            }
            Swap::Lost(_) => {
                for listing in entries {
                    self.unlist(listing, row.id, &write).await;
                }
            }
        }
        Ok(answer)
    }

    /// Writes `next` over `before`, and finds out whether it did when nobody says so.
    async fn compare_and_set(&self, id: &str, before: Option<&Stored>, next: &Next) -> Result<Swap, Error> {
        const DOING: &str = "write a job row";
        let (statements, mut patience) = (&self.cql.statements, self.cql.patience());
        let mut unknown: Option<Error> = None;
        loop {
            let sent = match before {
                None => {
                    let writes = HashMap::from([(next.epoch, next.write.as_str())]);
                    let values = (
                        id,
                        next.epoch,
                        next.write.as_str(),
                        next.listing,
                        next.listed.as_str(),
                        next.all_listed.as_deref(),
                        next.body.as_str(),
                        writes,
                    );
                    self.cql.conditional(DOING, &statements.insert_job, values).await
                }
                Some(before) => {
                    let values = (
                        next.epoch,
                        next.write.as_str(),
                        next.listing,
                        next.listed.as_str(),
                        next.all_listed.as_deref(),
                        next.body.as_str(),
                        next.epoch,
                        next.write.as_str(),
                        next.epoch - REMEMBERED,
                        id,
                        before.epoch,
                        before.write.as_str(),
                    );
                    self.cql.conditional(DOING, &statements.swap_job, values).await
                }
            };
            match sent {
                Ok(Outcome::Applied) => return Ok(Swap::Won),
                Ok(Outcome::Refused) => {}
                Ok(Outcome::Unknown(error)) => unknown = Some(error),
                // Not sent this time, but perhaps before.
                Err(error) if unknown.is_none() => return Err(error),
                Err(_) => {}
            }
            // A read that settles what is under way says what holds. Until it can be had, nothing is known.
            let now = loop {
                match self.settled(id).await {
                    Ok(now) => break now,
                    Err(error) => {
                        if !patience.pause().await {
                            return Err(unknown.unwrap_or(error));
                        }
                    }
                }
            };
            let at = now.as_ref().map(|now| (now.epoch, now.write.as_str()));
            if now.as_ref().is_some_and(|now| now.writes.get(&next.epoch) == Some(&next.write)) {
                return Ok(Swap::Won);
            }
            if at == before.map(|before| (before.epoch, before.write.as_str())) {
                // Not heard, or not yet: the same write again can only be applied once.
                if !patience.pause().await {
                    return Err(unknown.unwrap_or_else(|| failed(DOING, "others are in the way".to_owned())));
                }
                continue;
            }
            return match unknown {
                // So many writes later nobody remembers whether ours was among them.
                Some(error) if at.is_some_and(|(epoch, _)| epoch >= next.epoch + REMEMBERED) => Err(error),
                _ => lost(now),
            };
        }
    }

    async fn unlist(&self, listing: i32, job: JobId, write: &str) {
        let entry = (listing, day_of(job), job.to_string(), write);
        if let Err(error) = self.cql.write("forget a listing", &self.cql.statements.drop_listed, entry).await {
            tracing::debug!(%error, %job, listing, "an entry that does not count stays in its listing");
        }
    }

    /// The row that an entry stands for, if its row says so.
    async fn listed_row(&self, listing: i32, job: &str, write: &str) -> Result<Option<JobRow>, Error> {
        type Columns = (String, Option<String>, String);
        let found = self.cql.row("list jobs", &self.cql.statements.listed_job, (job,)).await?;
        let Some((listed, all_listed, body)): Option<Columns> = found else { return Ok(None) };
        let named = if listing == ALL { all_listed.as_deref() } else { Some(listed.as_str()) };
        if named != Some(write) {
            return Ok(None);
        }
        from_json(body.as_bytes(), "jobs").map(Some)
    }

    pub(super) async fn list(
        &self,
        state: Option<State>,
        after: Option<JobId>,
        limit: usize,
    ) -> Result<Page<JobRow>, Error> {
        const DOING: &str = "list jobs";
        let (listing, limit) = (listing(state), limit.max(1));
        let newest = after.map_or(i64::MAX, day_of);
        // `~` sorts behind every character of an id.
        let below = after.map_or("~".to_owned(), |job| job.to_string());
        let (mut rows, mut looked_at) = (Vec::new(), 0);
        let mut days = self.days(listing, Direction::Down(newest)).await?;
        while let Some((day, marks)) = days.next().await? {
            let entries =
                self.cql.rows(DOING, &self.cql.statements.listed_below, (listing, day, below.as_str())).await?;
            let found = entries.map_ok(|(job, write): (String, String)| async move {
                let row = self.listed_row(listing, &job, &write).await?;
                Ok::<_, Error>((job, write, row))
            });
            let mut found = Box::pin(found.try_buffered(SIDE_BY_SIDE));
            let (mut is_empty, mut last) = (true, None);
            while let Some((job, write, row)) = found.try_next().await? {
                is_empty = false;
                looked_at += 1;
                let job: JobId =
                    job.parse().map_err(|error| Error::Damaged { table: "listed", source: Box::new(error) })?;
                match row {
                    Some(row) => rows.push(row),
                    None if self.is_old(&write) => self.unlist(listing, job, &write).await,
                    None => {}
                }
                if rows.len() > limit {
                    return Ok(page(rows, limit, |row| row.id.to_string()));
                }
                last = Some(job);
                if looked_at >= MOST_LOOKED_AT {
                    break;
                }
            }
            if is_empty && (after.is_none() || day < newest) {
                self.sweep_day(listing, day, marks).await;
            }
            looked_at += 1;
            if looked_at >= MOST_LOOKED_AT {
                // A page may be short; what it has looked at it does not look at again.
                let next = last.unwrap_or_else(|| JobId::from_parts(first_ms(day), 0)).to_string();
                return Ok(Page { items: rows, next: Some(next) });
            }
        }
        Ok(page(rows, limit, |row| row.id.to_string()))
    }

    /// Removes every row, tombstones included, and then the entries that stood for them.
    pub(super) async fn wipe(&self) -> Result<(), Error> {
        for listing in [ALL, DELETED, 0, 1, 2, 3, 4] {
            let mut days = self.days(listing, Direction::Down(i64::MAX)).await?;
            while let Some((day, _)) = days.next().await? {
                let entries =
                    self.cql.rows("forget all job rows", &self.cql.statements.listed_below, (listing, day, "~"));
                let gone =
                    entries.await?.map_ok(|(job, write): (String, String)| self.wipe_entry(listing, day, job, write));
                Box::pin(gone.try_buffer_unordered(SIDE_BY_SIDE)).try_collect::<Vec<()>>().await?;
            }
        }
        Ok(())
    }

    async fn wipe_entry(&self, listing: i32, day: i64, job: String, write: String) -> Result<(), Error> {
        const DOING: &str = "forget all job rows";
        if self.listed_row(listing, &job, &write).await?.is_some() {
            if ![ALL, DELETED].contains(&listing) {
                // A row that came after its like were removed.
                return Ok(());
            }
            self.certainly(DOING, &self.cql.statements.drop_job, (job.as_str(),)).await?;
        }
        self.cql.write(DOING, &self.cql.statements.drop_listed, (listing, day, job, write)).await
    }
}

fn lost(now: Option<Stored>) -> Result<Swap, Error> {
    now.map(|now| now.versioned().map(Box::new)).transpose().map(Swap::Lost)
}
