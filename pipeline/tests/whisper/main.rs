//! Whisper in our own code against the reference: the same weights, the same sound, the same numbers and the same tokens.
//!
//! Weights and sound follow from a formula (`formula.rs` here, `reference/formula.py` there); `reference/reference.py` ran
//! `openai-whisper` and `transformers` on them once and wrote the fixtures.

#![cfg(feature = "ml")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cache;
mod fixture;
mod folder;
mod formula;
mod layers;
mod learned;
mod process;
mod second;
mod thread;
mod tokens;
