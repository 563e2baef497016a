//! Children that do media work: one for one source, never for two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline::media::child::ChildEngine;
use pipeline::media::{Engine, Error, Output, Request, Response};

fn clip(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let arguments =
        ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=160x90:rate=25:duration=1", "-pix_fmt", "yuv420p"];
    assert!(Command::new("ffmpeg").args(arguments).arg(&path).status().unwrap().success());
    path
}

/// Children of this process that have `source` open as their standard input.
fn children_on(source: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let all = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
        let has_it = |pid: &u32| std::fs::read_link(format!("/proc/{pid}/fd/0")).is_ok_and(|open| open == source);
        found.extend(all.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()).filter(has_it));
    }
    found
}

async fn probe(engine: &ChildEngine, path: &Path) -> Result<u64, Error> {
    let mut run = engine.start(&Request::Probe, File::open(path).unwrap())?;
    loop {
        if let Output::Done(Response::Probed(probed)) = run.next().await? {
            return Ok(probed.media.video.frames);
        }
    }
}

#[tokio::test]
async fn a_child_is_asked_again_about_its_own_source_only() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (clip(folder.path(), "one.mp4"), clip(folder.path(), "other.mp4"));
    let engine = ChildEngine::new(env!("CARGO_BIN_EXE_streamforge"), &["media-child"]);
    assert_eq!(probe(&engine, &one).await, Ok(25));
    let first = children_on(&one);
    assert_eq!(first.len(), 1);
    assert_eq!(probe(&engine, &one).await, Ok(25));
    assert_eq!(children_on(&one), first, "the same child has answered twice");
    assert_eq!(probe(&engine, &other).await, Ok(25));
    assert_eq!(children_on(&other).len(), 1, "another source is another child's");
    assert_eq!(children_on(&one), first);
    // Two at once about one source are two children.
    let (left, right) = tokio::join!(probe(&engine, &one), probe(&engine, &one));
    assert_eq!((left, right), (Ok(25), Ok(25)));
    assert_eq!(children_on(&one).len(), 2);
}

#[tokio::test]
async fn a_child_that_failed_is_not_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.mp4");
    std::fs::write(&path, "no video at all, but long enough to be looked at").unwrap();
    let engine = ChildEngine::new(env!("CARGO_BIN_EXE_streamforge"), &["media-child"]);
    let code = probe(&engine, &path).await.unwrap_err().code;
    assert_eq!(code.as_str(), "unsupported_media");
    assert_eq!(probe(&engine, &path).await.unwrap_err().code, code);
    drop(engine);
}
