//! What a player loads: playlists, segments, the progressive file.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::Command;

use crate::client::Api;

/// A variant of a master playlist.
#[derive(Clone, Debug)]
pub struct Variant {
    /// Attributes, quotes taken off.
    pub attributes: BTreeMap<String, String>,
    /// Path of its media playlist.
    pub path: String,
}

/// A master playlist.
#[derive(Clone, Debug, Default)]
pub struct Master {
    /// Variants in order.
    pub variants: Vec<Variant>,
    /// Paths of its separate audio playlists.
    pub audio: Vec<String>,
}

/// One entry of a media playlist.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Path.
    pub path: String,
    /// Length, seconds.
    pub seconds: f64,
    /// `Range` header, when it is a part of its file.
    pub range: Option<String>,
}

/// A media playlist.
#[derive(Clone, Debug, Default)]
pub struct Media {
    /// Path and range of the initialisation segment.
    pub init: Option<(String, Option<String>)>,
    /// Segments in order.
    pub segments: Vec<Segment>,
    /// Tags without their values.
    pub tags: Vec<String>,
    /// `EXT-X-TARGETDURATION`.
    pub target: f64,
}

/// `reference` as seen from `base`.
fn resolve(base: &str, reference: &str) -> String {
    if reference.starts_with('/') || reference.starts_with("http") {
        return reference.to_owned();
    }
    let folder = base.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{folder}/{reference}")
}

/// `KEY=value,KEY="a,b"` as pairs.
fn attributes(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut rest = text;
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.find(',').map_or((after, ""), |end| after.split_at(end)),
        };
        found.insert(key.trim_start_matches(',').trim().to_owned(), value.to_owned());
        rest = after;
    }
    found
}

fn range_of(text: &str, after: u64) -> (String, u64) {
    let (length, offset) = text.split_once('@').unwrap_or((text, ""));
    let length: u64 = length.parse().unwrap_or(0);
    let offset = offset.parse().unwrap_or(after);
    (format!("bytes={offset}-{}", offset + length.max(1) - 1), offset + length)
}

impl Master {
    /// Reads the playlist at `path`.
    pub fn read(path: &str, text: &str) -> Self {
        let mut master = Self::default();
        let mut pending = None;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                pending = Some(attributes(rest));
            } else if let Some(rest) = line.strip_prefix("#EXT-X-MEDIA:") {
                master.audio.extend(attributes(rest).get("URI").map(|uri| resolve(path, uri)));
            } else if !line.is_empty() && !line.starts_with('#') {
                let attributes = pending.take().unwrap_or_default();
                master.variants.push(Variant { attributes, path: resolve(path, line) });
            }
        }
        master
    }
}

impl Media {
    /// Reads the playlist at `path`.
    pub fn read(path: &str, text: &str) -> Self {
        let mut media = Self::default();
        let (mut seconds, mut range, mut next) = (0.0, None, 0);
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("#EXTINF:") {
                seconds = rest.split(',').next().and_then(|number| number.parse().ok()).unwrap_or(0.0);
            } else if let Some(rest) = line.strip_prefix("#EXT-X-BYTERANGE:") {
                let (bytes, end) = range_of(rest, next);
                (range, next) = (Some(bytes), end);
            } else if let Some(rest) = line.strip_prefix("#EXT-X-MAP:") {
                let found = attributes(rest);
                let range = found.get("BYTERANGE").map(|text| range_of(text, 0).0);
                media.init = found.get("URI").map(|uri| (resolve(path, uri), range));
            } else if let Some(rest) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                media.target = rest.parse().unwrap_or(0.0);
            } else if line.starts_with('#') {
                media.tags.push(line.split(':').next().unwrap_or_default().to_owned());
            } else if !line.is_empty() {
                media.segments.push(Segment { path: resolve(path, line), seconds, range: range.take() });
            }
        }
        media
    }

    /// Length of all segments, seconds.
    pub fn seconds(&self) -> f64 {
        self.segments.iter().map(|segment| segment.seconds).sum()
    }
}

/// The path of a job's master playlist.
pub fn master_path(id: &str) -> String {
    format!("/api/stream/{id}/master.m3u8")
}

/// The path of a job's progressive file.
pub fn progressive_path(id: &str, quality: &str) -> String {
    format!("/api/stream/{id}/{quality}")
}

/// A playlist as text.
async fn playlist(api: &Api, path: &str) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&api.bytes(path, None).await?).into_owned())
}

/// The job's master playlist.
pub async fn master(api: &Api, id: &str) -> Result<Master, String> {
    let path = master_path(id);
    Ok(Master::read(&path, &playlist(api, &path).await?))
}

/// The media playlist at `path`.
pub async fn media(api: &Api, path: &str) -> Result<Media, String> {
    Ok(Media::read(path, &playlist(api, path).await?))
}

/// How long a new player waits: for the first segment over HLS, and for the first 64 KiB of the progressive file.
pub async fn first_bytes(url: &str, id: &str, quality: &str) -> Result<(Duration, Duration), String> {
    let api = Api::new(url);
    let begin = Instant::now();
    let master = master(&api, id).await?;
    let variant = master.variants.last().ok_or("the master playlist lists nothing")?;
    let media = media(&api, &variant.path).await?;
    if let Some((path, range)) = &media.init {
        api.bytes(path, range.as_deref()).await?;
    }
    let first = media.segments.first().ok_or("the media playlist lists nothing")?;
    api.bytes(&first.path, first.range.as_deref()).await?;
    let hls = begin.elapsed();
    let begin = Instant::now();
    Api::new(url).bytes(&progressive_path(id, quality), Some("bytes=0-65535")).await?;
    Ok((hls, begin.elapsed()))
}

/// Problems of the playlists themselves, by RFC 8216: tags, bandwidth, lengths.
pub async fn playlist_problems(api: &Api, id: &str, seconds: f64, frame: f64) -> Result<Vec<String>, String> {
    let mut problems = Vec::new();
    let text = playlist(api, &master_path(id)).await?;
    let master = Master::read(&master_path(id), &text);
    if !text.contains("#EXT-X-INDEPENDENT-SEGMENTS") {
        problems.push("master: no INDEPENDENT-SEGMENTS".to_owned());
    }
    let mut audio_peak = 0.0;
    for path in &master.audio {
        audio_peak = f64::max(audio_peak, peak(api, &media(api, path).await?).await?);
    }
    for variant in &master.variants {
        for key in ["BANDWIDTH", "CODECS", "RESOLUTION", "FRAME-RATE"] {
            if !variant.attributes.contains_key(key) {
                problems.push(format!("master: {} has no {key}", variant.path));
            }
        }
        let media = media(api, &variant.path).await?;
        for tag in ["#EXTM3U", "#EXT-X-ENDLIST"] {
            if !media.tags.iter().any(|found| found == tag) {
                problems.push(format!("{}: no {tag}", variant.path));
            }
        }
        if media.segments.iter().any(|segment| segment.seconds.round() > media.target) {
            problems.push(format!("{}: a segment is longer than its TARGETDURATION", variant.path));
        }
        if (media.seconds() - seconds).abs() > frame + 0.005 {
            problems.push(format!("{}: lasts {:.3} s instead of {seconds:.3} s", variant.path, media.seconds()));
        }
        let told: f64 = variant.attributes.get("BANDWIDTH").and_then(|told| told.parse().ok()).unwrap_or(0.0);
        let found = peak(api, &media).await? + audio_peak;
        if found > told * 1.001 {
            problems.push(format!("{}: BANDWIDTH {told:.0} but {found:.0} measured", variant.path));
        }
    }
    Ok(problems)
}

/// Highest bits per second of any segment of at least half the target; the tail is too short to have a rate.
async fn peak(api: &Api, media: &Media) -> Result<f64, String> {
    let mut peak = 0.0_f64;
    for segment in &media.segments {
        let bytes = api.bytes(&segment.path, segment.range.as_deref()).await?;
        if segment.seconds >= media.target / 2.0 || media.segments.len() == 1 {
            peak = peak.max(bytes.len() as f64 * 8.0 / segment.seconds.max(0.001));
        }
    }
    Ok(peak)
}

/// What ffprobe says of a file or address, as JSON: its streams and its format.
pub async fn probe(input: &str) -> Result<Value, String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_streams", "-show_format", input])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("start ffprobe: {error}"))?;
    if !output.status.success() {
        return Err(format!("ffprobe {input}: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("ffprobe {input}: {error}"))
}
