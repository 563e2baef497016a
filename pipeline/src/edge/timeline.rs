//! `/api/jobs/{id}/timeline`: which worker did what, when, and for how long.

use schemas::JobId;
use schemas::event::ChunkKind;
use schemas::job::view::rfc3339;
use schemas::job::{JobRow, Timing};
use serde::Serialize;
use utoipa::ToSchema;

use super::Edge;
use super::jobs::fresh;
use super::problem::Problem;

/// Chunks that are read at a time.
const PAGE: usize = 1_000;

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct Span {
    stage: &'static str,
    /// What it was, such as `chunk 3`.
    label: String,
    /// Position of a chunk in the plan.
    #[schema(required)]
    index: Option<u32>,
    #[schema(required)]
    worker: Option<String>,
    #[schema(required, format = DateTime)]
    began_at: Option<String>,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
}

/// A stage from the beginning of its first work to the end of its last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
struct StageSpan {
    name: &'static str,
    #[schema(required, format = DateTime)]
    began_at: Option<String>,
    #[schema(required, format = DateTime)]
    ended_at: Option<String>,
}

/// Which worker did what, when, and for how long, as far as work has ended.
#[derive(Serialize, ToSchema)]
pub struct Timeline {
    id: JobId,
    #[schema(required, format = DateTime)]
    received_at: Option<String>,
    spans: Vec<Span>,
    stages: Vec<StageSpan>,
}

/// Work with its times, milliseconds since the Unix epoch.
struct Work {
    stage: &'static str,
    label: String,
    index: Option<u32>,
    worker: Option<String>,
    began_at: Option<i64>,
    ended_at: i64,
}

impl Edge {
    /// `GET /api/jobs/{id}/timeline`.
    pub(super) async fn timeline(&self, job: JobId) -> Result<warp::reply::Response, Problem> {
        self.known(job).await?;
        // The board keeps rows lean; the catalog has them whole.
        let row = self.doors.catalog.job(job).await?.map(|found| found.row);
        let mut works: Vec<Work> = row.iter().flat_map(facts).collect();
        let mut after: Option<String> = None;
        loop {
            let page = self.doors.catalog.chunks(job, after.as_deref(), PAGE).await?;
            works.extend(page.items.into_iter().filter_map(|row| chunk(row.chunk)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        works.sort_by_key(|work| (work.began_at.unwrap_or(work.ended_at), work.index));
        let stages = self.settings.stages.iter().map(|stage| whole(stage.name, &works)).collect();
        let received_at = row.and_then(|row| Some(rfc3339(row.received?.event.received_at)));
        let spans = works.into_iter().map(Span::from).collect();
        Ok(fresh(warp::reply::json(&Timeline { id: job, received_at, spans, stages })))
    }
}

/// What the facts of `row` say of their making.
fn facts(row: &JobRow) -> Vec<Work> {
    let work = |stage, label: &str, timing: Option<&Timing>| {
        let timing = timing?;
        let (began_at, worker) = (timing.began_at, timing.worker.clone());
        Some(Work { stage, label: label.to_owned(), index: None, worker, began_at, ended_at: timing.ended_at })
    };
    let mut works = vec![
        work("probe", "source", row.probed.as_ref().and_then(|fact| fact.timing.as_ref())),
        work("illustrate", "pictures", row.illustrated.as_ref().and_then(|fact| fact.timing.as_ref())),
        work("classify", "content", row.classified.as_ref().and_then(|fact| fact.timing.as_ref())),
    ];
    works.extend(row.captions.values().map(|fact| work("caption", "captions", fact.timing.as_ref())));
    works.extend(row.renditions.iter().map(|(quality, fact)| work("stitch", quality, fact.timing.as_ref())));
    works.extend(row.assessed.iter().map(|(quality, fact)| work("assess", quality, fact.timing.as_ref())));
    works.into_iter().flatten().collect()
}

/// A finished chunk. One of a worker of an older version does not say when.
fn chunk(chunk: schemas::event::ChunkTranscoded) -> Option<Work> {
    let ended_at = chunk.finished_at?;
    let took = i64::try_from(chunk.took_ms).unwrap_or(i64::MAX);
    let label = match chunk.kind {
        ChunkKind::Audio => "audio".to_owned(),
        ChunkKind::Video => format!("chunk {}", chunk.index + 1),
    };
    Some(Work {
        stage: "transcode",
        label,
        index: Some(chunk.index),
        worker: Some(chunk.worker),
        began_at: Some(ended_at.saturating_sub(took)),
        ended_at,
    })
}

fn whole(name: &'static str, works: &[Work]) -> StageSpan {
    let own = || works.iter().filter(|work| work.stage == name);
    let began = own().filter_map(|work| work.began_at).min();
    let ended = own().map(|work| work.ended_at).max();
    StageSpan { name, began_at: began.map(rfc3339), ended_at: ended.map(rfc3339) }
}

impl From<Work> for Span {
    fn from(work: Work) -> Self {
        Self {
            stage: work.stage,
            label: work.label,
            index: work.index,
            worker: work.worker,
            began_at: work.began_at.map(rfc3339),
            ended_at: Some(rfc3339(work.ended_at)),
        }
    }
}
