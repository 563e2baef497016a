//! A video made by hand: blobs of bytes and a manifest over them.

use connectors::Doors;
use schemas::JobId;
use schemas::event::{Fragment, SourceProbed, UploadReceived};
use schemas::job::{JobEvent, JobRow};
use schemas::manifest::{Manifest, Part, Piece, Progressive, Rendition, Track, key, live_key, prefix};

/// Seconds of video in a chunk.
const CHUNK_SECONDS: u64 = 8;

/// Bytes that look like nothing else, `seed` for `seed`.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

/// A video of `chunks` chunks with fragments of two seconds, and sound of the whole length.
pub struct Video {
    pub job: JobId,
    pub manifest: Manifest,
    /// The progressive file.
    pub file: Vec<u8>,
    /// The blobs of the video track, one after the other.
    pub track: Vec<u8>,
}

/// Makes a track of `pieces` and stores its blobs.
async fn track(doors: &Doors, job: JobId, name: &str, timescale: u32, pieces: &[Vec<u64>]) -> (Track, Vec<Vec<u8>>) {
    let (mut start, mut blobs, mut made) = (0, Vec::new(), Vec::new());
    for (index, durations) in pieces.iter().enumerate() {
        let mut fragments = Vec::new();
        let mut offset = 0;
        for (n, duration) in durations.iter().enumerate() {
            let size = 3_000 + (index * 37 + n * 11) as u64;
            fragments.push(Fragment { offset, size, header: 100, start, duration: *duration, samples: 48 });
            offset += size;
            start += *duration as i64;
        }
        let bytes = noise(index as u64 + u64::from(timescale), offset as usize);
        let key = format!("{}chunks/{index}-{name}.cmaf", prefix(job));
        let claim = doors.blobs.put(&key, bytes.clone().into()).await.unwrap();
        made.push(Piece { key, size: offset, sha256: claim.sha256, fragments });
        blobs.push(bytes);
    }
    let codec = if name == "audio" { "mp4a.40.2" } else { "avc1.64001e" };
    let init = format!("init of {name}").into_bytes();
    let track = Track { codec: codec.into(), timescale, init, peak_bps: 20_000, average_bps: 12_000, pieces: made };
    (track, blobs)
}

impl Video {
    /// Stores the blobs of a video; its manifest is written by [`Video::publish`].
    pub async fn make(doors: &Doors, job: JobId, chunks: usize) -> Self {
        let pictures: Vec<Vec<u64>> = vec![vec![25_600; CHUNK_SECONDS as usize / 2]; chunks];
        let sound = vec![vec![96_000; chunks * CHUNK_SECONDS as usize / 2]];
        let (video, blobs) = track(doors, job, "360p", 12_800, &pictures).await;
        let (audio, sounds) = track(doors, job, "audio", 48_000, &sound).await;
        let head = noise(99, 1_500);
        let head_key = format!("{}360p.head", prefix(job));
        doors.blobs.put(&head_key, head.clone().into()).await.unwrap();
        let mut parts = vec![Part { key: head_key, offset: 0, size: head.len() as u64 }];
        let mut file = head;
        let share = sounds[0].len() / chunks;
        for (n, (piece, bytes)) in video.pieces.iter().zip(&blobs).enumerate() {
            parts.push(Part { key: piece.key.clone(), offset: 0, size: piece.size });
            file.extend_from_slice(bytes);
            let from = n * share;
            let to = if n + 1 == chunks { sounds[0].len() } else { from + share };
            parts.push(Part { key: audio.pieces[0].key.clone(), offset: from as u64, size: (to - from) as u64 });
            file.extend_from_slice(&sounds[0][from..to]);
        }
        let progressive = Progressive { size: file.len() as u64, etag: "f00d".into(), parts };
        let rendition = Rendition {
            quality: "360p".into(),
            width: 640,
            height: 360,
            fps: 24.0,
            video,
            progressive: Some(progressive),
        };
        let manifest = Manifest {
            job,
            complete: true,
            playable_at: 1_700_000_000_000,
            written_at: 1_700_000_000_000,
            renditions: vec![rendition],
            audio: Some(audio),
        };
        Self { job, manifest, file, track: blobs.concat() }
    }

    /// Writes the final manifest.
    pub async fn publish(&self, doors: &Doors) {
        doors.blobs.put(&key(self.job), serde_json::to_vec(&self.manifest).unwrap().into()).await.unwrap();
    }

    /// Writes the manifest of the first `chunks` chunks.
    pub async fn publish_beginning(&self, doors: &Doors, chunks: usize) {
        let mut growing = self.manifest.clone();
        growing.complete = false;
        growing.renditions[0].progressive = None;
        growing.renditions[0].video.pieces.truncate(chunks);
        doors.blobs.put(&live_key(self.job), serde_json::to_vec(&growing).unwrap().into()).await.unwrap();
    }
}

/// An example of an event, for `job`.
pub fn received(job: JobId) -> UploadReceived {
    let text = include_str!("../../../schemas/examples/upload.received/v1/phone.json");
    UploadReceived { job, ..serde_json::from_str(text).unwrap() }
}

/// The same for probe; it promises all three qualities.
pub fn probed(job: JobId) -> SourceProbed {
    let text = include_str!("../../../schemas/examples/source.probed/v1/phone.json");
    SourceProbed { job, ..serde_json::from_str(text).unwrap() }
}

/// Writes the row of a job that is being processed.
pub async fn row(doors: &Doors, job: JobId) -> JobRow {
    let mut row = JobRow::new(job);
    row.apply(JobEvent::Received(received(job)), Some(0));
    row.apply(JobEvent::Probed(Box::new(probed(job))), Some(0));
    doors.catalog.swap_job(&row, None).await.unwrap();
    row
}
