//! The stitch ledger: frames in equal frames out, times join, audio and video end where the source's do.

use schemas::event::{ChunkKind, ChunkRendition, ChunkTranscoded};
use schemas::ledger::{AudioLedger, ChunkLedger, Ledger, RenditionLedger};
use schemas::source::Media;

/// Balances the books over all chunks of a job, in order of index.
pub fn balance(event: &ChunkTranscoded, chunks: &[ChunkTranscoded]) -> Ledger {
    let mut findings = Vec::new();
    let video: Vec<&ChunkTranscoded> = chunks.iter().filter(|chunk| chunk.kind == ChunkKind::Video).collect();
    let frames_in = video.iter().map(|chunk| chunk.frames_in).sum();
    let damaged: u64 = chunks.iter().map(|chunk| chunk.damaged).sum();
    if frames_in == 0 {
        findings.push("no picture of the video could be decoded".to_owned());
    }
    let renditions: Vec<RenditionLedger> = event
        .rungs
        .iter()
        .map(|rung| rendition_ledger(&rung.quality, &video, frames_in, damaged, &mut findings))
        .collect();
    let audio = audio_ledger(chunks);
    let video_end_s = renditions.iter().map(|rendition| rendition.end_s).fold(0.0, f64::max);
    let source_end_difference_s = audio.as_ref().and_then(|_| source_difference(&event.media));
    let output_end_difference_s = audio.as_ref().map(|audio| audio.end_s - video_end_s);
    if let (Some(source), Some(output)) = (source_end_difference_s, output_end_difference_s) {
        // A frame of video and the delays of two audio codecs: containers state ends no better.
        let frame = 1.0 / event.media.video.fps.as_f64().max(1.0);
        let tolerance = frame.max(longest_gap(&event.media)) + 0.1;
        if (source - output).abs() > tolerance && damaged == 0 {
            findings.push(format!(
                "the sound ends {output:+.3} s from the video's end where the source's ends {source:+.3} s from it"
            ));
        }
    }
    Ledger {
        job: event.job,
        balanced: findings.is_empty(),
        findings,
        frames_in,
        damaged,
        renditions,
        audio,
        video_end_s,
        source_end_difference_s,
        output_end_difference_s,
        chunks: video.iter().map(|chunk| chunk_ledger(chunk)).collect(),
    }
}

fn seconds(ticks: i64, timescale: u32) -> f64 {
    ticks as f64 / f64::from(timescale.max(1))
}

fn longest_gap(media: &Media) -> f64 {
    media.video.longest_gap as f64 * media.video.time_base.as_f64()
}

fn rendition_ledger(
    quality: &str,
    video: &[&ChunkTranscoded],
    frames_in: u64,
    damaged: u64,
    findings: &mut Vec<String>,
) -> RenditionLedger {
    let parts: Vec<(u32, &ChunkRendition, u64)> = video
        .iter()
        .flat_map(|chunk| {
            chunk
                .renditions
                .iter()
                .filter(|rendition| rendition.quality == quality)
                .map(|rendition| (chunk.index, rendition, chunk.frames_in))
        })
        .collect();
    let frames_out: u64 = parts.iter().map(|(_, part, _)| part.frames).sum();
    if frames_out != frames_in {
        findings.push(format!("{quality} has {frames_out} frames where {frames_in} were decoded"));
    }
    for (index, part, frames_in) in &parts {
        if part.frames != *frames_in {
            findings.push(format!("chunk {index} of {quality} has {} frames of {frames_in}", part.frames));
        }
        let listed: u64 = part.fragments.iter().map(|fragment| u64::from(fragment.samples)).sum();
        if listed != part.frames {
            findings.push(format!("chunk {index} of {quality} lists {listed} samples for {} frames", part.frames));
        }
    }
    let filled: Vec<_> = parts.iter().filter(|(_, part, _)| part.frames > 0).collect();
    for pair in filled.windows(2) {
        let ((index, before, _), (_, after, _)) = (pair[0], pair[1]);
        if after.first_pts <= before.last_pts {
            findings.push(format!("chunk {index} of {quality} overlaps the next one"));
        } else if after.first_pts != before.end_pts && damaged == 0 {
            findings.push(format!("after chunk {index} of {quality} there is a hole"));
        }
    }
    let first = filled.first().map_or(0.0, |(_, part, _)| seconds(part.first_pts, part.timescale));
    let end = filled.last().map_or(0.0, |(_, part, _)| seconds(part.end_pts, part.timescale));
    RenditionLedger {
        quality: quality.to_owned(),
        frames_out,
        keyframes: parts.iter().map(|(_, part, _)| u64::from(part.keyframes)).sum(),
        bytes: parts.iter().map(|(_, part, _)| part.blob.size).sum(),
        first_s: first,
        end_s: end,
    }
}

fn audio_ledger(chunks: &[ChunkTranscoded]) -> Option<AudioLedger> {
    let chunk = chunks.iter().find(|chunk| chunk.kind == ChunkKind::Audio)?;
    let audio = chunk.renditions.first()?;
    Some(AudioLedger {
        samples_in: chunk.frames_in,
        packets_out: audio.frames,
        sample_rate: audio.timescale,
        end_s: seconds(audio.end_pts, audio.timescale),
    })
}

/// Seconds by which the source's audio ends after its video.
fn source_difference(media: &Media) -> Option<f64> {
    let audio = media.audio.as_ref()?;
    let video_end = media.video.end as f64 * media.video.time_base.as_f64();
    Some(audio.end as f64 * audio.time_base.as_f64() - video_end)
}

fn chunk_ledger(chunk: &ChunkTranscoded) -> ChunkLedger {
    let best = chunk.renditions.first();
    ChunkLedger {
        index: chunk.index,
        frames_in: chunk.frames_in,
        frames_out: chunk.renditions.iter().map(|rendition| rendition.frames).collect(),
        first_s: best.map_or(0.0, |part| seconds(part.first_pts, part.timescale)),
        end_s: best.map_or(0.0, |part| seconds(part.end_pts, part.timescale)),
        took_ms: chunk.took_ms,
        worker: chunk.worker.clone(),
    }
}
