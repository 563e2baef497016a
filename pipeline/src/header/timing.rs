//! Who made an event, and when the work on it began: what a timeline shows and nothing is decided by.

use bytes::Bytes;
use connectors::log::{NewRecord, Record};
use schemas::job::Timing;

use super::text;

/// Header: when the work began, milliseconds since the Unix epoch.
pub const BEGAN: &str = "streamforge-began";
/// Header: the worker that did it.
pub const WORKER: &str = "streamforge-worker";

/// Notes on `record` that `worker` began the work on it at `began_ms`.
pub fn mark(record: &mut NewRecord, worker: &str, began_ms: i64) {
    record.headers.push((BEGAN.to_owned(), began_ms.to_string().into()));
    record.headers.push((WORKER.to_owned(), Bytes::copy_from_slice(worker.as_bytes())));
}

/// What `record` says of its making.
pub fn of(record: &Record) -> Timing {
    let began = text(&record.headers, BEGAN).and_then(|began| began.parse().ok());
    Timing {
        // A clock that was set back must not make work that ends before it begins.
        began_at: began.map(|began: i64| began.min(record.timestamp_ms)),
        ended_at: record.timestamp_ms,
        worker: text(&record.headers, WORKER),
    }
}
