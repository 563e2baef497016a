//! Status as it changes: server-sent events for one job and for all, and the same over a WebSocket.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{SinkExt, StreamExt};
use headers::{HeaderMap, HeaderValue};
use schemas::JobId;
use schemas::job::StatusView;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use warp::http::StatusCode;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use warp::reply::Response;
use warp::ws::{Message, WebSocket};

use super::Edge;
use super::board::Board;
use super::deliver::streaming;
use super::problem::Problem;

/// A status is said again after so long even if nothing changed, so that watchers see that we live.
const AT_LEAST_EVERY: Duration = Duration::from_millis(1_500);

/// Changes of one job are said no more often than this.
const AT_MOST_EVERY: Duration = Duration::from_millis(100);

/// Silence after which a list of jobs gets a comment, which keeps proxies from closing it.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// How long a watcher may take to read one message.
const PATIENCE: Duration = Duration::from_secs(30);

/// Identifier of the last event of a job.
const END_ID: &str = "end";

/// What a watcher of one job is told.
#[derive(Clone, Debug, PartialEq)]
enum Update {
    Progress(StatusView),
    End(StatusView),
    Gone(JobId),
}

/// What a message over a WebSocket holds: the name of the event beside the status.
#[derive(Serialize)]
struct Named<'a, T> {
    event: &'static str,
    #[serde(flatten)]
    data: &'a T,
}

impl Update {
    fn of(status: StatusView) -> Self {
        if status.state.is_end() { Self::End(status) } else { Self::Progress(status) }
    }

    fn is_last(&self) -> bool {
        !matches!(self, Self::Progress(_))
    }

    /// Tells one picture from the next, on whichever edge: a watcher that comes back names the last it has seen.
    fn id(&self) -> String {
        match self {
            Self::Progress(status) => {
                let stage = status.stage.as_deref().unwrap_or("-");
                format!("{}-{:.3}-{}-{stage}", status.state.as_str(), status.progress, u8::from(status.playable))
            }
            Self::End(_) | Self::Gone(_) => END_ID.to_owned(),
        }
    }

    fn sse(&self) -> Bytes {
        let (name, data) = match self {
            Self::Progress(status) => ("progress", text(status)),
            Self::End(status) => (END_ID, text(status)),
            Self::Gone(job) => (END_ID, text(&json!({ "id": job, "state": "deleted" }))),
        };
        format!("id: {}\nevent: {name}\ndata: {data}\n\n", self.id()).into()
    }

    fn message(&self) -> Message {
        Message::text(match self {
            Self::Progress(status) => text(&Named { event: "progress", data: status }),
            Self::End(status) => text(&Named { event: END_ID, data: status }),
            Self::Gone(job) => text(&json!({ "event": END_ID, "id": job, "state": "deleted" })),
        })
    }
}

/// Follows one job.
struct Follower {
    board: Arc<Board>,
    job: JobId,
    changes: broadcast::Receiver<JobId>,
    shutdown: CancellationToken,
    said_at: Instant,
    is_over: bool,
}

impl Follower {
    /// Waits for the next thing to say; `None` at shutdown and after the last.
    async fn next(&mut self) -> Option<Update> {
        while !self.is_over {
            let is_changed = self.wait().await?;
            self.said_at = Instant::now();
            // What changed is on the board; when nothing does, the catalog may know of an end that we did not hear.
            let known = if is_changed { self.board.peek(self.job) } else { None };
            let found = match known {
                Some(known) => Some(known),
                None => match self.board.look(self.job).await {
                    Ok(found) => found,
                    // The catalog is away: there is nothing to say until it is back.
                    Err(_) => continue,
                },
            };
            let update = match found {
                Some((row, live)) if !row.deleted => Update::of(StatusView::of(&row, &live)),
                _ => Update::Gone(self.job),
            };
            self.is_over = update.is_last();
            return Some(update);
        }
        None
    }

    /// Waits until the job changes or it is time to say something; answers which. `None` at shutdown.
    async fn wait(&mut self) -> Option<bool> {
        loop {
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                change = self.changes.recv() => match change {
                    Ok(job) if job != self.job => continue,
                    // Too many changes to hear of each: ask.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                },
                () = sleep_until(self.said_at + AT_LEAST_EVERY) => return Some(false),
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return None,
                () = sleep_until(self.said_at + AT_MOST_EVERY) => return Some(true),
            }
        }
    }
}

impl Edge {
    /// `/api/jobs/{id}/events`.
    pub(super) async fn job_events(&self, job: JobId, headers: &HeaderMap) -> Result<Response, Problem> {
        let (first, follower) = self.follow(job).await?;
        let seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        if first.is_last() && seen == END_ID {
            // The one answer that keeps a browser from asking again and again.
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(response);
        }
        let news = (first.id() != seen).then_some(first);
        let later =
            stream::unfold(
                follower,
                |mut follower| async move { follower.next().await.map(|update| (update, follower)) },
            );
        let events = stream::iter(news).chain(later).map(|update| update.sse());
        Ok(event_stream(stream::once(async { opening() }).chain(events).boxed()))
    }

    /// `/api/jobs/{id}/ws`, before the upgrade: only a job that exists can be watched.
    pub(super) async fn job_socket(&self, job: JobId, upgrade: warp::ws::Ws) -> Result<Response, Problem> {
        let (first, follower) = self.follow(job).await?;
        let tasks = self.tasks.clone();
        let reply = upgrade.max_message_size(16 * 1024).on_upgrade(move |socket| async move {
            // Tracked, so that a shutdown waits for the polite end.
            let _ = tasks.spawn(converse(socket, first, follower)).await;
        });
        Ok(warp::reply::Reply::into_response(reply))
    }

    /// `/api/events`: changes of all jobs.
    pub(super) fn all_events(&self, headers: &HeaderMap) -> Response {
        // What happened while a watcher was away is lost to it: it asks for the list again.
        let missed = headers.contains_key("last-event-id").then(|| refresh(0));
        let listener = Listener {
            board: Arc::clone(&self.board),
            changes: self.board.changes(),
            shutdown: self.shutdown.clone(),
            number: 0,
        };
        let later =
            stream::unfold(
                listener,
                |mut listener| async move { listener.next().await.map(|event| (event, listener)) },
            );
        event_stream(stream::iter([Some(opening()), missed].into_iter().flatten()).chain(later).boxed())
    }

    async fn follow(&self, job: JobId) -> Result<(Update, Follower), Problem> {
        // Listen first, look then: a change in between is said twice rather than never.
        let changes = self.board.changes();
        let Some((row, live)) = self.board.look(job).await? else {
            return Err(Problem::not_found(format!("there is no job {job}")));
        };
        let first = Update::of(StatusView::of(&row, &live));
        let follower = Follower {
            board: Arc::clone(&self.board),
            job,
            changes,
            shutdown: self.shutdown.clone(),
            said_at: Instant::now(),
            is_over: first.is_last(),
        };
        Ok((first, follower))
    }
}

/// Listens to all jobs.
struct Listener {
    board: Arc<Board>,
    changes: broadcast::Receiver<JobId>,
    shutdown: CancellationToken,
    number: u64,
}

impl Listener {
    async fn next(&mut self) -> Option<Bytes> {
        let change = tokio::select! {
            () = self.shutdown.cancelled() => return None,
            change = timeout(HEARTBEAT, self.changes.recv()) => change,
        };
        self.number += 1;
        let job = match change {
            Err(_) => return Some(Bytes::from_static(b": still here\n\n")),
            Ok(Err(RecvError::Lagged(_))) => return Some(refresh(self.number)),
            Ok(Err(RecvError::Closed)) => return None,
            Ok(Ok(job)) => job,
        };
        let found = match self.board.peek(job) {
            Some(found) => Some(found),
            None => self.board.look(job).await.ok().flatten(),
        };
        let (name, data) = match found {
            Some((row, live)) if !row.deleted => {
                let status = StatusView::of(&row, &live);
                (if status.state.is_end() { END_ID } else { "progress" }, text(&status))
            }
            _ => ("deleted", text(&json!({ "id": job }))),
        };
        Some(format!("id: {}\nevent: {name}\ndata: {data}\n\n", self.number).into())
    }
}

/// JSON on one line; a status can always be written.
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Tells a browser to come back soon when the connection breaks, and gets the headers on their way.
fn opening() -> Bytes {
    Bytes::from_static(b"retry: 1000\n\n")
}

fn refresh(number: u64) -> Bytes {
    format!("id: {number}\nevent: refresh\ndata: {{}}\n\n").into()
}

fn event_stream(events: BoxStream<'static, Bytes>) -> Response {
    let mut response = streaming(events.map(Ok::<_, std::convert::Infallible>).boxed());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that collects answers would keep the events back.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

async fn converse(socket: WebSocket, first: Update, mut follower: Follower) {
    let (mut tx, mut rx) = socket.split();
    let mut update = Some(first);
    let farewell = loop {
        let Some(said) = update.take() else { break Message::close_with(1001_u16, "the server is going away") };
        if !matches!(timeout(PATIENCE, tx.send(said.message())).await, Ok(Ok(()))) {
            return;
        }
        if said.is_last() {
            break Message::close_with(1000_u16, "the job has ended");
        }
        update = loop {
            tokio::select! {
                next = follower.next() => break next,
                // Read for the sake of pings and of a client that leaves; what it says means nothing.
                heard = rx.next() => match heard {
                    Some(Ok(message)) if !message.is_close() => {}
                    _ => return,
                },
            }
        };
    };
    let _ = timeout(PATIENCE, tx.send(farewell)).await;
    // Wait a moment for the other side's goodbye, so that the last message is read before the connection is gone.
    let _ = timeout(Duration::from_secs(1), async { while let Some(Ok(_)) = rx.next().await {} }).await;
}
