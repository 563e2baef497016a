//! What must hold when all faults are over: nothing lost, nothing twice, nothing left over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use connectors::log::{From, Record, Tailed};
use connectors::{Catalog, Doors, Log};
use pipeline::edge::events;
use pipeline::header::timing;
use schemas::event::{ChunkCut, ChunkTranscoded, JobEnded, Outcome, RenditionStitched, SourceProbed, UploadReceived};
use schemas::job::{JobEvent, JobRow};
use schemas::{Event, JobId, manifest, wire};
use tokio::time::{sleep, timeout};

use super::repeat::is_copy;
use super::{Counted, House, keys};

/// The stages, by input.
const STAGES: [(&str, &str); 8] = [
    ("probe", UploadReceived::TOPIC),
    ("split", SourceProbed::TOPIC),
    ("transcode", ChunkCut::TOPIC),
    ("stitch", ChunkTranscoded::TOPIC),
    ("illustrate", SourceProbed::TOPIC),
    ("caption", SourceProbed::TOPIC),
    ("classify", SourceProbed::TOPIC),
    ("assess", RenditionStitched::TOPIC),
];

/// Blobs of a job that its manifest does not name.
const OWN: [&str; 4] = ["source", "manifest.json", "manifest.live.json", "ledger.json"];

/// How long one look may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Groups with the topics that they read.
fn groups() -> Vec<(String, Vec<&'static str>)> {
    let stages = STAGES.iter().map(|(stage, input)| (format!("streamforge.{stage}"), vec![*input]));
    stages.chain([("streamforge.record".to_owned(), JobEvent::TOPICS.to_vec())]).collect()
}

/// Waits until every group has committed everything; says which has not.
pub async fn rest(log: &dyn Log, until: Instant) -> Result<(), String> {
    loop {
        let mut left = Vec::new();
        for (group, topics) in groups() {
            match log.progress(&group, &topics).await {
                Ok(all) => left.extend(all.into_iter().filter(|one| one.committed != one.end).map(|one| {
                    let at = one.at;
                    format!("{group} has come to {} of {} in {}[{}]", one.committed, one.end, at.topic, at.partition)
                })),
                Err(error) => left.push(format!("{group}: {error}")),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(format!("not everything was done: {}", left.join("; ")));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Everything in `topics`.
async fn read(log: &dyn Log, topics: &[&str]) -> Result<Vec<Record>, String> {
    let mut reader = log.tail(topics, From::Beginning).await.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    loop {
        match timeout(PATIENCE, reader.next()).await {
            Ok(Ok(Tailed::Records(records))) => all.extend(records),
            Ok(Ok(Tailed::CaughtUp)) => return Ok(all),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the log does not come to its end".to_owned()),
        }
    }
}

impl House {
    /// Looks at everything; answers what is wrong, and what was counted.
    pub async fn check(&self, doors: &Doors, until: Instant) -> Result<(Vec<String>, Counted), String> {
        let mut problems = self.ends(until).await;
        let records = read(&*doors.log, &JobEvent::TOPICS).await?;
        problems.extend(rows_are_the_fold(&records, &*doors.catalog).await?);
        problems.extend(published_once(&records));
        let chunks = read(&*doors.log, &[ChunkTranscoded::TOPIC]).await?;
        let counted = redone(&chunks);
        problems.extend(self.letters(until).await?);
        problems.extend(self.left_over(&records, doors).await?);
        Ok((problems, counted))
    }

    /// Every accepted upload has the end that its bytes deserve, and the bytes of an undisturbed run.
    async fn ends(&self, until: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        let offers = self.offers().clone();
        for offer in &offers {
            let (clip, Some(job)) = (&self.clips[offer.clip], &offer.job) else { continue };
            let wanted = match (offer.is_deleted, clip.is_good) {
                (true, _) => "deleted",
                (false, true) => "ready",
                (false, false) => "failed",
            };
            let found = offer.ended.as_ref().map_or("without an end", |(state, _)| state.as_str());
            if found != wanted {
                let why = self.json(&format!("/api/jobs/{job}/explain"), Instant::now() + PATIENCE).await;
                let why = why.map_or_else(|error| error, |why| why.to_string());
                problems.push(format!("{} {job} is {found}, it should be {wanted}: {why}", clip.name));
            }
            if found != "ready" {
                continue;
            }
            match self.output(job, until).await {
                Ok(output) => {
                    let bytes: BTreeMap<_, _> =
                        output.iter().map(|(quality, (hash, _))| (quality.clone(), hash.clone())).collect();
                    if bytes != clip.calm {
                        problems.push(format!("{} {job} is other than in an undisturbed run: {output:?}", clip.name));
                    }
                    if output.values().any(|(_, frames)| *frames != clip.frames) {
                        problems.push(format!("{} {job} has not {} frames: {output:?}", clip.name, clip.frames));
                    }
                }
                Err(error) => problems.push(format!("{} {job} is ready and cannot be fetched: {error}", clip.name)),
            }
        }
        problems
    }

    /// No stage gave up on anything but what is no video.
    async fn letters(&self, until: Instant) -> Result<Vec<String>, String> {
        let broken: BTreeSet<String> = {
            let offers = self.offers();
            let torn = offers.iter().filter(|offer| !self.clips[offer.clip].is_good);
            torn.filter_map(|offer| offer.job.clone()).collect()
        };
        let listed = self.json("/api/dlq?limit=1000", until).await?;
        let letters = listed["letters"].as_array().cloned().unwrap_or_default();
        Ok(letters
            .into_iter()
            // An upload whose answer was lost belongs to a clip that nobody can name; only probe may refuse it.
            .filter(|letter| !letter["job"].as_str().is_some_and(|job| broken.contains(job)))
            .filter(|letter| !(letter["stage"] == "probe" && letter["reason"] == self.torn_reason()))
            .map(|letter| format!("a dead letter that nothing explains: {letter}"))
            .collect())
    }

    /// Every blob belongs to a job that wants it.
    async fn left_over(&self, records: &[Record], doors: &Doors) -> Result<Vec<String>, String> {
        let open = doors.catalog.uploads(None, 200).await.map_err(|error| error.to_string())?;
        let mut problems: Vec<String> =
            open.items.iter().map(|intent| format!("the upload of {} never ended", intent.job)).collect();
        let rows = fold(records);
        let mut named: BTreeMap<JobId, BTreeSet<String>> = BTreeMap::new();
        for blob in doors.blobs.list("jobs/").await.map_err(|error| error.to_string())? {
            let mut parts = blob.key.splitn(3, '/').skip(1);
            let (Some(Ok(job)), Some(rest)) = (parts.next().map(str::parse::<JobId>), parts.next()) else {
                problems.push(format!("blob {} belongs to nothing", blob.key));
                continue;
            };
            let Some(row) = rows.get(&job) else {
                problems.push(format!("blob {} belongs to no job", blob.key));
                continue;
            };
            if row.deleted || row.ended.as_ref().is_some_and(|end| end.event.outcome == Outcome::Cancelled) {
                problems.push(format!("blob {} belongs to a job that nobody wants", blob.key));
                continue;
            }
            if let std::collections::btree_map::Entry::Vacant(entry) = named.entry(job) {
                let manifest = doors.blobs.read(&manifest::key(job)).await.unwrap_or_default();
                let mut keys = keys::named(&manifest);
                keys.extend(pictures(row));
                entry.insert(keys);
            }
            // Spans that have been heard, and captions of whatever model.
            let is_own = OWN.contains(&rest) || keys::is_about_quality(rest) || rest.starts_with("captions/");
            if !is_own && !named.get(&job).is_some_and(|keys| keys.contains(&blob.key)) {
                problems.push(format!("blob {} is named by no manifest and no picture", blob.key));
            }
        }
        Ok(problems)
    }
}

/// Keys of the pictures of `row`.
fn pictures(row: &JobRow) -> Vec<String> {
    let Some(event) = row.illustrated.as_ref().map(|fact| &fact.event) else { return Vec::new() };
    let posters = event.posters.iter().map(|picture| &picture.jpeg);
    let thumbnails = event.thumbnails.iter().map(|thumbnail| &thumbnail.picture.jpeg);
    let board = event.storyboard.iter().flat_map(|board| [&board.sprite, &board.cues]);
    let claims = posters.chain(thumbnails).chain(board);
    claims.filter_map(|claim| claim.uri.strip_prefix("blob:").map(str::to_owned)).collect()
}

/// The job rows that follow from the log.
fn fold(records: &[Record]) -> BTreeMap<JobId, JobRow> {
    let mut rows: BTreeMap<JobId, JobRow> = BTreeMap::new();
    for record in records {
        if let Ok(Some(event)) = events::read(record) {
            let job = event.job();
            let row = rows.entry(job).or_insert_with(|| JobRow::new(job));
            row.apply_made(event, Some(record.offset), Some(timing::of(record)));
        }
    }
    rows
}

async fn rows_are_the_fold(records: &[Record], catalog: &dyn Catalog) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    for (job, row) in fold(records) {
        let found = catalog.job(job).await.map_err(|error| error.to_string())?.map(|found| found.row);
        if found.as_ref() != Some(&row) {
            problems.push(format!("the row of {job} is {found:?} where the log says {row:?}"));
        }
        if !row.deleted && row.received.is_some() && row.ended.is_none() {
            problems.push(format!("{job} was received and has no end"));
        }
    }
    Ok(problems)
}

/// However often something was said, it was the same each time.
fn published_once(records: &[Record]) -> Vec<String> {
    let mut ends: BTreeMap<JobId, BTreeSet<String>> = BTreeMap::new();
    let mut renditions: BTreeMap<(JobId, String), BTreeSet<String>> = BTreeMap::new();
    let mut problems = Vec::new();
    for record in records {
        match record.at.topic.as_str() {
            JobEnded::TOPIC => match wire::decode::<JobEnded>(&record.value) {
                Ok(end) => drop(ends.entry(end.job).or_default().insert(format!("{end:?}"))),
                Err(error) => problems.push(format!("an end that cannot be read: {error}")),
            },
            RenditionStitched::TOPIC => match wire::decode::<RenditionStitched>(&record.value) {
                Ok(event) => {
                    let said = format!("{event:?}");
                    renditions.entry((event.job, event.quality)).or_default().insert(said);
                }
                Err(error) => problems.push(format!("a rendition that cannot be read: {error}")),
            },
            _ => {}
        }
    }
    problems.extend(
        ends.into_iter()
            .filter(|(_, said)| said.len() > 1)
            .map(|(job, said)| format!("{job} has {} ends: {said:?}", said.len())),
    );
    let twice = renditions.into_iter().filter(|(_, said)| said.len() > 1);
    problems.extend(twice.map(|((job, quality), said)| format!("{quality} of {job} was published twice: {said:?}")));
    problems
}

fn redone(chunks: &[Record]) -> Counted {
    let mut said: BTreeMap<(JobId, u32), u64> = BTreeMap::new();
    for record in chunks.iter().filter(|record| !is_copy(record)) {
        if let Ok(chunk) = wire::decode::<ChunkTranscoded>(&record.value) {
            *said.entry((chunk.job, chunk.index)).or_default() += 1;
        }
    }
    Counted { chunks: said.len() as u64, redone: said.values().map(|times| times - 1).sum() }
}
