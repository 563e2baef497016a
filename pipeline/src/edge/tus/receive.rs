//! Bytes in, to the end of an upload that still arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use connectors::blobs::Appender;
use futures::StreamExt;
use schemas::JobId;
use tokio::time::timeout;
use warp::http::StatusCode;
use warp::http::header::{CONNECTION, RETRY_AFTER};
use warp::reply::Response;

use super::checksum::{self, Checked};
use super::lock::Lock;
use super::record::Record;
use super::request::{Append, beyond, fits};
use super::{Found, ROUTE, answer};
use crate::edge::Edge;
use crate::edge::problem::Problem;
use crate::edge::upload::body::{self, Body};
use crate::media::sniff::{self, SNIFF_BYTES};

/// A client that is silent for so long gives its lock back until it goes on.
const SILENCE: Duration = Duration::from_secs(3);
/// Bytes after which what came is made durable, so that a crash costs no more.
const SETTLE_BYTES: u64 = 64 << 20;

/// What became of the bytes.
pub(super) struct Received {
    pub(super) offset: u64,
    pub(super) expires_at: i64,
    pub(super) is_complete: bool,
}

impl Received {
    pub(super) fn answer(&self, id: JobId, status: StatusCode) -> Response {
        let (expires, job) = if self.is_complete { (None, Some(id)) } else { (Some(self.expires_at), None) };
        answer::taken(status, self.offset, expires, job)
    }
}

/// Where bytes come from.
enum Source {
    Body(Body),
    Checked(Checked),
}

/// What comes next.
enum Next {
    Piece(Bytes),
    End,
    /// Nothing for a while.
    Silence,
}

/// An upload that is being appended to.
struct Arrival {
    record: Record,
    appender: Appender,
    lock: Lock,
    /// Bytes that are durable.
    settled: u64,
    /// The first bytes, as long as nobody has looked at them.
    head: Option<Vec<u8>>,
}

impl Edge {
    /// Appends `body` where it was `asked` for; what came stays, whatever goes wrong afterwards.
    pub(super) async fn receive_at(
        self: Arc<Self>,
        id: JobId,
        asked: Append,
        mut body: Body,
    ) -> Result<Received, Problem> {
        let Append { offset, bytes, length, checksum } = asked;
        let record = match self.found(id).await? {
            Found::Arriving(record) => *record,
            // The last answer was lost on its way.
            Found::Complete(length) if offset == length => {
                return Ok(Received { offset, expires_at: 0, is_complete: true });
            }
            Found::Complete(length) => return Err(answer::elsewhere(length)),
        };
        let most = record.length.or(length).unwrap_or(self.settings.max_upload_bytes);
        fits(offset, bytes, most)?;
        let source = match &checksum {
            Some(expected) => {
                let room = most.saturating_sub(offset);
                Source::Checked(checksum::take(&mut body, expected, room, beyond(most)).await?)
            }
            None => Source::Body(body),
        };
        let arrival = self.arrive(id, offset).await?;
        self.take_in(arrival, length, source).await
    }

    /// Takes the lock and goes on at `offset`, if that is where the upload ends.
    async fn arrive(&self, id: JobId, offset: u64) -> Result<Arrival, Problem> {
        let lock = self.lock(id).await?;
        // Read under the lock: whoever had it before may have completed the upload.
        let record = match self.found(id).await? {
            Found::Arriving(record) => *record,
            Found::Complete(length) => return Err(answer::elsewhere(length)),
        };
        let appender = self.doors.blobs.appender(&record.growing, self.sums.take(id)).await?;
        let settled = appender.size();
        if settled != offset {
            return Err(answer::elsewhere(settled));
        }
        Ok(Arrival { record, appender, lock, settled, head: (settled == 0).then(Vec::new) })
    }

    async fn take_in(
        &self,
        mut arrival: Arrival,
        length: Option<u64>,
        mut source: Source,
    ) -> Result<Received, Problem> {
        let id = arrival.record.job;
        arrival.learn_length(length)?;
        let most = arrival.record.length.unwrap_or(self.settings.max_upload_bytes);
        let trouble = loop {
            let next = tokio::select! {
                biased;
                () = arrival.lock.lost().cancelled() => break Some(overtaken()),
                () = self.shutdown.cancelled() => break Some(going()),
                next = source.next() => next,
            };
            let piece = match next {
                Ok(Next::Piece(piece)) => piece,
                Ok(Next::End) => break None,
                Err(problem) => break Some(problem),
                Ok(Next::Silence) => {
                    let Arrival { mut appender, lock, .. } = arrival;
                    let (settled, sum) = appender.settle().await?;
                    self.sums.keep(id, sum);
                    drop(appender);
                    lock.release().await;
                    tracing::debug!(upload = %id, offset = settled, "a client fell silent");
                    // Whoever comes meanwhile goes on in its place.
                    let more = source.wait().await;
                    arrival = self.arrive(id, settled).await?;
                    arrival.learn_length(length)?;
                    match more {
                        Ok(Some(piece)) => piece,
                        Ok(None) => break None,
                        Err(problem) => break Some(problem),
                    }
                }
            };
            crate::metrics::edge_received(ROUTE, piece.len() as u64);
            if arrival.appender.size() + piece.len() as u64 > most {
                break Some(beyond(most));
            }
            if let Err(problem) = arrival.look(&piece) {
                drop(arrival);
                self.leave_no_upload(id).await;
                return Err(problem);
            }
            if let Err(error) = arrival.appender.write(piece).await {
                break Some(error.into());
            }
            if arrival.appender.size() - arrival.settled >= SETTLE_BYTES
                && let Err(problem) = arrival.settle().await
            {
                break Some(problem);
            }
        };
        self.put_down(arrival, trouble).await
    }

    /// Makes durable what came, and completes the upload if that is all of it.
    async fn put_down(&self, mut arrival: Arrival, trouble: Option<Problem>) -> Result<Received, Problem> {
        let id = arrival.record.job;
        let settled = arrival.settle().await;
        match (&settled, &trouble) {
            (Ok(sum), _) => self.sums.keep(id, sum.clone()),
            // What could not be written was the trouble already; the rest of it tells nothing new.
            (Err(_), Some(_)) => {}
            (Err(_), None) => return Err(settled.err().unwrap_or_else(going)),
        }
        if !arrival.lock.is_held() {
            return Err(trouble.unwrap_or_else(overtaken));
        }
        let Arrival { mut record, appender, lock, settled, .. } = arrival;
        // Whoever sends, however often it breaks, has a day from the last byte. It is noted before the upload is complete: were
        // this process to end now, somebody else would know that all is there.
        record.expires_at = self.doors.clock.now_ms() + self.expiry_ms();
        let saved = record.save(&self.doors).await;
        if let Some(problem) = trouble {
            lock.release().await;
            return Err(problem);
        }
        saved?;
        let is_complete = record.length == Some(settled);
        if is_complete {
            self.sums.forget(id);
            self.complete(&record, appender).await?;
        }
        lock.release().await;
        Ok(Received { offset: settled, expires_at: record.expires_at, is_complete })
    }
}

impl Arrival {
    /// Takes the length of the whole from a client that says it now.
    fn learn_length(&mut self, stated: Option<u64>) -> Result<(), Problem> {
        match (self.record.length, stated) {
            (Some(known), Some(stated)) if known != stated => {
                let detail = format!("the upload's length is {known} bytes and cannot change");
                Err(Problem::bad_request("bad_upload", detail))
            }
            (None, Some(stated)) if stated < self.settled => {
                let detail = format!("{} bytes have come already", self.settled);
                Err(Problem::bad_request("bad_upload", detail))
            }
            (None, Some(stated)) => {
                self.record.length = Some(stated);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Refuses what is no video as soon as its first bytes show it.
    fn look(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let Some(head) = &mut self.head else { return Ok(()) };
        head.extend_from_slice(&piece[..piece.len().min(SNIFF_BYTES)]);
        if head.len() < SNIFF_BYTES {
            return Ok(());
        }
        let is_video = sniff::sniff(head).is_some();
        self.head = None;
        if is_video { Ok(()) } else { Err(crate::edge::upload::no_video()) }
    }

    async fn settle(&mut self) -> Result<Option<connectors::blobs::Sum>, Problem> {
        let (settled, sum) = self.appender.settle().await?;
        self.settled = settled;
        Ok(sum)
    }
}

impl Source {
    async fn next(&mut self) -> Result<Next, Problem> {
        match self {
            Self::Checked(checked) => Ok(checked.next().await?.map_or(Next::End, Next::Piece)),
            Self::Body(body) => match timeout(SILENCE, body.next()).await {
                Err(_) => Ok(Next::Silence),
                Ok(None) => Ok(Next::End),
                Ok(Some(Ok(piece))) => Ok(Next::Piece(piece)),
                Ok(Some(Err(error))) => Err(broke_off(&error)),
            },
        }
    }

    /// The next bytes, however long they take.
    async fn wait(&mut self) -> Result<Option<Bytes>, Problem> {
        match self {
            Self::Checked(checked) => checked.next().await,
            Self::Body(body) => body.next().await.transpose().map_err(|error| broke_off(&error)),
        }
    }
}

/// What is said to whoever still listens when a body broke off.
pub(super) fn broke_off(error: &body::Error) -> Problem {
    match error {
        body::Error::Broken(_) => {
            Problem::bad_request("broken_body", "the body broke off: ask for the offset and go on from there")
        }
        body::Error::Silent => {
            let detail = "too little came for too long: ask for the offset and go on from there";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "too_slow", detail).with(CONNECTION, "close")
        }
    }
}

fn overtaken() -> Problem {
    let detail = "another client goes on with this upload: ask for the offset before you send more";
    Problem::new(StatusCode::LOCKED, "locked", detail).with(RETRY_AFTER, "2")
}

fn going() -> Problem {
    let detail = "this server is going away; what came is kept: go on from the upload's offset in a moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "going_away", detail).with(RETRY_AFTER, "2").with(CONNECTION, "close")
}
