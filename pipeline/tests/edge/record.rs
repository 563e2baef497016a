//! The record projection.

use connectors::Doors;
use pipeline::edge::record::{GROUP, fold};
use pipeline::stage::record_of;
use schemas::JobId;
use schemas::event::{CancelRequested, JobDeleted, JobEnded, Outcome, RenditionStitched};
use schemas::job::{JobRow, State};
use tokio_util::sync::CancellationToken;

use crate::house::{doors, eventually, garbage};
use crate::video::{probed, received};

fn stitched(job: JobId, quality: &str) -> RenditionStitched {
    let text = include_str!("../../../schemas/examples/rendition.stitched/v1/720p.json");
    RenditionStitched { job, quality: quality.into(), ..serde_json::from_str(text).unwrap() }
}

fn ended(job: JobId, outcome: Outcome) -> JobEnded {
    JobEnded { job, outcome, at: 9, playable_at: None, error: None, warnings: Vec::new() }
}

async fn say(doors: &Doors, records: Vec<connectors::log::NewRecord>) {
    doors.log.append(records).await.unwrap();
}

/// Folds as `group` until it has read everything.
async fn fold_all(doors: &Doors, group: &str) {
    let shutdown = CancellationToken::new();
    let folding = tokio::spawn({
        let (doors, group, shutdown) = (doors.clone(), group.to_owned(), shutdown.clone());
        async move { fold(&doors, &group, &shutdown).await }
    });
    eventually("all is folded", || async {
        let behind = doors.log.progress(group, &schemas::job::JobEvent::TOPICS).await.unwrap();
        behind.iter().all(|at| at.committed >= at.end).then_some(())
    })
    .await;
    shutdown.cancel();
    folding.await.unwrap();
}

async fn rows(doors: &Doors, jobs: &[JobId]) -> Vec<Option<JobRow>> {
    let mut rows = Vec::new();
    for job in jobs {
        rows.push(doors.catalog.job(*job).await.unwrap().map(|found| found.row));
    }
    rows
}

/// Five jobs in five states, each event twice, one that cannot be read, and late events of a deleted job.
async fn history(doors: &Doors) -> Vec<JobId> {
    let jobs: Vec<JobId> = (0..5).map(|n| JobId::from_parts(1_700_000_000_000 + n, u128::from(n))).collect();
    for _ in 0..2 {
        for job in &jobs {
            say(doors, vec![record_of(&received(*job)).unwrap()]).await;
        }
        say(doors, vec![garbage("upload.received", jobs[0])]).await;
        for job in &jobs[1..] {
            say(doors, vec![record_of(&probed(*job)).unwrap()]).await;
        }
        let more = vec![
            record_of(&stitched(jobs[2], "720p")).unwrap(),
            record_of(&stitched(jobs[2], "360p")).unwrap(),
            record_of(&ended(jobs[2], Outcome::Ready)).unwrap(),
            record_of(&ended(jobs[2], Outcome::Failed)).unwrap(),
            record_of(&CancelRequested { job: jobs[3], at: 4 }).unwrap(),
            record_of(&ended(jobs[3], Outcome::Cancelled)).unwrap(),
            record_of(&JobDeleted { job: jobs[4], at: 5 }).unwrap(),
            record_of(&stitched(jobs[4], "360p")).unwrap(),
            record_of(&ended(jobs[4], Outcome::Ready)).unwrap(),
        ];
        say(doors, more).await;
    }
    jobs
}

#[tokio::test]
async fn rows_that_are_wiped_and_replayed_are_equal_and_the_dead_stay_dead() {
    let doors = doors().await;
    let jobs = history(&doors).await;
    fold_all(&doors, GROUP).await;
    let before = rows(&doors, &jobs).await;
    let states: Vec<State> = before.iter().map(|row| row.as_ref().unwrap().state()).collect();
    assert_eq!(states[..4], [State::Received, State::Processing, State::Ready, State::Cancelled]);
    assert!(before[4].as_ref().unwrap().deleted);
    assert_eq!(before[2].as_ref().unwrap().renditions.len(), 2);
    doors.catalog.wipe_jobs().await.unwrap();
    assert_eq!(rows(&doors, &jobs).await, vec![None; 5]);
    fold_all(&doors, "streamforge.record.again").await;
    assert_eq!(rows(&doors, &jobs).await, before);
    let listed = doors.catalog.jobs(None, None, 10).await.unwrap().items;
    assert_eq!(listed.len(), 4, "a tombstone is not listed");
}

#[tokio::test]
async fn two_members_share_the_work_and_lose_nothing() {
    let doors = doors().await;
    let shutdown = CancellationToken::new();
    let members: Vec<_> = (0..2)
        .map(|_| {
            let (doors, shutdown) = (doors.clone(), shutdown.clone());
            tokio::spawn(async move { fold(&doors, GROUP, &shutdown).await })
        })
        .collect();
    let jobs = history(&doors).await;
    eventually("all rows are there", || async {
        let behind = doors.log.progress(GROUP, &schemas::job::JobEvent::TOPICS).await.unwrap();
        behind.iter().all(|at| at.committed >= at.end).then_some(())
    })
    .await;
    shutdown.cancel();
    for member in members {
        member.await.unwrap();
    }
    let shared = rows(&doors, &jobs).await;
    doors.catalog.wipe_jobs().await.unwrap();
    fold_all(&doors, "alone").await;
    assert_eq!(rows(&doors, &jobs).await, shared);
}

#[tokio::test]
async fn a_failed_job_keeps_its_upload_and_its_ledger_and_nothing_else() {
    let doors = doors().await;
    let job = JobId::from_parts(1_700_000_000_000, 1);
    let ledger = schemas::ledger::key(job);
    for key in [format!("jobs/{job}/source"), format!("jobs/{job}/chunks/1"), ledger.clone()] {
        doors.blobs.put(&key, "bytes".into()).await.unwrap();
    }
    let end = record_of(&ended(job, Outcome::Failed)).unwrap();
    say(&doors, vec![record_of(&received(job)).unwrap(), end]).await;
    fold_all(&doors, GROUP).await;
    let left: Vec<String> = doors.blobs.list("").await.unwrap().into_iter().map(|meta| meta.key).collect();
    assert_eq!(left, [ledger, format!("jobs/{job}/source")]);
}

#[tokio::test]
async fn a_deleted_job_loses_its_bytes_now_and_once_more_later() {
    let doors = doors().await;
    let job = JobId::from_parts(1_700_000_000_000, 1);
    let other = JobId::from_parts(1_700_000_000_000, 2);
    for (job, name) in [(job, "source"), (job, "chunks/1"), (other, "source")] {
        doors.blobs.put(&format!("jobs/{job}/{name}"), "bytes".into()).await.unwrap();
    }
    say(&doors, vec![record_of(&received(job)).unwrap(), record_of(&JobDeleted { job, at: 5 }).unwrap()]).await;
    fold_all(&doors, GROUP).await;
    let left: Vec<String> = doors.blobs.list("").await.unwrap().into_iter().map(|meta| meta.key).collect();
    assert_eq!(left, [format!("jobs/{other}/source")]);
    let now = doors.clock.now_ms();
    assert!(doors.catalog.due_removals(now, 10).await.unwrap().is_empty(), "not before the longest lease");
    let later = now + 15 * 60 * 1000 + 1;
    assert_eq!(doors.catalog.due_removals(later, 10).await.unwrap(), [job]);
}

#[tokio::test]
async fn leftovers_of_late_workers_are_removed_when_they_are_due() {
    let doors = doors().await;
    let job = JobId::from_parts(1_700_000_000_000, 1);
    doors.blobs.put(&format!("jobs/{job}/late"), "bytes".into()).await.unwrap();
    doors.catalog.put_removal(job, doors.clock.now_ms() - 1).await.unwrap();
    let shutdown = CancellationToken::new();
    let recording = tokio::spawn(pipeline::edge::record(doors.clone(), shutdown.clone()));
    eventually("the leftovers are gone", || async {
        let due = doors.catalog.due_removals(doors.clock.now_ms(), 10).await.unwrap();
        (due.is_empty() && doors.blobs.list("").await.unwrap().is_empty()).then_some(())
    })
    .await;
    // Whoever has written so late may write once more.
    assert_eq!(doors.catalog.due_removals(i64::MAX, 10).await.unwrap(), [job]);
    shutdown.cancel();
    recording.await.unwrap();
}
