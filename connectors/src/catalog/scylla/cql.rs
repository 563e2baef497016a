//! Requests: bounded in number and in time, and honest about a conditional write that got no answer.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use scylla::client::session::Session;
use scylla::deserialize::row::DeserializeRow;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::prepared::PreparedStatement;
use scylla::value::{CqlValue, Row};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep, timeout};

use super::statements::Statements;
use crate::catalog::Error;

/// Requests that one process has under way at the same time; more of them wait.
const AT_ONCE: usize = 512;
/// The column that says whether a conditional write was applied, on every server; the others differ.
const APPLIED: &str = "[applied]";
/// Pauses between looks at a write whose outcome is unknown.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A session, its statements and its limits.
pub(super) struct Cql {
    session: Session,
    pub(super) statements: Statements,
    permits: Semaphore,
    request_timeout: Duration,
}

/// What became of a conditional write.
pub(super) enum Outcome {
    /// It holds.
    Applied,
    /// Its condition did not.
    Refused,
    /// It was sent and nothing is known: it may hold now, later, or never.
    Unknown(Error),
}

/// What a server or the driver says, without a chain that says it again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Told(String);

/// Time that is left to find out about a write.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// Pauses; answers false when there is no time left.
    pub(super) async fn pause(&mut self) -> bool {
        if Instant::now() + self.pause >= self.until {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

impl Cql {
    pub(super) fn new(session: Session, statements: Statements, request_timeout: Duration) -> Self {
        Self { session, statements, permits: Semaphore::new(AT_ONCE), request_timeout }
    }

    /// Time to settle one conditional write: its own request and as much again.
    pub(super) fn patience(&self) -> Patience {
        Patience { until: Instant::now() + self.request_timeout * 2, pause: FIRST_PAUSE }
    }

    async fn permit(&self, doing: &'static str) -> Result<SemaphorePermit<'_>, Error> {
        match timeout(self.request_timeout, self.permits.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(failed(doing, "the catalog is closed".to_owned())),
            Err(_) => Err(failed(doing, format!("{AT_ONCE} requests are waiting for an answer already"))),
        }
    }

    async fn ask(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<QueryResult, ExecutionError> {
        self.session.execute_unpaged(statement, values).await
    }

    /// Runs an upsert or a deletion.
    pub(super) async fn write(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<(), Error> {
        let _permit = self.permit(doing).await?;
        self.ask(statement, values).await.map(drop).map_err(|error| failed(doing, told(&error)))
    }

    /// Reads the row that a whole primary key names.
    pub(super) async fn row<R>(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Option<R>, Error>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm>,
    {
        let _permit = self.permit(doing).await?;
        let answer = self.ask(statement, values).await.map_err(|error| failed(doing, told(&error)))?;
        let rows = answer.into_rows_result().map_err(|error| failed(doing, told(&error)))?;
        rows.maybe_first_row::<R>().map_err(|error| failed(doing, told(&error)))
    }

    /// Reads rows of one partition, a page at a time.
    pub(super) async fn rows<'s, R>(
        &'s self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<BoxStream<'s, Result<R, Error>>, Error>
    where
        R: for<'f, 'm> DeserializeRow<'f, 'm> + Send + 'static,
    {
        let _permit = self.permit(doing).await?;
        let pages = self.session.execute_iter(statement.clone(), values);
        let pages = Box::pin(pages).await.map_err(|error| failed(doing, told(&error)))?;
        let rows = pages.rows_stream::<R>().map_err(|error| failed(doing, told(&error)))?;
        // Later pages need no permit of their own: who reads rows asks for others in between.
        Ok(rows.map_err(move |error| failed(doing, told(&error))).boxed())
    }

    /// Runs a conditional write once.
    pub(super) async fn conditional(
        &self,
        doing: &'static str,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Outcome, Error> {
        let _permit = self.permit(doing).await?;
        match self.ask(statement, values).await {
            Ok(answer) => Ok(if applied(answer, doing)? { Outcome::Applied } else { Outcome::Refused }),
            Err(error) if never_ran(&error) => Err(failed(doing, told(&error))),
            Err(error) => Ok(Outcome::Unknown(failed(doing, told(&error)))),
        }
    }
}

/// Whether a conditional write was applied.
pub(super) fn applied(answer: QueryResult, doing: &'static str) -> Result<bool, Error> {
    let rows = answer.into_rows_result().map_err(|error| failed(doing, told(&error)))?;
    let column = rows.column_specs().get_by_name(APPLIED).map(|(index, _)| index);
    let row = rows.first_row::<Row>().map_err(|error| failed(doing, told(&error)))?;
    match column.and_then(|index| row.columns.get(index)) {
        Some(Some(CqlValue::Boolean(applied))) => Ok(*applied),
        _ => Err(failed(doing, format!("the answer to a conditional write has no column {APPLIED}"))),
    }
}

/// Whether a request that failed this way cannot have changed anything, now or later.
fn never_ran(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::BadQuery(_)
        | ExecutionError::EmptyPlan
        | ExecutionError::PrepareError(_)
        | ExecutionError::ConnectionPoolError(_) => true,
        ExecutionError::LastAttemptError(error) => matches!(
            error,
            RequestAttemptError::SerializationError(_)
                | RequestAttemptError::CqlRequestSerialization(_)
                | RequestAttemptError::UnableToAllocStreamId
                | RequestAttemptError::DbError(
                    DbError::SyntaxError
                        | DbError::Invalid
                        | DbError::AuthenticationError
                        | DbError::Unauthorized
                        | DbError::ConfigError
                        | DbError::ProtocolError,
                    _
                )
        ),
        _ => false,
    }
}

/// The error of a call that could not do what was asked.
pub(super) fn failed(doing: &'static str, what: String) -> Error {
    Error::Store { doing, source: Box::new(Told(what)) }
}

/// What an error of the driver says, in one line. Some of its errors repeat their source and some leave it out.
pub(super) fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
