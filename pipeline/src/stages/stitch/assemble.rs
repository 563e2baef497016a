//! Manifests from finished chunks: tracks, segments, and the parts of the progressive file.

use connectors::Blobs;
use schemas::event::{ChunkKind, ChunkRendition, ChunkTranscoded};
use schemas::id::hex;
use schemas::manifest::samples::{self, Sample};
use schemas::manifest::{self, Manifest, Part, Piece, Progressive, Rendition, Track};
use sha2::{Digest, Sha256};

use crate::media::boxes::shift_of;
use crate::media::progressive;
use crate::stage::{Context, StageError};

/// The tracks of a job as far as its chunks go.
pub struct Pieces {
    /// One per rung, best first.
    video: Vec<Track>,
    audio: Option<Track>,
}

/// Joins chunks to tracks; refuses chunks whose headers differ.
pub fn pieces(chunks: &[ChunkTranscoded], cx: &Context) -> Result<Pieces, StageError> {
    let qualities = chunks.first().map(|chunk| chunk.rungs.as_slice()).unwrap_or_default();
    let video = qualities
        .iter()
        .map(|rung| track(chunks, ChunkKind::Video, &rung.quality, cx))
        .collect::<Result<Vec<_>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    Ok(Pieces { video, audio: track(chunks, ChunkKind::Audio, "audio", cx)? })
}

fn renditions<'a>(
    chunks: &'a [ChunkTranscoded],
    kind: ChunkKind,
    quality: &'a str,
) -> impl Iterator<Item = &'a ChunkRendition> {
    chunks
        .iter()
        .filter(move |chunk| chunk.kind == kind)
        .flat_map(|chunk| &chunk.renditions)
        // A range without a frame has no bytes and no header.
        .filter(move |rendition| rendition.quality == quality && !rendition.fragments.is_empty())
}

fn track(
    chunks: &[ChunkTranscoded],
    kind: ChunkKind,
    quality: &str,
    cx: &Context,
) -> Result<Option<Track>, StageError> {
    let Some(first) = renditions(chunks, kind, quality).next() else { return Ok(None) };
    let mut pieces = Vec::new();
    for rendition in renditions(chunks, kind, quality) {
        if rendition.init != first.init {
            return Err(StageError::reject(
                "headers_differ",
                format!("the chunks of {quality} have different headers and cannot be joined"),
            ));
        }
        pieces.push(Piece {
            key: cx.doors.blobs.resolve(&rendition.blob.uri)?,
            size: rendition.blob.size,
            sha256: rendition.blob.sha256.clone(),
            fragments: rendition.fragments.clone(),
        });
    }
    let segments = manifest::segments(&pieces, first.timescale);
    let peak_bps = segments.iter().map(|segment| segment.bps(first.timescale)).max().unwrap_or(0);
    let bits = u128::from(segments.iter().map(|segment| segment.size).sum::<u64>()) * 8;
    let ticks = u128::from(segments.iter().map(|segment| segment.duration).sum::<u64>().max(1));
    Ok(Some(Track {
        codec: first.codec.clone(),
        timescale: first.timescale,
        init: first.init.clone(),
        peak_bps,
        average_bps: u64::try_from(bits * u128::from(first.timescale) / ticks).unwrap_or(u64::MAX),
        pieces,
    }))
}

/// The manifest without progressive files.
pub fn manifest(
    event: &ChunkTranscoded,
    pieces: &Pieces,
    playable_at: i64,
    written_at: i64,
) -> Result<Manifest, StageError> {
    let renditions = event
        .rungs
        .iter()
        .zip(&pieces.video)
        .map(|(rung, track)| Rendition {
            quality: rung.quality.clone(),
            width: rung.width,
            height: rung.height,
            fps: event.media.video.fps.as_f64(),
            video: track.clone(),
            progressive: None,
        })
        .collect();
    Ok(Manifest { job: event.job, complete: false, playable_at, written_at, renditions, audio: pieces.audio.clone() })
}

/// Adds a progressive file to every rendition and stores its head.
pub async fn add_progressive(
    manifest: &mut Manifest,
    chunks: &[ChunkTranscoded],
    pieces: &Pieces,
    cx: &Context,
) -> Result<(), StageError> {
    for (rendition, track) in manifest.renditions.iter_mut().zip(&pieces.video) {
        let file = lay_out(track, pieces.audio.as_ref());
        let video_samples = sample_tables(chunks, ChunkKind::Video, &rendition.quality)?;
        let audio_samples = sample_tables(chunks, ChunkKind::Audio, "audio")?;
        let video = source_track(track, &video_samples, &file.video, chunks);
        let audio = pieces.audio.as_ref().map(|audio| source_track(audio, &audio_samples, &file.audio, chunks));
        let size: u64 = file.parts.iter().map(|part| part.size).sum();
        let head = progressive::head(&video, audio.as_ref(), size)?;
        let mut hasher = Sha256::new();
        hasher.update(&head);
        for piece in track.pieces.iter().chain(pieces.audio.iter().flat_map(|audio| &audio.pieces)) {
            hasher.update(piece.sha256.as_bytes());
        }
        let etag = hex(&hasher.finalize()[..16]);
        // Named by what it points into: a second run with other pieces leaves the head of the first one alone.
        let key = format!("{}{}/head-{etag}.mp4", manifest::prefix(manifest.job), rendition.quality);
        let claim = cx.doors.blobs.put(&key, head.into()).await?;
        let head = Part { key: cx.doors.blobs.resolve(&Blobs::claim_uri(&key))?, offset: 0, size: claim.size };
        rendition.progressive =
            Some(Progressive { size: claim.size + size, etag, parts: [head].into_iter().chain(file.parts).collect() });
    }
    Ok(())
}

/// Where everything lies behind the head.
struct Layout {
    parts: Vec<Part>,
    /// For each piece, the place of each of its fragments.
    video: Vec<Vec<u64>>,
    audio: Vec<Vec<u64>>,
}

/// Each piece of video is followed by the sound that goes with it, so that a player never has to look far.
fn lay_out(video: &Track, audio: Option<&Track>) -> Layout {
    let seconds = |ticks: i64, timescale: u32| ticks as f64 / f64::from(timescale.max(1));
    let mut layout = Layout { parts: Vec::new(), video: Vec::new(), audio: Vec::new() };
    let mut at = 0;
    let sound: Vec<_> = audio
        .into_iter()
        .flat_map(|track| track.pieces.iter().enumerate())
        .flat_map(|(index, piece)| piece.fragments.iter().map(move |fragment| (index, piece, fragment)))
        .collect();
    let mut sound = sound.into_iter().peekable();
    layout.audio = audio.map_or_else(Vec::new, |track| vec![Vec::new(); track.pieces.len()]);
    for (position, piece) in video.pieces.iter().enumerate() {
        layout.video.push(piece.fragments.iter().map(|fragment| at + fragment.offset).collect());
        layout.parts.push(Part { key: piece.key.clone(), offset: 0, size: piece.size });
        at += piece.size;
        let is_last = position + 1 == video.pieces.len();
        let end = piece
            .fragments
            .last()
            .map_or(0.0, |last| seconds(last.start + i64::try_from(last.duration).unwrap_or(0), video.timescale));
        let scale = audio.map_or(1, |track| track.timescale);
        while let Some((index, blob, fragment)) =
            sound.next_if(|(_, _, fragment)| is_last || seconds(fragment.start, scale) < end)
        {
            layout.audio[index].push(at);
            match layout.parts.last_mut() {
                Some(part) if part.key == blob.key && part.offset + part.size == fragment.offset => {
                    part.size += fragment.size;
                }
                _ => layout.parts.push(Part { key: blob.key.clone(), offset: fragment.offset, size: fragment.size }),
            }
            at += fragment.size;
        }
    }
    layout
}

fn sample_tables(chunks: &[ChunkTranscoded], kind: ChunkKind, quality: &str) -> Result<Vec<Vec<Sample>>, StageError> {
    renditions(chunks, kind, quality)
        .map(|rendition| {
            samples::unpack(&rendition.samples)
                .map_err(|error| StageError::reject("bad_sample_table", format!("join {quality}: {error}")))
        })
        .collect()
}

fn source_track<'a>(
    track: &'a Track,
    samples: &'a [Vec<Sample>],
    offsets: &[Vec<u64>],
    chunks: &[ChunkTranscoded],
) -> progressive::Track<'a> {
    progressive::Track {
        init: &track.init,
        timescale: track.timescale,
        shift: shift_of(&track.init),
        presented: presented(track, chunks),
        pieces: track
            .pieces
            .iter()
            .zip(samples)
            .zip(offsets)
            .map(|((piece, samples), offsets)| progressive::Piece {
                fragments: &piece.fragments,
                samples,
                offsets: offsets.clone(),
            })
            .collect(),
    }
}

/// Presented ticks of a track: from its first sample to the end that its last chunk reports.
fn presented(track: &Track, chunks: &[ChunkTranscoded]) -> u64 {
    let of_track = |rendition: &&ChunkRendition| rendition.init == track.init && !rendition.fragments.is_empty();
    let all = || chunks.iter().flat_map(|chunk| &chunk.renditions).filter(of_track);
    let first = all().map(|rendition| rendition.first_pts).min().unwrap_or(0);
    let end = all().map(|rendition| rendition.end_pts).max().unwrap_or(0);
    u64::try_from(end - first).unwrap_or(0)
}
