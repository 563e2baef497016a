//! What a picture shows: MobileNetV2 in our own code.
//!
//! Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (arXiv:1801.04381). Any width and resolution
//! runs, out of the folder of Hugging Face with the names that `transformers` gives to parameters (`mobilenet_v2.layer.0.expand_1x1…`):
//! `config.json` with the labels, `model.safetensors`, and `preprocessor_config.json` where there is one.
//!
//! # Layout
//! - [`config`]: sizes and labels; [`prepare`]: from a picture to numbers, without tensors
//! - `network`: the network; `loaded`: a model that is loaded, as a thread runs it

use serde::{Deserialize, Serialize};

use super::question::Question;

pub mod config;
#[cfg(feature = "ml")]
mod loaded;
#[cfg(feature = "ml")]
pub mod network;
pub mod prepare;

#[cfg(feature = "ml")]
pub use loaded::MobileNet;

/// A picture to look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue of each pixel, row after row without gaps: `3 * width * height` bytes, sRGB, upright.
    #[serde(skip)]
    pub rgb: Vec<u8>,
    /// How many labels are wanted.
    pub most: usize,
}

/// What a picture may show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// In words, as the model's folder has it.
    pub name: String,
    /// Its place among the model's labels, from 0.
    pub index: usize,
    /// Its share of the confidence in all labels, from 0 to 1.
    pub confidence: f32,
}

impl Question for Picture {
    /// The likeliest labels, most likely first.
    type Answer = Vec<Label>;
    const NETWORK: &'static str = "mobilenet_v2";

    fn bulk(&self) -> Vec<u8> {
        self.rgb.clone()
    }

    fn with_bulk(self, bulk: &[u8]) -> Self {
        Self { rgb: bulk.to_vec(), ..self }
    }
}
