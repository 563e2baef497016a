//! Speech to text: the Whisper architecture in our own code.
//!
//! Radford et al. 2022 (arXiv:2212.04356) and Vaswani et al. 2017 (arXiv:1706.03762). Any published size runs, 80 and 128
//! bands, for English alone or for many languages, out of the standard folder of Hugging Face: `config.json`,
//! `model.safetensors`, `tokenizer.json` and, where there is one, `generation_config.json`.
//!
//! # Layout
//! - [`options`]: how to listen; [`decode`]: from logits to tokens, without tensors
//! - `mel`, [`bands`]: sound to spectrogram; `encoder`, `decoder`, `attention`, [`positions`]: the network
//! - [`config`]: sizes; `vocabulary`: tokens and text; `transcribe`: windows one after the other, and many at once
//! - `loaded`: a model that is loaded; `hearing`: a model on a thread of its own

use serde::{Deserialize, Deserializer, Serialize};

use self::options::Options;
use super::question::{self, Question};

pub mod bands;
pub mod config;
pub mod decode;
pub mod options;
pub mod positions;

#[cfg(feature = "ml")]
pub mod attention;
#[cfg(feature = "ml")]
pub mod decoder;
#[cfg(feature = "ml")]
pub mod encoder;
#[cfg(feature = "ml")]
mod hearing;
#[cfg(feature = "ml")]
mod loaded;
#[cfg(feature = "ml")]
pub mod mel;
#[cfg(feature = "ml")]
mod transcribe;
#[cfg(feature = "ml")]
pub mod vocabulary;

#[cfg(feature = "ml")]
pub use loaded::Whisper;

/// Audio to listen to, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Mono, 16 kHz.
    #[serde(skip)]
    pub samples: Vec<f32>,
    /// How to listen.
    pub options: Options,
}

impl Question for Span {
    type Answer = Transcript;
    const NETWORK: &'static str = "whisper";

    fn bulk(&self) -> Vec<u8> {
        question::bytes_of(&self.samples)
    }

    fn with_bulk(self, bulk: &[u8]) -> Self {
        Self { samples: question::samples_of(bulk), ..self }
    }
}

/// What was said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Code of the language; absent when nothing was heard in a model for many languages.
    pub language: Option<String>,
    /// In order.
    pub segments: Vec<Segment>,
}

/// A part of what was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Seconds from the beginning of the audio.
    pub start_s: f64,
    /// Seconds from the beginning of the audio.
    pub end_s: f64,
    /// As spoken, with a blank before the first word.
    pub text: String,
    /// Tokens, timestamps included.
    pub tokens: Vec<u32>,
    /// At which its window was decoded.
    pub temperature: f32,
    /// Mean log probability of the tokens of its window.
    #[serde(deserialize_with = "or_none")]
    pub avg_logprob: f64,
    /// How well the text of its window compresses; above 2.4 it repeats itself.
    pub compression_ratio: f64,
    /// Probability that nobody speaks in its window; not a number when the vocabulary has no token for it.
    #[serde(deserialize_with = "or_none")]
    pub no_speech: f64,
}

/// JSON has no word for what is not a number, and says nothing instead.
fn or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}
