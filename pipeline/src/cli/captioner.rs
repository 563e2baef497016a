//! Whoever hears what is said in videos: a model of the shelf.

use async_trait::async_trait;

use super::resident::Resident;
use crate::ml::Error;
use crate::ml::listener::{Absent, Listener, Model};
use crate::ml::whisper::options::Options;
use crate::ml::whisper::{Span, Transcript};
use crate::shelf::Shelf;

/// A model that listens when it is there.
pub struct Captioner(Resident<Span>);

impl Captioner {
    /// The model `name` of `shelf`.
    pub fn new(shelf: Shelf, name: &str) -> Self {
        Self(Resident::new(shelf, name, "captions are switched off: set caption_model to a model"))
    }
}

#[async_trait]
impl Listener for Captioner {
    async fn model(&self) -> Result<Model, Absent> {
        self.0.model().await
    }

    async fn hear(&self, samples: Vec<f32>, options: &Options) -> Result<Transcript, Error> {
        self.0.ask(Span { samples, options: options.clone() }).await
    }
}
