//! Engines for workers within a test's own process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use pipeline::media::{Engine, Error, Feed, Output, Request, Run, Sink, worker};
use tokio::sync::{Semaphore, mpsc};

/// Media work in a thread, without a child process.
#[derive(Clone)]
pub struct InThread;

struct ThreadRun(mpsc::UnboundedReceiver<Result<Output, Error>>);

struct Channel(mpsc::UnboundedSender<Result<Output, Error>>);

impl Sink for Channel {
    fn bytes(&mut self, rendition: usize, bytes: &[u8]) -> Result<(), Error> {
        let _ = self.0.send(Ok(Output::Bytes(rendition, Bytes::copy_from_slice(bytes))));
        Ok(())
    }

    fn progress(&mut self, frames: u64) -> Result<(), Error> {
        let _ = self.0.send(Ok(Output::Progress(frames)));
        Ok(())
    }
}

impl Engine for InThread {
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let request = request.clone();
        std::thread::spawn(move || {
            let mut channel = Channel(sender.clone());
            let _ = sender.send(worker::run(&request, source, &mut channel).map(Output::Done));
        });
        Ok(Box::new(ThreadRun(receiver)))
    }

    fn start_fed(&self, request: &Request, source: std::fs::File, mut feed: Feed) -> Result<Box<dyn Run>, Error> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (pieces, mut rest) = (std::sync::mpsc::sync_channel(4), std::collections::VecDeque::new());
        let (give, take) = pieces;
        tokio::spawn(async move {
            while let Some(piece) = feed.next().await {
                let give = give.clone();
                // A full channel waits, and this is no thread that may.
                if tokio::task::spawn_blocking(move || give.send(piece)).await.is_ok_and(|sent| sent.is_err()) {
                    return;
                }
            }
        });
        let read = move |buffer: &mut [u8]| {
            while rest.is_empty() {
                match take.recv() {
                    Ok(piece) => rest.extend(piece.map_err(std::io::Error::other)?),
                    Err(_) => return Ok(0),
                }
            }
            std::io::Read::read(&mut rest, buffer)
        };
        let request = request.clone();
        std::thread::spawn(move || {
            let mut channel = Channel(sender.clone());
            let feed = Box::new(Pull(read));
            let _ = sender.send(worker::run_fed(&request, source, feed, &mut channel).map(Output::Done));
        });
        Ok(Box::new(ThreadRun(receiver)))
    }

    fn build(&self) -> String {
        "in a thread".to_owned()
    }
}

#[async_trait::async_trait]
impl Run for ThreadRun {
    async fn next(&mut self) -> Result<Output, Error> {
        self.0.recv().await.expect("the thread answers")
    }
}

/// Reads what a function gives.
struct Pull<F>(F);

impl<F: FnMut(&mut [u8]) -> std::io::Result<usize>> std::io::Read for Pull<F> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        (self.0)(buffer)
    }
}

/// Probes, and encodes one range for each permit.
#[derive(Clone)]
pub struct Stepped(pub Arc<Semaphore>);

struct SteppedRun {
    permits: Arc<Semaphore>,
    run: Box<dyn Run>,
    may_go_on: bool,
}

impl Engine for Stepped {
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        let run = InThread.start(request, source)?;
        Ok(Box::new(SteppedRun { permits: Arc::clone(&self.0), run, may_go_on: matches!(request, Request::Probe) }))
    }

    fn start_fed(&self, request: &Request, source: std::fs::File, feed: Feed) -> Result<Box<dyn Run>, Error> {
        InThread.start_fed(request, source, feed)
    }

    fn build(&self) -> String {
        InThread.build()
    }
}

#[async_trait::async_trait]
impl Run for SteppedRun {
    async fn next(&mut self) -> Result<Output, Error> {
        if !std::mem::replace(&mut self.may_go_on, true) {
            self.permits.acquire().await.expect("the permits are open").forget();
        }
        self.run.next().await
    }
}

/// Probes, and encodes without end.
#[derive(Clone, Default)]
pub struct Stuck {
    /// Encodings under way.
    pub running: Arc<AtomicUsize>,
}

struct StuckRun {
    running: Arc<AtomicUsize>,
    has_begun: bool,
}

impl Engine for Stuck {
    fn start(&self, request: &Request, source: std::fs::File) -> Result<Box<dyn Run>, Error> {
        if matches!(request, Request::Probe) {
            return InThread.start(request, source);
        }
        self.running.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(StuckRun { running: Arc::clone(&self.running), has_begun: false }))
    }

    fn build(&self) -> String {
        InThread.build()
    }
}

#[async_trait::async_trait]
impl Run for StuckRun {
    async fn next(&mut self) -> Result<Output, Error> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Ok(Output::Bytes(0, Bytes::from_static(b"the beginning of a chunk")));
        }
        std::future::pending().await
    }
}

impl Drop for StuckRun {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}
