//! What is kept of an upload while it arrives, beside its bytes.

use connectors::Doors;
use connectors::blobs::{self, Growing};
use schemas::JobId;
use serde::{Deserialize, Serialize};

/// Folder of all uploads that still arrive.
pub(super) const ROOMS: &str = "uploads/";
/// Name of the record in the folder of its upload.
const NAME: &str = "upload.json";

/// An upload that still arrives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The job that it becomes.
    pub(super) job: JobId,
    /// The blob that it becomes.
    pub(super) growing: Growing,
    /// Bytes of the whole, once its client has said so.
    pub(super) length: Option<u64>,
    /// Name of the file as it can be shown.
    pub(super) name: String,
    /// `Upload-Metadata` as it was sent.
    pub(super) metadata: String,
    /// When it began, milliseconds since the Unix epoch.
    pub(super) created_at: i64,
    /// When it goes unless more comes, milliseconds since the Unix epoch.
    pub(super) expires_at: i64,
}

/// Folder of the upload `job`.
pub(super) fn room(job: JobId) -> String {
    format!("{ROOMS}{job}/")
}

fn key(job: JobId) -> String {
    format!("{}{NAME}", room(job))
}

impl Record {
    pub(super) async fn load(doors: &Doors, job: JobId) -> Result<Self, blobs::Error> {
        let key = key(job);
        let bytes = doors.blobs.read(&key).await?;
        let damaged = |error| blobs::Error::Store { doing: "read", key, source: Box::new(error) };
        serde_json::from_slice(&bytes).map_err(damaged)
    }

    /// Durable when it answers.
    pub(super) async fn save(&self, doors: &Doors) -> Result<(), blobs::Error> {
        let key = key(self.job);
        let unwritable = |error| blobs::Error::Store { doing: "write", key: key.clone(), source: Box::new(error) };
        let bytes = serde_json::to_vec(self).map_err(unwritable)?;
        doors.blobs.put(&key, bytes.into()).await.map(drop)
    }
}
