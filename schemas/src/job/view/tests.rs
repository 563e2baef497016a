use serde_json::{Value, json};

use super::*;
use crate::event::{JobEnded, Outcome, SourceProbed, UploadReceived};
use crate::job::JobEvent;

fn example<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

fn received() -> UploadReceived {
    example(include_str!("../../../examples/upload.received/v1/phone.json"))
}

fn probed() -> SourceProbed {
    example(include_str!("../../../examples/source.probed/v1/phone.json"))
}

fn stitched(quality: &str, width: u32, height: u32) -> RenditionStitched {
    let one: RenditionStitched = example(include_str!("../../../examples/rendition.stitched/v1/720p.json"));
    RenditionStitched { quality: quality.into(), width, height, ..one }
}

fn row(events: Vec<JobEvent>) -> JobRow {
    let mut row = JobRow::new(received().job);
    events.into_iter().for_each(|event| row.apply(event, Some(0)));
    row
}

fn running() -> Live {
    let stage = |name: &str, state, done| StageView { name: name.into(), state, done, total: 6 };
    Live {
        progress: 0.42,
        playable: true,
        playable_at: Some(1_795_428_002_400),
        stages: vec![
            stage("split", StageState::Done, 6),
            stage("transcode", StageState::Running, 3),
            stage("stitch", StageState::Waiting, 0),
        ],
        eta_s: Some(3.5),
    }
}

#[test]
fn a_job_at_work_looks_as_documented() {
    let row = row(vec![JobEvent::Received(received()), JobEvent::Probed(Box::new(probed()))]);
    let id = row.id.to_string();
    let view = serde_json::to_value(JobView::of(&row, &running(), "/")).unwrap();
    assert_eq!(
        view,
        json!({
            "id": id, "name": "holiday.mov", "state": "processing", "progress": 0.42, "playable": true,
            "received_at": "2026-11-23T10:00:00Z", "playable_at": "2026-11-23T10:00:02.4Z", "finished_at": null,
            "source": {
                "bytes": 1_874_097, "sha256": received().source.sha256, "container": "mov", "duration_s": 10.4,
                "video": { "codec": "h264", "width": 1920, "height": 1080, "fps": 50.0, "rotation": 90 },
                "audio": { "codec": "pcm_s16le", "channels": 2, "sample_rate": 48000 },
            },
            "stages": [
                { "name": "split", "state": "done", "done": 6, "total": 6 },
                { "name": "transcode", "state": "running", "done": 3, "total": 6 },
                { "name": "stitch", "state": "waiting", "done": 0, "total": 6 },
            ],
            "renditions": [], "hls": format!("/api/stream/{id}/master.m3u8"), "dash": null,
            "poster": null, "storyboard": null, "pictures": null, "captions": null, "content": null,
            "error": null, "warnings": [],
        })
    );
    let status = serde_json::to_value(StatusView::of(&row, &running())).unwrap();
    let expected = json!({ "id": id, "state": "processing", "progress": 0.42, "playable": true, "stage": "transcode", "eta_s": 3.5 });
    assert_eq!(status, expected);
    assert_eq!(serde_json::from_value::<JobView>(view).unwrap(), JobView::of(&row, &running(), "/"));
}

#[test]
fn nothing_but_ready_is_all_of_it() {
    let all = Live { progress: 1.0, ..Live::default() };
    let open = row(vec![JobEvent::Received(received())]);
    assert_eq!(StatusView::of(&open, &all).progress, 0.999);
    assert_eq!(StatusView::of(&open, &Live { progress: f64::NAN, ..Live::default() }).progress, 0.0);
    assert_eq!(StatusView::of(&open, &Live { progress: -1.0, ..Live::default() }).progress, 0.0);
    let ready: JobEnded = example(include_str!("../../../examples/job.ended/v1/ready.json"));
    let done = JobView::of(&row(vec![JobEvent::Ended(ready)]), &Live::default(), "");
    assert_eq!((done.progress, done.playable, done.state), (1.0, true, State::Ready));
    assert_eq!(done.finished_at.as_deref(), Some("2026-11-23T10:00:09.5Z"));
}

#[test]
fn a_failed_job_says_who_gave_up_and_offers_nothing_to_play() {
    let failed: JobEnded = example(include_str!("../../../examples/job.ended/v1/failed.json"));
    let whole = example(include_str!("../../../examples/source.illustrated/v1/whole.json"));
    let row = row(vec![JobEvent::Received(received()), JobEvent::Illustrated(whole), JobEvent::Ended(failed)]);
    let view = JobView::of(&row, &running(), "/");
    assert_eq!((&view.poster, &view.pictures), (&None, &None));
    assert_eq!((view.playable, view.hls, view.progress), (false, None, 0.42));
    assert_eq!(view.error.unwrap().code, "unsupported_media");
    let status = StatusView::of(&row, &running());
    assert_eq!((status.stage.as_deref(), status.eta_s), (Some("probe"), None));
}

#[test]
fn renditions_are_listed_best_first_below_the_public_path() {
    let row = row(vec![
        JobEvent::Stitched(stitched("1080p", 1080, 1920)),
        JobEvent::Stitched(stitched("360p", 360, 640)),
        JobEvent::Stitched(stitched("720p", 720, 1280)),
    ]);
    let urls = |path| -> Vec<String> {
        JobView::of(&row, &Live::default(), path).renditions.into_iter().map(|rendition| rendition.url).collect()
    };
    let below = |prefix: &str| ["1080p", "720p", "360p"].map(|q| format!("{prefix}/api/stream/{}/{q}", row.id));
    assert_eq!(urls("/"), below(""));
    assert_eq!(urls("/videos/"), below("/videos"));
}

#[test]
fn a_row_without_its_upload_still_has_a_time() {
    let row = JobRow::new(JobId::from_parts(1_795_428_000_000, 1));
    let view = JobView::of(&row, &Live::default(), "/");
    assert_eq!((view.received_at.as_str(), view.source), ("2026-11-23T10:00:00Z", None));
    let status = serde_json::to_value(StatusView::of(&row, &Live::default())).unwrap();
    assert_eq!(status["stage"], Value::Null);
}

#[test]
fn warnings_are_said_once() {
    let mut probed = probed();
    probed.warnings = vec!["a".into(), "b".into()];
    let end = JobEnded {
        job: probed.job,
        outcome: Outcome::Ready,
        at: 0,
        playable_at: None,
        error: None,
        warnings: vec!["b".into(), "c".into()],
    };
    let row = row(vec![JobEvent::Probed(Box::new(probed)), JobEvent::Ended(end)]);
    assert_eq!(JobView::of(&row, &Live::default(), "/").warnings, ["a", "b", "c"]);
}

#[test]
fn times_that_no_calendar_holds_stop_at_its_ends() {
    assert!(rfc3339(i64::MAX).starts_with("9999-12-30"));
    assert!(rfc3339(i64::MIN).starts_with("-009999"));
}
