//! What a video waits for while pictures, captions, labels and quality of an earlier one are made: the time until it is playable
//! and until it is ready beside that work, against the same video with nothing else at work.
//!
//! `bench_afterwards [seconds...]` takes 30 and 120 when nothing is said; `RUNS` says how often each is measured (3). Captions are
//! written by the model of the tests, which knows what is said in the film.

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use server::{Outcome, Server, complete_job, ffmpeg, job, median, upload, word};

/// Most of the time alone.
const GOAL: f64 = 1.05;
/// How long a video may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(600);
const SAID: &str = "the old farmer opens a green window. she carries seven letters near the river. \
                    my teacher remembers every cold mountain.";

/// Moving detail with grain, and somebody who speaks all the time.
fn film(seconds: u32, folder: &Path, to: &Path) -> Outcome<()> {
    let speech = folder.join("speech.wav");
    let spoken =
        Command::new("espeak-ng").args(["-s", "160", "-w"]).arg(&speech).arg(SAID).stdin(Stdio::null()).status();
    if !spoken.map_err(|error| format!("run espeak-ng (install it): {error}"))?.success() {
        return Err("espeak-ng does not speak".into());
    }
    let picture = format!(
        "mandelbrot=size=1920x1080:rate=24:maxiter=600:start_scale=2.5:end_scale=0.002:end_pts=3000,\
         noise=alls=7:allf=t,format=yuv420p,trim=duration={seconds}"
    );
    let speech = speech.to_str().ok_or("a folder that is no text")?;
    let source = ["-f", "lavfi", "-i", picture.as_str(), "-stream_loop", "-1", "-i", speech];
    let encode =
        ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "8M", "-g", "48", "-c:a", "aac", "-shortest", "-f", "mp4"];
    ffmpeg(&[source.as_slice(), &encode].concat(), to)
}

/// Seconds from the upload until the video was playable, and until it was ready.
fn waits(job: &Value) -> Outcome<[f64; 2]> {
    let at = |key: &str| -> Outcome<Timestamp> { Ok(job[key].as_str().ok_or("a job without times")?.parse()?) };
    let received = at("received_at")?;
    let since = |later: Timestamp| later.duration_since(received).as_secs_f64();
    Ok([since(at("playable_at")?), since(at("finished_at")?)])
}

async fn ready(server: &Server, file: &Path) -> Outcome<Value> {
    let (id, began) = (upload(server, file).await?, Instant::now());
    loop {
        let job = job(server, &id).await?;
        match job["state"].as_str() {
            Some("ready") => return Ok(job),
            Some("failed" | "cancelled") => return Err(format!("the job ended so: {job}").into()),
            _ if began.elapsed() > PATIENCE => return Err(format!("the job does not end: {job}").into()),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Whether anything that only adds to the video is being made.
async fn is_busy(server: &Server, id: &str) -> Outcome<bool> {
    let job = job(server, id).await?;
    let stages = job["stages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_one =
        |stage: &Value| matches!(stage["name"].as_str(), Some("illustrate" | "caption" | "classify" | "assess"));
    Ok(stages.iter().any(|stage| is_one(stage) && stage["state"] == "running"))
}

async fn measure(server: &Server, seconds: u32, runs: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("film.mp4");
    film(seconds, folder.path(), &file)?;
    println!("{seconds} s of 1080p24:");
    let mut ratios = [Vec::new(), Vec::new()];
    for run in 1..=runs {
        let first = ready(server, &file).await?;
        let id = first["id"].as_str().ok_or("the job has no id")?.to_owned();
        let began = Instant::now();
        while !is_busy(server, &id).await? && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let second = ready(server, &file).await?;
        let [alone, beside] = [waits(&first)?, waits(&second)?];
        for job in [&first, &second] {
            complete_job(server, job["id"].as_str().ok_or("the job has no id")?).await?;
        }
        let [playable, ready] = [beside[0] / alone[0], beside[1] / alone[1]];
        println!(
            "  run {run}: alone playable after {:.2} s, ready after {:.2} s; beside {:.2} s, {:.2} s: {playable:.3} {ready:.3}",
            alone[0], alone[1], beside[0], beside[1]
        );
        ratios[0].push(playable);
        ratios[1].push(ready);
    }
    let [playable, ready] = ratios.map(|mut ratios| median(&mut ratios));
    let met = word(playable <= GOAL);
    println!("  median of {runs}: playable {playable:.3} (goal {GOAL}: {met}), ready {ready:.3}");
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models");
    let models = models.to_str().ok_or("a folder that is no text")?;
    let settings = [("STREAMFORGE_MODELS", models), ("STREAMFORGE_CAPTION_MODEL", "seventy-four-words")];
    let server = Server::start_with(&settings)?;
    let runs = server::runs();
    for seconds in server::lengths() {
        measure(&server, seconds, runs).await?;
    }
    Ok(())
}
