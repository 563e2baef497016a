//! What the encoders say of the quality of a job, collected over its chunks; assess measures the rest.

use connectors::blobs;
use schemas::event::{ChunkKind, ChunkRendition, ChunkTranscoded};
use schemas::ladder::{Rung, floor_db};
use schemas::manifest::{self, samples};
use schemas::quality::table::{self, Row};
use schemas::quality::{self, ChunkQuality, Metric, Quality, RenditionQuality, psnr};
use schemas::{Claim, TaskKey};

use crate::stage::{Context, StageError};

/// Writes what is known of the quality of a job whose chunks are all there, unless that was done.
pub async fn write(event: &ChunkTranscoded, chunks: &[ChunkTranscoded], cx: &Context) -> Result<(), StageError> {
    let key = quality::key(event.job);
    match cx.doors.blobs.head(&key).await {
        Ok(_) => return Ok(()),
        Err(blobs::Error::NotFound(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let mut renditions = Vec::with_capacity(event.rungs.len());
    for rung in &event.rungs {
        let parts: Vec<Part<'_>> = parts(chunks, &rung.quality).collect();
        let rows = rows(&rung.quality, &parts)?;
        let packed = table::pack(&rows);
        // Named by what is in it, so that a second run writes the same.
        let name = TaskKey::of(&[&schemas::id::hex(&packed)]);
        let key = format!("{}{}/frames-{name}.bin", manifest::prefix(event.job), rung.quality);
        let table = cx.doors.blobs.put(&key, packed.into()).await?;
        renditions.push(rendition(rung, &parts, &rows, table));
    }
    let quality = Quality {
        job: event.job,
        source: event.source.clone(),
        media: event.media.clone(),
        rungs: event.rungs.clone(),
        renditions,
    };
    match cx.doors.blobs.create(&key, super::json(&quality)?).await {
        Ok(_) | Err(blobs::Error::AlreadyExists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A chunk and what it became in one rung.
type Part<'a> = (&'a ChunkTranscoded, &'a ChunkRendition);

/// The chunks that hold frames of `quality`, in order of time.
fn parts<'a>(chunks: &'a [ChunkTranscoded], quality: &'a str) -> impl Iterator<Item = Part<'a>> {
    let video = chunks.iter().filter(|chunk| chunk.kind == ChunkKind::Video);
    video
        .flat_map(|chunk| chunk.renditions.iter().map(move |rendition| (chunk, rendition)))
        .filter(move |(_, rendition)| rendition.quality == quality && rendition.frames > 0)
}

/// The frames of a rendition, with what its encoders say of them.
fn rows(quality: &str, parts: &[Part<'_>]) -> Result<Vec<Row>, StageError> {
    let mut rows = Vec::new();
    for (_, part) in parts {
        let samples = samples::unpack(&part.samples)
            .map_err(|error| StageError::reject("bad_sample_table", format!("join {quality}: {error}")))?;
        let mut samples = samples.iter();
        let first = rows.len();
        for fragment in &part.fragments {
            let mut pts = fragment.start;
            // Decode times are the sorted presentation times.
            for sample in samples.by_ref().take(fragment.samples as usize) {
                rows.push(Row::at(pts));
                pts += i64::from(sample.duration);
            }
        }
        // An encoder that does not say leaves them as they are.
        for (row, decibels) in rows[first..].iter_mut().zip(psnr::unpack(&part.psnr)) {
            *row = row.with(Metric::PsnrEncoded, decibels);
        }
    }
    Ok(rows)
}

fn rendition(rung: &Rung, parts: &[Part<'_>], rows: &[Row], table: Claim) -> RenditionQuality {
    let timescale = parts.first().map_or(1, |(_, part)| part.timescale);
    let seconds = |ticks: i64| ticks as f64 / f64::from(timescale.max(1));
    let chunks = parts.iter().map(|(chunk, part)| ChunkQuality {
        index: chunk.index,
        start_s: seconds(part.first_pts),
        end_s: seconds(part.end_pts),
        frames: part.frames,
        again: part.again,
        cap_won: part.cap_won,
        metrics: quality::Summaries::new(),
    });
    let silent = parts.iter().filter(|(_, part)| part.psnr.is_empty()).count();
    let note = format!("The encoder said nothing of its error in {silent} of {} chunks.", parts.len());
    let mut made = RenditionQuality {
        quality: rung.quality.clone(),
        width: rung.width,
        height: rung.height,
        verdict: String::new(),
        assessed: false,
        trouble: None,
        frames: rows.len() as u64,
        floor_db: floor_db(&rung.quality),
        encoded_again: parts.iter().map(|(_, part)| part.again).sum(),
        cap_won: u32::try_from(parts.iter().filter(|(_, part)| part.cap_won).count()).unwrap_or(u32::MAX),
        metrics: quality::Summaries::new(),
        chunks: chunks.collect(),
        notes: if silent > 0 { vec![note] } else { Vec::new() },
        compared: None,
        maker: parts.first().map_or_else(String::new, |(chunk, _)| chunk.encoder.clone()),
        timescale,
        table,
    };
    made.measure(rows);
    made
}

#[cfg(test)]
mod tests {
    use schemas::event::Fragment;
    use schemas::manifest::samples::Sample;
    use schemas::{JobId, TaskKey};

    use super::*;
    use crate::stages::example;

    /// A chunk of `decibels`, one a frame of 40 ms, from `start` on.
    fn chunk(index: u32, start: i64, decibels: &[f64], is_told: bool) -> ChunkTranscoded {
        let sample = Sample { size: 1, duration: 40, composition_offset: 500, sync: true };
        let frames = decibels.len();
        let end = start + 40 * frames as i64;
        let fragment =
            Fragment { offset: 0, size: 1, header: 0, start, duration: 40 * frames as u64, samples: frames as u32 };
        let rendition = ChunkRendition {
            quality: "360p".into(),
            blob: Claim { uri: String::new(), size: 1, sha256: String::new() },
            init: vec![1],
            codec: String::new(),
            timescale: 1000,
            fragments: vec![fragment],
            samples: samples::pack(&vec![sample; frames]),
            frames: frames as u64,
            first_pts: start,
            last_pts: end - 40,
            end_pts: end,
            keyframes: 1,
            psnr: if is_told { psnr::pack(decibels.iter().copied()) } else { Vec::new() },
            again: index,
            cap_won: index == 1,
        };
        ChunkTranscoded {
            job: JobId::from_parts(1, 1),
            index,
            total: 2,
            kind: ChunkKind::Video,
            task: TaskKey::of(&["one"]),
            media: example::media(),
            rungs: vec![rung()],
            frames_in: frames as u64,
            damaged: 0,
            weight: 1,
            renditions: vec![rendition],
            warnings: Vec::new(),
            encoder: "x264".into(),
            took_ms: 1,
            worker: String::new(),
            source: None,
            finished_at: None,
        }
    }

    fn rung() -> Rung {
        Rung { quality: "360p".into(), width: 640, height: 360, max_kbps: 1000 }
    }

    fn of(chunks: &[ChunkTranscoded]) -> (RenditionQuality, Vec<Row>) {
        let parts: Vec<Part<'_>> = parts(chunks, "360p").collect();
        let rows = rows("360p", &parts).unwrap();
        let table = Claim { uri: String::new(), size: 0, sha256: String::new() };
        (rendition(&rung(), &parts, &rows, table), rows)
    }

    #[test]
    fn each_frame_has_its_time_and_each_chunk_its_own_figures() {
        let chunks = [chunk(0, 0, &[40.0, 42.0], true), chunk(1, 80, &[30.0], true), chunk(2, 120, &[], true)];
        let (found, rows) = of(&chunks);
        let told: Vec<_> = rows.iter().map(|row| (row.pts, row.value(Metric::PsnrEncoded))).collect();
        assert_eq!(told, [(0, Some(40.0)), (40, Some(42.0)), (80, Some(30.0))]);
        assert_eq!((found.frames, found.encoded_again, found.cap_won, found.floor_db), (3, 1, 1, Some(33)));
        let all = &found.metrics[&Metric::PsnrEncoded];
        assert_eq!((all.worst, all.worst_frame, all.worst_at_s), (30.0, 2, 0.08));
        let means: Vec<f64> = found.chunks.iter().map(|chunk| chunk.metrics[&Metric::PsnrEncoded].mean).collect();
        assert_eq!(means, [41.0, 30.0], "an empty chunk has no line");
        assert!(found.notes.is_empty() && found.verdict.contains("the cap won"), "{found:?}");
    }

    #[test]
    fn an_encoder_that_does_not_say_is_told_of() {
        let (found, rows) = of(&[chunk(0, 0, &[40.0], true), chunk(1, 40, &[30.0], false)]);
        assert_eq!(found.notes, ["The encoder said nothing of its error in 1 of 2 chunks."]);
        assert_eq!(rows[1], Row::at(40));
        assert_eq!(found.metrics[&Metric::PsnrEncoded].frames, 1);
    }
}
