//! A release binary that serves while a benchmark looks at it, and what the system says about processes.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What benchmarks end with.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Clock ticks a second in `/proc/<pid>/stat`; Linux shows this one to every program.
const TICKS: f64 = 100.0;

/// One client for all: a new one reads the certificates of this machine, which costs the processor more than an answer does.
static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);

/// A running `streamforge up` on a folder of its own.
pub struct Server {
    child: Child,
    /// Its address, without a slash at the end.
    pub url: String,
    /// Where it keeps everything; gone with this value.
    pub folder: tempfile::TempDir,
}

impl Server {
    /// Starts the binary that `STREAMFORGE_BINARY` names, or the one beside this example.
    pub fn start() -> Outcome<Self> {
        Self::start_with(&[])
    }

    /// The same with `settings` in its environment.
    pub fn start_with(settings: &[(&str, &str)]) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut child = Command::new(binary()?)
            .args(["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--grace-s", "1", "--data"])
            .arg(folder.path().join("data"))
            .current_dir(folder.path())
            .env("RUST_LOG", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut url = None;
        for line in BufReader::new(child.stdout.take().ok_or("no output of the server")?).lines().take(2) {
            let line = line?;
            url = url.or(line.split_once("serves at ").map(|(_, url)| url.trim_end_matches('/').to_owned()));
        }
        let Some(url) = url else {
            let log = std::fs::read_to_string(folder.path().join("log")).unwrap_or_default();
            return Err(format!("the server did not start: {}, {log}", child.wait()?).into());
        };
        Ok(Self { child, url, folder })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its address as `host:port`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is wanted any more, not even an orderly end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary that `STREAMFORGE_BINARY` names, or the one beside this example.
pub fn binary() -> Outcome<PathBuf> {
    if let Some(path) = std::env::var_os("STREAMFORGE_BINARY") {
        return Ok(std::path::absolute(path)?);
    }
    let example = std::env::current_exe()?;
    let release = example.parent().and_then(Path::parent).ok_or("this example lies in no target folder")?;
    Ok(release.join("streamforge"))
}

/// Seconds of processor time that `pids` have used so far.
pub fn cpu_seconds(pids: &[u32]) -> Outcome<f64> {
    let mut seconds = 0.0;
    for pid in pids {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name of the program stands in brackets and may hold anything.
        let rest = stat.rsplit_once(')').ok_or("unreadable process times")?.1;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let tick = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        seconds += (tick(11).ok_or("no user time")? + tick(12).ok_or("no system time")?) / TICKS;
    }
    Ok(seconds)
}

/// Seconds of processor time of `pid`, of all that it has started, and of those among them that have ended.
pub fn whole_cpu_seconds(pid: u32) -> f64 {
    let spent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields: Vec<f64> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        // Its own, user and system, then those of children that it has waited for.
        fields.iter().skip(11).take(4).sum::<f64>() / TICKS
    };
    family(pid).iter().map(spent).sum()
}

/// A line of `/proc/<pid>/status` in bytes, such as `VmRSS` or `VmHWM`.
pub fn memory(pid: u32, key: &str) -> Outcome<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kilobytes: u64 = line.ok_or("no memory in the status")?.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

/// `pid` and all that it has started, and those in turn.
pub fn family(pid: u32) -> Vec<u32> {
    let mut pids = vec![pid];
    let mut at = 0;
    while let Some(parent) = pids.get(at).copied() {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    pids
}

/// Makes a video with `ffmpeg <arguments> <to>`.
pub fn ffmpeg(arguments: &[&str], to: &Path) -> Outcome<()> {
    let done = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y"])
        .args(arguments)
        .arg(to)
        .stdin(Stdio::null())
        .status()?;
    if done.success() { Ok(()) } else { Err(format!("ffmpeg ended with {done}").into()) }
}

/// 1080p24 H.264 with grain, so that its bytes do not shrink to nothing.
pub fn grainy_video(seconds: u32, to: &Path) -> Outcome<()> {
    let picture = format!("testsrc2=size=1920x1080:rate=24:duration={seconds},noise=alls=24:allf=t");
    let tone = format!("sine=frequency=440:duration={seconds}");
    let source = ["-f", "lavfi", "-i", picture.as_str(), "-f", "lavfi", "-i", tone.as_str()];
    let encode =
        ["-c:v", "libx264", "-preset", "ultrafast", "-b:v", "12M", "-g", "48", "-pix_fmt", "yuv420p", "-c:a", "aac"];
    ffmpeg(&[source.as_slice(), &encode, &["-f", "mp4"]].concat(), to)
}

/// A head that looks like an MP4 file whose media is `media` bytes long.
pub fn mp4_head(media: u32) -> Vec<u8> {
    let mut head = Vec::new();
    head.extend_from_slice(&24_u32.to_be_bytes());
    head.extend_from_slice(b"ftypisom\0\0\x02\0isommp42");
    head.extend_from_slice(&(media + 8).to_be_bytes());
    head.extend_from_slice(b"mdat");
    head
}

/// Uploads `file` and waits until its job has ended; answers the job.
pub async fn finished_job(server: &Server, file: &Path) -> Outcome<Value> {
    let id = upload(server, file).await?;
    let began = Instant::now();
    loop {
        let job = job(server, &id).await?;
        match job["state"].as_str() {
            Some("ready") => return Ok(job),
            Some("failed" | "cancelled") => return Err(format!("the job ended so: {job}").into()),
            _ if began.elapsed() > Duration::from_secs(900) => {
                return Err(format!("the job does not end: {job}").into());
            }
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// Uploads `file`; answers the job's id.
pub async fn upload(server: &Server, file: &Path) -> Outcome<String> {
    upload_to(&server.url, file).await
}

/// Uploads `file` to the edge at `url`; answers the job's id.
pub async fn upload_to(url: &str, file: &Path) -> Outcome<String> {
    let body = tokio::fs::File::open(file).await?;
    let request = CLIENT.post(format!("{url}/api/upload?name=bench.mp4"));
    let answer = request.header("content-type", "application/octet-stream").body(body).send().await?;
    let job: Value = answer.error_for_status()?.json().await?;
    Ok(job["id"].as_str().ok_or("the job has no id")?.to_owned())
}

/// The job `id` as JSON.
pub async fn job(server: &Server, id: &str) -> Outcome<Value> {
    let answer = CLIENT.get(format!("{}/api/jobs/{id}", server.url)).send().await?;
    Ok(answer.error_for_status()?.json().await?)
}

/// Stages that only add to a video, and come when nothing else is at work.
const AFTERWARDS: [&str; 4] = ["illustrate", "caption", "classify", "assess"];

/// Waits until the job `id` has everything that it will ever have; answers it.
pub async fn complete_job(server: &Server, id: &str) -> Outcome<Value> {
    let began = Instant::now();
    loop {
        let job = job(server, id).await?;
        let stages = job["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_over = |name: &str| {
            let of_name = |stage: &&Value| stage["name"] == *name;
            let state = stages.iter().find(of_name).and_then(|stage| stage["state"].as_str());
            matches!(state, Some("done" | "skipped" | "failed"))
        };
        if AFTERWARDS.iter().all(|name| is_over(name)) {
            return Ok(job);
        }
        if began.elapsed() > Duration::from_secs(900) {
            return Err(format!("the job is never complete: {job}").into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The middle one.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// How often each length is measured: what `RUNS` says, or 3.
pub fn runs() -> usize {
    std::env::var("RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(3)
}

/// The lengths that the command line names, seconds; 30 and 120 when it names none.
pub fn lengths() -> Vec<u32> {
    let asked: Vec<u32> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    if asked.is_empty() { vec![30, 120] } else { asked }
}

/// `met` or `missed`.
pub fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
