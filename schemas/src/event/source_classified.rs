//! `source.classified`: the job has content labels, or a reason why not.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Event;
use crate::JobId;

/// What a label is told from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// What was measured on pictures and sound.
    Signals,
    /// An image model.
    Model,
}

/// One label with its confidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Label {
    /// The label.
    pub name: String,
    /// From 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub confidence: f64,
    /// What it is told from.
    pub origin: Origin,
    /// What speaks for it, such as `noise 1.25, palette 410`; empty for a label of a model.
    pub because: String,
}

/// Something that was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// What it is.
    pub name: String,
    /// How much of it there is.
    pub value: f64,
}

/// What the video shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SourceClassified {
    /// The job.
    pub job: JobId,
    /// Labels, those from signals first: the kind of content, then what moves and what is heard; then those of a model, each
    /// group most certain first.
    pub labels: Vec<Label>,
    /// What the labels from signals follow from.
    pub features: Vec<Feature>,
    /// Pictures of the source that were looked at.
    #[serde(with = "crate::field::as_long")]
    pub frames: u64,
    /// What measured, with its version: libraries.
    pub maker: String,
    /// The image model; empty when none looked, as its version.
    pub model: String,
    /// Version of the model.
    pub version: String,
    /// Everything else that decides the labels: how is measured, how decided, which pictures a model sees.
    pub parameters: String,
    /// When they were found, milliseconds since the Unix epoch.
    pub classified_at: i64,
    /// Why no label is of a model, one sentence.
    pub no_model: Option<String>,
    /// Why there are no labels at all, one sentence.
    pub reason: Option<String>,
}

impl Event for SourceClassified {
    const TOPIC: &'static str = "source.classified";

    fn job(&self) -> JobId {
        self.job
    }
}
