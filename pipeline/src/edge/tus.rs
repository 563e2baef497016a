//! `/api/uploads`: resumable uploads by tus 1.0.0 (<https://tus.io/protocols/resumable-upload>), with the extensions creation,
//! creation-with-upload, creation-defer-length, checksum, termination and expiration.
//!
//! An upload has the id of the job that it becomes. While it arrives, everything about it lies below `uploads/<id>/` in the blob
//! store: a record, and the growing blob whose own length is the offset. So any edge can go on with it, and nothing is
//! acknowledged that a crash could take back.
//!
//! # Layout
//! - here: what each method does
//! - [`request`]: headers of requests; [`answer`]: headers of answers
//! - [`record`]: what is kept of an upload; [`lock`]: one client at a time
//! - [`receive`]: bytes in; [`checksum`]: bytes that are checked first
//! - [`complete`]: from the last byte to the job; [`tidy`]: uploads that nobody finishes

use std::sync::Arc;

use bytes::Bytes;
use connectors::blobs;
use futures::stream::BoxStream;
use headers::{HeaderMap, HeaderValue};
use schemas::JobId;
use schemas::job::view::rfc3339;
use schemas::manifest::source_key;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::header::LOCATION;
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::Edge;
use super::jobs::fresh;
use super::problem::Problem;
use super::upload::body::Body;
use super::upload::name;
use receive::Received;
use record::Record;
use request::{Append, Length};

pub mod answer;
mod checksum;
mod complete;
mod lock;
mod receive;
mod record;
pub mod request;
mod sums;
pub mod tidy;

pub use sums::Sums;

/// The route in metrics.
const ROUTE: &str = "/api/uploads/{id}";

type Answer = Result<Response, Problem>;
type Stream = BoxStream<'static, Result<Bytes, String>>;

/// How far an upload is.
#[derive(Serialize, ToSchema)]
pub(super) struct Upload {
    /// It is the id of the job as well.
    id: JobId,
    state: UploadState,
    #[schema(required)]
    name: Option<String>,
    /// Its address, where it goes on.
    url: String,
    /// Bytes of the whole, as soon as its client has said so.
    #[schema(required)]
    length: Option<u64>,
    /// Bytes that are durable.
    offset: u64,
    /// The job, once every byte is there.
    #[schema(required)]
    job: Option<JobId>,
    /// When it goes unless more comes: RFC 3339, UTC.
    #[schema(required, format = DateTime)]
    expires_at: Option<String>,
}

/// Whether an upload still arrives.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum UploadState {
    Arriving,
    Complete,
}

/// What is known of an upload.
enum Found {
    /// It still arrives.
    Arriving(Box<Record>),
    /// It has become a job, of so many bytes.
    Complete(u64),
}

impl Edge {
    /// `/api/uploads`.
    pub(super) async fn uploads(self: Arc<Self>, method: Method, headers: HeaderMap, body: Stream) -> Answer {
        match request::method(&method, &headers)? {
            Method::POST => self.begin_upload(headers, body).await,
            _ => Err(refused(body, Problem::method("POST, OPTIONS"))),
        }
        .map_err(answer::dressed)
    }

    /// `/api/uploads/{id}`.
    pub(super) async fn upload_at(
        self: Arc<Self>,
        id: JobId,
        method: Method,
        headers: HeaderMap,
        body: Stream,
    ) -> Answer {
        match request::method(&method, &headers)? {
            Method::GET => self.shown_upload(id).await,
            Method::HEAD => self.offset_of(id, &headers).await,
            Method::PATCH => self.append(id, headers, body).await,
            Method::DELETE => self.terminate(id, &headers).await,
            _ => Err(refused(body, Problem::method("GET, HEAD, PATCH, DELETE, OPTIONS"))),
        }
        .map_err(answer::dressed)
    }

    /// Creation, with the first bytes if there are any.
    async fn begin_upload(self: Arc<Self>, headers: HeaderMap, body: Stream) -> Answer {
        let asked = match request::creation(&headers, self.settings.max_upload_bytes) {
            Ok(asked) => asked,
            Err(problem) => return Err(refused(body, problem)),
        };
        let now_ms = self.doors.clock.now_ms();
        let id = (self.settings.new_job)(u64::try_from(now_ms).unwrap_or(0));
        let growing = self.doors.blobs.begin_growing(&source_key(id), &record::room(id)).await?;
        let record = Record {
            job: id,
            growing,
            length: match asked.length {
                Length::Known(length) => Some(length),
                Length::Deferred => None,
            },
            name: name::shown(&asked.name),
            metadata: asked.metadata.clone(),
            created_at: now_ms,
            expires_at: now_ms + self.expiry_ms(),
        };
        if let Err(error) = record.save(&self.doors).await {
            let _ = self.doors.blobs.give_up_growing(&record.growing).await;
            return Err(error.into());
        }
        tracing::debug!(upload = %id, length = ?record.length, "an upload begins");
        let location = format!("{}/api/uploads/{id}", self.settings.prefix());
        let expires_at = record.expires_at;
        let received = match asked.has_bytes {
            false => {
                drop(Body::read(body));
                Received { offset: 0, expires_at, is_complete: false }
            }
            true => match self.received(id, asked.first_bytes(), body).await {
                Ok(received) => received,
                // Nobody knows its address yet: what is refused at once must not lie about.
                Err(problem) => {
                    self.leave_no_upload(id).await;
                    return Err(problem);
                }
            },
        };
        let mut response = received.answer(id, StatusCode::CREATED);
        if let Ok(location) = HeaderValue::from_str(&location) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }

    async fn append(self: Arc<Self>, id: JobId, headers: HeaderMap, body: Stream) -> Answer {
        let asked = match request::append(&headers, self.settings.max_upload_bytes) {
            Ok(asked) => asked,
            Err(problem) => return Err(refused(body, problem)),
        };
        let received = self.received(id, asked, body).await?;
        Ok(received.answer(id, StatusCode::NO_CONTENT))
    }

    /// Receives in a task of its own: when the client goes away the request is dropped at once, and what came is to be kept.
    async fn received(self: &Arc<Self>, id: JobId, asked: Append, body: Stream) -> Result<Received, Problem> {
        let (edge, body) = (Arc::clone(self), Body::read(body));
        let work = self.tasks.spawn(async move { edge.receive_at(id, asked, body).await });
        work.await.unwrap_or_else(|error| {
            tracing::error!(upload = %id, %error, "an upload broke off");
            Err(Problem::internal("the upload broke off"))
        })
    }

    async fn offset_of(&self, id: JobId, headers: &HeaderMap) -> Answer {
        request::version(headers)?;
        match self.found(id).await? {
            Found::Arriving(record) => {
                let offset = self.doors.blobs.grown(&record.growing).await?;
                Ok(answer::offset(offset, &record))
            }
            Found::Complete(length) => Ok(answer::complete(id, length)),
        }
    }

    /// What a page or a script wants to know; no part of tus.
    async fn shown_upload(&self, id: JobId) -> Answer {
        let found = self.found(id).await?;
        let url = format!("{}/api/uploads/{id}", self.settings.prefix());
        let shown = match found {
            Found::Arriving(record) => Upload {
                id,
                state: UploadState::Arriving,
                name: Some(record.name),
                url,
                length: record.length,
                offset: self.doors.blobs.grown(&record.growing).await?,
                job: None,
                expires_at: Some(rfc3339(record.expires_at)),
            },
            Found::Complete(length) => {
                let (row, _) = self.known(id).await?;
                let name = row.received.as_ref().map(|fact| fact.event.name.clone());
                let (state, whole) = (UploadState::Complete, Some(length));
                Upload { id, state, name, url, length: whole, offset: length, job: Some(id), expires_at: None }
            }
        };
        Ok(fresh(warp::reply::json(&shown)))
    }

    /// Gives the upload up, or the job that it has become.
    async fn terminate(&self, id: JobId, headers: &HeaderMap) -> Answer {
        request::version(headers)?;
        match self.found(id).await {
            Ok(Found::Arriving(record)) => {
                let _lock = self.lock(id).await?;
                self.sums.forget(id);
                self.doors.blobs.give_up_growing(&record.growing).await?;
                tracing::debug!(upload = %id, "an upload was given up by its client");
            }
            Ok(Found::Complete(_)) => drop(self.delete(id).await?),
            // What has expired is as good as gone, and is to be gone.
            Err(problem) if problem.status == StatusCode::GONE => self.leave_no_upload(id).await,
            Err(problem) => return Err(problem),
        }
        Ok(answer::bare(StatusCode::NO_CONTENT))
    }

    async fn found(&self, id: JobId) -> Result<Found, Problem> {
        match Record::load(&self.doors, id).await {
            Ok(record) if record.expires_at <= self.doors.clock.now_ms() => {
                let detail = format!("the upload has expired at {}: begin again", rfc3339(record.expires_at));
                Err(Problem::new(StatusCode::GONE, "expired", detail))
            }
            Ok(record) => Ok(Found::Arriving(Box::new(record))),
            Err(blobs::Error::NotFound(_)) => {
                let known = self.board.look(id).await?.filter(|(row, _)| !row.deleted);
                let received = known.and_then(|(row, _)| row.received.map(|fact| fact.event.source.size));
                received
                    .map(Found::Complete)
                    .ok_or_else(|| Problem::not_found("there is no such upload: it was never begun, or given up"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn expiry_ms(&self) -> i64 {
        i64::try_from(self.settings.upload_expiry.as_millis()).unwrap_or(i64::MAX)
    }

    /// Removes what there is of an upload; what cannot be removed now expires.
    async fn leave_no_upload(&self, id: JobId) {
        self.sums.forget(id);
        let gone = match Record::load(&self.doors, id).await {
            Ok(record) => self.doors.blobs.give_up_growing(&record.growing).await,
            Err(blobs::Error::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = gone {
            tracing::warn!(upload = %id, error = crate::stage::chain(&error), "a refused upload stays until it expires");
        }
    }
}

/// Has the body read away, so that whoever sends it hears why it is not wanted.
fn refused(body: Stream, problem: Problem) -> Problem {
    drop(Body::read(body));
    problem
}
