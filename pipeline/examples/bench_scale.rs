//! What more workers bring, on real engines: throughput of one to four workers that get a quarter of a core each, how much
//! of a job's time is not media work, and how long a worker takes from its start to its first chunk.
//!
//! `WINDOW` says how many seconds each number of workers is measured (25), `PASSES` how often (2: up and down again).

#[path = "bench/fleet.rs"]
mod fleet;
#[path = "bench/quota.rs"]
mod quota;
#[path = "bench/seen.rs"]
mod seen;
#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fleet::{Place, Process};
use quota::Limiter;
use schemas::event::Outcome as JobOutcome;
use seen::{Moment, Watch, covered, lines, media_work, moment, now, overlap};
use server::{Outcome, ffmpeg, median, upload_to, whole_cpu_seconds, word};

/// What a limited worker gets.
const PART: f64 = 0.25;
const MOST_WORKERS: usize = 4;
/// Chunks that wait at least when a number of workers is measured.
const BACKLOG: usize = 80;
/// Starts of workers that are measured.
const STARTS: usize = 3;

/// Film-like: slow detail everywhere, a moving foreground, grain. All ten seconds are alike, so that a chunk costs the same
/// wherever it lies.
struct Films {
    /// Ten seconds.
    clip: PathBuf,
    /// Ten minutes with sound.
    ten_minutes: PathBuf,
    /// Twenty minutes without.
    long: PathBuf,
}

impl Films {
    fn make(folder: &Path) -> Outcome<Self> {
        let at = |name: &str| folder.join(name);
        let films = Self { clip: at("clip.mp4"), ten_minutes: at("ten.mp4"), long: at("long.mp4") };
        let picture = "mandelbrot=size=640x360:rate=24:maxiter=600:start_scale=2.5:end_scale=0.05:end_pts=240,\
                       noise=alls=7:allf=t,format=yuv420p,trim=duration=10";
        let encode = "-c:v libx264 -preset veryfast -b:v 1200k -g 48 -keyint_min 48 -sc_threshold 0 -bf 2 -f mp4";
        let encode: Vec<&str> = encode.split(' ').collect();
        ffmpeg(&[&["-f", "lavfi", "-i", picture], encode.as_slice()].concat(), &films.clip)?;
        let clip = films.clip.to_str().ok_or("an unreadable folder")?;
        let again = |times: &'static str| ["-stream_loop", times, "-i", clip];
        let sound = ["-f", "lavfi", "-i", "anoisesrc=color=pink:amplitude=0.2:duration=600"];
        let join = ["-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", "-b:a", "96k", "-f", "mp4"];
        ffmpeg(&[again("59").as_slice(), &sound, &join].concat(), &films.ten_minutes)?;
        ffmpeg(&[again("119").as_slice(), &["-c", "copy", "-f", "mp4"]].concat(), &films.long)?;
        Ok(films)
    }
}

/// Everything that is at hand while it is measured.
struct Bench<'a> {
    place: &'a Place,
    limiter: &'a Limiter,
    films: Films,
    edge: Process,
    watch: Watch,
}

impl Bench<'_> {
    /// Uploads; answers the job and when its upload was acknowledged.
    async fn upload(&self, film: &Path) -> Outcome<(String, Moment)> {
        let job = upload_to(&self.edge.url, film).await?;
        Ok((job, now()))
    }

    /// Waits for a job's end; answers when that was in the log.
    async fn ready(&self, job: &str) -> Outcome<Moment> {
        let ended = self.watch.until("a job ends", |seen| {
            seen.ends.iter().find(|(id, ..)| id == job).map(|(_, at, end)| (*at, end.clone()))
        });
        let (at, end) = ended.await?;
        if end.outcome == JobOutcome::Ready { Ok(at) } else { Err(format!("the job ended so: {end:?}").into()) }
    }

    /// A job alone on the machine, with a slot for each core: in one process, or as where the edge has a machine of its own.
    async fn whole_job(&self, is_apart: bool) -> Outcome<()> {
        let (name, arguments) = if is_apart {
            ("apart", ["work", "--stages", "all"])
        } else {
            ("together", ["up", "--listen", "127.0.0.1:0"])
        };
        let worker = self.place.start(name, name, &arguments, None)?;
        let edge = if is_apart { &self.edge.url } else { &worker.url };
        // The engines and the worker's connections have worked before, as those of a system that runs.
        self.ready(&upload_to(edge, &self.films.clip).await?).await?;
        let job = upload_to(edge, &self.films.ten_minutes).await?;
        let acknowledged = now();
        let ready = self.ready(&job).await?;
        let work = media_work(&worker.said());
        // The clip's and then the film's.
        let copies = lines(&worker.said(), "made a copy on this machine");
        let copy = |field: &str| copies.last().and_then(|line| line.fields[field].as_u64()).unwrap_or(0);
        let slots = lines(&worker.said(), if is_apart { "working" } else { "serving" })
            .first()
            .and_then(|line| line.fields["slots"].as_u64())
            .unwrap_or(1);
        worker.stop()?;
        let work: Vec<_> = work.into_iter().filter(|(_, (began, _))| *began >= acknowledged).collect();
        let all: Vec<_> = work.iter().map(|(_, time)| *time).collect();
        let edges = |is_wanted: &dyn Fn(&str) -> bool| -> (Moment, Moment) {
            let wanted = work.iter().filter(|(name, _)| is_wanted(name)).map(|(_, time)| *time);
            wanted.fold((f64::MAX, f64::MIN), |all, time| (all.0.min(time.0), all.1.max(time.1)))
        };
        let (probe, encode) = (edges(&|name| name == "probe"), edges(&|name| name != "probe"));
        let wall = ready - acknowledged;
        let other = wall - covered(&all, acknowledged, ready);
        let busy: f64 = work.iter().filter(|(name, _)| name != "probe").map(|(_, time)| time.1 - time.0).sum();
        let idle = 1.0 - busy / (slots as f64 * (encode.1 - encode.0));
        let ms = |seconds: f64| seconds * 1e3;
        println!(
            "a job of ten minutes, alone, {slots} slots, edge and worker {name}: {wall:.2} s from the answer to the upload to \
             `job.ended`"
        );
        println!(
            "  no media process at work: {:.0} ms, {:.2} % of it (goal: at most 1 %: {})",
            ms(other),
            other / wall * 100.0,
            word(other <= wall * 0.01)
        );
        println!(
            "  of that before the probe {:.0} ms ({} ms to copy the source, {} ms of it until its bytes were there), from \
             there to the first chunk {:.0} ms, between chunks {:.0} ms, after the last chunk {:.0} ms",
            ms(probe.0 - acknowledged),
            copy("took_ms"),
            copy("fetched_ms"),
            ms(encode.0 - probe.1),
            ms(encode.1 - encode.0 - covered(&all, encode.0, encode.1)),
            ms(ready - encode.1)
        );
        println!("  slots without media work while chunks were encoded: {:.2} %", idle * 100.0);
        Ok(())
    }

    /// Starts a worker where chunks wait; prints how long it takes to begin one.
    async fn start_ups(&self, beside: &str) -> Outcome<()> {
        let (mut wholes, mut rebalances, mut rests) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..STARTS {
            let name = format!("start-{}-{number}", beside.len());
            let worker = self.place.start(&name, "fleet", &["work", "--stages", "transcode"], None)?;
            let pid = worker.pid();
            let begun = self.watch.until("a worker begins a chunk", |seen| {
                seen.running.iter().find(|(other, _)| *other == pid).map(|(_, at)| *at)
            });
            let (begun, spawned, said) = (begun.await?, moment(worker.spawned), worker.said());
            let first = |message: &str| lines(&said, message).first().map(|line| line.at).ok_or("no such line");
            let rebalance = first("gained partitions")? - first("joined the group")?;
            wholes.push(begun - spawned);
            rebalances.push(rebalance);
            rests.push(begun - spawned - rebalance);
            worker.stop()?;
        }
        let (whole, rebalance, rest) = (median(&mut wholes), median(&mut rebalances), median(&mut rests));
        println!(
            "start of a worker {beside}, median of {STARTS}: {whole:.2} s to its first chunk, {rebalance:.2} s of it the \
             group's rebalance, {rest:.2} s the rest (goal 3 s: {})",
            word(rest <= 3.0)
        );
        Ok(())
    }

    /// Sees to it that enough chunks wait.
    async fn fill(&self) -> Outcome<()> {
        if self.watch.seen().left() < BACKLOG {
            self.upload(&self.films.long).await?;
            self.watch.until("chunks wait", |seen| (seen.left() >= BACKLOG).then_some(())).await?;
        }
        Ok(())
    }
}

/// What a number of workers did in the steady state.
struct Steady {
    rate: f64,
    /// Chunks that fell into it, in parts.
    chunks: f64,
    /// Cores that one of them used, on average.
    used: f64,
    /// Part of the time in which a worker had no chunk in hand.
    idle: f64,
    /// Cores that the other roles used.
    roles: f64,
    /// Cores that engines and all else used.
    rest: f64,
}

/// Limited workers.
struct Crew<'a> {
    bench: &'a Bench<'a>,
    stages: &'a Process,
    workers: Vec<Process>,
    started: usize,
}

impl Crew<'_> {
    async fn scale_to(&mut self, count: usize) -> Outcome<()> {
        while self.workers.len() < count {
            let name = format!("worker-{}", self.started);
            self.started += 1;
            let quota = self.bench.limiter.limit(&name, PART)?;
            let arguments = ["work", "--stages", "transcode", "--slots", "1"];
            self.workers.push(self.bench.place.start(&name, "fleet", &arguments, Some(quota))?);
        }
        while self.workers.len() > count {
            self.workers.pop().map_or(Ok(()), Process::stop)?;
        }
        Ok(())
    }

    fn pids(&self) -> Vec<u32> {
        self.workers.iter().map(Process::pid).collect()
    }

    /// Seconds of processor time so far: of all workers, of the other roles, of the whole machine.
    fn spent(&self) -> Outcome<[f64; 4]> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        let first: Vec<f64> =
            stat.lines().next().unwrap_or_default().split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
        // User, nice, system; then idle and waiting, which are none; then interrupts. Guests are in user already.
        let all = [0, 1, 2, 5, 6].iter().filter_map(|at| first.get(*at)).sum::<f64>() / 100.0;
        let workers = self.workers.iter().map(|worker| whole_cpu_seconds(worker.pid())).sum();
        let roles = [self.stages, &self.bench.edge].map(|role| whole_cpu_seconds(role.pid())).iter().sum();
        Ok([now(), workers, roles, all])
    }

    /// Measures from when each worker has done a first chunk, while chunks wait for all of them.
    async fn steady(&mut self, count: usize, window: f64) -> Outcome<Steady> {
        self.scale_to(count).await?;
        self.bench.fill().await?;
        let (watch, pids, since) = (&self.bench.watch, self.pids(), now());
        let all_first = watch.until("every worker has finished a chunk", |seen| {
            let ends: Option<Vec<Moment>> = pids.iter().map(|pid| seen.first_end(*pid, since)).collect();
            ends.map(|ends| ends.into_iter().fold(0.0, f64::max))
        });
        let from = all_first.await?;
        let before = self.spent()?;
        let to = from + window;
        tokio::time::sleep(std::time::Duration::from_secs_f64((to - now()).max(0.0))).await;
        let after = self.spent()?;
        // Chunks that reach beyond the end count in part, so they have to be known.
        let done = |seen: &seen::Seen| pids.iter().all(|pid| seen.has_ended_one(*pid, to)).then_some(());
        watch.until("every worker has finished its chunk", done).await?;
        let seen = watch.seen();
        if seen.left() < count {
            return Err("there were too few chunks to keep every worker at work".into());
        }
        let frames: f64 = pids.iter().map(|pid| seen.frames(*pid, from, to)).sum();
        let busy: f64 = pids.iter().map(|pid| seen.busy(*pid, from, to)).sum();
        let chunks =
            seen.chunks.iter().map(|one| overlap((one.began, one.ended), (from, to)) / (one.ended - one.began));
        let took = after[0] - before[0];
        let cores = |at: usize| (after[at] - before[at]) / took;
        Ok(Steady {
            rate: frames / window,
            chunks: chunks.sum(),
            used: cores(1) / count as f64,
            idle: 1.0 - busy / (window * count as f64),
            roles: cores(2),
            rest: cores(3) - cores(1) - cores(2),
        })
    }
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Goes up and down between one worker and the most.
async fn scale(bench: &Bench<'_>, stages: &Process) -> Outcome<()> {
    let (window, passes) = (number("WINDOW", 25), number("PASSES", 2));
    println!(
        "throughput in the steady state, {window} s each, in frames of 640x360; left out: the start, until every worker"
    );
    println!(
        "has done a chunk after the last change, and the end, by always having {BACKLOG} chunks or more waiting before"
    );
    println!(
        " k   frames/s  chunks    idle  cores: a worker  edge, probe, split, stitch  engines and the rest  frames/s a core"
    );
    let mut crew = Crew { bench, stages, workers: Vec::new(), started: 0 };
    let mut rates: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for pass in 0..passes {
        for step in 1..=MOST_WORKERS {
            let count = if pass % 2 == 0 { step } else { MOST_WORKERS + 1 - step };
            let steady = crew.steady(count, window as f64).await?;
            println!(
                " {count} {:>10.1} {:>7.1} {:>5.1} % {:>16.3} {:>27.3} {:>21.3} {:>16.1}",
                steady.rate,
                steady.chunks,
                steady.idle * 100.0,
                steady.used,
                steady.roles,
                steady.rest,
                steady.rate / (steady.used * count as f64)
            );
            rates.entry(count).or_default().push(steady.rate);
        }
    }
    let mut one = f64::NAN;
    println!(" k   median frames/s   x of one   of k (goal 0.95)");
    for (count, rates) in &mut rates {
        // Of an even number the mean of the two in the middle.
        rates.sort_by(f64::total_cmp);
        let middle = (rates[(rates.len() - 1) / 2] + rates[rates.len() / 2]) / 2.0;
        if *count == 1 {
            one = middle;
        }
        let ratio = middle / one;
        println!(
            " {count} {middle:>17.1} {ratio:>10.3} {:>10.3}  {}",
            ratio / *count as f64,
            word(ratio >= 0.95 * *count as f64)
        );
    }
    crew.scale_to(1).await?;
    bench.start_ups("beside another").await?;
    crew.scale_to(0).await
}

async fn measure(place: &Place, limiter: &Limiter) -> Outcome<()> {
    let films = Films::make(place.folder.path())?;
    let edge = place.start("edge", "edge", &["edge", "--listen", "127.0.0.1:0"], None)?;
    let watch = Watch::start(&place.log().await?).await?;
    let bench = Bench { place, limiter, films, edge, watch };
    bench.whole_job(false).await?;
    bench.whole_job(true).await?;
    let stages = place.start("stages", "stages", &["work", "--stages", "probe,split,stitch"], None)?;
    bench.fill().await?;
    bench.start_ups("alone").await?;
    scale(&bench, &stages).await?;
    stages.stop()
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let limiter = Limiter::find()?;
    println!("a worker gets {PART} of a core, its media processes included, by {}", limiter.name());
    let place = Place::new()?;
    let measured = measure(&place, &limiter).await;
    let cleaned = place.clean_up().await;
    measured.and(cleaned)
}
