//! Sources: where bytes come from that nobody uploads.
//!
//! # Layout
//! - [`folder`]: a folder that somebody else puts files into

pub mod folder;
