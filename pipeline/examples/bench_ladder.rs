//! The whole journey of 1080p24 into three renditions against the best single `ffmpeg` command line that makes the same:
//! one decode, the same scaler, the same encoder settings, as many threads as it likes.
//!
//! `bench_ladder [seconds...]` takes 30 and 120 when nothing is said; `RUNS` says how many pairs are measured (3),
//! `GOPS` which distances of keyframes, in seconds (2 and 10).

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/children.rs"]
mod children;
#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use children::children_cpu;
use serde_json::Value;
use server::{Outcome, Server, complete_job, ffmpeg, job, median, upload, whole_cpu_seconds, word};

/// Scaling as the pipeline does it.
const SCALER: &str = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact";

/// What one run cost.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

/// Film-like: slow detail everywhere, a moving foreground, grain; nothing is flat and nothing repeats.
fn film(seconds: u32, gop: u32, to: &Path) -> Outcome<()> {
    let picture = format!(
        "mandelbrot=size=1920x1080:rate=24:maxiter=600:start_scale=2.5:end_scale=0.002:end_pts=3000,\
         noise=alls=7:allf=t,format=yuv420p,trim=duration={seconds}"
    );
    let sound = format!("anoisesrc=color=pink:amplitude=0.2:duration={seconds}");
    let gop = gop.to_string();
    let source = ["-f", "lavfi", "-i", picture.as_str(), "-f", "lavfi", "-i", sound.as_str()];
    let encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "8M", "-g", &gop, "-keyint_min", &gop];
    let rest = ["-sc_threshold", "0", "-c:a", "aac", "-b:a", "128k", "-shortest", "-f", "mp4"];
    ffmpeg(&[source.as_slice(), &encode, &rest].concat(), to)
}

/// Upload to ready; the processor time is the server's with all its media processes.
async fn ours(server: &Server, file: &Path) -> Outcome<(Cost, Value)> {
    let pid = server.pid();
    let (began, before) = (Instant::now(), whole_cpu_seconds(pid));
    let id = upload(server, file).await?;
    let done = loop {
        let job = job(server, &id).await?;
        match job["state"].as_str() {
            Some("ready") => break job,
            Some("failed" | "cancelled") => return Err(format!("the job ended so: {job}").into()),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let cost = Cost { wall: began.elapsed().as_secs_f64(), cpu: whole_cpu_seconds(pid) - before };
    // What is done for the video afterwards must not run beside what is measured next.
    complete_job(server, &id).await?;
    Ok((cost, done))
}

/// The single command line.
fn theirs(file: &Path, folder: &Path) -> Outcome<Cost> {
    let (began, before) = (Instant::now(), children_cpu()?);
    let graph = format!(
        "[0:v]split=3[a][b][c];[a]scale=1920:1080:out_range=tv:{SCALER},format=yuv420p[v0];\
         [b]scale=1280:720:out_range=tv:{SCALER},format=yuv420p[v1];[c]scale=640:360:out_range=tv:{SCALER},format=yuv420p[v2]"
    );
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y", "-i"]).arg(file).args(["-filter_complex", &graph]);
    for (index, rate) in [5000, 2500, 1000].into_iter().enumerate() {
        let settings = format!(
            "keyint=infinite:min-keyint=1:scenecut=0:open-gop=0:cpu-independent=1:vbv-maxrate={rate}:vbv-bufsize={rate}:\
             vbv-init=0.5"
        );
        command
            .args(["-map", &format!("[v{index}]"), "-c:v", "libx264", "-preset", "veryfast", "-crf", "23"])
            .args(["-x264-params", &settings, "-force_key_frames", "expr:gte(t,n_forced*2)", "-forced-idr", "1"])
            .args(["-fps_mode", "passthrough", "-movflags", "+faststart"])
            .arg(folder.join(format!("{index}.mp4")));
    }
    command.args(["-map", "0:a", "-c:a", "aac", "-b:a", "128k"]).arg(folder.join("audio.m4a"));
    let status = command.stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("ffmpeg ended with {status}").into());
    }
    Ok(Cost { wall: began.elapsed().as_secs_f64(), cpu: children_cpu()? - before })
}

async fn measure(server: &Server, seconds: u32, gop_seconds: u32, runs: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("film.mp4");
    film(seconds, gop_seconds * 24, &file)?;
    let megabytes = std::fs::metadata(&file)?.len() as f64 / 1e6;
    println!("{seconds} s of 1080p24, {megabytes:.1} MB, a keyframe every {gop_seconds} s:");
    let (mut walls, mut cpus) = (Vec::new(), Vec::new());
    for run in 1..=runs {
        let alone = theirs(&file, folder.path())?;
        let (whole, done) = ours(server, &file).await?;
        let chunks = done["stages"].as_array().and_then(|stages| {
            stages.iter().find(|stage| stage["name"] == "transcode").map(|stage| stage["total"].clone())
        });
        println!(
            "  run {run}: ffmpeg {:.1} s wall {:.1} s cpu; streamforge {:.1} s wall {:.1} s cpu ({} chunks); \
             ratios {:.3} {:.3}",
            alone.wall,
            alone.cpu,
            whole.wall,
            whole.cpu,
            chunks.unwrap_or(Value::Null),
            whole.wall / alone.wall,
            whole.cpu / alone.cpu
        );
        walls.push(whole.wall / alone.wall);
        cpus.push(whole.cpu / alone.cpu);
    }
    let (wall, cpu) = (median(&mut walls), median(&mut cpus));
    let goal = if seconds >= 120 { 0.95 } else { 1.0 };
    // Longer groups of pictures are decoded in part by two chunks; they are shown beside the others, without a goal.
    let said = |goal: f64, ratio: f64| match gop_seconds {
        2 => format!(" (goal {goal}: {})", word(ratio <= goal)),
        _ => String::new(),
    };
    println!("  median of {runs}: wall {wall:.3} of ffmpeg's{}, cpu {cpu:.3}{}", said(goal, wall), said(1.03, cpu));
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let runs = server::runs();
    let gops = std::env::var("GOPS").unwrap_or_else(|_| "2 10".to_owned());
    let gops: Vec<u32> = gops.split_whitespace().filter_map(|gop| gop.parse().ok()).collect();
    let server = Server::start()?;
    for seconds in server::lengths() {
        for &gop in &gops {
            measure(&server, seconds, gop, runs).await?;
        }
    }
    Ok(())
}
