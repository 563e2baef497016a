//! Manifests: everything an edge needs to play a video, in one small object beside the bytes.
//!
//! The first playable state and every longer prefix is written to [`live_key`]; the whole video goes once to [`key`],
//! which wins from then on. With it an edge plays a video while the catalog and the log are away.

use serde::{Deserialize, Serialize};

use crate::JobId;
use crate::event::Fragment;

pub mod samples;

/// Blob key of the final manifest of `job`.
pub fn key(job: JobId) -> String {
    format!("{}manifest.json", prefix(job))
}

/// Blob key of the growing manifest of `job`.
pub fn live_key(job: JobId) -> String {
    format!("{}manifest.live.json", prefix(job))
}

/// Prefix under which everything of `job` lies, with its slash.
pub fn prefix(job: JobId) -> String {
    format!("jobs/{job}/")
}

/// Where the uploaded bytes of `job` lie.
pub fn source_key(job: JobId) -> String {
    format!("{}source", prefix(job))
}

/// A video as far as it can be played.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The job.
    pub job: JobId,
    /// Whether this is the whole video; playlists get their end mark.
    pub complete: bool,
    /// When the video could first be watched, milliseconds since the Unix epoch.
    pub playable_at: i64,
    /// Milliseconds since the Unix epoch: `Last-Modified`.
    pub written_at: i64,
    /// Renditions, best first.
    pub renditions: Vec<Rendition>,
    /// The one audio track that all renditions share.
    pub audio: Option<Track>,
}

/// One quality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rendition {
    /// Name of the rung.
    pub quality: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Frames per second, on average.
    pub fps: f64,
    /// The video track.
    pub video: Track,
    /// The progressive file; only when complete.
    pub progressive: Option<Progressive>,
}

/// One track, stored as CMAF.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Track {
    /// RFC 6381 name, such as `avc1.64001f`.
    pub codec: String,
    /// Ticks per second.
    pub timescale: u32,
    /// Initialisation segment (`ftyp`, `moov`), base 64.
    #[serde(with = "as_base64")]
    pub init: Vec<u8>,
    /// Highest bits per second of any segment.
    pub peak_bps: u64,
    /// Mean bits per second.
    pub average_bps: u64,
    /// Blobs, in order.
    pub pieces: Vec<Piece>,
}

/// One blob of a track.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Blob key.
    pub key: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hex.
    pub sha256: String,
    /// Fragments in it, in order.
    pub fragments: Vec<Fragment>,
}

/// The virtual MP4: a stored head, then ranges of the blobs that HLS serves too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progressive {
    /// Bytes of the whole file.
    pub size: u64,
    /// Strong entity tag without quotes: a hash over everything that the file is made of.
    pub etag: String,
    /// The file, piece after piece; the first is `ftyp`, `moov` and the header of `mdat`.
    pub parts: Vec<Part>,
}

/// A range of a blob inside the progressive file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Blob key.
    pub key: String,
    /// First byte in the blob.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
}

/// A run of fragments of one blob that a playlist lists as one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Index of the piece in its track.
    pub piece: usize,
    /// First byte in the blob.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Start, ticks of the track.
    pub start: i64,
    /// Length, ticks.
    pub duration: u64,
}

impl Segment {
    /// Bits per second.
    pub fn bps(&self, timescale: u32) -> u64 {
        let bits = u128::from(self.size) * 8 * u128::from(timescale);
        u64::try_from(bits.div_ceil(u128::from(self.duration.max(1)))).unwrap_or(u64::MAX)
    }
}

/// Longest segment that playlists list, seconds, unless one fragment alone is longer.
pub const SEGMENT_SECONDS: u64 = 6;

/// The segments of `pieces`: fragments joined up to [`SEGMENT_SECONDS`], never over the border of a blob.
///
/// A fragment never changes its segment when more pieces are appended, so players may keep what they have loaded.
pub fn segments(pieces: &[Piece], timescale: u32) -> Vec<Segment> {
    // Half a second of grace: groups of pictures end at a frame, not at the grid.
    let longest = SEGMENT_SECONDS * u64::from(timescale) + u64::from(timescale) / 2;
    let mut segments: Vec<Segment> = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        for fragment in &piece.fragments {
            match segments.last_mut() {
                Some(last) if last.piece == index && last.duration + fragment.duration <= longest => {
                    last.size += fragment.size;
                    last.duration += fragment.duration;
                }
                _ => segments.push(Segment {
                    piece: index,
                    offset: fragment.offset,
                    size: fragment.size,
                    start: fragment.start,
                    duration: fragment.duration,
                }),
            }
        }
    }
    segments
}

mod as_base64 {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(fragments: usize) -> Piece {
        Piece {
            key: "k".into(),
            size: fragments as u64 * 10,
            sha256: String::new(),
            fragments: (0..fragments)
                .map(|n| Fragment {
                    offset: n as u64 * 10,
                    size: 10,
                    header: 4,
                    start: n as i64 * 2000,
                    duration: 2000,
                    samples: 48,
                })
                .collect(),
        }
    }

    #[test]
    fn segments_stop_at_six_seconds_and_at_blob_borders() {
        let found = segments(&[piece(2), piece(5)], 1000);
        let shape: Vec<_> = found.iter().map(|s| (s.piece, s.offset, s.size, s.duration)).collect();
        assert_eq!(shape, [(0, 0, 20, 4000), (1, 0, 30, 6000), (1, 30, 20, 4000)]);
        assert_eq!(found[0].bps(1000), 40);
    }
}
