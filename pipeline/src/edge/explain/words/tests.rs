use schemas::event::{CancelRequested, Failure, JobEnded};
use schemas::job::JobEvent;

use super::*;

fn facts() -> Facts {
    let stage = |name: &str, state, done| StageView { name: name.into(), state, done, total: 4 };
    Facts {
        row: JobRow::new(JobId::from_parts(1, 1)),
        live: Live {
            stages: vec![stage("split", StageState::Done, 4), stage("transcode", StageState::Waiting, 1)],
            ..Live::default()
        },
        busy: Vec::new(),
        heard_at: Some(88_000),
        decision: None,
        stages: vec![StageFacts { name: "transcode", behind: Some(9), workers: Some(1) }],
        letters: Vec::new(),
        now_ms: 100_000,
    }
}

fn busy(state: StageState, note: Option<&str>) -> Busy {
    Busy {
        stage: "transcode".into(),
        unit: 2,
        units: 4,
        state,
        attempt: 1,
        worker: "w".into(),
        note: note.map(str::to_owned),
        since: 96_000,
        at: 99_000,
    }
}

#[test]
fn a_queue_a_missing_worker_and_a_failed_attempt_are_told_apart() {
    let queued = tell(&facts());
    assert!(queued.because.contains("9 events") && queued.because.ends_with("waited for 12 s."), "{}", queued.because);
    assert_eq!((queued.since.as_deref(), queued.held.len()), (Some("1970-01-01T00:01:28Z"), 0));
    assert_eq!(queued.waiting_for[0], "transcode to finish 3 more of 4 parts");
    let mut alone = facts();
    alone.stages[0].workers = Some(0);
    assert!(tell(&alone).because.starts_with("No living worker runs transcode"));
    let mut again = facts();
    again.busy.push(busy(StageState::Waiting, Some("the disk was full")));
    assert!(tell(&again).because.contains("(the disk was full) and will be tried again"));
    let mut at_work = facts();
    at_work.busy.push(busy(StageState::Running, None));
    assert!(
        tell(&at_work).because.starts_with("transcode is at work on one part at this moment, 1 of 4 parts are done")
    );
    let told = tell(&at_work);
    assert!(told.because.ends_with("(worker w has had it for 4 s)."), "{}", told.because);
    let held = &told.held[0];
    assert_eq!((held.stage.as_str(), held.part, held.worker.as_str()), ("transcode", 2, "w"));
    assert_eq!((held.since.as_str(), told.since.as_deref()), ("1970-01-01T00:01:36Z", Some("1970-01-01T00:01:36Z")));
    at_work.busy.push(Busy { unit: 3, worker: "v".into(), ..busy(StageState::Running, None) });
    let two = tell(&at_work).because;
    assert!(two.contains("on 2 parts") && two.ends_with("(workers v and w, the first for 4 s)."), "{two}");
    at_work.now_ms += 60_000;
    assert!(tell(&at_work).because.contains("nothing was heard of it for 61 seconds; workers v and w had it"));
}

#[test]
fn a_job_does_not_wait_for_what_only_adds_to_it() {
    let mut facts = facts();
    let stage = |name: &str, state| StageView { name: name.into(), state, done: 0, total: 1 };
    facts.live.stages = vec![stage("stitch", StageState::Done), stage("illustrate", StageState::Running)];
    assert!(tell(&facts).because.starts_with("All stages are done"));
    let none = include_str!("../../../../../schemas/examples/source.illustrated/v1/unavailable.json");
    facts.row.apply(JobEvent::Illustrated(serde_json::from_str(none).unwrap()), Some(0));
    let history = tell(&facts).history;
    assert_eq!(history[0].what, "pictures: unavailable (no picture of the video can be decoded)");
}

#[test]
fn a_job_does_not_wait_for_its_captions_and_tells_of_them() {
    let mut facts = facts();
    let stage = |name: &str, state| StageView { name: name.into(), state, done: 0, total: 1 };
    facts.live.stages = vec![stage("stitch", StageState::Done), stage("caption", StageState::Running)];
    assert!(tell(&facts).because.starts_with("All stages are done"));
    for (text, what) in [
        (
            include_str!("../../../../../schemas/examples/captions.written/v1/unavailable.json"),
            "captions: unavailable (no model: run streamforge models pull whisper-base.en)",
        ),
        (
            include_str!("../../../../../schemas/examples/captions.written/v1/silence.json"),
            "captions: none (no speech was found)",
        ),
        (
            include_str!("../../../../../schemas/examples/captions.written/v1/english.json"),
            "captions: 14 cues in `en` by whisper-base.en 1",
        ),
    ] {
        facts.row.captions.clear();
        facts.row.apply(JobEvent::Captioned(serde_json::from_str(text).unwrap()), Some(0));
        assert_eq!(tell(&facts).history[0].what, what);
    }
}

#[test]
fn labels_are_told_of_and_who_looked() {
    for (text, what) in [
        (
            include_str!("../../../../../schemas/examples/source.classified/v1/beach.json"),
            "classified: camera, speech, seashore, coast, seacoast, sea-coast, sandbar, sand bar, also by \
             mobilenet-v2-1.0-224 0f5a1c3e8b7d2a49",
        ),
        (
            include_str!("../../../../../schemas/examples/source.classified/v1/slides.json"),
            "classified: screen, no sound; no image model looked (no model: run streamforge models pull \
             mobilenet-v2-1.0-224)",
        ),
        (
            include_str!("../../../../../schemas/examples/source.classified/v1/unavailable.json"),
            "labels: unavailable (no picture of the video can be decoded)",
        ),
    ] {
        let mut facts = facts();
        facts.row.apply(JobEvent::Classified(serde_json::from_str(text).unwrap()), Some(0));
        assert_eq!(tell(&facts).history[0].what, what);
    }
}

#[test]
fn ends_say_how_and_why() {
    let mut failed = facts();
    let error = Failure { code: "no_video".into(), stage: "probe".into(), message: "there is no video track".into() };
    let end = JobEnded {
        job: failed.row.id,
        outcome: Outcome::Failed,
        at: 7,
        playable_at: None,
        error: Some(error),
        warnings: Vec::new(),
    };
    failed.row.apply(JobEvent::CancelRequested(CancelRequested { job: end.job, at: 3 }), Some(0));
    failed.row.apply(JobEvent::Ended(end), Some(0));
    let told = tell(&failed);
    assert_eq!(told.because, "It failed in probe: there is no video track (no_video).");
    assert!(told.waiting_for.is_empty() && told.since.is_none() && told.held.is_empty());
    assert!(told.advice.unwrap().contains("has a picture"));
    let what: Vec<&str> = told.history.iter().map(|happening| happening.what.as_str()).collect();
    assert_eq!(what, ["somebody asked to cancel", "failed"]);
}
