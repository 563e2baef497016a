//! `/api/replay`: runs a stage again from the log.
//!
//! The stage's input is read without a group and appended once more for that stage alone (see [`header::replay`]). What
//! others made stays: outputs have the names they had, rows and other stages pass the repeated events by, and an end that
//! was reached stays reached.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use connectors::log::{From, Record, Tailed};
use schemas::job::State;
use schemas::{JobId, wire};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

use super::jobs::fresh;
use super::problem::Problem;
use super::{Edge, KnownStage};
use crate::header::replay;

/// Events appended at a time.
const BATCH: usize = 500;

/// The log may take so long over one read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReplayWish)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Name of the stage.
    stage: String,
    /// Only this job.
    job: Option<String>,
    /// Only events appended at this time or later, RFC 3339.
    #[schema(format = DateTime)]
    since: Option<String>,
    /// Count only.
    #[serde(default)]
    dry_run: bool,
}

/// What runs again.
#[derive(Serialize, ToSchema)]
pub(super) struct Replay {
    /// Its name, in the headers of what runs again.
    #[schema(required)]
    replay: Option<String>,
    stage: &'static str,
    dry_run: bool,
    /// Events.
    count: usize,
    jobs: usize,
    skipped: Skipped,
}

/// Events that are left out.
#[derive(Serialize, ToSchema)]
struct Skipped {
    /// Their job came to an end that stays.
    ended: usize,
    /// Their job was deleted.
    deleted: usize,
    /// Nobody can read them.
    unreadable: usize,
}

/// What was found.
#[derive(Debug, Default)]
struct Count {
    events: usize,
    jobs: BTreeSet<JobId>,
    ended: usize,
    deleted: usize,
    unreadable: usize,
}

/// Why the events of a job are left out, if they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Again,
    Ended,
    Deleted,
}

impl Edge {
    /// `POST /api/replay`.
    pub(super) async fn replay(&self, asked: Asked) -> Result<Response, Problem> {
        let stage = self.known_stage(&asked.stage)?;
        let job = asked.job.as_deref().map(str::parse::<JobId>).transpose();
        let job = job.map_err(|_| Problem::not_found("there is no such job"))?;
        if let Some(job) = job {
            self.known(job).await?;
        }
        let from = match &asked.since {
            None => From::Beginning,
            Some(text) => From::Time(time(text)?),
        };
        let name = fresh_name();
        let (count, appended) = self.replay_from(&stage, job, from, &name, asked.dry_run).await?;
        if !asked.dry_run {
            tracing::info!(stage = stage.name, replay = name, events = appended, "somebody asked to replay");
        }
        let answer = Replay {
            replay: (!asked.dry_run).then_some(name),
            stage: stage.name,
            dry_run: asked.dry_run,
            count: count.events,
            jobs: count.jobs.len(),
            skipped: Skipped { ended: count.ended, deleted: count.deleted, unreadable: count.unreadable },
        };
        let status = if asked.dry_run { StatusCode::OK } else { StatusCode::ACCEPTED };
        Ok(warp::reply::with_status(fresh(warp::reply::json(&answer)), status).into_response())
    }

    /// The stage of this name; one that nobody has is a problem that names the nearest.
    pub(super) fn known_stage(&self, name: &str) -> Result<KnownStage, Problem> {
        let stages = &self.settings.stages;
        if let Some(stage) = stages.iter().find(|stage| stage.name == name) {
            return Ok(stage.clone());
        }
        let near = stages.iter().min_by_key(|stage| strsim::damerau_levenshtein(stage.name, name));
        let hint = near.map(|stage| format!("; did you mean `{}`?", stage.name)).unwrap_or_default();
        Err(Problem::bad_request("unknown_stage", format!("there is no stage `{name}`{hint}")))
    }

    async fn replay_from(
        &self,
        stage: &KnownStage,
        only: Option<JobId>,
        from: From,
        name: &str,
        is_dry: bool,
    ) -> Result<(Count, usize), Problem> {
        let mut reader = self.doors.log.tail(&[stage.input], from).await?;
        let mut count = Count::default();
        let mut verdicts = HashMap::new();
        let (mut waiting, mut appended) = (Vec::new(), 0);
        loop {
            let read = tokio::time::timeout(PATIENCE, reader.next()).await;
            let records = match read.map_err(|_| silent())?? {
                Tailed::Records(records) => records,
                Tailed::CaughtUp => break,
            };
            for record in records {
                if self.is_wanted(stage, only, &record, &mut verdicts, &mut count).await? && !is_dry {
                    waiting.push(replay::again(&record, stage.name, name));
                }
            }
            while waiting.len() >= BATCH {
                let rest = waiting.split_off(BATCH);
                appended += self.doors.log.append(std::mem::replace(&mut waiting, rest)).await?.len();
            }
        }
        if !waiting.is_empty() {
            appended += self.doors.log.append(waiting).await?.len();
        }
        Ok((count, appended))
    }

    async fn is_wanted(
        &self,
        stage: &KnownStage,
        only: Option<JobId>,
        record: &Record,
        verdicts: &mut HashMap<JobId, Verdict>,
        count: &mut Count,
    ) -> Result<bool, Problem> {
        // The original is on the log as well.
        if replay::stage(&record.headers).is_some() {
            return Ok(false);
        }
        let Some(job) = job_of(record) else {
            count.unreadable += usize::from(only.is_none());
            return Ok(false);
        };
        if only.is_some_and(|only| only != job) {
            return Ok(false);
        }
        let verdict = match verdicts.get(&job) {
            Some(verdict) => *verdict,
            None => {
                let verdict = self.verdict(stage, job).await?;
                verdicts.insert(job, verdict);
                verdict
            }
        };
        match verdict {
            Verdict::Ended => count.ended += 1,
            Verdict::Deleted => count.deleted += 1,
            Verdict::Again => {
                count.events += 1;
                count.jobs.insert(job);
            }
        }
        Ok(verdict == Verdict::Again)
    }

    /// What the runner would do about `job`: it has the last word, this only spares it the trouble.
    async fn verdict(&self, stage: &KnownStage, job: JobId) -> Result<Verdict, Problem> {
        let Some(found) = self.doors.catalog.job(job).await? else { return Ok(Verdict::Again) };
        Ok(match found.row.state() {
            _ if found.row.deleted => Verdict::Deleted,
            State::Failed | State::Cancelled => Verdict::Ended,
            // Only what adds to a video may come after the video is ready.
            State::Ready if stage.is_required => Verdict::Ended,
            _ => Verdict::Again,
        })
    }
}

/// The job that a record speaks of; nothing when nobody can read it.
pub(super) fn job_of(record: &Record) -> Option<JobId> {
    let event = wire::decode_json(&record.at.topic, &record.value).ok()?;
    event["job"].as_str()?.parse().ok()
}

fn silent() -> Problem {
    let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "it did not answer in time");
    Problem::door("log", &error)
}

fn time(text: &str) -> Result<i64, Problem> {
    let parsed = text.parse::<jiff::Timestamp>();
    let right = "since must be a time like 2026-11-23T10:00:00Z";
    parsed.map(|time| time.as_millisecond()).map_err(|_| Problem::bad_request("bad_since", right))
}

/// A name that no other replay has.
pub(super) fn fresh_name() -> String {
    format!("{:016x}", rand::random::<u64>())
}
