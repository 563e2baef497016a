//! The whole house on real engines while everything in it dies: two edges, three workers, Kafka, Cassandra, S3, a stream of
//! small videos, and faults at moments that a seed draws.
//!
//! # Layout
//! - [`engines`]: Kafka, Cassandra and SeaweedFS of its own; [`fleet`]: edges and workers; [`relay`]: a wire that can be cut
//! - [`repeat`]: events that come three times; [`faults`]: what goes wrong; [`uploads`]: the videos
//! - [`check`]: what must hold afterwards; [`report`]: the table

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use connectors::clock::SystemClock;
use connectors::{Catalog, Doors, Log};
use pipeline::edge::sweep::Sweeper;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use dice::Dice;
use engines::Engines;
use faults::{Deck, NAMES};
use fleet::Process;
use proxy::{Fault as BadAnswer, Proxy};
use relay::Relay;
use repeat::Repeater;
use report::{Report, Suffered};
use uploads::{Clip, Offer, clips};

mod check;
#[allow(dead_code, reason = "the simulation uses the rest")]
#[path = "../sim/dice.rs"]
mod dice;
mod engines;
mod faults;
mod fleet;
#[path = "../e2e/keys.rs"]
mod keys;
#[path = "../../../connectors/tests/suite/ports.rs"]
mod ports;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/process.rs"]
mod process;
#[allow(dead_code, reason = "the bucket's own tests use the rest")]
#[path = "../../../connectors/tests/bucket/proxy.rs"]
mod proxy;
mod relay;
mod repeat;
mod report;
mod stops;
mod uploads;

/// A worker that says nothing for so long counts as gone.
const SESSION: Duration = Duration::from_secs(6);

/// How long everything may take to come to rest when the faults are over.
const SETTLE: Duration = Duration::from_secs(300);

/// How long the catalog is away when it is killed: in a short run, and in a long one.
const CATALOG_AWAY: [Duration; 2] = [Duration::from_secs(10), Duration::from_secs(60)];

/// A run of so much is a long one.
const LONG: Duration = Duration::from_secs(300);

/// Videos under way at most: a machine that is slow, or busy with other things, shall be late and not buried.
const UNDER_WAY: usize = 10;

/// Number of SIGSEGV.
const SEGMENTATION_FAULT: i32 = 11;

/// What is asked of a run.
pub struct Options {
    /// The program.
    pub binary: PathBuf,
    /// How long faults are thrown.
    pub lasts: Duration,
    /// Where chance begins.
    pub seed: u64,
}

/// What was counted in the log.
pub struct Counted {
    chunks: u64,
    redone: u64,
}

/// Everything that runs.
struct House {
    began: Instant,
    engines: Engines,
    /// Held while something that is there once has trouble, by its name.
    busy: BTreeMap<&'static str, Mutex<()>>,
    relay: Relay,
    catalog_away: Duration,
    is_full: Arc<AtomicBool>,
    log: Arc<dyn Log>,
    copies: Arc<AtomicU64>,
    edges: Vec<Mutex<Process>>,
    workers: Vec<Mutex<Process>>,
    /// Of the edges, without a slash at the end.
    addresses: Vec<String>,
    clips: Vec<Clip>,
    torn_reason: std::sync::OnceLock<String>,
    offers: std::sync::Mutex<Vec<Offer>>,
    http: reqwest::Client,
    turns: AtomicUsize,
    /// Processes that died of the Kafka client library.
    crashes: AtomicUsize,
    /// Before the S3 server.
    _proxy: Proxy,
    /// What all of it lies in.
    folder: tempfile::TempDir,
}

impl House {
    async fn build(options: &Options) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let engines = Engines::up(folder.path()).await?;
        let (behind, port) = engines.second_listener()?;
        let relay = Relay::between(port, behind.clone()).await?;
        let is_full = Arc::new(AtomicBool::new(false));
        let full = Arc::clone(&is_full);
        let proxy = Proxy::before(engines.s3()?, move |seen| {
            match matches!(seen.method.as_str(), "PUT" | "POST") && full.load(Ordering::SeqCst) {
                true => BadAnswer::Full,
                false => BadAnswer::Nothing,
            }
        });
        let proxy = proxy.await;
        let mut environment = engines.pipeline.clone();
        environment.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{}", proxy.address));
        environment.insert("STREAMFORGE_SESSION_TIMEOUT_S".to_owned(), SESSION.as_secs().to_string());
        let with = |more: &[(&str, String)]| -> BTreeMap<String, String> {
            let more = more.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            environment.clone().into_iter().chain(more).collect()
        };
        let process = |name: &str, arguments: &[&str], more: &[(&str, String)]| {
            Mutex::new(Process::new(name, &options.binary, arguments, with(more), folder.path()))
        };
        let ports = ports::free::<2>();
        let listens = ports.map(|port| format!("127.0.0.1:{port}"));
        let edges: Vec<_> =
            (0..2).map(|number| process(["e1", "e2"][number], &["edge", "--listen", &listens[number]], &[])).collect();
        let all = ["work", "--stages", "all", "--slots", "1"];
        let workers = vec![
            // Keeps its partitions over a restart.
            process("w1", &all, &[("STREAMFORGE_INSTANCE", "w1".to_owned())]),
            // Its wire can be cut.
            process("w2", &all, &[("STREAMFORGE_LOG", format!("kafka://127.0.0.1:{port}"))]),
            process("w3", &["work", "--stages", "transcode,probe", "--slots", "1"], &[]),
        ];
        let log: Arc<dyn Log> = Arc::new(engines.log().await?);
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().map_err(|e| e.to_string())?;
        let mut house = Self {
            began: Instant::now(),
            engines,
            busy: NAMES.map(|name| (name, Mutex::new(()))).into(),
            relay,
            catalog_away: CATALOG_AWAY[usize::from(options.lasts >= LONG)],
            is_full,
            log,
            copies: Arc::default(),
            edges,
            workers,
            addresses: listens.iter().map(|listen| format!("http://{listen}")).collect(),
            clips: clips(folder.path()).await?,
            torn_reason: std::sync::OnceLock::new(),
            offers: std::sync::Mutex::default(),
            http,
            turns: AtomicUsize::new(0),
            crashes: AtomicUsize::new(0),
            _proxy: proxy,
            folder,
        };
        for process in house.edges.iter_mut().chain(&mut house.workers) {
            process.get_mut().start(|| true).await?;
        }
        Ok(house)
    }

    fn say(&self, what: &str) {
        println!("{:>7.1} s  {what}", self.began.elapsed().as_secs_f64());
    }

    fn offers(&self) -> MutexGuard<'_, Vec<Offer>> {
        self.offers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy machine for every event, for as long as it lives.
    fn repeater(&self) -> Repeater {
        let topics = schemas::topic::all().iter().map(|topic| topic.name.clone()).collect();
        Repeater::new(Arc::clone(&self.log), topics, Arc::clone(&self.copies))
    }

    fn fill(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::SeqCst);
    }

    /// Why the torn clip is refused.
    fn torn_reason(&self) -> &str {
        self.torn_reason.get().map_or("", String::as_str)
    }

    fn wish(&self, clip: usize, is_deleted: bool) -> usize {
        let mut offers = self.offers();
        let offered = Instant::now();
        offers.push(Offer { clip, offered, refusals: 0, job: None, accepted: None, ended: None, is_deleted });
        offers.len() - 1
    }

    /// Every clip once while nothing goes wrong: what later runs are compared with. Answers how long a good one takes.
    async fn calm(&mut self) -> Result<Duration, String> {
        let mut longest = Duration::ZERO;
        for clip in 0..self.clips.len() {
            let (place, until) = (self.wish(clip, false), Instant::now() + Duration::from_secs(60));
            self.upload(place, Dice::new(0), until).await;
            let offer = self.offers()[place].clone();
            let Some((job, (state, at))) = offer.job.zip(offer.ended) else {
                return Err(format!("{} has no end although nothing goes wrong", self.clips[clip].name));
            };
            if self.clips[clip].is_good {
                if state != "ready" {
                    return Err(format!("{} is {state} although nothing goes wrong", self.clips[clip].name));
                }
                longest = longest.max(at - offer.offered);
                let output = self.output(&job, until).await?;
                self.clips[clip].calm = output.into_iter().map(|(quality, (hash, _))| (quality, hash)).collect();
            } else {
                let view = self.json(&format!("/api/jobs/{job}"), until).await?;
                let _ = self.torn_reason.set(view["error"]["code"].as_str().unwrap_or_default().to_owned());
            }
        }
        Ok(longest)
    }

    /// Starts again what died of a segmentation fault, as a supervisor does: when brokers come back, the Kafka client library
    /// (librdkafka 2.12.1, `rd_kafka_metadata_update_op`) reads partitions that it has not written, now and then. Nothing may be
    /// lost by that either; how often it happened stands in the report.
    async fn revive(&self) -> Result<(), String> {
        for process in self.edges.iter().chain(&self.workers) {
            let Ok(mut process) = process.try_lock() else { continue };
            if process.ended().is_some_and(|status| status.signal() == Some(SEGMENTATION_FAULT)) {
                self.say(&format!("{} died of a segmentation fault", process.name));
                self.crashes.fetch_add(1, Ordering::Relaxed);
                process.kill().await;
                process.start(|| self.are_doors_open()).await?;
            }
        }
        Ok(())
    }

    /// Processes that ended although nobody killed them.
    fn dead(&self) -> Vec<String> {
        let all = self.edges.iter().chain(&self.workers);
        let free = all.filter_map(|process| process.try_lock().ok());
        let ended = free.filter_map(|mut process| process.ended().map(|_| process));
        ended.map(|one| format!("{} ended by itself: {}", one.name, process::tail(&one.log()))).collect()
    }
}

/// Runs it. An error means that it could not be tried; what went wrong in the house stands in the report.
pub async fn run(options: Options) -> Result<Report, String> {
    let mut house = House::build(&options).await?;
    house.say("everything runs");
    let calm = house.calm().await?;
    house.say(&format!("an undisturbed video takes {:.1} s", calm.as_secs_f64()));
    let stops = house.stops(house.folder.path(), &house.engines.blobs().await?).await?;
    for (what, took) in &stops {
        house.say(&format!(
            "{what}: after {:.2} s nothing works on a film and nothing of it is left",
            took.as_secs_f64()
        ));
    }
    let mut house = Arc::new(house);
    let mut report = Report { seed: options.seed, calm, stops, ..Report::default() };
    let began = Instant::now();
    let over = began + options.lasts;
    let settled = over + SETTLE;
    let mut uploads = JoinSet::new();
    let mut strikes: JoinSet<Result<Option<Suffered>, String>> = JoinSet::new();
    let (mut deck, mut dice) = (Deck::new(options.seed), Dice::new(options.seed ^ 0x0ff3));
    let mut strike = deck.draw();
    let (mut next_strike, mut next_upload) = (began + Duration::from_secs(2), began);
    while Instant::now() < over {
        let under_way = house.offers().iter().filter(|offer| offer.ended.is_none()).count();
        if Instant::now() >= next_upload && under_way < UNDER_WAY {
            // Of twelve videos one is torn and one is deleted under way.
            let (clip, kind) = (dice.index(house.clips.len() - 1), dice.index(12));
            let clip = if kind == 0 { house.clips.len() - 1 } else { clip };
            let place = house.wish(clip, kind == 1);
            let (own, at) = (Arc::clone(&house), Dice::new(dice.draw()));
            uploads.spawn(async move { own.upload(place, at, settled).await });
            next_upload = Instant::now() + Duration::from_millis(dice.within(2_000..5_000));
        }
        if Instant::now() >= next_strike {
            let own = Arc::clone(&house);
            strikes.spawn(async move { own.suffer(strike).await });
            strike = deck.draw();
            next_strike = Instant::now() + strike.after;
        }
        while let Some(struck) = strikes.try_join_next() {
            // What has trouble already is left alone, and another fault comes instead.
            if report.note(struck) {
                next_strike = Instant::now();
            }
        }
        house.revive().await?;
        let dead = house.dead();
        if !dead.is_empty() {
            report.problems.extend(dead);
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    house.say("no more faults");
    while let Some(struck) = strikes.join_next().await {
        report.note(struck);
    }
    report.took = began.elapsed();
    house.say("everything runs again");
    while !uploads.is_empty() {
        house.revive().await?;
        let _ = timeout(Duration::from_millis(500), uploads.join_next()).await;
    }
    house.revive().await?;
    report.problems.extend(house.dead());
    let log: Arc<dyn Log> = Arc::new(house.engines.log().await?);
    let catalog: Arc<dyn Catalog> = Arc::new(house.engines.catalog().await?);
    let doors = Doors { log, catalog, blobs: house.engines.blobs().await?, clock: Arc::new(SystemClock) };
    report.problems.extend(check::rest(&*doors.log, settled).await.err());
    // Nothing arrives any more, so what edges left half done when they died is dead.
    let sweeper = Sweeper { owner: "the end".to_owned(), is_alone: true };
    sweeper.sweep(&doors).await.map_err(|error| format!("sweep: {error:?}"))?;
    report.problems.extend(check::rest(&*doors.log, settled).await.err());
    house.say("everything is at rest");
    let (problems, counted) = house.check(&doors, settled + SETTLE).await?;
    report.problems.extend(problems);
    report.crashes = house.crashes.load(Ordering::Relaxed);
    (report.chunks, report.redone, report.copies) =
        (counted.chunks, counted.redone, house.copies.load(Ordering::SeqCst));
    report.offers = house.offers().clone();
    if let Some(house) = Arc::get_mut(&mut house) {
        for process in house.workers.iter_mut().chain(&mut house.edges) {
            report.problems.extend(process.get_mut().stop(Duration::from_secs(45)).await.err());
        }
    }
    Ok(report)
}
