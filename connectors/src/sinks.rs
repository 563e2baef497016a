//! Sinks: where facts go that are not ours to keep.
//!
//! # Layout
//! - [`webhook`]: an address that is told by HTTP

pub mod webhook;
