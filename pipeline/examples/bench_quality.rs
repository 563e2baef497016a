//! What quality costs: the encoder's own PSNR against the same encode without it, and the pass of `assess` against one `ffmpeg`
//! command that does the same with its own filters.
//!
//! `bench_quality [seconds]` takes 20 of 1080p24; `RUNS` says how often each is measured (3). Times are processor time: both
//! sides may use as many threads as they like.

#[path = "bench/children.rs"]
mod children;
#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Stdio};

use children::{Made, ask, children_cpu};
use futures::StreamExt;
use pipeline::media::{CompareTask, Probed, Request, Response, VideoTask};
use schemas::ladder::{self, Rung};
use server::{Outcome, ffmpeg, median, word};

/// Scaling as the pipeline does it.
const SCALER: &str = "flags=bicubic+accurate_rnd+full_chroma_int+bitexact";

/// Film-like: slow detail everywhere, a moving foreground, grain.
fn film(seconds: u32, to: &Path) -> Outcome<()> {
    let picture = format!(
        "mandelbrot=size=1920x1080:rate=24:maxiter=600:start_scale=2.5:end_scale=0.002:end_pts=3000,\
         noise=alls=7:allf=t,format=yuv420p,trim=duration={seconds}"
    );
    let encode = ["-c:v", "libx264", "-preset", "veryfast", "-b:v", "8M", "-g", "48", "-f", "mp4"];
    ffmpeg(&[["-f", "lavfi", "-i", picture.as_str()].as_slice(), &encode].concat(), to)
}

async fn encode(probed: &Probed, rungs: &[Rung], file: &Path, is_silent: bool) -> Outcome<Made> {
    let task = VideoTask {
        media: probed.media.clone(),
        start: None,
        end: None,
        decode_from: None,
        rungs: rungs.to_vec(),
        largest: None,
        better: 0,
        is_silent,
    };
    ask(&Request::Video(task), file, None).await
}

/// The command that compares with ffmpeg's own filters.
fn theirs(rendition: &Path, source: &Path, rung: &Rung) -> Outcome<f64> {
    let before = children_cpu()?;
    let graph = format!(
        "[1:v]scale={}:{}:out_range=tv:{SCALER},format=yuv420p,settb=1/24,setpts=N,split[c][d];\
         [0:v]settb=1/24,setpts=N[a];[a][c]psnr[b];[b][d]ssim",
        rung.width, rung.height
    );
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-i"]).arg(rendition).arg("-i").arg(source);
    let status = command.args(["-lavfi", &graph, "-f", "null", "-"]).stdin(Stdio::null()).status()?;
    if !status.success() {
        return Err(format!("ffmpeg ended with {status}").into());
    }
    Ok(children_cpu()? - before)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let seconds = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(20);
    let runs = server::runs();
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("film.mp4");
    film(seconds, &file)?;
    let Response::Probed(probed) = ask(&Request::Probe, &file, None).await?.response else {
        return Err("the film was not probed".into());
    };
    let rungs = ladder::rungs(&probed.media, std::fs::metadata(&file)?.len());
    println!("{seconds} s of 1080p24 into {} renditions:", rungs.len());

    let mut ratios = Vec::new();
    let mut last = None;
    for run in 1..=runs {
        // Each goes first every other time.
        let first = encode(&probed, &rungs, &file, run % 2 == 0).await?;
        let second = encode(&probed, &rungs, &file, run % 2 == 1).await?;
        let (told, silent) = if run % 2 == 0 { (second, first) } else { (first, second) };
        if told.renditions != silent.renditions {
            return Err("the encoder's own PSNR has changed what it encodes".into());
        }
        println!(
            "  run {run}: with its PSNR {:.2} s cpu, without {:.2} s: {:.3}",
            told.cpu,
            silent.cpu,
            told.cpu / silent.cpu
        );
        ratios.push(told.cpu / silent.cpu);
        last = Some(told);
    }
    let ratio = median(&mut ratios);
    println!("  PSNR while encoding: median {ratio:.3} (goal 1.03: {})", word(ratio <= 1.03));

    let Some(Made { response: Response::Encoded(encoded), renditions, .. }) = last else {
        return Err("nothing was encoded".into());
    };
    for ((rung, made), bytes) in rungs.iter().zip(&encoded.renditions).zip(&renditions) {
        let whole = [made.init.as_slice(), bytes].concat();
        let rendition = folder.path().join(format!("{}.mp4", rung.quality));
        std::fs::write(&rendition, &whole)?;
        let mut ratios = Vec::new();
        for run in 1..=runs {
            let task = CompareTask {
                media: probed.media.clone(),
                rung: rung.clone(),
                largest: None,
                chunks: vec![made.first_pts],
            };
            let pieces: Vec<bytes::Bytes> = whole.chunks(256 << 10).map(bytes::Bytes::copy_from_slice).collect();
            let feed = futures::stream::iter(pieces.into_iter().map(Ok)).boxed();
            let ours = ask(&Request::Compare(task), &file, Some(feed)).await?.cpu;
            let theirs = theirs(&rendition, &file, rung)?;
            println!(
                "  {} run {run}: assess {ours:.2} s cpu, ffmpeg {theirs:.2} s: {:.3}",
                rung.quality,
                ours / theirs
            );
            ratios.push(ours / theirs);
        }
        let ratio = median(&mut ratios);
        println!("  assess of {}: median {ratio:.3} (goal 1.1: {})", rung.quality, word(ratio <= 1.1));
    }
    Ok(())
}
