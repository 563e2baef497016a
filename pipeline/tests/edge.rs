//! The edge from outside: a server in this process, on doors in memory, asked over HTTP.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "edge/away.rs"]
mod away;
#[path = "edge/bucket.rs"]
mod bucket;
#[path = "edge/connections.rs"]
mod connections;
#[path = "edge/contract.rs"]
mod contract;
#[path = "edge/doors.rs"]
mod doors;
#[path = "edge/full.rs"]
mod full;
#[path = "edge/house.rs"]
mod house;
#[path = "edge/jobs.rs"]
mod jobs;
#[path = "edge/operate.rs"]
mod operate;
#[path = "edge/pages.rs"]
mod pages;
#[path = "edge/pictures.rs"]
mod pictures;
#[path = "edge/play.rs"]
mod play;
#[path = "edge/quality.rs"]
mod quality;
#[path = "edge/record.rs"]
mod record;
#[path = "edge/registry.rs"]
mod registry;
#[path = "edge/survey.rs"]
mod survey;
#[path = "edge/sweep.rs"]
mod sweep;
#[path = "../src/runner/tests/switch.rs"]
mod switch;
#[path = "edge/tus.rs"]
mod tus;
#[path = "edge/tus_callers.rs"]
mod tus_callers;
#[path = "edge/upload.rs"]
mod upload;
#[path = "edge/video.rs"]
mod video;
#[path = "edge/watch.rs"]
mod watch;
#[path = "edge/watched.rs"]
mod watched;
#[path = "edge/webhooks.rs"]
mod webhooks;
