//! What one asks for and others then do not get: decisions, numbers of attempts, leases. All by conditional write.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use schemas::JobId;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;

use super::Scylla;
use super::cql::{Outcome, failed};
use crate::catalog::{Decision, Error, from_json, to_json};

/// Counts of which a row remembers who made them.
const REMEMBERED: i64 = 32;
/// Counts without an answer that are remembered; beyond these a count may be too high by one.
const MOST_PENDING: usize = 10_000;

/// Names of counts that were sent and never answered, by work: the next count of the same work takes the name up again, so
/// that it is not counted twice.
#[derive(Default)]
pub(super) struct Pending(Mutex<HashMap<String, String>>);

/// A count under way. Dropped before its end is known, it is remembered.
struct Count<'p> {
    pending: &'p Pending,
    work: &'p str,
    write: Option<String>,
}

impl Pending {
    /// The count, and whether it is the first under its name.
    fn begin<'p>(&'p self, work: &'p str, fresh: impl FnOnce() -> String) -> (Count<'p>, bool) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(work);
        let is_new = left.is_none();
        (Count { pending: self, work, write: Some(left.unwrap_or_else(fresh)) }, is_new)
    }

    fn forget(&self, work: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(work);
    }
}

impl Count<'_> {
    fn settled(mut self) {
        self.write = None;
    }
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        let Some(write) = self.write.take() else { return };
        let mut pending = self.pending.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() < MOST_PENDING {
            pending.insert(self.work.to_owned(), write);
        }
    }
}

impl Scylla {
    /// Runs a conditional write that may run any number of times until it is known to have run.
    pub(super) async fn certainly(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow + Copy,
    ) -> Result<bool, Error> {
        let mut patience = self.cql.patience();
        let mut unknown = None;
        loop {
            match self.cql.conditional(doing, statement, values).await {
                Ok(Outcome::Applied) => return Ok(true),
                Ok(Outcome::Refused) => return Ok(false),
                Ok(Outcome::Unknown(error)) => unknown = Some(error),
                Err(error) if unknown.is_none() => return Err(error),
                Err(_) => {}
            }
            if !patience.pause().await {
                return Err(unknown.unwrap_or_else(|| failed(doing, "no answer".to_owned())));
            }
        }
    }

    pub(super) async fn read_decision(&self, job: JobId) -> Result<Option<Decision>, Error> {
        let found = self.cql.row("read how a job ends", &self.cql.statements.decision, (job.to_string(),)).await?;
        found.map(|(body,): (String,)| from_json(body.as_bytes(), "decisions")).transpose()
    }

    pub(super) async fn make_decision(&self, job: JobId, proposal: &Decision) -> Result<Decision, Error> {
        const DOING: &str = "decide how a job ends";
        if let Some(decided) = self.read_decision(job).await? {
            return Ok(decided);
        }
        let (id, statements) = (job.to_string(), &self.cql.statements);
        let body = String::from_utf8(to_json(proposal, DOING)?).map_err(|error| failed(DOING, error.to_string()))?;
        // Decisions are never removed: whichever is found after a try without an answer is the one that holds.
        if self.certainly(DOING, &statements.insert_decision, (id.as_str(), body.as_str())).await? {
            return Ok(proposal.clone());
        }
        let mut patience = self.cql.patience();
        loop {
            match self.cql.row(DOING, &statements.settled_decision, (id.as_str(),)).await {
                Ok(Some((body,))) => {
                    let body: String = body;
                    return from_json(body.as_bytes(), "decisions");
                }
                Ok(None) => return Err(failed(DOING, "the decision that was in the way is gone".to_owned())),
                Err(error) => {
                    if !patience.pause().await {
                        return Err(error);
                    }
                }
            }
        }
    }

    pub(super) async fn count(&self, work: &str) -> Result<u32, Error> {
        const DOING: &str = "count an attempt";
        type Columns = (i64, String, Option<HashMap<i64, String>>);
        let (statements, mut patience) = (&self.cql.statements, self.cql.patience());
        let (count, is_new) = self.pending.begin(work, || self.fresh());
        let write = count.write.clone().unwrap_or_default();
        let mut sent = false;
        // Work that begins for the first time has no row, as a rule: a try costs less than a look first.
        let mut guesses = is_new;
        loop {
            let look = self.cql.row(DOING, &statements.settled_attempts, (work,));
            let found = if guesses { Ok(None) } else { look.await };
            let answer = match found {
                Ok(Some((counted, last, writes))) => {
                    let (counted, last, writes): Columns = (counted, last, writes);
                    let ours = writes.into_iter().flatten().find(|(_, other)| *other == write);
                    if let Some((number, _)) = ours {
                        count.settled();
                        return Ok(u32::try_from(number).unwrap_or(u32::MAX));
                    }
                    let number = counted + 1;
                    let values = (
                        number,
                        write.as_str(),
                        number,
                        write.as_str(),
                        number - REMEMBERED,
                        work,
                        counted,
                        last.as_str(),
                    );
                    sent = true;
                    self.cql.conditional(DOING, &statements.swap_attempts, values).await.map(|answer| (answer, number))
                }
                Ok(None) => {
                    let values = (work, 1_i64, write.as_str(), HashMap::from([(1_i64, write.as_str())]));
                    sent = true;
                    self.cql.conditional(DOING, &statements.insert_attempts, values).await.map(|answer| (answer, 1))
                }
                Err(error) => Err(error),
            };
            let error = match answer {
                Ok((Outcome::Applied, number)) => {
                    count.settled();
                    return Ok(u32::try_from(number).unwrap_or(u32::MAX));
                }
                Ok((Outcome::Refused, _)) if guesses => {
                    guesses = false;
                    continue;
                }
                // Somebody else counted: the next look says how many there are now.
                Ok((Outcome::Refused, _)) => failed(DOING, "others are counting too".to_owned()),
                Ok((Outcome::Unknown(error), _)) => error,
                Err(error) if !sent || guesses => return Err(error),
                Err(error) => error,
            };
            guesses = false;
            if !patience.pause().await {
                return Err(error);
            }
        }
    }

    pub(super) async fn forget_attempts(&self, work: &str) -> Result<(), Error> {
        self.pending.forget(work);
        self.certainly("forget attempts", &self.cql.statements.drop_attempts, (work,)).await.map(drop)
    }

    pub(super) async fn take_lease(&self, name: &str, owner: &str, now_ms: i64, until_ms: i64) -> Result<bool, Error> {
        const DOING: &str = "take a lease";
        let (statements, mut patience) = (&self.cql.statements, self.cql.patience());
        let mut sent = false;
        loop {
            let answer = match self.cql.row(DOING, &statements.settled_lease, (name,)).await {
                Ok(Some((holder, ends_at))) => {
                    let (holder, ends_at): (String, i64) = (holder, ends_at);
                    if sent && holder == owner && ends_at == until_ms {
                        return Ok(true);
                    }
                    if holder != owner && ends_at >= now_ms {
                        return Ok(false);
                    }
                    sent = true;
                    let values = (owner, until_ms, name, holder.as_str(), ends_at);
                    self.cql.conditional(DOING, &statements.swap_lease, values).await
                }
                Ok(None) => {
                    sent = true;
                    self.cql.conditional(DOING, &statements.insert_lease, (name, owner, until_ms)).await
                }
                Err(error) => Err(error),
            };
            let error = match answer {
                Ok(Outcome::Applied) => return Ok(true),
                Ok(Outcome::Refused) => failed(DOING, "others want it too".to_owned()),
                Ok(Outcome::Unknown(error)) => error,
                Err(error) if !sent => return Err(error),
                Err(error) => error,
            };
            if !patience.pause().await {
                return Err(error);
            }
        }
    }

    pub(super) async fn give_lease_back(&self, name: &str, owner: &str) -> Result<(), Error> {
        const DOING: &str = "give a lease back";
        let statements = &self.cql.statements;
        let found: Option<(String, i64)> = self.cql.row(DOING, &statements.settled_lease, (name,)).await?;
        // The end is compared too: a removal that arrives late must not end a lease that was taken again.
        match found {
            Some((holder, ends_at)) if holder == owner => {
                self.certainly(DOING, &statements.drop_lease, (name, owner, ends_at)).await.map(drop)
            }
            _ => Ok(()),
        }
    }
}
