//! The doors of StreamForge. What lies behind a door differs in nothing that a stage can see.
//!
//! # Layout
//! - [`log`]: topics, partitions, consumer groups; embedded on `redb`, or Apache Kafka
//! - [`catalog`]: job rows and the tables beside them; embedded on `redb`, in memory for tests
//! - [`blobs`]: bytes, on `object_store`: a folder, or a bucket of an S3 server
//! - [`embedded`]: all three on one machine, or in memory; [`open`]: any mixture, by address
//! - [`sources`]: where bytes come from that nobody uploads: a folder; [`sinks`]: where facts go that are not ours to keep: webhooks
//! - [`clock`]: wall-clock time that tests can move

pub mod blobs;
pub mod catalog;
pub mod clock;
pub mod embedded;
pub mod log;
pub mod open;
pub mod sinks;
pub mod sources;
mod store;

pub use blobs::Blobs;
pub use catalog::Catalog;
pub use clock::Clock;
pub use embedded::in_memory;
pub use log::Log;

use std::sync::Arc;

/// The three doors, as every role gets them.
#[derive(Clone)]
pub struct Doors {
    /// Where events travel.
    pub log: Arc<dyn Log>,
    /// Where job rows lie.
    pub catalog: Arc<dyn Catalog>,
    /// Where bytes lie.
    pub blobs: Blobs,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}
