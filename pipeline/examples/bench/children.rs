//! What media processes cost: each is asked one thing, and its processor time read when it is gone.

use std::path::Path;

use pipeline::media::child::ChildEngine;
use pipeline::media::{Engine, Feed, Output, Request, Response};

use super::server::{Outcome, binary};

/// Ticks of `/proc/<pid>/stat` per second on Linux.
const TICKS: f64 = 100.0;

/// User and system seconds of this process's children that have ended and been waited for.
pub fn children_cpu() -> Outcome<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let rest = stat.rsplit_once(')').ok_or("unreadable process times")?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let tick = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    Ok((tick(13).ok_or("no user time")? + tick(14).ok_or("no system time")?) / TICKS)
}

/// What a request makes: its answer, and the bytes of each rendition.
pub struct Made {
    /// The answer.
    pub response: Response,
    /// The bytes that came, by number.
    pub renditions: Vec<Vec<u8>>,
    /// Processor time, seconds.
    pub cpu: f64,
}

/// Asks a child that sees nothing else, and waits until it is gone, so that its time is counted.
pub async fn ask(request: &Request, source: &Path, feed: Option<Feed>) -> Outcome<Made> {
    let before = children_cpu()?;
    let engine = ChildEngine::new(binary()?, &["media-child"]);
    let file = std::fs::File::open(source)?;
    let mut run = match feed {
        Some(feed) => engine.start_fed(request, file, feed)?,
        None => engine.start(request, file)?,
    };
    let mut renditions: Vec<Vec<u8>> = Vec::new();
    let response = loop {
        match run.next().await? {
            Output::Bytes(index, bytes) => {
                renditions.resize(renditions.len().max(index + 1), Vec::new());
                renditions[index].extend_from_slice(&bytes);
            }
            Output::Progress(_) => {}
            Output::Done(response) => break response,
        }
    };
    drop(run);
    drop(engine);
    // A child that is asked nothing more goes by itself.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    Ok(Made { response, renditions, cpu: children_cpu()? - before })
}
