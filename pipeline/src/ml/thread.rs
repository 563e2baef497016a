//! One operating system's thread a model; requests of all jobs in batches.
//!
//! What libtorch allocates for a thread stays with it, and a model is not shared between threads: so each has one, which loads
//! it at the first request and ends, with all of its memory, when nobody has asked for a while. Requests that come within a
//! short delay are answered together, and so are those that come while others are computed.

use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::Error;

/// What a thread runs. It never leaves its thread.
pub trait Model: 'static {
    /// What is asked.
    type Request: Send + 'static;
    /// What is answered.
    type Answer: Send + 'static;

    /// Answers requests, in their order.
    fn answer(&mut self, requests: Vec<Self::Request>) -> Vec<Result<Self::Answer, Error>>;
}

/// How a thread gathers requests.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Requests answered together at most.
    pub most: usize,
    /// How long the first request of a batch waits for others.
    pub delay: Duration,
    /// How long a model stays loaded without a request.
    pub idle: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { most: 8, delay: Duration::from_millis(50), idle: Duration::from_secs(60) }
    }
}

struct Ask<M: Model> {
    request: M::Request,
    answer: oneshot::Sender<Result<M::Answer, Error>>,
}

/// A way to ask a model. When the last one is dropped the thread ends.
pub struct Handle<M: Model> {
    asks: mpsc::Sender<Ask<M>>,
}

impl<M: Model> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { asks: self.asks.clone() }
    }
}

impl<M: Model> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl<M: Model> Handle<M> {
    /// A model that `load` loads when it is asked for the first time. Runs on the runtime of whoever calls.
    pub fn new(settings: Settings, load: impl Fn() -> Result<M, Error> + Send + Sync + 'static) -> Self {
        let (asks, asked) = mpsc::channel(settings.most.max(1));
        tokio::spawn(gather(asked, settings, Arc::new(load)));
        Self { asks }
    }

    /// The answer to `request`; when this future is dropped before its batch begins, nothing is computed for it.
    pub async fn ask(&self, request: M::Request) -> Result<M::Answer, Error> {
        let (answer, answered) = oneshot::channel();
        self.asks.send(Ask { request, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

fn gone() -> Error {
    Error::Gone("the thread of the model ended without an answer".to_owned())
}

type Load<M> = Arc<dyn Fn() -> Result<M, Error> + Send + Sync>;

/// Turns requests into batches until nobody can ask any more.
async fn gather<M: Model>(mut asked: mpsc::Receiver<Ask<M>>, settings: Settings, load: Load<M>) {
    let mut thread: Option<Thread<M>> = None;
    loop {
        let first = match &thread {
            None => asked.recv().await,
            Some(_) => match timeout(settings.idle, asked.recv()).await {
                Ok(first) => first,
                Err(_) => {
                    thread = None;
                    continue;
                }
            },
        };
        let Some(first) = first else { return };
        let mut batch = vec![first];
        let deadline = Instant::now() + settings.delay;
        while batch.len() < settings.most {
            match timeout_at(deadline, asked.recv()).await {
                Ok(Some(ask)) => batch.push(ask),
                // Nobody else asks: neither in time nor ever.
                Ok(None) | Err(_) => break,
            }
        }
        batch.retain(|ask| !ask.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        let running = match thread.take() {
            Some(running) => Ok(running),
            None => Thread::start(Arc::clone(&load)),
        };
        match running {
            Ok(running) => thread = running.run(batch).await,
            Err(error) => {
                for ask in batch {
                    // Whoever does not wait any more need not know.
                    drop(ask.answer.send(Err(error.clone())));
                }
            }
        }
    }
}

/// A batch, and a sign that the model is well after it.
type Batch<M> = (Vec<Ask<M>>, oneshot::Sender<()>);

/// A thread with a model that is loaded, or is about to be.
struct Thread<M: Model> {
    batches: std_mpsc::Sender<Batch<M>>,
}

impl<M: Model> Thread<M> {
    fn start(load: Load<M>) -> Result<Self, Error> {
        let (batches, received) = std_mpsc::channel::<Batch<M>>();
        let life = move || {
            let mut model = None;
            while let Ok((batch, well)) = received.recv() {
                let loaded = match model.take() {
                    Some(model) => Ok(model),
                    None => load(),
                };
                let (requests, answers): (Vec<_>, Vec<_>) =
                    batch.into_iter().map(|ask| (ask.request, ask.answer)).unzip();
                match loaded {
                    Ok(mut loaded) => {
                        for (answer, to) in loaded.answer(requests).into_iter().zip(answers) {
                            drop(to.send(answer));
                        }
                        model = Some(loaded);
                        let _ = well.send(());
                    }
                    // Without the sign the thread is given up, so that the next request tries to load again.
                    Err(error) => answers.into_iter().for_each(|to| drop(to.send(Err(error.clone())))),
                }
            }
        };
        let started = std::thread::Builder::new().name("model".to_owned()).spawn(life);
        started.map_err(|error| Error::Compute(format!("no thread can be started: {error}")))?;
        Ok(Self { batches })
    }

    /// Runs a batch; nothing is left of a thread whose model could not be loaded, or that broke.
    async fn run(self, batch: Vec<Ask<M>>) -> Option<Self> {
        let (well, is_well) = oneshot::channel();
        self.batches.send((batch, well)).ok()?;
        is_well.await.ok()?;
        Some(self)
    }
}

#[cfg(test)]
mod tests;
