//! What must hold, at every step or when everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use connectors::catalog::Decision;
use connectors::log::Record;
use pipeline::edge::events;
use pipeline::header::timing;
use schemas::event::{ChunkCut, ChunkTranscoded, JobEnded, Outcome, SourceProbed, UploadReceived};
use schemas::job::{JobEvent, JobRow};
use schemas::manifest::{self, Manifest, Track};
use schemas::quality::RenditionQuality;
use schemas::{Event, JobId, wire};
use sha2::{Digest, Sha256};

use super::broker::{Broker, Place};
use super::bucket::Bucket;
use super::engine::{Kind, Spec};
use super::tables::Tables;
use super::{World, locked};

/// What people outside know.
#[derive(Default)]
pub struct Outside {
    /// Uploads that were answered with success, in order.
    pub accepted: Vec<JobId>,
    /// Jobs of other producers, with whether their claim is good.
    pub produced: BTreeMap<JobId, bool>,
}

/// What must hold.
pub struct Checks {
    /// The world.
    pub world: Arc<World>,
    /// The log.
    pub broker: Arc<Broker>,
    /// The catalog.
    pub tables: Arc<Mutex<Tables>>,
    /// The blobs.
    pub bucket: Arc<Bucket>,
    /// What people outside know.
    pub outside: Mutex<Outside>,
}

/// The stages, by input.
const STAGES: [(&str, &str); 6] = [
    ("probe", UploadReceived::TOPIC),
    ("split", SourceProbed::TOPIC),
    ("transcode", ChunkCut::TOPIC),
    ("stitch", ChunkTranscoded::TOPIC),
    ("illustrate", SourceProbed::TOPIC),
    ("classify", SourceProbed::TOPIC),
];

impl Checks {
    /// A record's key as the trace shows it.
    pub fn key(&self, key: &[u8]) -> String {
        let text = String::from_utf8_lossy(key);
        let (job, rest) = text.split_once('/').map_or((text.as_ref(), ""), |(job, rest)| (job, rest));
        match job.parse() {
            Ok(job) => format!("{} {rest}", self.world.name(job)).trim_end().to_owned(),
            Err(_) => text.into_owned(),
        }
    }

    /// A group's offsets have moved: nothing unfinished may lie behind them.
    pub fn committed(&self, group: &str, moved: &[(Place, i64, i64)]) {
        for (place, before, after) in moved {
            if after < before {
                let at = self.broker.at(*place);
                self.world
                    .broken(format!("{group} went back from {before} to {after} in {}[{}]", at.topic, at.partition));
            }
            for record in self.broker.between(*place, *before, *after) {
                if !self.is_done(group, &record) {
                    self.world.broken(format!(
                        "{group} committed {after} in {}[{}] although {} at {} is not done",
                        record.at.topic,
                        record.at.partition,
                        self.key(&record.key),
                        record.offset
                    ));
                }
            }
        }
    }

    /// Whether everything that `group` had to do about `record` is done.
    fn is_done(&self, group: &str, record: &Record) -> bool {
        let Some(stage) = group.strip_prefix("streamforge.").filter(|stage| !stage.starts_with("record")) else {
            return !group.starts_with("streamforge.record") || self.is_folded(record);
        };
        if self.broker.is_buried(stage, &record.at, record.offset) {
            return true;
        }
        let value = &record.value;
        let (job, done) = match stage {
            "probe" => match wire::decode::<UploadReceived>(value) {
                Ok(event) => (event.job, self.broker.said(event.job, |said| said.probed)),
                Err(_) => return false,
            },
            "split" => match wire::decode::<SourceProbed>(value) {
                Ok(event) => {
                    let all =
                        self.broker.said(event.job, |said| said.total > 0 && said.cut.len() == said.total as usize);
                    (event.job, all)
                }
                Err(_) => return false,
            },
            "transcode" => match wire::decode::<ChunkCut>(value) {
                Ok(event) => (event.job, self.broker.said(event.job, |said| said.transcoded.contains(&event.index))),
                Err(_) => return false,
            },
            "stitch" => match wire::decode::<ChunkTranscoded>(value) {
                Ok(event) => (event.job, locked(&self.tables).chunks.contains_key(&(event.job, event.index))),
                Err(_) => return false,
            },
            "illustrate" => match wire::decode::<SourceProbed>(value) {
                // That the video is ready is no end of this.
                Ok(event) => return self.broker.said(event.job, |said| said.illustrated) || self.is_in_vain(event.job),
                Err(_) => return false,
            },
            "classify" => match wire::decode::<SourceProbed>(value) {
                Ok(event) => return self.broker.said(event.job, |said| said.classified) || self.is_in_vain(event.job),
                Err(_) => return false,
            },
            _ => return true,
        };
        done || self.is_over(job)
    }

    /// Whether nobody needs work for `job` any more.
    fn is_over(&self, job: JobId) -> bool {
        let tables = locked(&self.tables);
        tables.decisions.contains_key(&job)
            || tables.jobs.get(&job).is_some_and(|found| found.row.deleted)
            || self.broker.said(job, |said| said.cancelled || said.deleted)
    }

    /// Whether nobody will ever watch `job`.
    fn is_in_vain(&self, job: JobId) -> bool {
        let decided = locked(&self.tables).decisions.get(&job).map(|decision| decision.outcome);
        decided.map_or_else(|| self.is_over(job), |outcome| outcome != Outcome::Ready || self.is_deleted(job))
    }

    fn is_deleted(&self, job: JobId) -> bool {
        let is_tombstone = locked(&self.tables).jobs.get(&job).is_some_and(|found| found.row.deleted);
        is_tombstone || self.broker.said(job, |said| said.deleted || said.cancelled)
    }

    /// Whether the job's row has what `record` says.
    fn is_folded(&self, record: &Record) -> bool {
        let Ok(Some(event)) = events::read(record) else { return true };
        let row = locked(&self.tables).jobs.get(&event.job()).map(|found| found.row.clone());
        row.is_some_and(|row| {
            let mut again = row.clone();
            again.apply(event, Some(record.offset));
            again == row
        })
    }

    /// What still goes on, in words; nothing when all is at rest.
    pub fn unrest(&self) -> Option<String> {
        if let Some((group, at, count)) = self.broker.behind().first() {
            return Some(format!("{group} has {count} left in {at}"));
        }
        let uploads: Vec<JobId> = self.broker.records(UploadReceived::TOPIC).iter().filter_map(upload).collect();
        let tables = locked(&self.tables);
        if let Some(job) = tables.uploads.keys().next() {
            return Some(format!("the upload of {} is still intended", self.world.name(*job)));
        }
        if let Some(job) = tables.removals.keys().next() {
            return Some(format!("{} is still to be removed", self.world.name(*job)));
        }
        let is_over = |job: &JobId| {
            let row = tables.jobs.get(job).map(|found| &found.row);
            let said = self.broker.said(*job, |said| said.deleted || said.ended.is_some());
            said && row.is_some_and(|row| row.deleted || row.ended.is_some())
        };
        let open = uploads.iter().find(|job| !is_over(job));
        open.map(|job| format!("{} has no end", self.world.name(*job)))
    }

    /// Everything that must hold at rest.
    pub fn at_rest(&self) {
        self.rows_are_the_fold();
        self.nothing_is_left_over();
        self.dead_letters_are_explained();
        let uploads: BTreeSet<JobId> = self.broker.records(UploadReceived::TOPIC).iter().filter_map(upload).collect();
        for job in &locked(&self.outside).accepted {
            if !uploads.contains(job) {
                self.world.broken(format!("{} was accepted and is lost", self.world.name(*job)));
            }
        }
        for job in self.broker.jobs() {
            self.end_is_one(job);
        }
    }

    /// The job rows that follow from the log.
    fn fold(&self) -> BTreeMap<JobId, JobRow> {
        let mut rows: BTreeMap<JobId, JobRow> = BTreeMap::new();
        for record in JobEvent::TOPICS.iter().flat_map(|topic| self.broker.records(topic)) {
            if let Ok(Some(event)) = events::read(&record) {
                let job = event.job();
                rows.entry(job).or_insert_with(|| JobRow::new(job)).apply_made(
                    event,
                    Some(record.offset),
                    Some(timing::of(&record)),
                );
            }
        }
        rows
    }

    /// The catalog's rows equal the fold of the log.
    pub fn rows_are_the_fold(&self) {
        let (folded, tables) = (self.fold(), locked(&self.tables));
        let jobs: BTreeSet<&JobId> = folded.keys().chain(tables.jobs.keys()).collect();
        for job in jobs {
            let (row, fold) = (tables.jobs.get(job).map(|found| &found.row), folded.get(job));
            if row != fold {
                let name = self.world.name(*job);
                self.world.broken(format!("the row of {name} is {row:?} where the log says {fold:?}"));
            }
        }
    }

    fn nothing_is_left_over(&self) {
        let tables = locked(&self.tables);
        for key in self.bucket.keys() {
            let mut parts = key.split('/');
            let ("jobs", Some(Ok(job))) = (parts.next().unwrap_or_default(), parts.next().map(str::parse::<JobId>))
            else {
                continue;
            };
            let (name, rest) = (self.world.name(job), key.splitn(3, '/').nth(2).unwrap_or_default());
            match tables.jobs.get(&job).map(|found| &found.row) {
                None => self.world.broken(format!("{name} does not exist and has the blob {rest}")),
                Some(row) if row.deleted => self.world.broken(format!("{name} is deleted and has the blob {rest}")),
                Some(row) => {
                    let is_left_over = match row.ended.as_ref().map(|end| end.event.outcome) {
                        // These stay for whoever wants to know why it failed.
                        Some(Outcome::Failed) => !["source", "ledger.json"].contains(&rest),
                        Some(Outcome::Cancelled) => true,
                        Some(Outcome::Ready) | None => false,
                    };
                    if is_left_over {
                        self.world.broken(format!("{name} came to nothing and has the blob {rest}"));
                    }
                }
            }
        }
        for (job, index) in tables.chunks.keys() {
            if tables.jobs.get(job).is_none_or(|found| found.row.deleted) {
                self.world
                    .broken(format!("{} is gone and chunk {index} of it is not forgotten", self.world.name(*job)));
            }
        }
    }

    /// Whether `job` may fail: its own bytes, or its claim to them, are no good.
    fn may_fail(&self, job: JobId) -> bool {
        if let Some(good) = locked(&self.outside).produced.get(&job) {
            return !good;
        }
        let source = self.bucket.ever(&format!("{}source", manifest::prefix(job)));
        let spec = source.and_then(|bytes| Spec::read(&bytes));
        spec.is_some_and(|spec| matches!(spec.kind, Kind::Broken | Kind::Crashing))
    }

    fn dead_letters_are_explained(&self) {
        for (stage, input) in STAGES {
            for letter in self.broker.records(&format!("{stage}.dlq")) {
                let header = |name: &str| {
                    let found = letter.headers.iter().find(|(header, _)| header == name);
                    found.map_or_else(String::new, |(_, value)| String::from_utf8_lossy(value).into_owned())
                };
                let job = match input {
                    UploadReceived::TOPIC => wire::decode::<UploadReceived>(&letter.value).map(|event| event.job),
                    SourceProbed::TOPIC => wire::decode::<SourceProbed>(&letter.value).map(|event| event.job),
                    ChunkCut::TOPIC => wire::decode::<ChunkCut>(&letter.value).map(|event| event.job),
                    _ => wire::decode::<ChunkTranscoded>(&letter.value).map(|event| event.job),
                };
                let (reason, message) = (header("reason"), header("message"));
                // The bytes of a job that is cancelled go before every worker has heard of it.
                let is_called_off = |job: JobId| {
                    self.broker.said(job, |said| said.deleted || said.cancelled && reason == "missing_source")
                };
                // What cannot be read was put there by the script.
                if let Ok(job) = job
                    && !self.may_fail(job)
                    && !is_called_off(job)
                {
                    let name = self.world.name(job);
                    self.world
                        .broken(format!("{stage} gave up on {name} for no reason of its own: {reason}: {message}"));
                }
            }
        }
    }

    /// Decision, event and row agree; what is ready can be watched, every frame once.
    fn end_is_one(&self, job: JobId) {
        let name = self.world.name(job);
        let (said, deleted, cancelled) =
            self.broker.said(job, |said| (said.ended.clone(), said.deleted, said.cancelled));
        let (decision, row) = {
            let tables = locked(&self.tables);
            (tables.decisions.get(&job).cloned(), tables.jobs.get(&job).map(|found| found.row.clone()))
        };
        if let Some(end) = &said
            && decision.as_ref().is_none_or(|decision| event(job, decision) != *end)
        {
            self.world.broken(format!("{name} ended as {end:?} where {decision:?} was decided"));
        }
        let Some(row) = row.filter(|row| !row.deleted && !deleted) else { return };
        let Some(end) = row.ended.as_ref().map(|fact| &fact.event) else { return };
        if said.as_ref() != Some(end) {
            self.world.broken(format!("the row of {name} has {end:?} where the log says {said:?}"));
        }
        match end.outcome {
            Outcome::Ready if self.may_fail(job) => self.world.broken(format!("{name} is no video and is ready")),
            Outcome::Ready => self.can_be_watched(job, &row),
            Outcome::Failed if !self.may_fail(job) => {
                self.world.broken(format!("{name} failed for no reason of its own: {:?}", end.error));
            }
            Outcome::Cancelled if !cancelled => self.world.broken(format!("{name} was cancelled by nobody")),
            Outcome::Failed | Outcome::Cancelled => {}
        }
    }

    fn can_be_watched(&self, job: JobId, row: &JobRow) {
        let name = self.world.name(job);
        let bytes = self.bucket.get(&manifest::key(job)).unwrap_or_default();
        let hash = schemas::id::hex(&Sha256::digest(&bytes));
        let Ok(manifest) = serde_json::from_slice::<Manifest>(&bytes) else {
            return self.world.broken(format!("{name} is ready and has no manifest"));
        };
        let Some(received) = &row.received else { return self.world.broken(format!("{name} was never received")) };
        let source = received.event.source.uri.strip_prefix("blob:").and_then(|key| self.bucket.get(key));
        let Some(spec) = source.and_then(|bytes| Spec::read(&bytes)) else {
            return self.world.broken(format!("{name} is ready and its source is gone"));
        };
        for (quality, fact) in &row.renditions {
            if fact.event.manifest.sha256 != hash {
                self.world.broken(format!("{quality} of {name} claims another manifest than there is"));
            }
        }
        if manifest.renditions.len() != if spec.large { 2 } else { 1 }
            || row.renditions.len() != manifest.renditions.len()
        {
            self.world.broken(format!("{name} has {} renditions", manifest.renditions.len()));
        }
        for rendition in &manifest.renditions {
            self.is_whole(&name, &rendition.video, &rendition.quality, spec.frames);
            let parts = rendition.progressive.iter().flat_map(|file| &file.parts);
            for part in parts.clone() {
                let size = self.bucket.get(&part.key).map_or(0, |blob| blob.len() as u64);
                if part.offset + part.size > size {
                    self.world.broken(format!("the file of {name} needs bytes that {} does not have", part.key));
                }
            }
            if Some(parts.map(|part| part.size).sum()) != rendition.progressive.as_ref().map(|file| file.size) {
                self.world.broken(format!("the parts of the file of {name} do not add up"));
            }
        }
        for (quality, fact) in &row.assessed {
            let key = fact.event.report.uri.strip_prefix("blob:").and_then(|key| self.bucket.get(key));
            let report = key.and_then(|bytes| serde_json::from_slice::<RenditionQuality>(&bytes).ok());
            if report.is_none_or(|report| report.compared != Some(spec.frames) || !report.assessed) {
                self.world.broken(format!("{quality} of {name} was not compared with all of its source"));
            }
        }
        self.has_pictures(&name, row);
        let labels = row.classified.as_ref().map(|fact| &fact.event).filter(|event| event.reason.is_none());
        if labels.is_none_or(|event| event.labels.is_empty()) {
            self.world.broken(format!("{name} is ready and has no labels: {:?}", row.classified));
        }
        match &manifest.audio {
            Some(track) => self.is_whole(&name, track, "audio", (spec.frames * 40 * 48).div_ceil(1024)),
            None if spec.sound => self.world.broken(format!("{name} has lost its sound")),
            None => {}
        }
    }

    fn has_pictures(&self, name: &str, row: &JobRow) {
        let Some(event) = row.illustrated.as_ref().map(|fact| &fact.event).filter(|event| event.reason.is_none())
        else {
            return self.world.broken(format!("{name} is ready and has no pictures: {:?}", row.illustrated));
        };
        let claims = event.posters.iter().map(|picture| &picture.jpeg);
        let claims = claims.chain(event.storyboard.iter().flat_map(|board| [&board.sprite, &board.cues]));
        for claim in claims {
            let blob = claim.uri.strip_prefix("blob:").and_then(|key| self.bucket.get(key)).unwrap_or_default();
            if schemas::id::hex(&Sha256::digest(&blob)) != claim.sha256 {
                self.world.broken(format!("a picture of {name} is not what its event says: {}", claim.uri));
            }
        }
    }

    /// Reads a track back: every frame is there once, in order, in blobs that are what the manifest says.
    fn is_whole(&self, name: &str, track: &Track, quality: &str, frames: u64) {
        let mut next = 0;
        for piece in &track.pieces {
            let blob = self.bucket.get(&piece.key).unwrap_or_default();
            if blob.len() as u64 != piece.size || schemas::id::hex(&Sha256::digest(&blob)) != piece.sha256 {
                return self.world.broken(format!("{quality} of {name}: {} is not what the manifest says", piece.key));
            }
            for fragment in &piece.fragments {
                let (from, to) = (fragment.offset + u64::from(fragment.header), fragment.offset + fragment.size);
                let data = String::from_utf8_lossy(&blob[from as usize..to as usize]).into_owned();
                for line in data.lines() {
                    let mut words = line.split(' ');
                    if words.next() != Some(&next.to_string()) || words.next() != Some(quality) {
                        return self
                            .world
                            .broken(format!("{quality} of {name}: frame {next} is wanted, `{line}` is there"));
                    }
                    next += 1;
                }
            }
        }
        if next != frames {
            self.world.broken(format!("{quality} of {name} has {next} of {frames} frames"));
        }
    }
}

fn upload(record: &Record) -> Option<JobId> {
    wire::decode::<UploadReceived>(&record.value).ok().map(|event| event.job)
}

/// The event that a decision is published as.
fn event(job: JobId, decision: &Decision) -> JobEnded {
    let Decision { outcome, at, playable_at, error, warnings } = decision.clone();
    JobEnded { job, outcome, at, playable_at, error, warnings }
}
