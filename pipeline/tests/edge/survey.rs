//! The survey of unfinished jobs and workers.

use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use connectors::catalog::WorkerRow;
use connectors::clock::ManualClock;
use pipeline::edge::board::Board;
use pipeline::edge::survey;
use pipeline::metrics::Unfinished;
use schemas::JobId;
use schemas::event::{JobEnded, Outcome, UploadReceived};
use schemas::job::{JobEvent, JobRow, State};

use crate::house::doors;
use crate::video::{probed, received};

const NOW_MS: i64 = 1_700_000_000_000;

async fn job(doors: &Doors, n: u128, age_s: i64, events: impl FnOnce(JobId, &mut JobRow)) -> JobId {
    let job = JobId::from_parts(1_600_000_000_000, n);
    let mut row = JobRow::new(job);
    row.apply(JobEvent::Received(UploadReceived { received_at: NOW_MS - age_s * 1_000, ..received(job) }), Some(0));
    events(job, &mut row);
    doors.catalog.swap_job(&row, None).await.unwrap();
    job
}

fn end(job: JobId) -> JobEvent {
    let (playable_at, error, warnings) = (None, None, Vec::new());
    JobEvent::Ended(JobEnded { job, outcome: Outcome::Ready, at: NOW_MS, playable_at, error, warnings })
}

#[tokio::test]
async fn unfinished_jobs_and_workers_are_told_apart() {
    let doors = Doors { clock: Arc::new(ManualClock::at(NOW_MS)), ..doors().await };
    let begin = |job: JobId, row: &mut JobRow| row.apply(JobEvent::Probed(Box::new(probed(job))), Some(1));
    job(&doors, 1, 40, |_, _| {}).await;
    let heard = job(&doors, 2, 7_200, begin).await;
    job(&doors, 3, 900, begin).await;
    job(&doors, 4, 9_000, |job, row| row.apply(end(job), Some(2))).await;
    for (id, silent_s) in [("a", 2), ("b", 9), ("c", 40), ("d", 7_200)] {
        let row = WorkerRow {
            id: id.into(),
            version: "1".into(),
            stages: Vec::new(),
            load: 0.0,
            current: Vec::new(),
            started_at: NOW_MS - 8_000_000,
            seen_at: NOW_MS - silent_s * 1_000,
        };
        doors.catalog.put_worker(&row).await.unwrap();
    }
    let board = Board::new(doors.clone());
    // The oldest job is the one that works.
    board.note(&doors.catalog.job(heard).await.unwrap().unwrap().row);

    let found = survey::take(&doors, &board, Duration::from_secs(10)).await.unwrap();

    let age = Duration::from_secs;
    assert_eq!(found.received, Unfinished { jobs: 1, oldest: age(40), silence: age(40) });
    assert_eq!(found.processing, Unfinished { jobs: 2, oldest: age(7_200), silence: age(900) });
    assert_eq!((found.alive, found.silent), (2, 1), "whoever fell silent long ago is history");
}

#[tokio::test]
async fn a_board_that_was_asked_for_a_job_knows_it_by_itself_from_then_on() {
    let doors = doors().await;
    let known = job(&doors, 1, 7_200, |job, row| row.apply(JobEvent::Probed(Box::new(probed(job))), Some(0))).await;
    // Nothing was heard on the log: this edge has just been started.
    let board = Board::new(doors.clone());
    let (row, _) = board.look(known).await.unwrap().unwrap();
    let (alone, _) = board.peek(known).unwrap();
    assert_eq!((alone.state(), alone.received.is_some()), (State::Processing, true));
    assert_eq!((row.state(), row.received), (State::Processing, alone.received));
}
