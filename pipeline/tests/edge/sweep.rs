//! The sweeper.

use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use connectors::catalog::{Decision, UploadIntent};
use connectors::clock::ManualClock;
use pipeline::edge::sweep::Sweeper;
use schemas::JobId;
use schemas::event::{JobEnded, Outcome};
use schemas::job::{JobEvent, JobRow};
use schemas::wire;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::house::{doors, garbage, make_topics, records_of};
use crate::video::{received, row};

const HOUR_MS: i64 = 3_600_000;

fn sweeper(is_alone: bool) -> Sweeper {
    Sweeper { owner: "me".into(), is_alone }
}

async fn intend(doors: &Doors, n: u128, owner: &str, age_ms: i64, is_stored: bool) -> JobId {
    let job = JobId::from_parts(1_700_000_000_000, n);
    let touched_at = doors.clock.now_ms() - age_ms;
    let event = is_stored.then(|| received(job));
    doors.blobs.put(&format!("jobs/{job}/source"), "bytes".into()).await.unwrap();
    doors.catalog.put_upload(&UploadIntent { job, owner: owner.into(), touched_at, event }).await.unwrap();
    job
}

async fn open(doors: &Doors) -> Vec<JobId> {
    doors.catalog.uploads(None, 10).await.unwrap().items.into_iter().map(|intent| intent.job).collect()
}

#[tokio::test]
async fn dead_uploads_leave_and_living_ones_stay() {
    let doors = doors().await;
    let dead = intend(&doors, 1, "other", 2 * HOUR_MS, false).await;
    let young = intend(&doors, 2, "other", HOUR_MS / 2, false).await;
    let ours = intend(&doors, 3, "me", 2 * HOUR_MS, false).await;
    sweeper(false).sweep(&doors).await.unwrap();
    assert_eq!(open(&doors).await, [young, ours]);
    assert!(doors.blobs.list(&format!("jobs/{dead}/")).await.unwrap().is_empty());
    sweeper(true).sweep(&doors).await.unwrap();
    assert_eq!(open(&doors).await, [ours], "whoever is alone knows that all others are dead");
    assert_eq!(doors.blobs.list("").await.unwrap().len(), 1);
    assert!(records_of(&doors, "upload.received").await.is_empty());
}

#[tokio::test]
async fn a_stored_upload_gets_the_row_and_the_event_that_it_lacks_and_no_second_one() {
    let doors = doors().await;
    let stored = intend(&doors, 1, "other", 0, true).await;
    let announced = intend(&doors, 2, "other", 0, true).await;
    let mut known = JobRow::new(announced);
    known.apply(JobEvent::Received(received(announced)), Some(4));
    doors.catalog.swap_job(&known, None).await.unwrap();
    let deleted = intend(&doors, 3, "other", 0, true).await;
    doors.catalog.swap_job(&JobRow { deleted: true, ..JobRow::new(deleted) }, None).await.unwrap();
    sweeper(true).sweep(&doors).await.unwrap();
    let events = records_of(&doors, "upload.received").await;
    let jobs: Vec<JobId> = events
        .iter()
        .map(|record| wire::decode::<schemas::event::UploadReceived>(&record.value).unwrap().job)
        .collect();
    assert_eq!(jobs, [stored]);
    assert!(doors.catalog.job(stored).await.unwrap().unwrap().row.received.is_some());
    assert!(open(&doors).await.is_empty());
}

#[tokio::test]
async fn an_end_that_was_decided_and_not_said_is_said() {
    let doors = doors().await;
    let (silent, fresh) = (JobId::from_parts(1_700_000_000_000, 1), JobId::from_parts(1_700_000_000_000, 2));
    for (job, age_ms) in [(silent, 60_000), (fresh, 0)] {
        row(&doors, job).await;
        let decision = Decision {
            outcome: Outcome::Ready,
            at: doors.clock.now_ms() - age_ms,
            playable_at: Some(7),
            error: None,
            warnings: vec!["w".into()],
        };
        doors.catalog.decide(job, &decision).await.unwrap();
    }
    sweeper(true).sweep(&doors).await.unwrap();
    let ends = records_of(&doors, "job.ended").await;
    assert_eq!(ends.len(), 1);
    let end: JobEnded = wire::decode(&ends[0].value).unwrap();
    assert_eq!(
        (end.job, end.outcome, end.playable_at, end.warnings),
        (silent, Outcome::Ready, Some(7), vec!["w".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn what_topics_do_not_keep_any_longer_leaves_the_log() {
    let clock = Arc::new(ManualClock::at(1_700_000_000_000));
    let doors = connectors::in_memory(clock.clone()).unwrap();
    make_topics(doors.log.as_ref()).await;
    let job = JobId::from_parts(1_700_000_000_000, 1);
    let append = async || {
        for topic in ["job.progress", "job.deleted"] {
            doors.log.append(vec![garbage(topic, job)]).await.unwrap();
        }
    };
    append().await;
    let shutdown = CancellationToken::new();
    let (swept, until) = (doors.clone(), shutdown.clone());
    let sweeping = tokio::spawn(async move { sweeper(false).run(&swept, &until).await });
    sleep(Duration::from_secs(1)).await;
    assert_eq!(records_of(&doors, "job.progress").await.len(), 1, "it is young");
    clock.advance(HOUR_MS + 1);
    append().await;
    sleep(Duration::from_secs(600)).await;
    let left = records_of(&doors, "job.progress").await;
    assert_eq!(left.iter().map(|record| record.offset).collect::<Vec<_>>(), [1], "progress is kept for an hour");
    assert_eq!(records_of(&doors, "job.deleted").await.len(), 2, "that a job is deleted is kept for good");
    shutdown.cancel();
    sweeping.await.unwrap();
}
