//! `POST /api/upload`: bytes to the blob store, then a row, then an event, then the answer.
//!
//! # Layout
//! - [`announce`]: row and event of what is stored
//! - [`body`]: reading a body that may be refused before it ends
//! - [`name`]: names as they can be shown

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use connectors::Doors;
use connectors::catalog::UploadIntent;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use headers::{HeaderMap, HeaderMapExt};
use schemas::event::UploadReceived;
use schemas::job::{JobRow, JobView};
use schemas::manifest::source_key;
use schemas::{Claim, JobId};
use tokio::time::{Instant, timeout};
use warp::http::StatusCode;
use warp::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, LOCATION};
use warp::reply::{Reply, Response};

use super::Edge;
use super::problem::Problem;
use crate::media::sniff::{self, SNIFF_BYTES};
use crate::stage::chain;
use body::Body;

pub mod announce;
pub mod body;
pub mod name;

/// Room that a multipart body may need beside the file.
const MULTIPART_OVERHEAD: u64 = 64 * 1024;

/// How often a long upload gives a sign of life.
const TOUCH_EVERY: Duration = Duration::from_secs(60);

/// Shortest and longest wait before a door is tried again in the background.
const TRY_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long a sign of life may hold up the bytes, and when one that was not taken is given again. An upload is taken for dead
/// after an hour without any, so a catalog that is away for less costs no bytes.
const TOUCH_PATIENCE: Duration = Duration::from_secs(2);
const TOUCH_AGAIN: Duration = Duration::from_secs(10);

/// The route in metrics.
const ROUTE: &str = "/api/upload";

/// How the file lies in the body.
enum Form {
    Raw,
    Multipart { boundary: String },
}

impl Edge {
    /// Receives one file.
    pub(super) async fn upload(
        self: Arc<Self>,
        headers: HeaderMap,
        query: String,
        stream: BoxStream<'static, Result<Bytes, String>>,
    ) -> Result<Response, Problem> {
        let limit = self.settings.max_upload_bytes;
        let refusal = match form(&headers) {
            Err(problem) => Some(problem),
            Ok(ref form) => too_large(&headers, form, limit),
        };
        // Who waits for `100 Continue` sends nothing after a refusal, and reading would invite it to.
        let waits = headers.contains_key(warp::http::header::EXPECT);
        if let Some(problem) = refusal {
            if !waits {
                drop(Body::read(stream));
            }
            return Err(problem);
        }
        let form = form(&headers)?;
        let body = Body::read(stream);
        // A task of its own: when the client goes away the request is dropped at once, and there is something to tidy up.
        let edge = Arc::clone(&self);
        let work = self.tasks.spawn(async move { edge.receive(form, &query, body).await });
        let row = work.await.unwrap_or_else(|error| {
            tracing::error!(%error, "an upload broke off");
            Err(Problem::internal("the upload broke off"))
        })?;
        self.created(&row).await
    }

    async fn created(&self, row: &JobRow) -> Result<Response, Problem> {
        let live = self.board.look_at(row.clone()).await?.map(|(_, live)| live).unwrap_or_default();
        let view = JobView::of(row, &live, &self.settings.public_path);
        let location = format!("{}/api/jobs/{}", self.settings.prefix(), row.id);
        let reply = warp::reply::with_header(warp::reply::json(&view), LOCATION, location);
        Ok(warp::reply::with_status(reply, StatusCode::CREATED).into_response())
    }

    async fn receive(&self, form: Form, query: &str, body: Body) -> Result<JobRow, Problem> {
        match form {
            Form::Raw => {
                let mut body = body;
                let name = super::query::value(query, "name").unwrap_or_default();
                self.store(&name, &mut body).await
            }
            Form::Multipart { boundary } => {
                let mut parts = multer::Multipart::new(body, boundary);
                loop {
                    let mut part = match parts.next_field().await {
                        Ok(Some(part)) => part,
                        Ok(None) => return Err(Problem::bad_request("no_file", "the form has no file in it")),
                        Err(error) => return Err(broken(&error)),
                    };
                    let is_video = part.content_type().is_some_and(|kind| kind.type_() == "video");
                    let name = part_name(part.headers(), part.file_name());
                    if let Some(name) = name.or_else(|| is_video.then(String::new)) {
                        return self.store(&name, &mut part).await;
                    }
                }
            }
        }
    }

    /// Takes the file in `bytes`, called `name`.
    ///
    /// When it answers, the bytes are durable and the log has the event; a problem that names a job says that the
    /// sweeper brings it to its end.
    pub async fn store<S, E>(&self, name: &str, bytes: &mut S) -> Result<JobRow, Problem>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::error::Error + 'static,
    {
        let job = (self.settings.new_job)(u64::try_from(self.doors.clock.now_ms()).unwrap_or(0));
        self.store_as(job, "http", name, bytes).await
    }

    /// The same as `job`, a fresh id, from `origin`.
    pub(super) async fn store_as<S, E>(
        &self,
        job: JobId,
        origin: &str,
        name: &str,
        bytes: &mut S,
    ) -> Result<JobRow, Problem>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::error::Error + 'static,
    {
        let (head, is_all) = head_of(bytes).await?;
        if head.is_empty() {
            return Err(Problem::unsupported_media("the file is empty"));
        }
        if sniff::sniff(&head).is_none() {
            return Err(no_video());
        }
        let now_ms = self.doors.clock.now_ms();
        let mut intent = UploadIntent { job, owner: self.settings.owner.clone(), touched_at: now_ms, event: None };
        if let Err(error) = self.doors.catalog.put_upload(&intent).await {
            // It may be kept all the same.
            self.leave_nothing(job).await;
            return Err(error.into());
        }
        let claim = match self.write(job, &mut intent, head, is_all, bytes).await {
            Ok(claim) => claim,
            Err(problem) => {
                self.leave_nothing(job).await;
                return Err(problem);
            }
        };
        let event = UploadReceived {
            job,
            name: name::shown(name),
            source: claim,
            received_at: self.doors.clock.now_ms(),
            origin: origin.to_owned(),
        };
        self.publish(intent, event).await
    }

    /// Writes the file to its blob; whatever goes wrong, no blob stays.
    async fn write<S, E>(
        &self,
        job: JobId,
        intent: &mut UploadIntent,
        head: Bytes,
        is_all: bool,
        bytes: &mut S,
    ) -> Result<Claim, Problem>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin + Send,
        E: std::error::Error + 'static,
    {
        let (blobs, key) = (&self.doors.blobs, source_key(job));
        let mut writer =
            if self.settings.keeps_sources { blobs.kept_writer(&key).await? } else { blobs.writer(&key).await? };
        let mut touch_at = Instant::now() + TOUCH_EVERY;
        let mut next = Some(head);
        let outcome = loop {
            if let Some(piece) = next.take() {
                crate::metrics::edge_received(ROUTE, piece.len() as u64);
                if writer.written() + piece.len() as u64 > self.settings.max_upload_bytes {
                    break Err(Problem::too_large(self.settings.max_upload_bytes));
                }
                if let Err(error) = writer.write(piece).await {
                    break Err(error.into());
                }
            }
            if is_all {
                break Ok(());
            }
            match bytes.next().await {
                Some(Ok(piece)) => next = Some(piece),
                Some(Err(error)) => break Err(broken(&error)),
                None => break Ok(()),
            }
            if Instant::now() >= touch_at {
                intent.touched_at = self.doors.clock.now_ms();
                let touched = timeout(TOUCH_PATIENCE, self.doors.catalog.put_upload(intent)).await;
                touch_at = Instant::now() + if matches!(touched, Ok(Ok(()))) { TOUCH_EVERY } else { TOUCH_AGAIN };
            }
        };
        match outcome {
            Ok(()) => Ok(writer.finish().await?),
            Err(problem) => {
                if let Err(error) = writer.abort().await {
                    tracing::warn!(%job, error = chain(&error), "the bytes of a broken upload stay for the sweeper");
                }
                Err(problem)
            }
        }
    }

    /// The bytes are durable: row, event, answer. A catalog that is away is waited for, here for a while and then by a task.
    pub(super) async fn publish(&self, intent: UploadIntent, event: UploadReceived) -> Result<JobRow, Problem> {
        let job = event.job;
        let (doors, board) = (self.doors.clone(), Arc::clone(&self.board));
        let is_in_catalog = Arc::new(AtomicBool::new(false));
        let waits_for_log = Arc::clone(&is_in_catalog);
        let announced =
            self.tasks.spawn(announce::announce(doors, board, self.shutdown.clone(), intent, event, is_in_catalog));
        match timeout(self.settings.catalog_patience, announced).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                tracing::error!(%job, %error, "announcing an upload broke off");
                Err(Problem::internal("the upload broke off").about_job(job))
            }
            Err(_) => {
                let door = if waits_for_log.load(Ordering::Relaxed) { "log" } else { "catalog" };
                Err(Problem::away(door).about_job(job))
            }
        }
    }

    /// Removes a broken upload. The sweeper takes what this process has begun for an upload that still arrives, so whatever
    /// cannot be removed now is removed by this process later.
    async fn leave_nothing(&self, job: JobId) {
        let Err(error) = remove(&self.doors, job).await else { return };
        tracing::warn!(%job, error, "a broken upload cannot be removed: trying again");
        let doors = self.doors.clone();
        self.keep_trying(job, move || {
            let doors = doors.clone();
            async move { remove(&doors, job).await }
        });
    }

    /// Does `work` in the background, again and again until it succeeds or this process ends.
    fn keep_trying<F>(&self, job: JobId, work: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Result<(), String>> + Send,
    {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            let mut wait = TRY_AGAIN.0;
            loop {
                tokio::select! {
                    biased;
                    () = shutdown.cancelled() => return,
                    () = tokio::time::sleep(wait) => {}
                }
                match work().await {
                    Ok(()) => return,
                    Err(error) => tracing::debug!(%job, error, "a door is still away"),
                }
                wait = (wait * 2).min(TRY_AGAIN.1);
            }
        });
    }
}

/// Removes the bytes and then the intent of an upload.
async fn remove(doors: &Doors, job: JobId) -> Result<(), String> {
    doors.blobs.delete(&source_key(job)).await.map_err(|error| chain(&error))?;
    doors.catalog.remove_upload(job).await.map_err(|error| chain(&error))
}

/// The name of the file in a part of a form, if it is one: `filename*` (RFC 8187) before `filename`, bytes that are no UTF-8
/// replaced.
fn part_name(headers: &HeaderMap, plain: Option<&str>) -> Option<String> {
    let stated = headers.get(CONTENT_DISPOSITION).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let stated = stated.as_deref().unwrap_or_default();
    let parameter = |name: &str| {
        let found = stated.split(';').skip(1).find_map(|pair| {
            let (key, value) = pair.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        });
        found.filter(|value| !value.is_empty())
    };
    let extended = parameter("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_language, encoded) = rest.split_once('\'')?;
        charset.eq_ignore_ascii_case("utf-8").then(|| super::query::percent_decoded(encoded))
    });
    extended.or_else(|| plain.map(str::to_owned)).or_else(|| parameter("filename"))
}

fn form(headers: &HeaderMap) -> Result<Form, Problem> {
    let Some(stated) = headers.get(CONTENT_TYPE) else { return Ok(Form::Raw) };
    let stated = stated.to_str().unwrap_or_default();
    let kind = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "multipart/form-data" => {
            let boundary = multer::parse_boundary(stated)
                .map_err(|_| Problem::bad_request("bad_form", "the form's content type has no boundary"))?;
            Ok(Form::Multipart { boundary })
        }
        "" | "application/octet-stream" | "application/mp4" | "application/x-matroska" => Ok(Form::Raw),
        kind if kind.starts_with("video/") => Ok(Form::Raw),
        _ => Err(Problem::unsupported_media(
            "send the file as multipart/form-data, or as the body with a content type of video/* or application/octet-stream",
        )),
    }
}

/// The refusal of a body whose stated length is over the limit already.
fn too_large(headers: &HeaderMap, form: &Form, limit: u64) -> Option<Problem> {
    let stated = headers.typed_get::<headers::ContentLength>()?.0;
    let room = if matches!(form, Form::Multipart { .. }) { MULTIPART_OVERHEAD } else { 0 };
    (stated > limit.saturating_add(room)).then(|| Problem::too_large(limit))
}

/// The first bytes, as many as sniffing wants, and whether they are all there are.
async fn head_of<S, E>(bytes: &mut S) -> Result<(Bytes, bool), Problem>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: std::error::Error + 'static,
{
    let mut head = BytesMut::new();
    while head.len() < SNIFF_BYTES {
        match bytes.next().await {
            Some(Ok(piece)) if head.is_empty() && piece.len() >= SNIFF_BYTES => return Ok((piece, false)),
            Some(Ok(piece)) => head.extend_from_slice(&piece),
            Some(Err(error)) => return Err(broken(&error)),
            None => return Ok((head.freeze(), true)),
        }
    }
    Ok((head.freeze(), false))
}

/// The refusal of bytes that are no video.
pub(super) fn no_video() -> Problem {
    Problem::unsupported_media(
        "the first bytes are those of no video that is taken: MP4, MOV, AVI, WebM, Matroska or MPEG-TS",
    )
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Problem {
    tracing::info!(error = chain(error), "an upload broke off");
    Problem::bad_request("broken_body", "the body broke off or is malformed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_named_by_either_parameter() {
        let name = |stated: &'static str, plain| {
            let headers = [(CONTENT_DISPOSITION, warp::http::HeaderValue::from_static(stated))].into_iter().collect();
            part_name(&headers, plain)
        };
        let both = "form-data; name=file; filename=plain.mov; filename*=UTF-8''d%C3%ADa+1%20x.mov";
        assert_eq!(name(both, Some("plain.mov")).as_deref(), Some("día+1 x.mov"));
        assert_eq!(name("form-data; name=\"file\"; filename=\"a.mov\"", Some("a.mov")).as_deref(), Some("a.mov"));
        assert_eq!(name("form-data; name=title", None), None, "a field is no file");
    }
}
