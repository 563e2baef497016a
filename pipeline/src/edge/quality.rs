//! `/api/jobs/{id}/quality`: the quality report, as far as it is there, and its figures frame by frame.
//!
//! What the encoders said is there as soon as a video is ready; each rendition gets the figures of assess when they come.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use connectors::blobs;
use connectors::log::{From, Tailed};
use futures::{StreamExt, stream};
use schemas::event::{Outcome, RenditionStitched};
use schemas::job::JobRow;
use schemas::job::view::address;
use schemas::quality::{self, Quality, RenditionQuality, table, verdict};
use schemas::{JobId, wire};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use utoipa::ToSchema;
use warp::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use warp::reply::Response;

use super::Edge;
use super::deliver::streaming;
use super::jobs::fresh;
use super::problem::Problem;
use super::query;
use crate::header::dead_letter::{self, Entry};

/// Lines of a table that are made at a time.
const LINES: usize = 2_000;
/// The stage that compares.
const ASSESS: &str = "assess";
/// How long the log is asked what that stage gave up on.
const PATIENCE: Duration = Duration::from_secs(2);

type Answer = Result<Response, Problem>;

/// How close each rendition is to its source.
#[derive(Serialize, ToSchema)]
#[schema(as = QualityReport)]
pub(super) struct Report {
    id: JobId,
    /// Whether every rendition has been compared with the source.
    assessed: bool,
    renditions: Vec<Shown>,
}

/// How close one rendition is to its source, with the address of its table instead of the blob.
#[derive(Serialize, ToSchema)]
#[schema(as = QualityOfRendition)]
struct Shown {
    #[serde(flatten)]
    #[schema(value_type = RenditionQuality)]
    figures: Map<String, Value>,
    /// Address of the figures of each frame.
    csv: String,
    /// Address of the rendition.
    url: String,
}

impl Edge {
    /// `GET /api/jobs/{id}/quality`.
    pub(super) async fn quality(&self, job: JobId) -> Answer {
        let renditions = self.renditions(job).await?;
        let is_whole = renditions.iter().all(|rendition| rendition.assessed);
        let renditions = renditions.iter().map(|rendition| self.shown(job, rendition)).collect();
        Ok(fresh(warp::reply::json(&Report { id: job, assessed: is_whole, renditions })))
    }

    /// `GET /api/jobs/{id}/quality.csv?quality=`: one rendition, the best one when nobody says which.
    pub(super) async fn quality_table(&self, job: JobId, asked: &str) -> Answer {
        let renditions = self.renditions(job).await?;
        let wanted = query::value(asked, "quality").filter(|name| !name.is_empty());
        let found = match &wanted {
            None => renditions.first(),
            Some(name) => renditions.iter().find(|rendition| rendition.quality == *name),
        };
        let rendition = found.ok_or_else(|| {
            let names: Vec<&str> = renditions.iter().map(|rendition| rendition.quality.as_str()).collect();
            Problem::not_found(format!("the video has no such quality; it has {}", names.join(", ")))
        })?;
        let packed = self.doors.blobs.read(&self.doors.blobs.resolve(&rendition.table.uri)?).await?;
        let rows = table::unpack(&packed).map_err(|error| damaged(job, &error))?;
        let timescale = rendition.timescale;
        let head = stream::once(async { Ok::<_, blobs::Error>(Bytes::from(table::csv_head())) });
        let lines = stream::iter((0..rows.len()).step_by(LINES)).map(move |first| {
            let some = &rows[first..rows.len().min(first + LINES)];
            Ok(Bytes::from(table::csv(some, first as u64, timescale)))
        });
        let mut response = fresh(streaming(head.chain(lines).boxed()));
        let name = format!("inline; filename=\"{job}-{}.csv\"", rendition.quality);
        for (header, value) in [(CONTENT_TYPE, "text/csv; charset=utf-8"), (CONTENT_DISPOSITION, &name)] {
            if let Ok(value) = value.parse() {
                response.headers_mut().insert(header, value);
            }
        }
        Ok(response)
    }

    /// What is known of the renditions of `job`, best first.
    async fn renditions(&self, job: JobId) -> Result<Vec<RenditionQuality>, Problem> {
        let (row, _) = self.known(job).await?;
        let Some(known): Option<Quality> = self.read_json(job, &quality::key(job)).await? else {
            return Err(missing(&row));
        };
        let mut renditions = Vec::with_capacity(known.renditions.len());
        for before in known.renditions {
            let report = row.assessed.get(&before.quality).map(|fact| &fact.event.report);
            let assessed = match report {
                Some(report) => self.read_json(job, &self.doors.blobs.resolve(&report.uri)?).await?,
                None => None,
            };
            renditions.push(assessed.unwrap_or(before));
        }
        if renditions.iter().any(|rendition: &RenditionQuality| !rendition.assessed) {
            let given_up = timeout(PATIENCE, self.given_up(job)).await.unwrap_or_default();
            for rendition in renditions.iter_mut().filter(|rendition| !rendition.assessed) {
                rendition.trouble = given_up.get(&rendition.quality).cloned();
                rendition.verdict = verdict::of(rendition);
            }
        }
        Ok(renditions)
    }

    /// Renditions of `job` that the stage gave up on, and why; none when the log does not say.
    async fn given_up(&self, job: JobId) -> HashMap<String, String> {
        let mut found = BTreeMap::new();
        let (topic, name) = (dead_letter::topic(ASSESS), job.to_string());
        let Ok(mut reader) = self.doors.log.tail(&[topic.as_str()], From::Beginning).await else {
            return HashMap::new();
        };
        while let Ok(Tailed::Records(records)) = reader.next().await {
            for record in records.iter().filter(|record| record.key.starts_with(name.as_bytes())) {
                match dead_letter::read(ASSESS, record) {
                    Entry::Letter(letter) => {
                        if let Ok(event) = wire::decode::<RenditionStitched>(&record.value) {
                            found.insert((letter.id.partition, letter.id.offset), (event.quality, letter.message));
                        }
                    }
                    Entry::Mark(partition, offset, _) => drop(found.remove(&(partition, offset))),
                }
            }
        }
        found.into_values().collect()
    }

    async fn read_json<T: serde::de::DeserializeOwned>(&self, job: JobId, key: &str) -> Result<Option<T>, Problem> {
        match self.doors.blobs.read(key).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(job, &error)),
            Err(blobs::Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn shown(&self, job: JobId, rendition: &RenditionQuality) -> Shown {
        let mut figures = match json!(rendition) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        figures.remove("table");
        let prefix = self.settings.public_path.trim_end_matches('/');
        Shown {
            figures,
            csv: format!("{prefix}/api/jobs/{job}/quality.csv?quality={}", rendition.quality),
            url: address(&self.settings.public_path, job, &rendition.quality),
        }
    }
}

fn missing(row: &JobRow) -> Problem {
    match row.ended.as_ref().map(|fact| fact.event.outcome) {
        None => Problem::not_ready("the quality of the video is known when it is ready"),
        Some(Outcome::Ready) => Problem::not_found("the quality of this video was not measured"),
        Some(_) => Problem::not_found("the job has not become a video, so there is no quality of it"),
    }
}

fn damaged(job: JobId, error: &dyn std::error::Error) -> Problem {
    tracing::error!(%job, %error, "the quality report cannot be read");
    Problem::internal("the quality report cannot be read")
}
