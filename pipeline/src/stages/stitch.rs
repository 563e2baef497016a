//! `chunk.transcoded` -> `rendition.stitched`: joins chunks once their set is whole, and decides that the job is ready.
//!
//! The set of finished chunks lies in the catalog as rows, so that an event may come twice and from anywhere. As soon as
//! the beginning can be watched, and with every chunk that makes it longer, a growing manifest is written.

mod assemble;
mod books;
mod quality;

use bytes::Bytes;
use connectors::catalog::Decision;
use connectors::{Blobs, blobs};
use futures::stream::{self, StreamExt, TryStreamExt};
use schemas::JobId;
use schemas::event::{ChunkKind, ChunkTranscoded, Outcome, RenditionStitched};
use schemas::id::hex;
use schemas::manifest::{self, Manifest};
use schemas::{Claim, ledger};
use sha2::{Digest, Sha256};

use crate::stage::{Context, Report, Stage, StageError, Unit};

/// Chunks that are read from the catalog at once.
const PAGE: usize = 500;
/// Whole chunks that are read side by side.
const SIDE_BY_SIDE: usize = 16;

/// Joins chunks.
#[derive(Default)]
pub struct Stitch;

impl Stage for Stitch {
    type In = ChunkTranscoded;
    type Out = RenditionStitched;
    const NAME: &'static str = "stitch";

    async fn process(&self, event: ChunkTranscoded, cx: &Context) -> Result<Vec<RenditionStitched>, StageError> {
        if let Some(decision) = cx.doors.catalog.decision(event.job).await?
            && decision.outcome != Outcome::Ready
        {
            tracing::info!(chunk = event.index, outcome = ?decision.outcome, "late chunk of a job that has ended: refused");
            return Ok(Vec::new());
        }
        cx.doors.catalog.put_chunk(&event).await?;
        let chunks = finished_chunks(event.job, cx).await?;
        if chunks.len() == event.total as usize {
            return publish(&event, cx).await;
        }
        let playable = playable(&chunks, &event);
        if !playable.is_empty() && grows(&playable, &event) {
            extend(&playable, &event, cx).await?;
        }
        Ok(Vec::new())
    }

    fn unit(&self, event: &ChunkTranscoded) -> Unit {
        Unit { index: event.index, count: event.total, ..Unit::default() }
    }
}

/// All finished chunks of a job, in order of index, without sample tables.
async fn finished_chunks(job: JobId, cx: &Context) -> Result<Vec<ChunkTranscoded>, StageError> {
    let mut chunks = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = cx.doors.catalog.chunks(job, after.as_deref(), PAGE).await?;
        chunks.extend(page.items.into_iter().map(|row| row.chunk));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(chunks),
        }
    }
}

/// The chunks from the beginning on without a hole: audio, when the source has any, and at least one of video.
fn playable(chunks: &[ChunkTranscoded], event: &ChunkTranscoded) -> Vec<ChunkTranscoded> {
    let prefix: Vec<ChunkTranscoded> =
        (0..).zip(chunks).take_while(|(index, chunk)| *index == chunk.index).map(|(_, chunk)| chunk.clone()).collect();
    let has_pictures = prefix.iter().any(|chunk| chunk.kind == ChunkKind::Video && chunk.frames_in > 0);
    if has_pictures && event.index < u32::try_from(prefix.len()).unwrap_or(0) { prefix } else { Vec::new() }
}

/// Whether `event` itself made the prefix longer or whole.
fn grows(prefix: &[ChunkTranscoded], event: &ChunkTranscoded) -> bool {
    prefix.iter().any(|chunk| chunk.index == event.index)
}

/// Writes the growing manifest.
async fn extend(chunks: &[ChunkTranscoded], event: &ChunkTranscoded, cx: &Context) -> Result<(), StageError> {
    let now = cx.doors.clock.now_ms();
    let playable_at = playable_since(event.job, cx).await?.unwrap_or(now);
    let pieces = assemble::pieces(chunks, cx)?;
    let manifest = assemble::manifest(event, &pieces, playable_at, now)?;
    cx.doors.blobs.put(&manifest::live_key(event.job), json(&manifest)?).await?;
    if playable_at == now {
        tracing::info!("the beginning can be watched");
    }
    cx.report(Report::Playable);
    Ok(())
}

/// All chunks of a job whose set is whole, in order of index, with their sample tables.
async fn whole_chunks(event: &ChunkTranscoded, cx: &Context) -> Result<Vec<ChunkTranscoded>, StageError> {
    let read = |index: u32| async move {
        let chunk = cx.doors.catalog.chunk(event.job, index).await?;
        chunk.ok_or_else(|| StageError::retry("catalog_failed", format!("chunk {index} is gone again")))
    };
    stream::iter(0..event.total).map(read).buffered(SIDE_BY_SIDE).try_collect().await
}

/// When the job could first be watched, as its growing manifest says.
async fn playable_since(job: JobId, cx: &Context) -> Result<Option<i64>, StageError> {
    match cx.doors.blobs.read(&manifest::live_key(job)).await {
        Ok(bytes) => Ok(serde_json::from_slice::<Manifest>(&bytes).ok().map(|manifest| manifest.playable_at)),
        Err(blobs::Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Balances the books, writes what a player needs, and proposes that the job is ready.
async fn publish(event: &ChunkTranscoded, cx: &Context) -> Result<Vec<RenditionStitched>, StageError> {
    let chunks = whole_chunks(event, cx).await?;
    let ledger = books::balance(event, &chunks);
    cx.doors.blobs.put(&ledger::key(event.job), json(&ledger)?).await?;
    if !ledger.balanced {
        return Err(StageError::reject(
            "ledger_unbalanced",
            format!("the chunks do not add up: {}", ledger.findings.join("; ")),
        ));
    }
    let now = cx.doors.clock.now_ms();
    let playable_at = playable_since(event.job, cx).await?.unwrap_or(now);
    let pieces = assemble::pieces(&chunks, cx)?;
    let mut manifest = assemble::manifest(event, &pieces, playable_at, now)?;
    assemble::add_progressive(&mut manifest, &chunks, &pieces, cx).await?;
    manifest.complete = true;
    let (manifest, claim) = write_once(manifest, cx).await?;
    quality::write(event, &chunks, cx).await?;
    cx.doors.blobs.delete(&manifest::live_key(event.job)).await?;
    cx.report(Report::Playable);
    cx.conclude(Decision {
        outcome: Outcome::Ready,
        at: manifest.written_at,
        playable_at: Some(manifest.playable_at),
        error: None,
        warnings: warnings(&chunks),
    });
    Ok(manifest.renditions.iter().map(|rendition| stitched(event.job, rendition, &manifest, &claim)).collect())
}

/// Writes the final manifest unless it is there: whoever was first has published, and everybody else says the same of it.
async fn write_once(manifest: Manifest, cx: &Context) -> Result<(Manifest, Claim), StageError> {
    let key = manifest::key(manifest.job);
    match cx.doors.blobs.create(&key, json(&manifest)?).await {
        Ok(claim) => Ok((manifest, claim)),
        Err(blobs::Error::AlreadyExists(_)) => {
            let bytes = match cx.doors.blobs.read(&key).await {
                Err(blobs::Error::NotFound(_)) => {
                    return Err(StageError::retry("manifest_gone", "the manifest was removed while it was read"));
                }
                read => read?,
            };
            let published = serde_json::from_slice(&bytes).map_err(|error| {
                StageError::reject("damaged_manifest", format!("read the manifest that is there: {error}"))
            })?;
            let sha256 = hex(&Sha256::digest(&bytes));
            Ok((published, Claim { uri: Blobs::claim_uri(&key), size: bytes.len() as u64, sha256 }))
        }
        Err(error) => Err(error.into()),
    }
}

fn stitched(job: JobId, rendition: &manifest::Rendition, manifest: &Manifest, claim: &Claim) -> RenditionStitched {
    let fragments = || rendition.video.pieces.iter().flat_map(|piece| &piece.fragments);
    let end = fragments().last().map_or(0, |last| last.start.unsigned_abs() + last.duration);
    let duration_us = end * 1_000_000 / u64::from(rendition.video.timescale.max(1));
    RenditionStitched {
        job,
        quality: rendition.quality.clone(),
        codec: "h264".to_owned(),
        width: rendition.width,
        height: rendition.height,
        bitrate_bps: rendition.video.average_bps + manifest.audio.as_ref().map_or(0, |audio| audio.average_bps),
        bytes: rendition.progressive.as_ref().map_or(0, |progressive| progressive.size),
        frames: fragments().map(|fragment| u64::from(fragment.samples)).sum(),
        duration_us,
        manifest: claim.clone(),
    }
}

/// Codecs whose every packet is a picture that is shown.
const ONE_TO_ONE: [&str; 4] = ["h264", "hevc", "mjpeg", "prores"];

/// Pictures around a beginning that cannot be decoded: as many as a decoder puts into another order.
const REORDERED: u64 = 16;

/// Says that pictures are missing although nothing is damaged, such as those before the first keyframe.
fn unseen(chunks: &[ChunkTranscoded]) -> Option<String> {
    let video = &chunks.first()?.media.video;
    let frames_in: u64 =
        chunks.iter().filter(|chunk| chunk.kind == ChunkKind::Video).map(|chunk| chunk.frames_in).sum();
    let missing = video.frames.saturating_sub(frames_in);
    let is_telling = !video.interlaced && ONE_TO_ONE.contains(&video.codec.as_str());
    (is_telling && missing > REORDERED).then(|| format!("{missing} pictures of the source could not be shown"))
}

/// What a viewer may notice, each once.
fn warnings(chunks: &[ChunkTranscoded]) -> Vec<String> {
    let mut warnings: Vec<String> = Vec::new();
    let damaged: u64 = chunks.iter().map(|chunk| chunk.damaged).sum();
    if damaged > 0 {
        let parts = if damaged == 1 { "part of the source was" } else { "parts of the source were" };
        warnings.push(format!("{damaged} damaged {parts} concealed"));
    }
    warnings.extend(unseen(chunks).filter(|_| damaged == 0));
    for warning in chunks.iter().flat_map(|chunk| &chunk.warnings) {
        if !warnings.contains(warning) {
            warnings.push(warning.clone());
        }
    }
    warnings
}

fn json(value: &impl serde::Serialize) -> Result<Bytes, StageError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| StageError::reject("unwritable_manifest", format!("write the manifest: {error}")))
}
