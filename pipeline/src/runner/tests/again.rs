//! Events that come once more, events for other versions, and what called-off work leaves behind.

use std::sync::Arc;
use std::time::Duration;

use connectors::catalog::Decision;
use connectors::log::{Record, Tailed};
use schemas::event::{CancelRequested, JobDeleted, Outcome};
use schemas::{Event, manifest, wire};
use tokio::time::sleep;

use super::bench::{Actor, Answer, Bench, header, job, nothing, output, work};
use super::scripted::record;
use crate::header::replay;
use crate::stage::{Context, StageError};

/// `record` as it lies on its topic again for `stage`.
fn again(record: &Record, stage: &str, offset: i64) -> Record {
    let headers = replay::again(record, stage, "r1").headers;
    Record { offset, headers, ..record.clone() }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_is_for_one_stage_and_finished_with_by_the_others() {
    let split = Actor::new("split", |_, _| async { Ok(vec![output("split")]) });
    let caption = Actor::new("caption", |_, _| async { Ok(vec![output("caption")]) }).native().optional();
    let bench = Bench::start(&[&split, &caption]);
    let original = work(0, 0, job(1), 0);
    for stage in ["split", "caption"] {
        bench.log.deliver(stage, vec![original.clone(), again(&original, "caption", 1)]);
        bench.until_committed(stage, 0, 2).await;
    }
    assert_eq!((split.started().len(), caption.started().len()), (1, 2));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_of_a_job_that_has_ended_does_nothing_where_the_end_stands() {
    // Ordinary events pass stages without native code unasked; repeated ones do not.
    let split = Actor::new("split", nothing);
    let caption = Actor::new("caption", nothing).optional();
    let bench = Bench::start(&[&split, &caption]);
    for (number, outcome) in [(1, Outcome::Ready), (2, Outcome::Failed), (3, Outcome::Cancelled)] {
        let decision = Decision { outcome, at: 5, playable_at: None, error: None, warnings: Vec::new() };
        bench.doors.catalog.decide(job(number), &decision).await.expect("decided");
    }
    for (actor, stage) in [(&split, "split"), (&caption, "caption")] {
        let events = (0..4).map(|n| again(&work(0, n, job(n as u32 + 1), 0), stage, n));
        bench.log.deliver(stage, events.collect());
        bench.until_committed(stage, 0, 4).await;
        let jobs: Vec<_> = actor.started().into_iter().map(|(job, _)| job).collect();
        let expected = if stage == "split" { vec![job(4)] } else { vec![job(1), job(4)] };
        assert_eq!(jobs, expected, "{stage}");
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_event_for_another_version_waits_long_and_not_for_ever() {
    async fn foreign(_: u32, _: Arc<Context>) -> Answer {
        Err(StageError::other_version("the chunk wants recipe 2, this worker has 1"))
    }
    // Events of the script are a thousand seconds old.
    let stage = Actor::new("transcode", foreign).native();
    let bench = Bench::tuned(&[&stage], |settings| settings.version_patience = Duration::from_secs(2000));
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0)]);
    sleep(Duration::from_secs(1800)).await;
    assert!(stage.started().len() > 10, "{} attempts", stage.started().len());
    assert!(bench.log.appended("transcode.dlq").is_empty() && bench.ends().is_empty());
    let count = bench.doors.catalog.count_attempt("transcode/in/0/0").await.expect("counted");
    assert_eq!(count, 1, "waiting costs no attempts");
    bench.stop().await;

    let stage = Actor::new("transcode", foreign).native();
    let bench = Bench::tuned(&[&stage], |settings| settings.version_patience = Duration::from_secs(500));
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("transcode", 0, 1).await;
    assert_eq!(stage.started().len(), 1);
    assert_eq!(header(&bench.log.appended("transcode.dlq")[0], "reason"), "other_version");
    assert_eq!(bench.ends().len(), 1);
    bench.stop().await;
}

/// Names a blob just when it is called off.
async fn writes_late(index: u32, cx: Arc<Context>) -> Answer {
    cx.cancel.cancelled().await;
    let key = format!("{}chunks/{index}", manifest::prefix(cx.job));
    cx.doors.blobs.put(&key, "late".into()).await.expect("written");
    Ok(vec![output("late")])
}

fn wish<E: Event>(event: &E) -> Tailed {
    let value = wire::encode(event).expect("encodes");
    Tailed::Records(vec![Record { headers: Vec::new(), ..record(E::TOPIC, 0, 0, value) }])
}

#[tokio::test(start_paused = true)]
async fn called_off_work_leaves_nothing_behind() {
    let stage = Actor::new("transcode", writes_late).native();
    let bench = Bench::tuned(&[&stage], |settings| settings.slots = 3);
    let blobs = bench.doors.blobs.clone();
    for number in 1..=3 {
        let source = manifest::source_key(job(number));
        blobs.put(&source, "source".into()).await.expect("written");
        blobs.put(&schemas::ledger::key(job(number)), "books".into()).await.expect("written");
    }
    bench.log.deliver("transcode", (0..3).map(|n| work(0, n, job(n as u32 + 1), n as u32)).collect());
    bench.until("all run", |_| stage.started().len() == 3).await;
    // Job 3 was ready before anybody wished to cancel it: what it has stays.
    let ready = Decision { outcome: Outcome::Ready, at: 5, playable_at: None, error: None, warnings: Vec::new() };
    bench.doors.catalog.decide(job(3), &ready).await.expect("decided");
    bench.log.say(wish(&JobDeleted { job: job(1), at: 5 }));
    bench.log.say(wish(&CancelRequested { job: job(2), at: 5 }));
    bench.log.say(wish(&CancelRequested { job: job(3), at: 5 }));
    bench.until_committed("transcode", 0, 3).await;
    let left = async |number| {
        let prefix = manifest::prefix(job(number));
        let found = blobs.list(&prefix).await.expect("listed");
        found.into_iter().map(|blob| blob.key.trim_start_matches(&prefix).to_owned()).collect::<Vec<_>>()
    };
    assert!(left(1).await.is_empty(), "nothing of a deleted job");
    assert!(left(2).await.is_empty(), "nothing of a cancelled one");
    assert_eq!(left(3).await, ["chunks/2", "ledger.json", "source"], "everything of a ready one");
    assert!(bench.log.appended("out").is_empty(), "late results are refused");
    bench.stop().await;
}
