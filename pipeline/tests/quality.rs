//! What is said of the quality of a video, against what ffmpeg's own filters say; and what is done for its floor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "quality/assess.rs"]
mod assess;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "fleet/engine.rs"]
mod engine;
#[path = "quality/floor.rs"]
mod floor;
#[path = "quality/house.rs"]
mod house;
#[path = "quality/reference.rs"]
mod reference;
