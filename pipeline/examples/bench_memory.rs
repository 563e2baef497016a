//! How much memory the server takes: while a large upload arrives, and while it transcodes 1080p.

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use server::{Outcome, Server, family, memory, mp4_head, word};

/// Bytes of the large upload, just below the default limit.
const UPLOAD: u32 = 499_000_000;
/// Most that an upload may add to idle.
const UPLOAD_GOAL: u64 = 64 << 20;
/// Most that transcoding may take.
const TRANSCODE_GOAL: u64 = (12 << 30) / 10;

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

async fn uploading() -> Outcome<()> {
    let server = Server::start()?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = server.pid();
    let idle = memory(pid, "VmRSS")?;
    // Forgets the peak of the start.
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5")?;
    let piece = Bytes::from(vec![0_u8; 256 << 10]);
    let head = Bytes::from(mp4_head(UPLOAD));
    let total = u64::from(UPLOAD) + head.len() as u64;
    let body = futures::stream::unfold((Some(head), u64::from(UPLOAD)), move |(head, left)| {
        let piece = piece.clone();
        async move {
            if let Some(head) = head {
                return Some((Ok::<_, Infallible>(head), (None, left)));
            }
            let length = left.min(piece.len() as u64);
            (length > 0).then(|| (Ok(piece.slice(..length as usize)), (None, left - length)))
        }
    });
    let began = Instant::now();
    let answer = reqwest::Client::new()
        .post(format!("{}/api/upload?name=large.mp4", server.url))
        .header("content-type", "application/octet-stream")
        .header("content-length", total)
        .body(reqwest::Body::wrap_stream(body))
        .send()
        .await?;
    let status = answer.status();
    let peak = memory(pid, "VmHWM")?;
    let more = peak.saturating_sub(idle);
    println!(
        "upload of {:.0} MB in {:.1} s ({status}): idle {:.1} MiB, peak {:.1} MiB, {:.1} MiB more; goal {:.0} MiB: {}",
        total as f64 / 1e6,
        began.elapsed().as_secs_f64(),
        mebibytes(idle),
        mebibytes(peak),
        mebibytes(more),
        mebibytes(UPLOAD_GOAL),
        word(more <= UPLOAD_GOAL)
    );
    if status.is_success() { Ok(()) } else { Err(format!("the upload was refused: {status}").into()) }
}

async fn transcoding() -> Outcome<()> {
    let server = Server::start()?;
    let video = server.folder.path().join("bench.mp4");
    server::grainy_video(30, &video)?;
    let id = server::upload(&server, &video).await?;
    let (mut peak, mut peak_alone, mut most) = (0, 0, 0);
    let (mut asked, mut state) = (Instant::now(), String::new());
    while !matches!(state.as_str(), "ready" | "failed" | "cancelled") {
        let pids = family(server.pid());
        // A child may be gone by now.
        let now: u64 = pids.iter().filter_map(|pid| memory(*pid, "VmRSS").ok()).sum();
        peak = peak.max(now);
        peak_alone = peak_alone.max(memory(server.pid(), "VmRSS")?);
        most = most.max(pids.len());
        if asked.elapsed() > Duration::from_millis(500) {
            asked = Instant::now();
            state = server::job(&server, &id).await?["state"].as_str().unwrap_or_default().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!(
        "transcoding 30 s of 1080p ({state}): peak {:.0} MiB over at most {most} processes, {:.0} MiB of them the server; \
         goal {:.0} MiB: {}",
        mebibytes(peak),
        mebibytes(peak_alone),
        mebibytes(TRANSCODE_GOAL),
        word(peak < TRANSCODE_GOAL)
    );
    if state == "ready" { Ok(()) } else { Err("the job did not get ready".into()) }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    uploading().await?;
    transcoding().await
}
