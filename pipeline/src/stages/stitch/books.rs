//! The stitch ledger: frames in equal frames out, times join, audio and video end where the source's do.

use schemas::event::{ChunkKind, ChunkRendition, ChunkTranscoded};
use schemas::ledger::{AudioLedger, ChunkLedger, Ledger, RenditionLedger};
use schemas::source::Media;

/// Longest packet of the codecs that pad their last one, samples: a container may state an end as much too late or early.
const PACKET: f64 = 2048.0;
/// What is left for containers that count in milliseconds, seconds.
const ROUNDING: f64 = 0.01;
/// Of so many packets half may hold no picture of their own: fields, and pictures that are never shown.
const FEWEST_PICTURES_PERCENT: u64 = 45;

/// Balances the books over all chunks of a job, in order of index.
pub fn balance(event: &ChunkTranscoded, chunks: &[ChunkTranscoded]) -> Ledger {
    let mut findings = Vec::new();
    let video: Vec<&ChunkTranscoded> = chunks.iter().filter(|chunk| chunk.kind == ChunkKind::Video).collect();
    let frames_in = video.iter().map(|chunk| chunk.frames_in).sum();
    let damaged: u64 = chunks.iter().map(|chunk| chunk.damaged).sum();
    if frames_in == 0 {
        findings.push("no picture of the video could be decoded".to_owned());
    } else if damaged == 0 && frames_in * 100 < event.media.video.frames * FEWEST_PICTURES_PERCENT {
        let promised = event.media.video.frames;
        findings.push(format!("{frames_in} pictures were decoded of {promised} packets, and none was damaged"));
    }
    let renditions: Vec<RenditionLedger> =
        event.rungs.iter().map(|rung| rendition_ledger(&rung.quality, &video, frames_in, &mut findings)).collect();
    let audio = audio_ledger(chunks);
    let video_end_s = renditions.iter().map(|rendition| rendition.end_s).fold(0.0, f64::max);
    let source_end_difference_s = audio.as_ref().and_then(|_| source_difference(&event.media));
    let output_end_difference_s = audio.as_ref().map(|audio| audio.end_s - video_end_s);
    if let (Some(source), Some(output)) = (source_end_difference_s, output_end_difference_s)
        && (source - output).abs() > tolerance(&event.media)
        && !is_end_damaged(chunks)
    {
        findings.push(format!(
            "the sound ends {output:+.3} s from the video's end where the source's ends {source:+.3} s from it"
        ));
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

/// Seconds by which the ends of sound and picture may lie otherwise than in the source: a frame, or a packet of sound.
fn tolerance(media: &Media) -> f64 {
    let frame = 1.0 / media.video.fps.as_f64().max(1.0);
    let packet = media.audio.as_ref().map_or(0.0, |audio| PACKET / f64::from(audio.sample_rate.max(1)));
    frame.max(packet) + ROUNDING
}

/// Whether damage may have moved an end: in the sound, or in the last of the picture.
fn is_end_damaged(chunks: &[ChunkTranscoded]) -> bool {
    let is_filled = |chunk: &ChunkTranscoded| chunk.kind == ChunkKind::Video && chunk.frames_in > 0;
    let last = chunks.iter().rposition(is_filled).unwrap_or(0);
    let may_matter = |(place, chunk): (usize, &ChunkTranscoded)| place >= last || chunk.kind == ChunkKind::Audio;
    chunks.iter().enumerate().any(|(place, chunk)| chunk.damaged > 0 && may_matter((place, chunk)))
}

fn rendition_ledger(
    quality: &str,
    video: &[&ChunkTranscoded],
    frames_in: u64,
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
    let is_damaged =
        |from: u32, to: u32| video.iter().any(|chunk| (from..=to).contains(&chunk.index) && chunk.damaged > 0);
    let filled: Vec<_> = parts.iter().filter(|(_, part, _)| part.frames > 0).collect();
    for pair in filled.windows(2) {
        let ((index, before, _), (next, after, _)) = (pair[0], pair[1]);
        if after.first_pts <= before.last_pts {
            findings.push(format!("chunk {index} of {quality} overlaps the next one"));
        } else if after.first_pts != before.end_pts && !is_damaged(*index, *next) {
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

#[cfg(test)]
mod tests {
    use schemas::source::AudioTrack;
    use schemas::{Claim, JobId, TaskKey, ladder::Rung};

    use super::*;
    use crate::stages::example;

    /// Ten seconds of 25 pictures each, and sound that ends `later` milliseconds after them.
    fn media(later: i64) -> Media {
        let mut media = example::media();
        // One long still picture in the middle must not loosen the ends.
        media.video.longest_gap = 3000;
        media.audio = Some(AudioTrack {
            index: 1,
            codec: "aac".into(),
            channels: 2,
            sample_rate: 48_000,
            time_base: media.video.time_base,
            start: 0,
            end: 10_000 + later,
        });
        media
    }

    /// Chunk `index` of three: sound, then two of pictures.
    fn chunk(media: &Media, index: u32, frames: u64, begin: i64, end: i64) -> ChunkTranscoded {
        let is_sound = index == 0;
        let rendition = ChunkRendition {
            quality: if is_sound { "audio" } else { "360p" }.into(),
            blob: Claim { uri: String::new(), size: 1, sha256: String::new() },
            init: vec![1],
            codec: String::new(),
            timescale: 1000,
            fragments: vec![schemas::event::Fragment {
                offset: 0,
                size: 1,
                header: 0,
                start: begin,
                duration: 1,
                samples: u32::try_from(frames).unwrap(),
            }],
            samples: Vec::new(),
            frames,
            first_pts: begin,
            last_pts: end - 40,
            end_pts: end,
            keyframes: 1,
            psnr: Vec::new(),
            again: 0,
            cap_won: false,
        };
        ChunkTranscoded {
            job: JobId::from_parts(1, 1),
            index,
            total: 3,
            kind: if is_sound { ChunkKind::Audio } else { ChunkKind::Video },
            task: TaskKey::of(&["one"]),
            media: media.clone(),
            rungs: vec![Rung { quality: "360p".into(), width: 640, height: 360, max_kbps: 1000 }],
            frames_in: frames,
            damaged: 0,
            weight: 1,
            renditions: vec![rendition],
            warnings: Vec::new(),
            encoder: String::new(),
            took_ms: 1,
            worker: String::new(),
            source: None,
            finished_at: None,
        }
    }

    fn job(later: i64, sound_end: i64) -> Vec<ChunkTranscoded> {
        let media = media(later);
        vec![chunk(&media, 0, 469, 0, sound_end), chunk(&media, 1, 125, 0, 5000), chunk(&media, 2, 125, 5000, 10_000)]
    }

    fn findings(chunks: &[ChunkTranscoded]) -> Vec<String> {
        balance(&chunks[2], chunks).findings
    }

    #[test]
    fn sound_may_end_as_it_does_in_the_source_to_a_frame_or_a_packet() {
        assert!(findings(&job(0, 10_000)).is_empty());
        assert!(findings(&job(-3000, 7000)).is_empty());
        assert!(findings(&job(0, 10_050)).is_empty());
        for sound_end in [9930, 10_070, 10_130, 12_000] {
            let said = findings(&job(0, sound_end));
            assert!(said.len() == 1 && said[0].starts_with("the sound ends"), "{sound_end}: {said:?}");
        }
    }

    #[test]
    fn frames_out_are_frames_in_for_each_chunk_and_each_rendition() {
        let mut chunks = job(0, 10_000);
        let part = &mut chunks[1].renditions[0];
        (part.frames, part.fragments[0].samples) = (124, 124);
        assert_eq!(
            findings(&chunks),
            ["360p has 249 frames where 250 were decoded", "chunk 1 of 360p has 124 frames of 125"]
        );
        // One too many elsewhere makes the sum right and the chunks no better.
        let part = &mut chunks[2].renditions[0];
        (part.frames, part.fragments[0].samples) = (126, 126);
        assert_eq!(
            findings(&chunks),
            ["chunk 1 of 360p has 124 frames of 125", "chunk 2 of 360p has 126 frames of 125"]
        );
    }

    #[test]
    fn what_a_player_is_told_of_a_chunk_is_what_it_holds() {
        let mut chunks = job(0, 10_000);
        chunks[2].renditions[0].fragments[0].samples = 124;
        assert_eq!(findings(&chunks), ["chunk 2 of 360p lists 124 samples for 125 frames"]);
    }

    #[test]
    fn chunks_do_not_overlap_even_where_the_source_is_damaged() {
        let mut chunks = job(0, 10_000);
        chunks[1].renditions[0].last_pts = 5000;
        assert_eq!(findings(&chunks), ["chunk 1 of 360p overlaps the next one"]);
        chunks[1].damaged = 1;
        assert_eq!(findings(&chunks), ["chunk 1 of 360p overlaps the next one"]);
    }

    #[test]
    fn damage_excuses_the_ends_only_where_it_may_have_moved_them() {
        for (damaged, is_excused) in [(0, true), (1, false), (2, true)] {
            let mut chunks = job(0, 9000);
            chunks[damaged].damaged = 1;
            assert_eq!(findings(&chunks).is_empty(), is_excused, "chunk {damaged}");
        }
    }

    #[test]
    fn damage_excuses_a_hole_only_beside_it() {
        let media = media(0);
        let mut chunks = vec![
            chunk(&media, 0, 469, 0, 10_000),
            chunk(&media, 1, 75, 0, 3000),
            chunk(&media, 2, 74, 3040, 6000),
            chunk(&media, 3, 100, 6000, 10_000),
        ];
        assert_eq!(findings(&chunks), ["after chunk 1 of 360p there is a hole"]);
        chunks[3].damaged = 1;
        assert_eq!(findings(&chunks), ["after chunk 1 of 360p there is a hole"]);
        chunks[2].damaged = 1;
        assert!(findings(&chunks).is_empty());
    }

    #[test]
    fn most_of_the_packets_cannot_be_without_a_picture_unless_they_are_damaged() {
        let mut chunks = job(0, 10_000);
        for chunk in &mut chunks {
            chunk.media.video.frames = 500;
        }
        assert!(findings(&chunks).is_empty(), "two fields make a picture");
        for chunk in &mut chunks {
            chunk.media.video.frames = 600;
        }
        assert_eq!(findings(&chunks), ["250 pictures were decoded of 600 packets, and none was damaged"]);
        chunks[1].damaged = 1;
        assert!(findings(&chunks).is_empty());
    }
}
