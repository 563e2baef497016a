//! Captions without a network: what is decoded, which spans are heard, what becomes of what a listener says.
//!
//! Sound is made by ffmpeg and speech by espeak-ng at test time; the listener is a script. With a model of its own the whole
//! program is tried in `e2e`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod clips;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../fleet/engine.rs"]
mod engine;
mod gate;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "../edge/house.rs"]
mod house;
mod listener;
mod replay;
mod samples;
mod stage;
