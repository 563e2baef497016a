//! Events: what travels on the log. One file per topic, each with the struct whose Avro schema lies beside the topic file.

use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::JobId;

mod cancel_requested;
mod captions_written;
mod chunk_cut;
mod chunk_transcoded;
mod job_deleted;
mod job_ended;
mod job_progress;
mod rendition_assessed;
mod rendition_stitched;
mod source_classified;
mod source_illustrated;
mod source_probed;
mod upload_received;

pub use cancel_requested::CancelRequested;
pub use captions_written::CaptionsWritten;
pub use chunk_cut::{ChunkCut, ChunkKind};
pub use chunk_transcoded::{ChunkRendition, ChunkTranscoded, Fragment};
pub use job_deleted::JobDeleted;
pub use job_ended::{Failure, JobEnded, Outcome};
pub use job_progress::{JobProgress, StageState};
pub use rendition_assessed::RenditionAssessed;
pub use rendition_stitched::RenditionStitched;
pub use source_classified::{Feature, Label, Origin, SourceClassified};
pub use source_illustrated::{Picture, SourceIllustrated, Storyboard, Thumbnail};
pub use source_probed::SourceProbed;
pub use upload_received::UploadReceived;

/// An event type: one struct, one topic, one Avro schema.
pub trait Event: Serialize + DeserializeOwned + Clone + Debug + Send + Sync + 'static {
    /// Name of the topic, such as `upload.received`; its subject in a registry is this plus `-value`.
    const TOPIC: &'static str;

    /// The job that the event belongs to.
    fn job(&self) -> JobId;

    /// The record's key.
    fn key(&self) -> String {
        self.job().to_string()
    }

    /// Number whose remainder by the partition count is the record's partition: the same job, the same partition,
    /// unless the topic spreads a job on purpose.
    fn spread(&self) -> u64 {
        self.job().hash64()
    }
}
