//! `/api/dlq`: events that stages gave up on, and what is done about them.

use std::collections::BTreeMap;
use std::time::Duration;

use connectors::log::{From, Tailed};
use schemas::job::State;
use schemas::job::view::rfc3339;
use schemas::{JobId, wire};
use serde_json::{Value, json};
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
        let shown: Vec<Value> = open.into_iter().take(limit).map(|(.., summary)| summary).collect();
        Ok(fresh(warp::reply::json(&json!({ "letters": shown, "total": total }))))
    }

    /// `GET /api/dlq/{id}`: one letter with its event.
    pub(super) async fn dead_letter(&self, id: &str) -> Result<Response, Problem> {
        let (letter, handled) = self.letter(id).await?;
        let mut shown = summary(&letter);
        shown["handled"] = json!(handled.map(Handled::as_str));
        let topic = letter.origin.as_ref().map(|(at, _)| at.topic.as_str()).unwrap_or_default();
        match wire::decode_json(topic, &letter.value) {
            _ if letter.left_out.is_some() => shown["undecodable"] = json!("its value was too large to be kept here"),
            Ok(event) => shown["event"] = event,
            Err(error) => {
                shown["undecodable"] = json!(error.to_string());
                shown["hex"] = json!(hex(&letter.value[..letter.value.len().min(SHOWN_BYTES)]));
            }
        }
        let headers =
            letter.headers.iter().map(|(name, value)| json!({ "name": name, "value": String::from_utf8_lossy(value) }));
        shown["headers"] = headers.collect();
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
        let put_back =
            place.first().map(|(at, offset)| json!({ "topic": at.topic, "partition": at.partition, "offset": offset }));
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
        let answer = json!({
            "id": letter.id.to_string(),
            "handled": Handled::Retried.as_str(),
            "put_back": put_back,
            "job": job,
            "job_state": state.map(State::as_str),
            "note": note,
        });
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
        let answer = json!({ "id": letter.id.to_string(), "handled": how });
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

fn summary(letter: &Letter) -> Value {
    let job = letter.event().and_then(|event| job_of(&event));
    let (topic, partition, offset) = match &letter.origin {
        Some((at, offset)) => (json!(at.topic), json!(at.partition), json!(offset)),
        None => (Value::Null, Value::Null, Value::Null),
    };
    json!({
        "id": letter.id.to_string(),
        "stage": letter.id.stage,
        "at": rfc3339(letter.at),
        "reason": letter.reason,
        "message": letter.message,
        "attempts": letter.attempts,
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "key": String::from_utf8_lossy(&letter.key),
        "bytes": letter.left_out.unwrap_or(letter.value.len() as u64),
        "job": job,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
