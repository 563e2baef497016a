//! Every statement of the catalog, prepared once. Each one names whole partition keys.

use scylla::client::session::Session;
use scylla::errors::PrepareError;
use scylla::statement::Consistency;
use scylla::statement::prepared::PreparedStatement;

use super::connect::Profiles;

/// The keyspace as it is written in statements and migrations.
pub(super) const KEYSPACE: &str = "streamforge.";

/// Rows that come in one answer.
const PAGE_ROWS: i32 = 200;

/// How a statement is run.
#[derive(Clone, Copy)]
enum Kind {
    /// A read of what a majority has: repeated and tried elsewhere at will.
    Read,
    /// A read that first settles conditional writes that are under way.
    Serial,
    /// An upsert or a deletion: repeated at will, since a second run changes nothing.
    Write,
    /// A conditional write: sent once, never repeated behind our back.
    Conditional,
}

macro_rules! statements {
    ($($name:ident: $kind:ident = $text:literal;)*) => {
        /// The prepared statements.
        pub(super) struct Statements {
            $(pub(super) $name: PreparedStatement,)*
        }

        impl Statements {
            /// Prepares all statements for the tables in `keyspace`.
            pub(super) async fn prepare(
                session: &Session,
                profiles: &Profiles,
                keyspace: &str,
            ) -> Result<Self, PrepareError> {
                Ok(Self { $($name: prepare(session, profiles, keyspace, Kind::$kind, $text).await?,)* })
            }
        }
    };
}

statements! {
    job: Read = "SELECT epoch, body FROM streamforge.jobs WHERE job = ?";
    listed_job: Read = "SELECT listed, all_listed, body FROM streamforge.jobs WHERE job = ?";
    settled_job: Serial =
        "SELECT epoch, write_id, listing, listed, all_listed, body, writes FROM streamforge.jobs WHERE job = ?";
    insert_job: Conditional = "INSERT INTO streamforge.jobs \
        (job, epoch, write_id, listing, listed, all_listed, body, writes) VALUES (?, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS";
    swap_job: Conditional = "UPDATE streamforge.jobs SET epoch = ?, write_id = ?, listing = ?, listed = ?, \
        all_listed = ?, body = ?, writes[?] = ?, writes[?] = null WHERE job = ? IF epoch = ? AND write_id = ?";
    drop_job: Conditional = "DELETE FROM streamforge.jobs WHERE job = ? IF EXISTS";

    listed_below: Read = "SELECT job, write_id FROM streamforge.listed WHERE listing = ? AND bucket = ? AND job < ?";
    put_listed: Write = "INSERT INTO streamforge.listed (listing, bucket, job, write_id) VALUES (?, ?, ?, ?)";
    drop_listed: Write =
        "DELETE FROM streamforge.listed WHERE listing = ? AND bucket = ? AND job = ? AND write_id = ?";
    buckets_down: Read = "SELECT bucket, write_id FROM streamforge.buckets WHERE listing = ? AND bucket <= ?";
    buckets_up: Read = "SELECT bucket, write_id FROM streamforge.buckets WHERE listing = ? AND bucket >= ? \
        ORDER BY bucket ASC, write_id ASC";
    put_bucket: Write = "INSERT INTO streamforge.buckets (listing, bucket, write_id) VALUES (?, ?, ?)";
    drop_bucket: Write = "DELETE FROM streamforge.buckets WHERE listing = ? AND bucket = ? AND write_id = ?";

    decision: Read = "SELECT body FROM streamforge.decisions WHERE job = ?";
    settled_decision: Serial = "SELECT body FROM streamforge.decisions WHERE job = ?";
    insert_decision: Conditional = "INSERT INTO streamforge.decisions (job, body) VALUES (?, ?) IF NOT EXISTS";

    chunks: Read = "SELECT body FROM streamforge.chunks WHERE job = ? AND number > ?";
    put_chunk: Write = "INSERT INTO streamforge.chunks (job, number, body) VALUES (?, ?, ?)";
    drop_chunks: Write = "DELETE FROM streamforge.chunks WHERE job = ?";
    whole_chunk: Read = "SELECT body FROM streamforge.whole_chunks WHERE job = ? AND number = ?";
    put_whole_chunk: Write = "INSERT INTO streamforge.whole_chunks (job, number, body) VALUES (?, ?, ?)";
    drop_whole_chunks: Write = "DELETE FROM streamforge.whole_chunks WHERE job = ?";

    settled_attempts: Serial = "SELECT counted, write_id, writes FROM streamforge.attempts WHERE work = ?";
    insert_attempts: Conditional =
        "INSERT INTO streamforge.attempts (work, counted, write_id, writes) VALUES (?, ?, ?, ?) IF NOT EXISTS \
        USING TTL 2592000";
    swap_attempts: Conditional = "UPDATE streamforge.attempts USING TTL 2592000 SET counted = ?, write_id = ?, writes[?] = ?, \
        writes[?] = null WHERE work = ? IF counted = ? AND write_id = ?";
    drop_attempts: Conditional = "DELETE FROM streamforge.attempts WHERE work = ? IF EXISTS";

    settled_lease: Serial = "SELECT holder, ends_at FROM streamforge.leases WHERE name = ?";
    insert_lease: Conditional =
        "INSERT INTO streamforge.leases (name, holder, ends_at) VALUES (?, ?, ?) IF NOT EXISTS";
    swap_lease: Conditional =
        "UPDATE streamforge.leases SET holder = ?, ends_at = ? WHERE name = ? IF holder = ? AND ends_at = ?";
    drop_lease: Conditional = "DELETE FROM streamforge.leases WHERE name = ? IF holder = ? AND ends_at = ?";

    uploads_above: Read = "SELECT body FROM streamforge.uploads WHERE bucket = ? AND job > ?";
    put_upload: Write = "INSERT INTO streamforge.uploads (bucket, job, body) VALUES (?, ?, ?)";
    drop_upload: Write = "DELETE FROM streamforge.uploads WHERE bucket = ? AND job = ?";

    removal: Read = "SELECT due, write_id FROM streamforge.removals WHERE job = ?";
    put_removal: Write = "INSERT INTO streamforge.removals (job, due, write_id) VALUES (?, ?, ?)";
    drop_removal: Write = "DELETE FROM streamforge.removals WHERE job = ?";
    due_until: Read = "SELECT due, job, write_id FROM streamforge.due WHERE bucket = ? AND due <= ?";
    put_due: Write = "INSERT INTO streamforge.due (bucket, due, job, write_id) VALUES (?, ?, ?, ?)";
    drop_due: Write = "DELETE FROM streamforge.due WHERE bucket = ? AND due = ? AND job = ? AND write_id = ?";

    workers: Read = "SELECT body FROM streamforge.workers WHERE shard = ?";
    put_worker: Write = "INSERT INTO streamforge.workers (shard, id, body) VALUES (?, ?, ?) USING TTL 86400";
    drop_worker: Write = "DELETE FROM streamforge.workers WHERE shard = ? AND id = ?";

    probe: Read = "SELECT at FROM streamforge.probes WHERE shard = ?";
    put_probe: Write = "INSERT INTO streamforge.probes (shard, at) VALUES (?, ?) USING TTL 3600";
}

/// `text` with the name of the keyspace in it.
pub(super) fn in_keyspace(text: &str, keyspace: &str) -> String {
    text.replace(KEYSPACE, &format!("\"{keyspace}\"."))
}

async fn prepare(
    session: &Session,
    profiles: &Profiles,
    keyspace: &str,
    kind: Kind,
    text: &str,
) -> Result<PreparedStatement, PrepareError> {
    let mut statement = session.prepare(in_keyspace(text, keyspace)).await?;
    statement.set_page_size(PAGE_ROWS);
    statement.set_is_idempotent(!matches!(kind, Kind::Conditional));
    if matches!(kind, Kind::Serial) {
        statement.set_consistency(Consistency::Serial);
    }
    let profile = match kind {
        Kind::Read => &profiles.read,
        Kind::Serial | Kind::Write => &profiles.write,
        Kind::Conditional => &profiles.conditional,
    };
    statement.set_execution_profile_handle(Some(profile.clone()));
    Ok(statement)
}
