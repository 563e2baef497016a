//! Ids: jobs are ULIDs, units of work are hashes of what they do.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// The id of a job: a ULID, so that ids sort by the time of upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, pattern = "^[0-7][0-9A-HJKMNP-TV-Z]{25}$", examples("01JDKQ3V8Z6W5Y4X3T2S1R0QPN"))]
pub struct JobId(ulid::Ulid);

/// The text is not a ULID (26 characters of Crockford base 32).
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a job id: expected 26 characters of Crockford base 32")]
pub struct BadJobId(String);

impl JobId {
    /// The id for an upload that arrives at `unix_ms`, with 80 bits of the caller's randomness.
    pub fn from_parts(unix_ms: u64, random: u128) -> Self {
        Self(ulid::Ulid::from_parts(unix_ms, random))
    }

    /// Milliseconds since the Unix epoch at which the id was made.
    pub fn unix_ms(self) -> u64 {
        self.0.timestamp_ms()
    }

    /// A stable 64-bit hash, the same on every machine: the base of partition choice.
    pub fn hash64(self) -> u64 {
        let digest = Sha256::digest(self.0.to_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for JobId {
    type Err = BadJobId;

    fn from_str(text: &str) -> Result<Self, BadJobId> {
        ulid::Ulid::from_string(text).map(Self).map_err(|_| BadJobId(text.chars().take(40).collect()))
    }
}

/// Names one unit of work by everything its output depends on, so that doing it twice gives the same blob.
///
/// The key is the first 16 bytes, in hex, of SHA-256 over source hash, time range, recipe and encoder build.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskKey(String);

impl TaskKey {
    /// The key of `parts`; each part is framed by its length, so that no two lists collide by concatenation.
    pub fn of(parts: &[&str]) -> Self {
        let mut hasher = Sha256::new();
        for part in parts {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        Self(hex(&hasher.finalize()[..16]))
    }

    /// The key as 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hex of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_keys_depend_on_where_parts_end() {
        assert_ne!(TaskKey::of(&["ab", "c"]), TaskKey::of(&["a", "bc"]));
        assert_eq!(TaskKey::of(&["ab", "c"]), TaskKey::of(&["ab", "c"]));
    }

    #[test]
    fn job_ids_read_back_and_bad_ones_say_why() {
        let id = JobId::from_parts(1_700_000_000_000, 42);
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        assert!("../etc/passwd".parse::<JobId>().is_err());
    }
}
