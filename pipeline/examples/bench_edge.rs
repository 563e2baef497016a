//! How many bytes the edge delivers per second of processor time, beside nginx with sendfile on the same file.
//!
//! Whole-file and ranged reads over loopback, one connection at a time, in paired rounds.

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use server::{Outcome, Server, cpu_seconds, family, median, word};

/// Paired rounds.
const ROUNDS: usize = 3;
/// How long each side reads in a round, each way.
const SPELL: Duration = Duration::from_secs(4);
/// Bytes of a ranged read.
const RANGE: u64 = 1 << 20;
/// Least ratio that is good enough.
const GOAL: f64 = 0.5;

/// nginx on a folder; dropped, it ends.
struct Nginx {
    child: Child,
    url: String,
}

impl Nginx {
    fn start(folder: &Path) -> Outcome<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let shown = folder.display();
        // As root it would read as a user who may not.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let text = format!(
            "{user} daemon off; worker_processes 1; pid {shown}/nginx.pid; error_log {shown}/nginx.error warn;
             events {{ worker_connections 64; }}
             http {{
                 sendfile on; tcp_nopush on; access_log off; keepalive_requests 1000000;
                 client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy; fastcgi_temp_path {shown}/fastcgi;
                 uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;
                 server {{ listen 127.0.0.1:{port}; root {shown}; }}
             }}"
        );
        let config = folder.join("nginx.conf");
        std::fs::write(&config, text)?;
        let child =
            Command::new(program()).arg("-c").arg(&config).arg("-p").arg(folder).stdin(Stdio::null()).spawn()?;
        let nginx = Self { child, url: format!("http://127.0.0.1:{port}") };
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(nginx);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Err("nginx did not start".into())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its worker along on TERM only.
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let usual = PathBuf::from("/usr/sbin/nginx");
    if usual.exists() { usual } else { PathBuf::from("nginx") }
}

/// Reads `url` for a spell; answers bytes per second of processor time of `pids`, and bytes per second.
async fn read(url: &str, ranges: Option<(u64, u64)>, pids: &[u32]) -> Outcome<(f64, f64)> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut random = StdRng::seed_from_u64(ranges.map_or(0, |(_, seed)| seed));
    let (before, began) = (cpu_seconds(pids)?, Instant::now());
    let mut bytes = 0_u64;
    while began.elapsed() < SPELL {
        let mut request = client.get(url);
        if let Some((size, _)) = ranges {
            let start = random.random_range(0..size.saturating_sub(RANGE).max(1));
            request = request.header("range", format!("bytes={start}-{}", (start + RANGE - 1).min(size - 1)));
        }
        let mut answer = request.send().await?.error_for_status()?;
        while let Some(piece) = answer.chunk().await? {
            bytes += piece.len() as u64;
        }
    }
    let wall = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds(pids)? - before;
    Ok((bytes as f64 / cpu.max(0.01), bytes as f64 / wall))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let server = Server::start()?;
    let video = server.folder.path().join("bench.mp4");
    eprintln!("making 30 s of grainy 1080p24 and waiting for its renditions");
    server::grainy_video(30, &video)?;
    let job = server::finished_job(&server, &video).await?;
    let quality = job["renditions"]
        .as_array()
        .into_iter()
        .flatten()
        .max_by_key(|rendition| rendition["bytes"].as_u64())
        .and_then(|rendition| rendition["url"].as_str())
        .ok_or("the job has no rendition")?;
    let ours = format!("{}{quality}", server.url);
    let folder = tempfile::tempdir()?;
    let file = reqwest::get(&ours).await?.error_for_status()?.bytes().await?;
    std::fs::write(folder.path().join("video.mp4"), &file)?;
    let nginx = Nginx::start(folder.path())?;
    let theirs = format!("{}/video.mp4", nginx.url);
    let size = file.len() as u64;
    println!(
        "file of {:.1} MB, {ROUNDS} paired rounds of {} s each; MB per second of CPU (of wall)",
        size as f64 / 1e6,
        SPELL.as_secs()
    );
    println!("{:12} {:>18} {:>18} {:>7}", "", "streamforge", "nginx", "ratio");
    for (name, is_ranged) in [("whole file", false), ("1 MiB ranges", true)] {
        let mut ratios = Vec::new();
        let (mut our_rates, mut their_rates) = (Vec::new(), Vec::new());
        let (mut our_walls, mut their_walls) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let ranges = is_ranged.then_some((size, round as u64));
            let (our_rate, our_wall) = read(&ours, ranges, &[server.pid()]).await?;
            let (their_rate, their_wall) = read(&theirs, ranges, &family(nginx.child.id())).await?;
            ratios.push(our_rate / their_rate);
            our_rates.push(our_rate / 1e6);
            their_rates.push(their_rate / 1e6);
            our_walls.push(our_wall / 1e6);
            their_walls.push(their_wall / 1e6);
        }
        let ratio = median(&mut ratios);
        let side = |rates: &mut [f64], walls: &mut [f64]| format!("{:.0} ({:.0})", median(rates), median(walls));
        let (ours, theirs) = (side(&mut our_rates, &mut our_walls), side(&mut their_rates, &mut their_walls));
        println!("{name:12} {ours:>18} {theirs:>18} {ratio:>7.2}  goal {GOAL}: {}", word(ratio >= GOAL));
    }
    Ok(())
}
