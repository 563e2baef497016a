//! `/api/dlq`: events that stages gave up on, and what is done about them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use connectors::log::{From, Tailed};
use schemas::job::State;
use schemas::job::view::rfc3339;
use schemas::{JobId, wire};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

use super::jobs::fresh;
use super::problem::Problem;
use super::replay::{fresh_name, job_of};
use super::{Edge, query};
use crate::header::dead_letter::{self, Entry, Handled, Id, Letter};
use crate::header::replay;

/// Letters of an answer: when nobody asks, and at most.
const PAGE: usize = 100;
const LONGEST_PAGE: usize = 1000;

/// Bytes that are shown of an event that cannot be decoded.
const SHOWN_BYTES: usize = 4096;

/// The log may take so long over one read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is kept of the letters of one stage, oldest first, each with what was done about it.
type Kept<T> = BTreeMap<(u32, i64), (T, Option<Handled>)>;

/// Events that stages gave up on and nobody has handled.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetters)]
pub(super) struct Letters {
    /// Newest first.
    letters: Vec<Summary>,
    /// How many there are, shown or not.
    total: usize,
}

/// An event that a stage gave up on.
#[derive(Serialize, ToSchema)]
#[schema(as = DeadLetter)]
struct Summary {
    id: String,
    /// The stage that gave up.
    stage: String,
    #[schema(format = DateTime)]
    at: String,
    /// A stable word.
    reason: String,
    /// One sentence for a person.
    message: String,
    /// How often it was tried.
    attempts: u32,
    /// Where the event came from, as far as its headers say.
    #[schema(required)]
    topic: Option<String>,
    #[schema(required)]
    partition: Option<u32>,
    #[schema(required)]
    offset: Option<i64>,
    key: String,
    /// Size of the event.
    bytes: u64,
    #[schema(required)]
    job: Option<JobId>,
}

/// The same with its event.
#[derive(Serialize, ToSchema)]
#[schema(as = WholeDeadLetter)]
pub(super) struct Whole {
    #[serde(flatten)]
    summary: Summary,
    /// What was done about it: `retried` or `dropped`.
    #[schema(required)]
    handled: Option<&'static str>,
    /// The event, when it can be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    event: Option<Value>,
    /// Why it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    undecodable: Option<String>,
    /// The first bytes of one that cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
    headers: Vec<Header>,
}

/// A header of a record.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordHeader)]
struct Header {
    name: String,
    value: String,
}

/// A dead letter that was put back.
#[derive(Serialize, ToSchema)]
#[schema(as = RetriedDeadLetter)]
pub(super) struct Retried {
    id: String,
    /// `retried`
    handled: &'static str,
    /// Where the event lies now.
    #[schema(required)]
    put_back: Option<Place>,
    #[schema(required)]
    job: Option<JobId>,
    #[schema(required)]
    job_state: Option<State>,
    /// What stands in the way of its doing any good.
    #[schema(required)]
    note: Option<String>,
}

/// A place in the log.
#[derive(Serialize, ToSchema)]
struct Place {
    topic: String,
    partition: u32,
    offset: i64,
}

/// A dead letter that nobody wants any more.
#[derive(Serialize, ToSchema)]
#[schema(as = DroppedDeadLetter)]
pub(super) struct Dropped {
    id: String,
    /// `dropped`, or `retried` when that was done before.
    handled: &'static str,
}

impl Edge {
    /// `GET /api/dlq`: letters that nobody has handled, newest first.
    pub(super) async fn dead_letters(&self, asked: &str) -> Result<Response, Problem> {
        let limit = query::limit(asked, PAGE, LONGEST_PAGE)?;
        let stages = match query::value(asked, "stage").filter(|name| !name.is_empty()) {
            Some(name) => vec![self.known_stage(&name)?.name],
            None => self.settings.stages.iter().map(|stage| stage.name).collect(),
        };
        let mut open = Vec::new();
        for stage in stages {
            let kept = self.scan(stage, |letter| Some((letter.at, letter.id.clone(), summary(&letter)))).await?;
            open.extend(kept.into_values().filter(|(_, handled)| handled.is_none()).map(|(kept, _)| kept));
        }
        open.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
        let total = open.len();
        let letters = open.into_iter().take(limit).map(|(.., summary)| summary).collect();
        Ok(fresh(warp::reply::json(&Letters { letters, total })))
    }

    /// `GET /api/dlq/{id}`: one letter with its event.
    pub(super) async fn dead_letter(&self, id: &str) -> Result<Response, Problem> {
        let (letter, handled) = self.letter(id).await?;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let header = |(name, value): &(String, Bytes)| Header { name: name.clone(), value: text(value) };
        let mut shown = Whole {
            summary: summary(&letter),
            handled: handled.map(Handled::as_str),
            event: None,
            undecodable: None,
            hex: None,
            headers: letter.headers.iter().map(header).collect(),
        };
        let topic = letter.origin.as_ref().map(|(at, _)| at.topic.as_str()).unwrap_or_default();
        match wire::decode_json(topic, &letter.value) {
            _ if letter.left_out.is_some() => {
                shown.undecodable = Some("its value was too large to be kept here".to_owned());
            }
            Ok(event) => shown.event = Some(event),
            Err(error) => {
                shown.undecodable = Some(error.to_string());
                shown.hex = Some(hex(&letter.value[..letter.value.len().min(SHOWN_BYTES)]));
            }
        }
        Ok(fresh(warp::reply::json(&shown)))
    }

    /// `POST /api/dlq/{id}/retry`: the untouched bytes go back to where they came from, for the stage that gave up.
    pub(super) async fn retry_dead_letter(&self, id: &str) -> Result<Response, Problem> {
        let letter = self.open_letter(id).await?;
        if let Some(bytes) = letter.left_out {
            let detail = format!(
                "its value of {bytes} bytes was too large to be kept and lies where the event came from: \
                 publish the event anew from there, and drop the letter"
            );
            return Err(Problem::new(StatusCode::CONFLICT, "value_left_out", detail));
        }
        let event = letter.event().ok_or_else(|| {
            let detail = "its headers do not say which topic the event came from: drop it, and publish the event anew";
            Problem::new(StatusCode::CONFLICT, "no_origin", detail)
        })?;
        let stage = self.known_stage(&letter.id.stage)?;
        if event.at.topic != stage.input {
            let detail = format!("it says that it came from `{}`, which {} does not read", event.at.topic, stage.name);
            return Err(Problem::new(StatusCode::CONFLICT, "no_origin", detail));
        }
        let again = replay::again(&event, stage.name, &format!("dlq-{}", fresh_name()));
        // Should this process die between the two, the letter is still there and the event runs twice, which it may.
        let place = self.doors.log.append(vec![again]).await?;
        self.doors.log.append(vec![dead_letter::mark(&letter, Handled::Retried)]).await?;
        tracing::info!(id, topic = event.at.topic, "a dead letter was put back");
        let put_back = place.first().map(|(at, offset)| Place {
            topic: at.topic.to_string(),
            partition: at.partition,
            offset: *offset,
        });
        let job = job_of(&event);
        let state = self.state_of(job).await;
        let note = match state {
            Some(state @ (State::Failed | State::Cancelled)) => Some(format!(
                "the job has ended, it is {}, and an end is for good: the stage passes the event by; upload the video again",
                state.as_str()
            )),
            Some(State::Ready) if stage.is_required => {
                Some("the job is ready already: the stage passes the event by".to_owned())
            }
            _ => None,
        };
        let (id, handled) = (letter.id.to_string(), Handled::Retried.as_str());
        let answer = Retried { id, handled, put_back, job, job_state: state, note };
        Ok(warp::reply::with_status(warp::reply::json(&answer), StatusCode::ACCEPTED).into_response())
    }

    /// `DELETE /api/dlq/{id}`: nobody wants it any more; twice is fine.
    pub(super) async fn drop_dead_letter(&self, id: &str) -> Result<Response, Problem> {
        let (letter, handled) = self.letter(id).await?;
        if handled.is_none() {
            self.doors.log.append(vec![dead_letter::mark(&letter, Handled::Dropped)]).await?;
            tracing::info!(id, "a dead letter was dropped");
        }
        let how = handled.unwrap_or(Handled::Dropped).as_str();
        let answer = Dropped { id: letter.id.to_string(), handled: how };
        Ok(warp::reply::with_status(warp::reply::json(&answer), StatusCode::ACCEPTED).into_response())
    }

    /// Where the job stands, as far as the catalog says; nobody waits for it here.
    async fn state_of(&self, job: Option<JobId>) -> Option<State> {
        let row = self.doors.catalog.job(job?).await.ok().flatten()?.row;
        (!row.deleted).then(|| row.state())
    }

    async fn open_letter(&self, id: &str) -> Result<Letter, Problem> {
        match self.letter(id).await? {
            (letter, None) => Ok(letter),
            (_, Some(how)) => {
                let detail = format!("the dead letter {id} was {} before", how.as_str());
                Err(Problem::new(StatusCode::CONFLICT, "already_handled", detail))
            }
        }
    }

    async fn letter(&self, id: &str) -> Result<(Letter, Option<Handled>), Problem> {
        let none = || Problem::not_found(format!("there is no dead letter `{id}`"));
        let parsed: Id = id.parse().map_err(|_| none())?;
        // Only known stages have dead letters: no topic is made up from what somebody asks.
        let stage = self.known_stage(&parsed.stage).map_err(|_| none())?.name;
        let mut kept = self.scan(stage, |letter| (letter.id == parsed).then_some(letter)).await?;
        kept.remove(&(parsed.partition, parsed.offset)).ok_or_else(none)
    }

    /// What `keep` keeps of the letters of `stage` that the log still has.
    async fn scan<T>(&self, stage: &str, keep: impl Fn(Letter) -> Option<T> + Send) -> Result<Kept<T>, Problem> {
        let topic = dead_letter::topic(stage);
        let mut reader = self.doors.log.tail(&[topic.as_str()], From::Beginning).await?;
        let mut kept = Kept::new();
        let mut marks = Vec::new();
        loop {
            let read = tokio::time::timeout(PATIENCE, reader.next()).await;
            let silent = || std::io::Error::new(std::io::ErrorKind::TimedOut, "it did not answer in time");
            match read.map_err(|_| Problem::door("log", &silent()))?? {
                Tailed::CaughtUp => break,
                Tailed::Records(records) => {
                    for record in &records {
                        match dead_letter::read(stage, record) {
                            Entry::Letter(letter) => {
                                let place = (letter.id.partition, letter.id.offset);
                                kept.extend(keep(*letter).map(|kept| (place, (kept, None))));
                            }
                            Entry::Mark(partition, offset, how) => marks.push(((partition, offset), how)),
                        }
                    }
                }
            }
        }
        for (place, how) in marks {
            if let Some((_, handled)) = kept.get_mut(&place) {
                // What was done first is what happened.
                handled.get_or_insert(how);
            }
        }
        Ok(kept)
    }
}

fn summary(letter: &Letter) -> Summary {
    let origin = letter.origin.as_ref();
    Summary {
        id: letter.id.to_string(),
        stage: letter.id.stage.to_string(),
        at: rfc3339(letter.at),
        reason: letter.reason.clone(),
        message: letter.message.clone(),
        attempts: letter.attempts,
        topic: origin.map(|(at, _)| at.topic.to_string()),
        partition: origin.map(|(at, _)| at.partition),
        offset: origin.map(|(_, offset)| *offset),
        key: String::from_utf8_lossy(&letter.key).into_owned(),
        bytes: letter.left_out.unwrap_or(letter.value.len() as u64),
        job: letter.event().and_then(|event| job_of(&event)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
