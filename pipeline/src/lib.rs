//! The work of StreamForge.
//!
//! # Layout, from the top floor down; imports point down only
//! - [`cli`], [`config`]: the command line and the settings
//! - [`topology`]: THE list of stages; [`runner`]: delivery; [`edge`]: HTTP
//! - [`stages`]: one file per stage
//! - [`stage`]: what a stage is; [`media`]: decoding and encoding; [`ml`]: models; [`voice`]: who speaks; [`metrics`]: every metric's
//!   name; [`header`]: what headers of records say; [`shelf`]: where models lie and how they get there

pub mod cli;
pub mod config;
pub mod edge;
pub mod header;
pub mod media;
pub mod metrics;
pub mod ml;
pub mod runner;
pub mod shelf;
pub mod stage;
pub mod stages;
pub mod topology;
pub mod voice;
