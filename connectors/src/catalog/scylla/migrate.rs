//! Keyspace and tables: made and changed by numbered migrations, each applied once, by whoever is first.
//!
//! One row says which version the tables have and who is changing them. Its lease ends by the clock, so two may come to
//! apply the same migration; every statement may therefore run twice.

use std::time::Duration;

use scylla::client::session::Session;
use scylla::errors::{DbError, ExecutionError, RequestAttemptError};
use scylla::response::query_result::QueryResult;
use scylla::serialize::row::SerializeRow;
use scylla::statement::unprepared::Statement;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::{Instant, sleep};

use super::Settings;
use super::cql::{applied, told};
use super::statements::in_keyspace;
use crate::catalog::Error;
use crate::clock::Clock;

/// The migrations; a version is their number. One that has been released never changes.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_tables.cql")];

const MIGRATION_TABLE: &str = "CREATE TABLE IF NOT EXISTS streamforge.migrations (\
    name text PRIMARY KEY, version int, holder text, ends_at bigint)";
const ROW: &str = "tables";

/// How long whoever applies migrations may be silent before somebody else goes on.
const LEASE_MS: i64 = 30_000;
const POLL: Duration = Duration::from_millis(100);
/// How long one statement that changes tables may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);
const TRIES: u32 = 5;

/// What is there of keyspace and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tables {
    /// Nothing, or tables of an older program.
    ToBeMade,
    /// All that this program wants.
    Current,
}

/// Looks at keyspace and tables and changes nothing. What a node answers at once takes one short request, or two.
pub(super) async fn look(session: &Session, settings: &Settings) -> Result<Tables, Error> {
    let known = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = 'migrations'";
    let asked = session.query_unpaged(statement(settings, known), (settings.keyspace.as_str(),));
    let found = asked.await.map_err(|error| refused(settings, &error))?;
    let found = found.into_rows_result().map_err(|error| setup(settings, &told(&error)))?;
    if found.rows_num() == 0 {
        return Ok(Tables::ToBeMade);
    }
    let Some((version, ..)) = state(session, settings).await? else { return Ok(Tables::ToBeMade) };
    let missing = migrations_after(settings, version)?;
    Ok(if missing.is_empty() { Tables::Current } else { Tables::ToBeMade })
}

/// What is to be done to tables of `version`; refuses those that a newer program has made.
fn migrations_after(settings: &Settings, version: i32) -> Result<&'static [&'static str], Error> {
    MIGRATIONS.get(usize::try_from(version).unwrap_or(0)..).ok_or_else(|| {
        Error::Setup(format!(
            "keyspace `{}` has tables of version {version}, and this program knows versions up to {}: \
             run a newer one",
            settings.keyspace,
            MIGRATIONS.len()
        ))
    })
}

/// Makes what is missing and answers when keyspace and tables are as this program wants them.
pub(super) async fn migrate(session: &Session, settings: &Settings, clock: &dyn Clock, me: &str) -> Result<(), Error> {
    make_keyspace(session, settings).await?;
    run(session, settings, MIGRATION_TABLE, ()).await?;
    run(
        session,
        settings,
        "INSERT INTO streamforge.migrations (name, version, holder, ends_at) VALUES (?, 0, '', 0) IF NOT EXISTS",
        (ROW,),
    )
    .await?;
    let started = Instant::now();
    loop {
        let (version, holder, ends_at) =
            state(session, settings).await?.ok_or_else(|| setup(settings, "its table of migrations is empty"))?;
        let Some(next) = migrations_after(settings, version)?.first() else { break };
        if started.elapsed() > PATIENCE {
            return Err(Error::Setup(format!(
                "keyspace `{}` is being changed by `{holder}`, and that does not end",
                settings.keyspace
            )));
        }
        let now = clock.now_ms();
        if !holder.is_empty() && holder != me && ends_at > now {
            sleep(POLL).await;
            continue;
        }
        let taken = run(
            session,
            settings,
            "UPDATE streamforge.migrations SET holder = ?, ends_at = ? WHERE name = ? \
             IF version = ? AND holder = ? AND ends_at = ?",
            (me, now.saturating_add(LEASE_MS), ROW, version, holder.as_str(), ends_at),
        )
        .await?;
        if !applied(taken, "change the tables")? {
            continue;
        }
        for statement in statements(next) {
            run(session, settings, &statement, ()).await?;
        }
        session.await_schema_agreement().await.map_err(|error| setup(settings, &told(&error)))?;
        tracing::info!(keyspace = settings.keyspace, version = version + 1, "made the tables of the catalog");
        // Whoever took over meanwhile does the same again and says so.
        run(
            session,
            settings,
            "UPDATE streamforge.migrations SET version = ?, holder = '', ends_at = 0 WHERE name = ? \
             IF version = ? AND holder = ?",
            (version + 1, ROW, version, me),
        )
        .await?;
    }
    agreed(session, settings).await
}

/// Waits until all nodes have heard of the tables that somebody has just made.
pub(super) async fn agreed(session: &Session, settings: &Settings) -> Result<(), Error> {
    session.await_schema_agreement().await.map(drop).map_err(|error| setup(settings, &told(&error)))
}

async fn state(session: &Session, settings: &Settings) -> Result<Option<(i32, String, i64)>, Error> {
    let text = "SELECT version, holder, ends_at FROM streamforge.migrations WHERE name = ?";
    let mut statement = statement(settings, text);
    statement.set_consistency(Consistency::Serial);
    statement.set_is_idempotent(true);
    let answer = session.query_unpaged(statement, (ROW,)).await.map_err(|error| setup(settings, &told(&error)))?;
    let rows = answer.into_rows_result().map_err(|error| setup(settings, &told(&error)))?;
    rows.maybe_first_row().map_err(|error| setup(settings, &told(&error)))
}

/// The statements of a migration: comments are lines, statements end with a semicolon.
fn statements(text: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    code.join("\n").split(';').map(|statement| statement.trim().to_owned()).filter(|one| !one.is_empty()).collect()
}

/// Makes the keyspace if it is not there; one that is there stays as its operators have set it up.
async fn make_keyspace(session: &Session, settings: &Settings) -> Result<(), Error> {
    let known = "SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = run(session, settings, known, (settings.keyspace.as_str(),)).await?;
    let found = found.into_rows_result().map_err(|error| setup(settings, &told(&error)))?;
    if found.rows_num() > 0 {
        return Ok(());
    }
    let nodes = session.get_cluster_state().get_nodes_info().len();
    let copies = settings.replication.unwrap_or(u32::try_from(nodes.clamp(1, 3)).unwrap_or(1));
    let make = format!(
        "CREATE KEYSPACE IF NOT EXISTS \"{}\" WITH replication = \
         {{'class': 'NetworkTopologyStrategy', 'replication_factor': {copies}}}",
        settings.keyspace
    );
    // Conditional writes need tables without tablets on many versions of ScyllaDB; others do not know the word.
    let plain = format!("{make} AND tablets = {{'enabled': false}}");
    match session.query_unpaged(statement(settings, &plain), ()).await {
        Ok(_) => Ok(()),
        Err(ExecutionError::LastAttemptError(RequestAttemptError::DbError(
            DbError::SyntaxError | DbError::Invalid | DbError::ConfigError,
            _,
        ))) => run(session, settings, &make, ()).await.map(drop),
        Err(error) => Err(refused(settings, &error)),
    }
}

fn statement(settings: &Settings, text: &str) -> Statement {
    let mut statement = Statement::new(in_keyspace(text, &settings.keyspace));
    statement.set_request_timeout(Some(STATEMENT_TIMEOUT));
    statement.set_consistency(Consistency::Quorum);
    statement.set_serial_consistency(Some(SerialConsistency::Serial));
    statement
}

/// Runs a statement that may run twice, as often as it takes to get an answer.
async fn run(
    session: &Session,
    settings: &Settings,
    text: &str,
    values: impl SerializeRow + Copy,
) -> Result<QueryResult, Error> {
    let mut tries = 1;
    loop {
        match session.query_unpaged(statement(settings, text), values).await {
            Ok(answer) => return Ok(answer),
            Err(error) if tries == TRIES || !may_pass(&error) => return Err(refused(settings, &error)),
            Err(error) => tracing::debug!(error = told(&error), tries, "a statement that prepares the catalog failed"),
        }
        tries += 1;
        sleep(POLL * tries).await;
    }
}

/// Whether the same statement may succeed in a moment: others were in the way, or a node was.
fn may_pass(error: &ExecutionError) -> bool {
    match error {
        ExecutionError::RequestTimeout(_) => true,
        ExecutionError::LastAttemptError(error) => matches!(
            error,
            RequestAttemptError::BrokenConnectionError(_)
                | RequestAttemptError::DbError(
                    DbError::WriteTimeout { .. } | DbError::ReadTimeout { .. } | DbError::Unavailable { .. },
                    _
                )
        ),
        _ => false,
    }
}

fn refused(settings: &Settings, error: &ExecutionError) -> Error {
    if let ExecutionError::LastAttemptError(RequestAttemptError::DbError(DbError::Unauthorized, text)) = error {
        return Error::Setup(format!("keyspace `{}` cannot be used: the user may not: {text}", settings.keyspace));
    }
    setup(settings, &told(error))
}

fn setup(settings: &Settings, text: &str) -> Error {
    Error::Setup(format!("keyspace `{}` cannot be made ready: {text}", settings.keyspace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_is_cut_into_statements_that_may_run_twice() {
        for migration in MIGRATIONS {
            let all = statements(migration);
            assert!(all.len() > 1);
            for one in all {
                let safe = one.starts_with("CREATE TABLE IF NOT EXISTS streamforge.");
                assert!(safe, "a migration may be applied twice: {one}");
                assert!(!one.contains("--"), "a comment got between: {one}");
            }
        }
    }
}
