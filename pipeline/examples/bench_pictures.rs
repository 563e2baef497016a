//! What pictures cost beside the encoding: processor time of the process that makes them against that of the journey of the same
//! 1080p24 film into three renditions, in one run.
//!
//! `bench_pictures [seconds...]` takes 30 and 120 when nothing is said; `RUNS` says how often each is measured (3). The pictures
//! are asked for once more after the journey, so that nothing else is measured with them.

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/children.rs"]
mod children;
#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::path::Path;
use std::time::{Duration, Instant};

use children::ask;
use pipeline::media::illustrate::Task;
use pipeline::media::{Request, Response};
use server::{Outcome, Server, complete_job, ffmpeg, job, median, upload, whole_cpu_seconds, word};

/// Most processor time of the pictures, as a share of the encode's.
const GOAL: f64 = 0.15;

/// How long a video may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(600);

/// Scenes of three seconds that differ, each with moving detail and grain.
fn film(seconds: u32, to: &Path) -> Outcome<()> {
    let picture = format!(
        "mandelbrot=size=1920x1080:rate=24:maxiter=600:start_scale=2.5:end_scale=0.002:end_pts=3000,\
         hue=h='120*floor(t/3)':s=1,noise=alls=7:allf=t,format=yuv420p,trim=duration={seconds}"
    );
    let source = ["-f", "lavfi", "-i", picture.as_str()];
    let encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "8M", "-g", "48", "-an", "-f", "mp4"];
    ffmpeg(&[source.as_slice(), &encode].concat(), to)
}

async fn measure(server: &Server, seconds: u32, runs: usize) -> Outcome<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("film.mp4");
    film(seconds, &file)?;
    let bytes = std::fs::metadata(&file)?.len();
    println!("{seconds} s of 1080p24, {:.1} MB:", bytes as f64 / 1e6);
    let mut ratios = Vec::new();
    for run in 1..=runs {
        let (began, before) = (Instant::now(), whole_cpu_seconds(server.pid()));
        let id = upload(server, &file).await?;
        while job(server, &id).await?["state"] != "ready" {
            if began.elapsed() > PATIENCE {
                return Err("the job does not end".into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let (encode, ready) = (whole_cpu_seconds(server.pid()) - before, began.elapsed());
        // What only adds to a video is over before the next one comes.
        let done = complete_job(server, &id).await?;
        let made = &done["pictures"];
        let share = made["bytes"].as_f64().unwrap_or(0.0) / bytes as f64;
        let Response::Probed(probed) = ask(&Request::Probe, &file, None).await?.response else {
            return Err("the film was not probed".into());
        };
        let task = Task { media: probed.media, budget_bytes: bytes / 50 };
        let pictures = ask(&Request::Pictures(task), &file, None).await?.cpu;
        println!(
            "  run {run}: {encode:.1} s cpu to ready in {:.1} s, pictures {pictures:.2} s cpu; ratio {:.3}; \
             {} shots, {:.2} % of the upload's bytes",
            ready.as_secs_f64(),
            pictures / encode,
            made["shots"],
            share * 100.0
        );
        ratios.push(pictures / encode);
    }
    let ratio = median(&mut ratios);
    println!("  median of {runs}: {ratio:.3} of the encode (goal {GOAL}: {})", word(ratio <= GOAL));
    Ok(())
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let runs = server::runs();
    let server = Server::start()?;
    for seconds in server::lengths() {
        measure(&server, seconds, runs).await?;
    }
    Ok(())
}
