//! MobileNetV2 in our own code against the reference: the same weights, the same pictures, the same numbers.
//!
//! Weights and pictures follow from a formula (`formula.rs` here, `reference/reference.py` there), which ran `transformers` and
//! Pillow on them once and wrote the fixtures.

#![cfg(feature = "ml")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod folder;
mod formula;
mod layers;
mod pictures;
mod process;
mod published;

/// What is of use here of the tests of the other network.
#[allow(dead_code)]
#[path = "../whisper/fixture.rs"]
mod fixture;
#[allow(dead_code)]
#[path = "../whisper/formula.rs"]
mod numbers;
