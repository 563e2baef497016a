//! Models: networks of our own that are computed on libtorch.
//!
//! libtorch is in the program `streamforge-ml` alone, behind the cargo feature `ml`; the program that serves and encodes asks
//! it over a pipe. What does not need tensors, such as how tokens are chosen, is always here.
//!
//! # Layout
//! - [`whisper`]: speech to text; [`listener`]: whoever hears, for those who do not care how
//! - [`mobilenet`]: what a picture shows; [`viewer`]: whoever looks, likewise
//! - [`child`], [`question`], `worker`: the process that computes, the side of those who ask and its own
//! - [`thread`]: one operating system's thread a model, requests in batches
//! - `folder`, `weights`: settings and parameters by name, out of a model's folder; `layers`: what networks are made of

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub mod child;
mod folder;
#[cfg(feature = "ml")]
pub mod layers;
pub mod listener;
pub mod mobilenet;
pub mod question;
pub mod thread;
pub mod viewer;
#[cfg(feature = "ml")]
pub mod weights;
pub mod whisper;
#[cfg(feature = "ml")]
pub mod worker;

/// Why a model cannot be used, or did not answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// A file of the model cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// A file of the model is not what it should be.
    #[error("{0}")]
    Unfit(String),
    /// What was asked has no answer: the audio cannot be listened to, or the picture is none.
    #[error("{0}")]
    Audio(String),
    /// libtorch refused.
    #[error("compute on libtorch: {0}")]
    Compute(String),
    /// Whoever computes ended before it answered.
    #[error("{0}")]
    Gone(String),
}

impl Error {
    /// `path` cannot be read because of `source`.
    pub fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_path_buf(), source: Arc::new(source) }
    }
}

#[cfg(feature = "ml")]
impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        // What follows the first line are the addresses of its stack.
        Self::Compute(error.to_string().lines().next().unwrap_or_default().to_owned())
    }
}

/// What models compute on, such as `libtorch 2.13.0, processor, 2 threads`.
#[cfg(feature = "ml")]
pub fn runs_on() -> String {
    let device = if tch::Cuda::is_available() { "graphics card" } else { "processor" };
    format!("libtorch {LIBTORCH}, {device}, {} threads", tch::get_num_threads())
}

/// The version that `tch` insists on.
#[cfg(feature = "ml")]
const LIBTORCH: &str = "2.13.0";
