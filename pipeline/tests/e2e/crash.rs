//! SIGKILL at random moments: started again, the server finishes the job as if nothing had happened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use connectors::clock::SystemClock;
use connectors::log::embedded::Embedded;
use connectors::log::{From, Log, Tailed};
use schemas::JobId;
use schemas::event::{ChunkTranscoded, Event};
use serde_json::Value;

use crate::client::{Api, files_below, is_source};
use crate::clip;
use crate::keys;
use crate::playback;
use crate::server::Server;

/// Kills in one test.
const KILLS: u64 = 20;

/// Longest wait for a job after a restart.
const PATIENCE: Duration = Duration::from_secs(90);

/// The bytes of each quality.
type Output = BTreeMap<String, Vec<u8>>;

/// A server on data of its own, the clip, and what an undisturbed run makes of it.
struct Bench {
    _folder: tempfile::TempDir,
    file: PathBuf,
    data: PathBuf,
    server: Server,
    calm: Output,
    usual: Duration,
    /// Kills that each job has lived through.
    kills: BTreeMap<String, usize>,
}

impl Bench {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = clip::plain(folder.path(), "clip.mp4", 640, 360, 24.0).await.unwrap();
        let data = folder.path().join("data");
        let server = Server::start(&data).await;
        let api = Api::new(&server.url);
        let upload = api.upload(&file).await.unwrap();
        let job = api.ready(&upload.id, PATIENCE).await.unwrap();
        let usual = upload.since.elapsed();
        let calm = output(&api, &job).await.unwrap();
        println!("undisturbed: {:.2} s, {} bytes", usual.as_secs_f64(), calm.values().map(Vec::len).sum::<usize>());
        Self { _folder: folder, file, data, server, calm, usual, kills: BTreeMap::from([(upload.id, 0)]) }
    }

    async fn upload(&mut self) -> String {
        let upload = Api::new(&self.server.url).upload(&self.file).await.unwrap();
        self.kills.insert(upload.id.clone(), 0);
        upload.id
    }

    /// Lets the server work for `moment`, kills it and starts it again.
    async fn kill(&mut self, id: &str, moment: Duration) {
        tokio::time::sleep(moment).await;
        let job = Api::new(&self.server.url).job(id).await.unwrap_or_default();
        self.server.kill().await;
        self.server = Server::start(&self.data).await;
        if let Some(kills) = self.kills.get_mut(id) {
            *kills += 1;
        }
        println!("{id}: killed after {:>5} ms at progress {}", moment.as_millis(), job["progress"]);
    }

    /// Waits until the job is ready; a problem when its bytes are others than those of the undisturbed run.
    async fn outcome(&self, id: &str) -> Result<(), String> {
        let api = Api::new(&self.server.url);
        let job = api.ready(id, PATIENCE).await?;
        let found = output(&api, &job).await?;
        match found == self.calm {
            true => Ok(()),
            false => Err(format!("the output of {id} differs: {}", difference(&self.calm, &found))),
        }
    }

    /// Looks at what lies on the disk when nothing runs any more.
    async fn close(mut self, mut problems: Vec<String>) {
        self.server.kill().await;
        problems.extend(repeats(&self.data, &self.kills).await);
        problems.extend(orphans(&self.data, &self.kills));
        crate::report(&problems);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_finishes_its_job_as_if_nothing_had_happened() {
    let _turn = crate::turn().await;
    let mut bench = Bench::start().await;
    let mut dice = crate::Dice::new(20);
    let mut problems = Vec::new();
    for _ in 0..KILLS {
        let id = bench.upload().await;
        let moment = Duration::from_millis(dice.below(bench.usual.as_millis() as u64));
        bench.kill(&id, moment).await;
        problems.extend(bench.outcome(&id).await.err());
    }
    bench.close(problems).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_job_lives_through_kill_after_kill() {
    let _turn = crate::turn().await;
    let mut bench = Bench::start().await;
    let mut dice = crate::Dice::new(21);
    let id = bench.upload().await;
    // Far from the number of crashes after which work is given up.
    for _ in 0..7 {
        let moment = Duration::from_millis(dice.below(bench.usual.as_millis() as u64 / 2));
        bench.kill(&id, moment).await;
    }
    let problems = bench.outcome(&id).await.err().into_iter().collect();
    bench.close(problems).await;
}

/// The progressive file of each quality.
async fn output(api: &Api, job: &Value) -> Result<Output, String> {
    let id = job["id"].as_str().ok_or("a job without an id")?;
    let mut output = Output::new();
    for rendition in job["renditions"].as_array().into_iter().flatten() {
        let quality = rendition["quality"].as_str().ok_or("a rendition without a name")?;
        output.insert(quality.to_owned(), api.bytes(&playback::progressive_path(id, quality), None).await?);
    }
    Ok(output)
}

fn difference(calm: &Output, found: &Output) -> String {
    for (quality, bytes) in calm {
        let Some(other) = found.get(quality) else { return format!("{quality} is missing") };
        if bytes != other {
            let at = bytes.iter().zip(other).position(|(one, other)| one != other);
            return format!(
                "{quality} has {} bytes instead of {}, first other byte at {at:?}",
                other.len(),
                bytes.len()
            );
        }
    }
    "more qualities than before".to_owned()
}

/// Chunks that were finished more than once: at most one for each slot of the worker and each kill.
async fn repeats(data: &Path, kills: &BTreeMap<String, usize>) -> Vec<String> {
    let slots = std::thread::available_parallelism().map_or(1, usize::from);
    let log = Embedded::open(&data.join("log.redb"), Arc::new(SystemClock)).unwrap();
    let mut reader = log.tail(&[ChunkTranscoded::TOPIC], From::Beginning).await.unwrap();
    let mut finished: BTreeMap<JobId, Vec<u32>> = BTreeMap::new();
    while let Tailed::Records(records) = reader.next().await.unwrap() {
        for record in records {
            let chunk: ChunkTranscoded = schemas::wire::decode(&record.value).unwrap();
            finished.entry(chunk.job).or_default().push(chunk.index);
        }
    }
    let mut problems = Vec::new();
    let mut again = 0;
    for (job, mut chunks) in finished {
        let all = chunks.len();
        chunks.sort_unstable();
        chunks.dedup();
        again += all - chunks.len();
        if all > chunks.len() + slots * kills.get(&job.to_string()).copied().unwrap_or(0) {
            problems.push(format!(
                "{} of {} chunks of job {job} were finished again",
                all - chunks.len(),
                chunks.len()
            ));
        }
    }
    println!("{again} chunks were finished again after {} kills, {slots} slots", kills.values().sum::<usize>());
    problems
}

/// Files in the blob store that belong to nothing.
fn orphans(data: &Path, kills: &BTreeMap<String, usize>) -> Vec<String> {
    let blobs = data.join("blobs");
    let jobs: Vec<&String> = kills.keys().collect();
    let mut known = BTreeSet::new();
    for job in &jobs {
        let folder = blobs.join("jobs").join(job);
        for name in ["manifest.json", "manifest.live.json", "ledger.json"] {
            known.insert(folder.join(name));
        }
        let manifest = std::fs::read(folder.join("manifest.json")).unwrap_or_default();
        known.extend(keys::named(&manifest).into_iter().map(|key| blobs.join(key)));
    }
    let is_orphan = |file: &Path| {
        let is_job = jobs.iter().any(|job| file.starts_with(blobs.join("jobs").join(job)));
        let is_beside = is_source(file) || keys::is_about_quality(&file.to_string_lossy());
        !(known.contains(file) || is_job && is_beside)
    };
    let files = files_below(&blobs);
    println!("{} files in the blob store for {} jobs", files.len(), jobs.len());
    files
        .into_iter()
        .filter(|(file, _)| is_orphan(file))
        .map(|(file, size)| format!("orphan {} ({size} bytes)", file.display()))
        .collect()
}
