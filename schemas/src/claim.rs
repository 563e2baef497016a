//! Claims: what an event says about bytes that lie in the blob store.

use serde::{Deserialize, Serialize};

/// Where bytes are, how many, and their hash; media itself never travels on the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// `blob:<key>` for a key of the configured store, or the full address of an object inside it (`s3://…`, `file://…`).
    pub uri: String,
    /// Bytes.
    #[serde(with = "crate::field::as_long")]
    pub size: u64,
    /// SHA-256 of the bytes, 64 lower-case hex digits.
    pub sha256: String,
}
