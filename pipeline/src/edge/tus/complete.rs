//! From the last byte of an upload to its job: the same row and the same event as of any other upload.

use connectors::blobs::{self, Appender};
use connectors::catalog::UploadIntent;
use futures::TryStreamExt;
use schemas::event::UploadReceived;
use schemas::{Claim, JobId};

use super::record::Record;
use crate::edge::Edge;
use crate::edge::problem::Problem;
use crate::edge::upload::no_video;
use crate::media::sniff::{self, SNIFF_BYTES};
use crate::stage::chain;

impl Edge {
    /// Makes the bytes of `record` a blob and the blob a job.
    pub(super) async fn complete(&self, record: &Record, appender: Appender) -> Result<(), Problem> {
        let claim = appender.finish(&self.doors.blobs, &record.growing).await?;
        self.announce_upload(record, claim).await
    }

    /// Announces an upload whose bytes are whole.
    pub(super) async fn announce_upload(&self, record: &Record, source: Claim) -> Result<(), Problem> {
        let job = record.job;
        if !self.is_video(&record.growing.key, source.size).await? {
            self.doors.blobs.delete(&record.growing.key).await?;
            self.doors.blobs.give_up_growing(&record.growing).await?;
            return Err(no_video());
        }
        let now_ms = self.doors.clock.now_ms();
        let (name, origin) = (record.name.clone(), "tus".to_owned());
        let event = UploadReceived { job, name, source, received_at: now_ms, origin };
        let intent = UploadIntent { job, owner: self.settings.owner.clone(), touched_at: now_ms, event: None };
        self.publish(intent, event).await?;
        self.clear_room(record).await;
        Ok(())
    }

    /// Whether the first bytes of `key` are those of a video.
    async fn is_video(&self, key: &str, size: u64) -> Result<bool, blobs::Error> {
        let head = self.doors.blobs.get(key, Some(0..size.min(SNIFF_BYTES as u64))).await?;
        let head: Vec<bytes::Bytes> = head.try_collect().await?;
        Ok(sniff::sniff(&head.concat()).is_some())
    }

    /// Removes what an upload leaves beside its blob. What stays is removed later.
    pub(super) async fn clear_room(&self, record: &Record) {
        if let Err(error) = self.doors.blobs.give_up_growing(&record.growing).await {
            tracing::debug!(upload = %record.job, error = chain(&error), "the record of an upload stays for now");
        }
    }

    /// Whether `job` is known, deleted ones included.
    pub(in crate::edge) async fn is_job(&self, job: JobId) -> Result<bool, connectors::catalog::Error> {
        Ok(self.doors.catalog.job(job).await?.is_some())
    }
}
