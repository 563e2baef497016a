//! Listings by day: which days a listing has entries in, and a name for every write.
//!
//! Nothing here is ordered by a clock. Clocks only say what is old enough to be swept: a mark in the index is trusted for
//! half a day by whoever wrote it and taken away by nobody before it is two days old.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use futures::StreamExt;
use futures::stream::BoxStream;
use ulid::Ulid;

use super::Scylla;
use crate::catalog::Error;

const DAY_MS: i64 = 86_400_000;
/// How long a mark that this process has written is taken to be there.
const TRUST_MS: i64 = DAY_MS / 2;
/// Age from which marks of empty days and entries that do not count are swept.
const OLD_MS: i64 = 2 * DAY_MS;
/// Marks that are remembered; a refold of many years forgets and writes some again.
const MOST_KNOWN: usize = 20_000;

/// The listing of uploads on their way.
pub(super) const UPLOADS: i32 = 100;
/// The listing of removals.
pub(super) const REMOVALS: i32 = 101;

/// The day of a moment, counted from the Unix epoch.
pub(super) fn day(ms: i64) -> i64 {
    ms.div_euclid(DAY_MS)
}

/// The day on which `job` was uploaded.
pub(super) fn day_of(job: schemas::JobId) -> i64 {
    day(i64::try_from(job.unix_ms()).unwrap_or(i64::MAX))
}

/// The first moment of `day`, milliseconds since the Unix epoch.
pub(super) fn first_ms(day: i64) -> u64 {
    u64::try_from(day.saturating_mul(DAY_MS)).unwrap_or(0)
}

/// Days that this process knows to be marked, with when it marked them.
#[derive(Default)]
pub(super) struct Marked(Mutex<HashMap<(i32, i64), i64>>);

/// Which way a listing is walked.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Direction {
    /// From new to old, beginning at this day.
    Down(i64),
    /// From old to new, beginning at this day.
    Up(i64),
}

/// The days of a listing one after the other.
pub(super) struct Days<'c> {
    marks: BoxStream<'c, Result<(i64, String), Error>>,
    ahead: Option<(i64, String)>,
}

impl Days<'_> {
    /// The next day, with the marks that name it.
    pub(super) async fn next(&mut self) -> Result<Option<(i64, Vec<String>)>, Error> {
        let (day, first) = match self.ahead.take() {
            Some(mark) => mark,
            None => match self.marks.next().await.transpose()? {
                Some(mark) => mark,
                None => return Ok(None),
            },
        };
        let mut marks = vec![first];
        while let Some((other, mark)) = self.marks.next().await.transpose()? {
            if other != day {
                self.ahead = Some((other, mark));
                break;
            }
            marks.push(mark);
        }
        Ok(Some((day, marks)))
    }
}

impl Scylla {
    /// A name for one write that no other write has.
    pub(super) fn fresh(&self) -> String {
        let now = u64::try_from(self.clock.now_ms()).unwrap_or(0);
        Ulid::from_parts(now, rand::random()).to_string()
    }

    /// Whether the write of this name was made so long ago that nobody is in the middle of it.
    pub(super) fn is_old(&self, write: &str) -> bool {
        let made = Ulid::from_string(write).map_or(0, |write| i64::try_from(write.timestamp_ms()).unwrap_or(i64::MAX));
        made < self.clock.now_ms().saturating_sub(OLD_MS)
    }

    /// Makes sure that the index of `listing` names `day`.
    pub(super) async fn mark(&self, listing: i32, day: i64) -> Result<(), Error> {
        let (key, now) = ((listing, day), self.clock.now_ms());
        let known = self.marked.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if known.is_some_and(|since| now.saturating_sub(since) < TRUST_MS) {
            return Ok(());
        }
        let statement = &self.cql.statements.put_bucket;
        self.cql.write("note a day of a listing", statement, (listing, day, self.fresh())).await?;
        let mut marked = self.marked.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marked.len() >= MOST_KNOWN {
            marked.clear();
        }
        marked.insert(key, now);
        Ok(())
    }

    /// The days of `listing`.
    pub(super) async fn days(&self, listing: i32, direction: Direction) -> Result<Days<'_>, Error> {
        let (statement, from) = match direction {
            Direction::Down(from) => (&self.cql.statements.buckets_down, from),
            Direction::Up(from) => (&self.cql.statements.buckets_up, from),
        };
        let marks = self.cql.rows("read the days of a listing", statement, (listing, from)).await?;
        Ok(Days { marks, ahead: None })
    }

    /// Takes a day that was found empty out of the index, except for marks that somebody may still trust.
    ///
    /// Marks that came after those were read are not touched, so that what they stand for stays in sight.
    pub(super) async fn sweep_day(&self, listing: i32, day: i64, marks: Vec<String>) {
        for mark in marks.into_iter().filter(|mark| self.is_old(mark)) {
            let statement = &self.cql.statements.drop_bucket;
            if let Err(error) = self.cql.write("forget an empty day", statement, (listing, day, mark)).await {
                tracing::debug!(%error, listing, day, "an empty day stays in the index");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_moment_has_one_day_and_days_begin_with_their_first_moment() {
        for (ms, expected) in [(0, 0), (DAY_MS - 1, 0), (DAY_MS, 1), (-1, -1), (i64::MAX, i64::MAX / DAY_MS)] {
            assert_eq!(day(ms), expected);
        }
        assert_eq!(first_ms(3), 3 * 86_400_000);
        assert_eq!(first_ms(-3), 0, "no job is older than the epoch");
    }
}
