//! `upload.received`: bytes lie in the blob store and want to become a video.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// An upload whose bytes are durable. Written by the edge or by any producer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UploadReceived {
    /// The job that this upload starts.
    pub job: JobId,
    /// The file's name as the uploader said it; only shown, never used as a path.
    pub name: String,
    /// The uploaded bytes.
    pub source: Claim,
    /// Milliseconds since the Unix epoch.
    pub received_at: i64,
    /// Who wrote the event: `http`, `tus`, `watch` or a producer's own name.
    pub origin: String,
}

impl Event for UploadReceived {
    const TOPIC: &'static str = "upload.received";

    fn job(&self) -> JobId {
        self.job
    }
}
