//! The words of StreamForge: what travels on the log, what a job is, what a manifest lists.
//!
//! No I/O and no async live here; every other crate may import this one and it imports none of them.
//!
//! # Layout
//! - [`id`]: job ids, task keys, digests
//! - [`claim`]: what an event says about bytes
//! - [`source`]: what probe learned about an upload
//! - [`ladder`]: rungs and the boxes they fit into
//! - [`field`]: how single fields are spelled on the wire
//! - [`event`]: the trait of all events; one file under `event/` per topic
//! - [`wire`]: Avro with Confluent framing, the only place that names `apache_avro`
//! - [`topic`]: the topic files
//! - [`job`]: the job row that events fold into, and the JSON that users see
//! - [`ledger`]: what stitch counted
//! - [`manifest`]: what an edge needs to play a video
//! - [`quality`]: how close renditions are to their source
//! - [`captions`]: cues, as WebVTT and as SubRip

pub mod captions;
pub mod claim;
pub mod event;
pub mod field;
pub mod id;
pub mod job;
pub mod ladder;
pub mod ledger;
pub mod manifest;
pub mod quality;
pub mod source;
pub mod topic;
pub mod wire;

pub use claim::Claim;
pub use event::Event;
pub use id::{JobId, TaskKey};
