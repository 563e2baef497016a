//! `/api/jobs/{id}/explain`: why a job is not done yet, in plain words.
//!
//! # Layout
//! - [`words`]: facts become sentences, without any I/O; [`advice`]: what to do about a failure

use std::collections::BTreeMap;
use std::time::Duration;

use connectors::Doors;
use connectors::catalog::WorkerRow;
use connectors::log::{From, Tailed};
use futures::future::join_all;
use schemas::JobId;
use tokio::time::timeout;
use warp::reply::Response;

use super::Edge;
use super::problem::Problem;
use super::workers;
use crate::header::dead_letter::{self, Entry, Letter};
use words::{DeadLetter, Facts, StageFacts};

pub mod advice;
pub mod words;

/// How long one door is asked about one stage.
const PATIENCE: Duration = Duration::from_secs(2);

/// Most dead letters that are told.
const LETTERS: usize = 20;

impl Edge {
    /// Explains `job`.
    pub(super) async fn explain(&self, job: JobId) -> Result<Response, Problem> {
        let (row, live) = self.known(job).await?;
        let now_ms = self.doors.clock.now_ms();
        // Each of these may be away: then its part of the story is missing, and the rest is told.
        let decision = self.doors.catalog.decision(job).await.ok().flatten();
        let workers = self.doors.catalog.workers().await.ok();
        let workers = workers.as_deref();
        let asked = self.settings.stages.iter().map(|stage| async move {
            let (facts, letters) = tokio::join!(
                self.stage_facts(stage.name, stage.input, workers, now_ms),
                timeout(PATIENCE, dead_letters(&self.doors, stage.name, job)),
            );
            (facts, letters.unwrap_or_default())
        });
        let (stages, letters): (Vec<_>, Vec<_>) = join_all(asked).await.into_iter().unzip();
        let letters = letters.into_iter().flatten().collect();
        let (busy, heard_at) = (self.board.busy(job), self.board.heard_at(job));
        let facts = Facts { row, live, busy, heard_at, decision, stages, letters, now_ms };
        Ok(super::jobs::fresh(warp::reply::json(&words::tell(&facts))))
    }

    async fn stage_facts(
        &self,
        stage: &'static str,
        input: &'static str,
        workers: Option<&[WorkerRow]>,
        now_ms: i64,
    ) -> StageFacts {
        let (group, topics) = (format!("streamforge.{stage}"), [input]);
        let behind = match timeout(PATIENCE, self.doors.log.progress(&group, &topics)).await {
            Ok(Ok(partitions)) => Some(partitions.iter().map(|at| at.end.saturating_sub(at.committed).max(0)).sum()),
            Ok(Err(_)) | Err(_) => None,
        };
        let workers = workers.map(|workers| {
            let timeout = self.settings.worker_timeout;
            let alive = workers.iter().filter(|worker| workers::is_alive(worker, now_ms, timeout));
            alive.filter(|worker| worker.stages.iter().any(|(name, ..)| name == stage)).count()
        });
        StageFacts { name: stage, behind, workers }
    }
}

/// The dead letters of `job` that `stage` left and nobody has handled.
async fn dead_letters(doors: &Doors, stage: &'static str, job: JobId) -> Vec<DeadLetter> {
    let topic = dead_letter::topic(stage);
    let mut found = BTreeMap::new();
    let Ok(mut reader) = doors.log.tail(&[topic.as_str()], From::Beginning).await else { return Vec::new() };
    let name = job.to_string();
    while let Ok(Tailed::Records(records)) = reader.next().await {
        // Keys are the job, or the job and a chunk.
        for record in records.iter().filter(|record| record.key.starts_with(name.as_bytes())) {
            match dead_letter::read(stage, record) {
                Entry::Letter(letter) if found.len() < LETTERS => {
                    let Letter { id, reason, message, attempts, at, .. } = *letter;
                    found.insert((id.partition, id.offset), DeadLetter { stage, reason, message, attempts, at });
                }
                Entry::Letter(_) => {}
                Entry::Mark(partition, offset, _) => drop(found.remove(&(partition, offset))),
            }
        }
    }
    found.into_values().collect()
}
