//! Children that do media work: one for one source, never for two, and what they are fed beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use futures::{StreamExt, stream};
use pipeline::media::child::ChildEngine;
use pipeline::media::compare::Figures;
use pipeline::media::{Code, CompareTask, Engine, Error, Output, Request, Response, VideoTask};
use schemas::ladder::Rung;

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

/// The bytes of `path` in one rendition, with its header before them, and the task that compares it.
async fn encode(engine: &ChildEngine, path: &Path) -> (Vec<u8>, CompareTask) {
    let mut run = engine.start(&Request::Probe, File::open(path).unwrap()).unwrap();
    let probed = loop {
        if let Output::Done(Response::Probed(probed)) = run.next().await.unwrap() {
            break probed;
        }
    };
    let rung = Rung { quality: "360p".into(), width: 160, height: 90, max_kbps: 1000 };
    let task = VideoTask {
        media: probed.media.clone(),
        start: None,
        end: None,
        decode_from: None,
        rungs: vec![rung.clone()],
        largest: None,
        better: 0,
        is_silent: false,
    };
    let mut run = engine.start(&Request::Video(task), File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    let encoded = loop {
        match run.next().await.unwrap() {
            Output::Bytes(_, piece) => bytes.extend_from_slice(&piece),
            Output::Progress(_) => {}
            Output::Done(Response::Encoded(encoded)) => break encoded,
            Output::Done(other) => panic!("{other:?}"),
        }
    };
    let made = &encoded.renditions[0];
    let task = CompareTask { media: probed.media, rung, largest: None, chunks: vec![made.first_pts] };
    ([made.init.clone(), bytes].concat(), task)
}

/// Compares, with the rendition in pieces; answers how many frames have figures.
async fn compare(
    engine: &ChildEngine,
    path: &Path,
    task: &CompareTask,
    feed: Vec<Result<Bytes, Error>>,
) -> Result<usize, Error> {
    let request = Request::Compare(task.clone());
    let mut run = engine.start_fed(&request, File::open(path).unwrap(), stream::iter(feed).boxed())?;
    let mut figures = 0;
    loop {
        match run.next().await? {
            Output::Bytes(_, bytes) => figures += Figures::read(&bytes).filter(|one| one.values.is_some()).count(),
            Output::Progress(_) => {}
            Output::Done(Response::Compared(compared)) => {
                assert_eq!((compared.frames, compared.missing), (25, 0));
                return Ok(figures);
            }
            Output::Done(other) => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_child_that_may_open_nothing_compares_what_it_is_fed() {
    let folder = tempfile::tempdir().unwrap();
    let path = clip(folder.path(), "one.mp4");
    let engine = ChildEngine::new(env!("CARGO_BIN_EXE_streamforge"), &["media-child"]);
    let (rendition, task) = encode(&engine, &path).await;
    let pieces = |bytes: &[u8]| bytes.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
    let encoders = children_on(&path);
    assert_eq!(compare(&engine, &path, &task, pieces(&rendition)).await, Ok(25));
    // One that has stepped back behind all others is not asked to encode, and the other way round.
    let comparers: Vec<u32> = children_on(&path).into_iter().filter(|child| !encoders.contains(child)).collect();
    let [comparer] = comparers[..] else { panic!("{encoders:?} {comparers:?}") };
    // What follows the rendition is the next request, even when something behind the pictures was not wanted.
    let free = [0, 0, 4, 8].iter().copied().chain(*b"free").chain([0; 1024]).collect::<Vec<u8>>();
    assert_eq!(compare(&engine, &path, &task, pieces(&[rendition.clone(), free].concat())).await, Ok(25));
    assert!(children_on(&path).contains(&comparer), "the same child has compared twice");
    assert_eq!(probe(&engine, &path).await, Ok(25));
    // Why a rendition broke off is told by whoever fed it, and such a child is not asked again.
    let gone = Error::new(Code::EncoderFailed, "the blob is gone");
    let mut broken = pieces(&rendition[..rendition.len() / 2]);
    broken.push(Err(gone.clone()));
    assert_eq!(compare(&engine, &path, &task, broken).await, Err(gone));
    assert_eq!(probe(&engine, &path).await, Ok(25));
    // It is told to end and does so a moment later.
    let ended = async {
        while children_on(&path).contains(&comparer) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.expect("it has ended");
    // A rendition that is none is refused.
    let nonsense = pieces(&[7; 5000]);
    assert!(compare(&engine, &path, &task, nonsense).await.is_err());
}
