use proptest::prelude::*;

use super::*;
use crate::event::Failure;
use crate::source::{Media, Ratio, Transfer, VideoTrack};
use crate::{Claim, JobId};

const QUALITIES: [&str; 3] = ["1080p", "720p", "360p"];

fn job() -> JobId {
    JobId::from_parts(1_700_000_000_000, 1)
}

fn claim(seed: i64) -> Claim {
    Claim { uri: format!("blob:{seed}"), size: seed.unsigned_abs(), sha256: format!("{seed:064x}") }
}

fn media() -> Media {
    let unit = Ratio { num: 1, den: 1 };
    Media {
        container: "mp4".into(),
        demuxer: "mov".into(),
        origin_us: 0,
        duration_us: 1,
        video: VideoTrack {
            index: 0,
            codec: "h264".into(),
            width: 2,
            height: 2,
            fps: unit,
            rotation: 0,
            mirrored: false,
            sar: unit,
            pixel_format: "yuv420p".into(),
            interlaced: false,
            transfer: Transfer::Sdr,
            time_base: unit,
            start: 0,
            end: 1,
            frames: 1,
            longest_gap: 1,
        },
        audio: None,
    }
}

/// The event at `offset` of topic number `kind`: a record never changes, so its content follows from where it lies.
fn event(kind: usize, offset: i64) -> JobEvent {
    let job = job();
    let quality = QUALITIES[offset as usize % 3].to_owned();
    match JobEvent::TOPICS[kind] {
        "upload.received" => JobEvent::Received(UploadReceived {
            job,
            name: format!("{offset}.mp4"),
            source: claim(offset),
            received_at: offset,
            origin: "http".into(),
        }),
        "source.probed" => JobEvent::Probed(Box::new(SourceProbed {
            job,
            source: claim(offset),
            media: media(),
            keyframes: vec![offset],
            rungs: Vec::new(),
            audio_kbps: 0,
            warnings: Vec::new(),
        })),
        "rendition.stitched" => JobEvent::Stitched(RenditionStitched {
            job,
            quality,
            codec: "h264".into(),
            width: 2,
            height: 2,
            bitrate_bps: 1,
            bytes: offset.unsigned_abs(),
            frames: 1,
            duration_us: 1,
            manifest: claim(offset),
        }),
        "source.illustrated" => JobEvent::Illustrated(SourceIllustrated {
            job,
            posters: Vec::new(),
            thumbnails: Vec::new(),
            storyboard: None,
            shots: offset as u32,
            frames: 0,
            maker: String::new(),
            made_at: offset,
            reason: None,
        }),
        "captions.written" => JobEvent::Captioned(CaptionsWritten {
            job,
            language: quality,
            vtt: None,
            cues: offset as u32,
            model: String::new(),
            version: String::new(),
            parameters: String::new(),
            written_at: offset,
            reason: None,
        }),
        "source.classified" => JobEvent::Classified(SourceClassified {
            job,
            labels: Vec::new(),
            features: Vec::new(),
            frames: 0,
            maker: String::new(),
            model: offset.to_string(),
            version: String::new(),
            parameters: String::new(),
            classified_at: offset,
            no_model: None,
            reason: None,
        }),
        "rendition.assessed" => JobEvent::Assessed(RenditionAssessed {
            job,
            quality,
            psnr_db: offset as f64,
            ssim: 1.0,
            report: claim(offset),
            maker: String::new(),
        }),
        "cancel.requested" => JobEvent::CancelRequested(CancelRequested { job, at: offset }),
        "job.ended" => JobEvent::Ended(JobEnded {
            job,
            outcome: [Outcome::Ready, Outcome::Failed, Outcome::Cancelled][offset as usize % 3],
            at: offset,
            playable_at: None,
            error: Some(Failure { code: "c".into(), stage: "s".into(), message: offset.to_string() }),
            warnings: Vec::new(),
        }),
        _ => JobEvent::Deleted(JobDeleted { job, at: offset }),
    }
}

fn fold(records: &[(usize, i64)]) -> JobRow {
    let mut row = JobRow::new(job());
    for (kind, offset) in records {
        row.apply(event(*kind, *offset), Some(*offset));
    }
    row
}

/// Where records lie: number of the topic and offset.
type Records = Vec<(usize, i64)>;

/// Records of up to `kinds` topics, and the same in another order with some of them repeated.
fn told_twice(kinds: usize) -> impl Strategy<Value = (Records, Records)> {
    prop::collection::vec((0..kinds, 0i64..12), 0..40).prop_flat_map(|records| {
        let repeated = prop::collection::vec(any::<bool>(), records.len()).prop_map({
            let records = records.clone();
            move |again| {
                let more = records.iter().zip(again).filter_map(|(record, again)| again.then_some(*record));
                records.iter().copied().chain(more).collect::<Records>()
            }
        });
        (Just(records), repeated.prop_shuffle())
    })
}

const KINDS: usize = JobEvent::TOPICS.len();

proptest! {
    #[test]
    fn order_and_repetition_make_no_difference((once, again) in told_twice(KINDS)) {
        prop_assert_eq!(fold(&once), fold(&again));
    }

    // Deletes are rare above; without any, all slots of a row are compared.
    #[test]
    fn order_and_repetition_make_no_difference_to_a_living_row((once, again) in told_twice(KINDS - 1)) {
        prop_assert_eq!(fold(&once), fold(&again));
    }

    #[test]
    fn what_a_writer_put_ahead_of_the_log_gives_way_to_the_records(
        (once, again) in told_twice(KINDS - 1),
        ahead in prop::collection::vec(any::<bool>(), 80),
    ) {
        let mut row = JobRow::new(job());
        for ((kind, offset), ahead) in again.iter().zip(ahead) {
            if ahead {
                row.apply(event(*kind, *offset), None);
            }
            row.apply(event(*kind, *offset), Some(*offset));
        }
        prop_assert_eq!(row, fold(&once));
    }

    #[test]
    fn deleted_stays_deleted((_, records) in told_twice(KINDS), at in 0usize..40) {
        let mut row = fold(&records[..at.min(records.len())]);
        row.apply(event(KINDS - 1, 0), Some(0));
        for (kind, offset) in &records {
            row.apply(event(*kind, *offset), Some(*offset));
        }
        prop_assert_eq!(row, JobRow { deleted: true, ..JobRow::new(job()) });
    }
}

#[test]
fn the_first_end_wins_and_later_news_do_not_reopen_it() {
    let row = fold(&[(8, 4), (8, 3), (1, 9), (2, 10)]);
    assert_eq!((row.state(), row.ended.unwrap().offset), (State::Ready, Some(3)));
}

#[test]
fn a_job_is_received_then_processed_then_ended() {
    assert_eq!(fold(&[(0, 0)]).state(), State::Received);
    assert_eq!(fold(&[(0, 0), (1, 0)]).state(), State::Processing);
    assert_eq!(fold(&[(0, 0), (1, 0), (7, 0)]).state(), State::Processing);
    assert_eq!(fold(&[(0, 0), (1, 0), (8, 1)]).state(), State::Failed);
    assert_eq!(fold(&[(8, 2)]).state(), State::Cancelled);
}

#[test]
fn words_name_states_both_ways() {
    for state in [State::Received, State::Processing, State::Ready, State::Failed, State::Cancelled] {
        assert_eq!(State::from_word(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    assert_eq!(State::from_word("done"), None);
}
