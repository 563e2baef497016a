//! A stream of small real videos, offered to edges that die, until each has come to its end.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::process::Command;
use tokio::time::sleep;

use super::House;
use super::dice::Dice;

/// A video, and what an undisturbed run makes of it.
pub struct Clip {
    /// Name of the upload.
    pub name: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// Frames that it shows.
    pub frames: u64,
    /// Whether it can be played; what cannot must fail.
    pub is_good: bool,
    /// SHA-256 of the progressive file of each quality.
    pub calm: BTreeMap<String, String>,
}

/// One video on its way.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Index of the clip.
    pub clip: usize,
    /// When somebody wanted to upload it.
    pub offered: Instant,
    /// Requests that came to nothing: refused for now, or without an answer.
    pub refusals: u32,
    /// The job, when an edge said 201.
    pub job: Option<String>,
    /// When it said so.
    pub accepted: Option<Instant>,
    /// How it ended and when; `deleted` for those that were deleted.
    pub ended: Option<(String, Instant)>,
    /// Whether somebody deletes it in the middle.
    pub is_deleted: bool,
}

/// Draws a video of `seconds` into `file`, with a keyframe every 25 pictures; answers its bytes.
pub async fn draw(file: &Path, size: &str, rate: u64, seconds: u64, sound: bool) -> Result<Vec<u8>, String> {
    let mut command = Command::new("ffmpeg");
    let picture = format!("testsrc2=size={size}:rate={rate}:duration={seconds}");
    command.args(["-v", "error", "-y", "-f", "lavfi", "-i", &picture]);
    if sound {
        command.args(["-f", "lavfi", "-i", &format!("sine=f=440:d={seconds}"), "-c:a", "aac"]);
    }
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p"]).arg(file);
    let made = command.status().await.map_err(|error| format!("run ffmpeg: {error}"))?;
    if !made.success() {
        return Err(format!("ffmpeg does not draw {}", file.display()));
    }
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// Draws the clips into `folder`.
pub async fn clips(folder: &Path) -> Result<Vec<Clip>, String> {
    let mut clips = Vec::new();
    for (name, size, rate, seconds, sound) in [
        ("one.mp4", "320x180", 25, 6, true),
        ("two.mp4", "640x360", 24, 10, false),
        ("three.mp4", "160x90", 30, 4, true),
    ] {
        let bytes = draw(&folder.join(name), size, rate, seconds, sound).await?;
        clips.push(Clip { name, bytes, frames: rate * seconds, is_good: true, calm: BTreeMap::new() });
    }
    // Its index lies at its end and is lost.
    let torn = clips[0].bytes[..clips[0].bytes.len() / 3].to_vec();
    clips.push(Clip { name: "torn.mp4", bytes: torn, frames: 0, is_good: false, calm: BTreeMap::new() });
    Ok(clips)
}

impl House {
    fn edge(&self, number: usize) -> &str {
        &self.addresses[number % self.addresses.len()]
    }

    /// GET that any edge answers with one of `wanted`.
    pub async fn get(&self, path: &str, wanted: &[u16], until: Instant) -> Result<(u16, Vec<u8>), String> {
        let mut turn = self.turns.fetch_add(1, Ordering::Relaxed);
        loop {
            let said = match self.http.get(format!("{}{path}", self.edge(turn))).send().await {
                Ok(answer) => {
                    let status = answer.status().as_u16();
                    match answer.bytes().await {
                        Ok(bytes) if wanted.contains(&status) => return Ok((status, bytes.to_vec())),
                        Ok(bytes) => format!("{status} {}", String::from_utf8_lossy(&bytes)),
                        Err(error) => error.to_string(),
                    }
                }
                Err(error) => error.to_string(),
            };
            if Instant::now() > until {
                return Err(format!("GET {path}: {said}"));
            }
            turn += 1;
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// The same as JSON.
    pub async fn json(&self, path: &str, until: Instant) -> Result<Value, String> {
        let (_, bytes) = self.get(path, &[200], until).await?;
        serde_json::from_slice(&bytes).map_err(|error| format!("GET {path}: {error}"))
    }

    /// Offers a clip until an edge takes it, and follows it to its end; what happens stands in `offers`.
    pub async fn upload(&self, place: usize, mut dice: Dice, until: Instant) {
        let (clip, is_deleted) = {
            let offers = self.offers();
            (offers[place].clip, offers[place].is_deleted)
        };
        let Some(job) = self.offer(place, clip, until).await else { return };
        if is_deleted {
            sleep(Duration::from_millis(dice.within(0..4_000))).await;
            self.delete(&job, until).await;
        }
        let path = format!("/api/jobs/{job}/status");
        let mut state = String::new();
        while Instant::now() < until {
            sleep(Duration::from_millis(400)).await;
            let Ok((status, body)) = self.get(&path, &[200, 404], until).await else { break };
            if status == 404 {
                // A row that is not folded yet is not there either; only a deleted job has ended so.
                if is_deleted {
                    "deleted".clone_into(&mut state);
                    break;
                }
                continue;
            }
            let status: Value = serde_json::from_slice(&body).unwrap_or_default();
            let now = status["state"].as_str().unwrap_or_default();
            if matches!(now, "ready" | "failed" | "cancelled") && !is_deleted {
                now.clone_into(&mut state);
                break;
            }
        }
        if !state.is_empty() {
            self.offers()[place].ended = Some((state, Instant::now()));
        }
    }

    async fn offer(&self, place: usize, clip: usize, until: Instant) -> Option<String> {
        let clip = &self.clips[clip];
        while Instant::now() < until {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            let request = self.http.post(format!("{}/api/upload?name={}", self.edge(turn), clip.name));
            let request = request.header("content-type", "application/octet-stream").body(clip.bytes.clone());
            if let Ok(answer) = request.send().await
                && answer.status() == StatusCode::CREATED
                && let Ok(body) = answer.bytes().await
                && let Ok(job) = serde_json::from_slice::<Value>(&body)
                && let Some(id) = job["id"].as_str()
            {
                let mut offers = self.offers();
                (offers[place].job, offers[place].accepted) = (Some(id.to_owned()), Some(Instant::now()));
                return Some(id.to_owned());
            }
            self.offers()[place].refusals += 1;
            sleep(Duration::from_millis(500)).await;
        }
        None
    }

    async fn delete(&self, job: &str, until: Instant) {
        while Instant::now() < until {
            let turn = self.turns.fetch_add(1, Ordering::Relaxed);
            let asked = self.http.delete(format!("{}/api/jobs/{job}", self.edge(turn))).send().await;
            if asked.is_ok_and(|answer| matches!(answer.status().as_u16(), 202 | 204 | 404)) {
                return;
            }
            sleep(Duration::from_millis(300)).await;
        }
    }

    /// SHA-256 of the progressive file of each quality, and the frames of each.
    pub async fn output(&self, job: &str, until: Instant) -> Result<BTreeMap<String, (String, u64)>, String> {
        let view = self.json(&format!("/api/jobs/{job}"), until).await?;
        let mut output = BTreeMap::new();
        for rendition in view["renditions"].as_array().into_iter().flatten() {
            let quality = rendition["quality"].as_str().unwrap_or_default();
            let (_, bytes) = self.get(&format!("/api/stream/{job}/{quality}"), &[200], until).await?;
            let frames = rendition["frames"].as_u64().unwrap_or_default();
            output.insert(quality.to_owned(), (schemas::id::hex(&Sha256::digest(&bytes)), frames));
        }
        Ok(output)
    }
}
