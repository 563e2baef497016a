//! What a page shows before anybody plays: the poster and the storyboard.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::Api;
use crate::playback;

/// Longest wait for pictures once the video is ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// Bytes that a poster may take however small the upload is.
const LEAST: u64 = 6_000;

/// The job with its pictures.
async fn illustrated(api: &Api, id: &str) -> Result<Value, String> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = api.job(id).await?;
        if !job["pictures"].is_null() {
            return Ok(job);
        }
        if Instant::now() > deadline {
            return Err(format!("no pictures after {PATIENCE:?}: {}", job["stages"]));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Problems of the pictures of a job whose upload has `bytes` and shows `width` x `height` upright pixels.
pub async fn problems(api: &Api, id: &str, bytes: u64, (width, height): (u32, u32)) -> Result<Vec<String>, String> {
    let job = illustrated(api, id).await?;
    let (mut problems, pictures) = (Vec::new(), &job["pictures"]);
    let Some(address) = job["poster"].as_str() else { return Ok(vec![format!("no poster: {pictures}")]) };
    let total = pictures["bytes"].as_u64().unwrap_or(u64::MAX);
    if total > (bytes / 50).max(LEAST) {
        problems.push(format!("{total} bytes of pictures for {bytes} uploaded"));
    }
    let poster = &pictures["poster"];
    let jpeg = api.bytes(address, None).await?;
    if !jpeg.starts_with(&[0xff, 0xd8]) || Some(jpeg.len() as u64) != poster["bytes"].as_u64() {
        problems.push(format!("the poster is no JPEG of {} bytes", poster["bytes"]));
    }
    let seen = playback::probe(&api.url(address)).await?["streams"][0].clone();
    let side = |name: &str| seen[name].as_f64().unwrap_or(0.0);
    let (w, h) = (side("width"), side("height"));
    if seen["codec_name"] != "mjpeg" || (Some(w), Some(h)) != (poster["width"].as_f64(), poster["height"].as_f64()) {
        problems.push(format!("the poster is {} {w}x{h} where {poster} is told", seen["codec_name"]));
    }
    let ratio = f64::from(height) / f64::from(width);
    if (h - w * ratio).abs() > 2.0 + 2.0 * ratio {
        problems.push(format!("the poster is {w}x{h}, the source shows {width}x{height}"));
    }
    if let Some(address) = job["storyboard"].as_str() {
        let cues = String::from_utf8_lossy(&api.bytes(address, None).await?).into_owned();
        let tiles = pictures["storyboard"]["tiles"].as_u64().unwrap_or(0) as usize;
        if !cues.starts_with("WEBVTT\n") || cues.matches("#xywh=").count() != tiles || !(1..=100).contains(&tiles) {
            problems.push(format!("the storyboard has {tiles} tiles and these cues: {cues}"));
        }
        let sheet = cues.lines().find(|line| line.contains("#xywh=")).unwrap_or_default();
        let sheet = sheet.split('#').next().unwrap_or_default();
        let folder = address.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !api.bytes(&format!("{folder}/{sheet}"), None).await?.starts_with(&[0xff, 0xd8]) {
            problems.push("the sheet of the storyboard is no JPEG".to_owned());
        }
    }
    Ok(problems)
}
