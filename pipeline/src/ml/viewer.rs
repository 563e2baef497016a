//! Whoever says what a picture shows, whatever it is made of; a stage gets one in its constructor.

use async_trait::async_trait;

use super::Error;
use super::listener::{Absent, Model};
use super::mobilenet::{Label, Picture};

/// Someone who looks.
#[async_trait]
pub trait Viewer: Send + Sync + 'static {
    /// The model that looks, or why there is none.
    async fn model(&self) -> Result<Model, Absent>;

    /// The likeliest labels of a picture, most likely first. Those that are asked at the same time are looked at as one batch.
    async fn look(&self, picture: Picture) -> Result<Vec<Label>, Error>;
}

/// Nobody looks.
#[derive(Clone, Debug)]
pub struct Blind(pub Absent);

#[async_trait]
impl Viewer for Blind {
    async fn model(&self) -> Result<Model, Absent> {
        Err(self.0.clone())
    }

    async fn look(&self, _picture: Picture) -> Result<Vec<Label>, Error> {
        Err(Error::Gone(self.0.to_string()))
    }
}
