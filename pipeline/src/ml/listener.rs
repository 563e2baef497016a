//! Whoever hears what is said, whatever it is made of; a stage gets one in its constructor.

use async_trait::async_trait;

use super::Error;
use super::whisper::Transcript;
use super::whisper::options::Options;

/// Someone who hears.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// The model that listens, or why there is none.
    async fn model(&self) -> Result<Model, Absent>;

    /// What is said in mono `samples` at 16 kHz, at most 30 s of them. Those that are asked at the same time are heard as one
    /// batch.
    async fn hear(&self, samples: Vec<f32>, options: &Options) -> Result<Transcript, Error>;
}

/// A model as results name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Name, such as `whisper-base.en`.
    pub name: String,
    /// Version: another one may hear other words.
    pub version: String,
}

/// Why there is no model, and what to do, such as `no model: run streamforge models pull whisper-base.en`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Absent(pub String);

/// Nobody listens.
#[derive(Clone, Debug)]
pub struct Nobody(pub Absent);

#[async_trait]
impl Listener for Nobody {
    async fn model(&self) -> Result<Model, Absent> {
        Err(self.0.clone())
    }

    async fn hear(&self, _samples: Vec<f32>, _options: &Options) -> Result<Transcript, Error> {
        Err(Error::Gone(self.0.to_string()))
    }
}
