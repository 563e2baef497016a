//! Listings over many days, while rows move, and what is swept out of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use connectors::Catalog;
use connectors::catalog::{Swap, UploadIntent};
use connectors::clock::ManualClock;
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::{JobRow, State};

use crate::catalog::{job, listed, row};
use crate::in_own_keyspace;

const DAY_MS: u64 = 86_400_000;

/// A job of some day.
fn of_day(day: u64, number: u64) -> JobId {
    JobId::from_parts(day * DAY_MS + number, rand::random())
}

async fn put(catalog: &dyn Catalog, row: &JobRow) {
    let epoch = catalog.job(row.id).await.unwrap().map(|stored| stored.epoch);
    assert_eq!(catalog.swap_job(row, epoch).await.unwrap(), Swap::Won);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_go_back_over_days_and_skip_empty_years() {
    in_own_keyspace(|open| async move {
        let catalog = open.catalog().await;
        // From 1975 to 2025, some days full and most of them empty.
        let mut ids: Vec<JobId> = Vec::new();
        for day in [2_000, 2_001, 9_000, 17_000, 20_000, 20_001, 20_002] {
            ids.extend((0..9).map(|number| of_day(day, number)));
        }
        for id in &ids {
            put(&*catalog, &row(*id, Some(Outcome::Failed))).await;
        }
        ids.sort();
        ids.reverse();
        for limit in [1, 4, 9, 1000] {
            assert_eq!(listed(&*catalog, None, limit).await, ids, "pages of {limit}");
        }
        assert_eq!(listed(&*catalog, Some(State::Failed), 10).await, ids);
        assert!(listed(&*catalog, Some(State::Ready), 10).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_miss_nothing_and_show_nothing_twice_while_rows_move() {
    in_own_keyspace(|open| async move {
        let (reader, writer) = (open.catalog().await, open.catalog().await);
        let ids: Vec<JobId> = (0..40).map(|number| of_day(20_000 + number % 3, number)).collect();
        for id in &ids {
            put(&*reader, &row(*id, None)).await;
        }
        // These stay as they are, the others go from state to state and come back.
        let (still, moving) = ids.split_at(10);
        let over = Arc::new(AtomicBool::new(false));
        let mover = {
            let (over, moving) = (Arc::clone(&over), moving.to_vec());
            tokio::spawn(async move {
                let outcomes = [Some(Outcome::Ready), None, Some(Outcome::Failed), None];
                let mut moves = 0;
                for outcome in outcomes.iter().cycle() {
                    for id in &moving {
                        put(&*writer, &row(*id, *outcome)).await;
                        moves += 1;
                        if over.load(Ordering::SeqCst) {
                            return moves;
                        }
                    }
                }
                moves
            })
        };
        let all: BTreeSet<JobId> = ids.iter().copied().collect();
        for limit in [3, 7, 50, 3, 7, 50] {
            let seen = listed(&*reader, None, limit).await;
            assert!(seen.is_sorted_by(|a, b| a > b), "newest first and none twice");
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), all, "every job in pages of {limit}");
            let received = listed(&*reader, Some(State::Received), limit).await;
            assert!(received.is_sorted_by(|a, b| a > b));
            assert!(still.iter().all(|id| received.contains(id)), "those that did not move");
        }
        over.store(true, Ordering::SeqCst);
        assert!(mover.await.unwrap() > 0, "rows have moved meanwhile");
        let (received, ready) =
            (listed(&*reader, Some(State::Received), 9).await, listed(&*reader, Some(State::Ready), 9).await);
        let failed = listed(&*reader, Some(State::Failed), 9).await;
        let each: BTreeSet<JobId> = received.iter().chain(&ready).chain(&failed).copied().collect();
        assert_eq!((each.len(), received.len() + ready.len() + failed.len()), (40, 40), "each in one state");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_days_and_entries_without_a_row_are_swept_once_nobody_can_be_at_them() {
    in_own_keyspace(|open| async move {
        let clock = Arc::new(ManualClock::at(i64::try_from(20_000 * DAY_MS).unwrap()));
        let catalog = open.catalog_on(clock.clone()).await;
        let (old, new) = (of_day(19_000, 1), of_day(20_000, 1));
        put(&*catalog, &row(old, None)).await;
        put(&*catalog, &row(old, Some(Outcome::Ready))).await;
        put(&*catalog, &row(new, None)).await;
        // What a writer leaves that dies before its row names the entry.
        let (left, other) = (clock_id(&clock), of_day(20_000, 2));
        open.run(&format!(
            "INSERT INTO KS.listed (listing, bucket, job, write_id) VALUES (0, 20000, '{other}', '{left}')"
        ))
        .await;
        let days = "SELECT bucket FROM KS.buckets WHERE listing = 0";
        let entries = "SELECT bucket FROM KS.listed WHERE listing = 0 AND bucket = 20000";
        assert_eq!(listed(&*catalog, Some(State::Received), 10).await, [new], "an entry without a row does not count");
        assert_eq!(open.numbers(days).await, [20_000, 19_000], "somebody may be about to write to that day");
        assert_eq!(open.numbers(entries).await.len(), 2, "somebody may be about to name that entry");
        clock.advance(i64::try_from(3 * DAY_MS).unwrap());
        assert_eq!(listed(&*catalog, Some(State::Received), 10).await, [new]);
        assert_eq!(open.numbers(days).await, [20_000], "the empty day is gone from the index");
        assert_eq!(open.numbers(entries).await.len(), 1);
        // The day comes back with its first job.
        let again = of_day(19_000, 2);
        put(&*catalog, &row(again, None)).await;
        assert_eq!(listed(&*catalog, Some(State::Received), 10).await, [new, again]);
        assert_eq!(listed(&*catalog, None, 10).await.len(), 3);
    })
    .await;
}

fn clock_id(clock: &ManualClock) -> JobId {
    use connectors::Clock as _;
    JobId::from_parts(u64::try_from(clock.now_ms()).unwrap(), rand::random())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_and_removals_go_over_days() {
    in_own_keyspace(|open| async move {
        let catalog = open.catalog().await;
        let mut ids: Vec<JobId> = (0..12).map(|number| of_day(100 * (number % 4), number)).collect();
        for id in &ids {
            let intent = UploadIntent { job: *id, owner: "e".into(), touched_at: 1, event: None };
            catalog.put_upload(&intent).await.unwrap();
        }
        ids.sort();
        let (mut open, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = catalog.uploads(after.as_deref(), 5).await.unwrap();
            open.extend(page.items.iter().map(|intent| intent.job));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(open, ids);
        let day = i64::try_from(DAY_MS).unwrap();
        for (number, id) in ids.iter().enumerate() {
            catalog.put_removal(*id, i64::try_from(number).unwrap() * day).await.unwrap();
        }
        // Planned again for later: only the last plan counts.
        catalog.put_removal(ids[0], 5 * day).await.unwrap();
        let due = catalog.due_removals(5 * day, 100).await.unwrap();
        assert_eq!(due.iter().collect::<BTreeSet<_>>(), ids[0..6].iter().collect::<BTreeSet<_>>());
        assert_eq!(due[0..4], ids[1..5]);
        assert_eq!(catalog.due_removals(5 * day, 2).await.unwrap(), ids[1..3]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stored_chunks_are_about_as_long_as_their_tables() {
    in_own_keyspace(|open| async move {
        let catalog = open.catalog().await;
        let id = job(1);
        let mut chunk = crate::catalog::chunk(id, 3);
        chunk.renditions[0].samples = (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect();
        catalog.put_chunk(&chunk).await.unwrap();
        assert_eq!(catalog.chunk(id, 3).await.unwrap().unwrap(), chunk);
        let session = open.session().await;
        let size = |table: &str| format!("SELECT body FROM {}.{table} WHERE job = '{id}'", open.keyspace);
        let mut sizes = Vec::new();
        for table in ["whole_chunks", "chunks"] {
            let answer = session.query_unpaged(size(table), ()).await.unwrap().into_rows_result().unwrap();
            sizes.push(answer.single_row::<(Vec<u8>,)>().unwrap().0.len());
        }
        assert!((100_000..105_000).contains(&sizes[0]) && sizes[1] < 5_000, "{sizes:?}");
    })
    .await;
}
