//! `/api/jobs`: listing, reading and steering.

use schemas::JobId;
use schemas::event::{CancelRequested, JobDeleted};
use schemas::job::{JobEvent, JobRow, JobView, State, StatusView, view};
use schemas::{ledger, manifest};
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::CONTENT_TYPE;
use warp::reply::{Reply, Response};

use connectors::blobs;

use super::Edge;
use super::problem::Problem;
use super::query;
use super::record::change_row;
use crate::stage::{chain, record_of};

/// Jobs on a page: when nobody asks, and at most.
const PAGE: usize = 50;
const LONGEST_PAGE: usize = 500;

/// Rows that are looked at for one page of jobs with a label; then the page is as short as it is, and whoever asks reads on.
const MOST_LOOKED: usize = 2_000;

type Answer = Result<Response, Problem>;

/// A page of jobs.
#[derive(Serialize, ToSchema)]
pub(super) struct JobList {
    /// Newest first.
    jobs: Vec<JobView>,
    /// Cursor of the next page; `null` on the last one.
    #[schema(required)]
    next: Option<String>,
}

/// A job that is gone.
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    id: JobId,
    deleted: bool,
}

impl Edge {
    /// `GET /api/jobs`. With a label, rows are looked at one after the other, newest first; a page may be short, or empty, although
    /// another one follows.
    pub(super) async fn list(&self, asked: &str) -> Answer {
        let limit = query::limit(asked, PAGE, LONGEST_PAGE)?;
        let state = match query::value(asked, "state").filter(|word| !word.is_empty()) {
            None => None,
            Some(word) => Some(State::from_word(&word).ok_or_else(|| {
                let states = "received, processing, ready, failed or cancelled";
                Problem::bad_request("bad_state", format!("state must be one of {states}"))
            })?),
        };
        let label = query::value(asked, "label").filter(|label| !label.trim().is_empty());
        let mut after = query::value(asked, "after").filter(|cursor| !cursor.is_empty());
        let is_labelled = |row: &JobRow| {
            let event = row.classified.as_ref().map(|fact| &fact.event);
            label.as_deref().is_none_or(|label| event.is_some_and(|event| view::is_labelled(event, label)))
        };
        let is_wanted =
            |row: &JobRow| !row.deleted && state.is_none_or(|state| row.state() == state) && is_labelled(row);
        let (mut jobs, mut looked) = (Vec::new(), 0);
        loop {
            // No more rows than there is room for, so that a page ends where a page of the catalog does.
            let room = limit - jobs.len();
            let page = self.doors.catalog.jobs(state, after.as_deref(), room).await?;
            looked += page.items.len().max(1);
            for row in page.items {
                // The board may know more than the row that was listed.
                if let Some((row, live)) = self.board.look_at(row).await?.filter(|(row, _)| is_wanted(row)) {
                    jobs.push(JobView::of(&row, &live, &self.settings.public_path).in_brief());
                }
            }
            after = page.next;
            if label.is_none() || after.is_none() || jobs.len() >= limit || looked >= MOST_LOOKED {
                break;
            }
        }
        Ok(fresh(warp::reply::json(&JobList { jobs, next: after })))
    }

    /// `GET /api/jobs/{id}`.
    pub(super) async fn job(&self, job: JobId) -> Answer {
        let (row, live) = self.known(job).await?;
        let live = self.board.counted(&row, live).await;
        Ok(fresh(warp::reply::json(&JobView::of(&row, &live, &self.settings.public_path))))
    }

    /// `GET /api/jobs/{id}/status`.
    pub(super) async fn status(&self, job: JobId) -> Answer {
        let (row, live) = self.known(job).await?;
        Ok(fresh(warp::reply::json(&StatusView::of(&row, &live))))
    }

    /// `POST /api/jobs/{id}/cancel`: twice is fine; a job that ended otherwise stays as it is.
    pub async fn cancel(&self, job: JobId) -> Answer {
        let (row, live) = self.known(job).await?;
        match row.state() {
            State::Cancelled => return Ok(accepted(&StatusView::of(&row, &live))),
            state @ (State::Ready | State::Failed) => {
                let detail = format!("the job has ended already, it is {}", state.as_str());
                return Err(Problem::new(StatusCode::CONFLICT, "already_ended", detail));
            }
            State::Received | State::Processing => {}
        }
        let event = CancelRequested { job, at: self.doors.clock.now_ms() };
        self.doors.log.append(vec![record_of(&event).map_err(unwritable)?]).await?;
        tracing::info!(%job, "somebody asked to cancel");
        let row = change_row(&self.doors, job, |row| row.apply(JobEvent::CancelRequested(event.clone()), None)).await?;
        self.board.note(&row);
        Ok(accepted(&StatusView::of(&row, &live)))
    }

    /// `DELETE /api/jobs/{id}`: twice is fine.
    pub async fn delete(&self, job: JobId) -> Answer {
        let answer = || accepted(&Deleted { id: job, deleted: true });
        match self.doors.catalog.job(job).await? {
            Some(found) if found.row.deleted => return Ok(answer()),
            Some(_) => {}
            // Not folded yet, but known to this edge.
            None => {
                self.known(job).await?;
            }
        }
        let event = JobDeleted { job, at: self.doors.clock.now_ms() };
        self.doors.log.append(vec![record_of(&event).map_err(unwritable)?]).await?;
        let row = change_row(&self.doors, job, |row| row.apply(JobEvent::Deleted(event.clone()), None)).await?;
        // Without a manifest no edge plays it any more; the rest goes when the event is folded.
        for key in [manifest::key(job), manifest::live_key(job)] {
            if let Err(error) = self.doors.blobs.delete(&key).await {
                tracing::warn!(%job, error = chain(&error), "a manifest stays until the event is folded");
            }
        }
        self.manifests.forget(job);
        self.board.note(&row);
        tracing::info!(%job, "deleted");
        Ok(answer())
    }

    /// `GET /api/jobs/{id}/ledger`.
    pub(super) async fn ledger(&self, job: JobId) -> Answer {
        let (row, _) = self.known(job).await?;
        match self.doors.blobs.read(&ledger::key(job)).await {
            Ok(bytes) => {
                let reply = warp::reply::with_header(bytes.to_vec(), CONTENT_TYPE, "application/json");
                Ok(fresh(reply))
            }
            Err(blobs::Error::NotFound(_)) if row.state().is_end() => {
                Err(Problem::not_found("the job ended before stitch kept any books"))
            }
            Err(blobs::Error::NotFound(_)) => Err(Problem::not_ready("stitch has not closed its books yet")),
            Err(error) => Err(error.into()),
        }
    }

    /// The row and the picture of a job that exists.
    pub(super) async fn known(&self, job: JobId) -> Result<(schemas::job::JobRow, schemas::job::Live), Problem> {
        let found = self.board.look(job).await?;
        found.ok_or_else(|| Problem::not_found(format!("there is no job {job}")))
    }
}

fn unwritable(error: crate::stage::StageError) -> Problem {
    tracing::error!(%error, "an event cannot be written");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the event cannot be written")
}

fn accepted(value: &impl serde::Serialize) -> Response {
    warp::reply::with_status(warp::reply::json(value), StatusCode::ACCEPTED).into_response()
}

/// An answer that is true only now.
pub(super) fn fresh(reply: impl Reply) -> Response {
    warp::reply::with_header(reply, "cache-control", "no-store").into_response()
}
