//! Whoever says what pictures show: a model of the shelf.

use async_trait::async_trait;

use super::resident::Resident;
use crate::ml::Error;
use crate::ml::listener::{Absent, Model};
use crate::ml::mobilenet::{Label, Picture};
use crate::ml::viewer::Viewer;
use crate::shelf::Shelf;

/// A model that looks when it is there.
pub struct Spectator(Resident<Picture>);

impl Spectator {
    /// The model `name` of `shelf`.
    pub fn new(shelf: Shelf, name: &str) -> Self {
        Self(Resident::new(shelf, name, "the image model is switched off: set image_model to a model"))
    }
}

#[async_trait]
impl Viewer for Spectator {
    async fn model(&self) -> Result<Model, Absent> {
        self.0.model().await
    }

    async fn look(&self, picture: Picture) -> Result<Vec<Label>, Error> {
        self.0.ask(picture).await
    }
}
