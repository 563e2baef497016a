//! The embedded catalog against a map, and over restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use connectors::Catalog;
use connectors::catalog::Swap;
use connectors::catalog::embedded::Embedded;
use proptest::prelude::*;
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::{JobRow, State};

#[path = "suite/catalog.rs"]
#[allow(dead_code)]
mod catalog;

use catalog::{chunk, job, listed, row};

#[tokio::test]
async fn everything_outlives_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("catalog.redb");
    let id = job(7);
    let open = || Embedded::open(&path).unwrap();
    let before = open();
    assert_eq!(before.swap_job(&row(id, Some(Outcome::Ready)), None).await.unwrap(), Swap::Won);
    before.put_chunk(&chunk(id, 1)).await.unwrap();
    before.count_attempt("w").await.unwrap();
    before.lease("l", "a", 0, 100).await.unwrap();
    before.put_removal(id, 5).await.unwrap();
    drop(before);
    let after = open();
    let stored = after.job(id).await.unwrap().unwrap();
    assert_eq!((stored.epoch, &stored.row), (1, &row(id, Some(Outcome::Ready))));
    assert_eq!(listed(&after, Some(State::Ready), 5).await, [id]);
    assert_eq!(after.chunk(id, 1).await.unwrap(), Some(chunk(id, 1)));
    assert_eq!(after.count_attempt("w").await.unwrap(), 2);
    assert!(!after.lease("l", "b", 50, 100).await.unwrap());
    assert_eq!(after.due_removals(5, 9).await.unwrap(), [id]);
    assert!(Embedded::open(&path).is_err(), "one process owns the file");
}

#[derive(Clone, Debug)]
enum Step {
    /// Writes a row of one of a few jobs, over the right epoch or a wrong one.
    Put {
        job: usize,
        outcome: u8,
        fresh: bool,
    },
    List {
        state: u8,
        limit: usize,
    },
    Wipe,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..8, 0u8..5, prop::bool::weighted(0.8))
            .prop_map(|(job, outcome, fresh)| Step::Put { job, outcome, fresh }),
        3 => (0u8..6, 1usize..5).prop_map(|(state, limit)| Step::List { state, limit }),
        1 => Just(Step::Wipe),
    ]
}

fn state(number: u8) -> Option<State> {
    [
        None,
        Some(State::Received),
        Some(State::Processing),
        Some(State::Ready),
        Some(State::Failed),
        Some(State::Cancelled),
    ][usize::from(number)]
}

fn shaped(id: JobId, outcome: u8) -> JobRow {
    match outcome {
        0 => row(id, None),
        1 => row(id, Some(Outcome::Ready)),
        2 => row(id, Some(Outcome::Failed)),
        3 => row(id, Some(Outcome::Cancelled)),
        _ => JobRow { deleted: true, ..JobRow::new(id) },
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn listings_and_epochs_follow_a_map(steps in prop::collection::vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let catalog = Embedded::in_memory().unwrap();
            let ids: Vec<JobId> = (0..8).map(|number| JobId::from_parts(number, 9)).collect();
            let mut model: BTreeMap<JobId, (u64, JobRow)> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put { job, outcome, fresh } => {
                        let row = shaped(ids[job], outcome);
                        let epoch = model.get(&row.id).map(|(epoch, _)| *epoch);
                        let expected = if fresh { epoch } else { Some(epoch.map_or(3, |epoch| epoch + 1)) };
                        match catalog.swap_job(&row, expected).await.unwrap() {
                            Swap::Won => {
                                assert!(fresh);
                                model.insert(row.id, (epoch.map_or(1, |epoch| epoch + 1), row));
                            }
                            Swap::Lost(there) => {
                                assert!(!fresh);
                                assert_eq!(there.map(|there| (there.epoch, there.row)), model.get(&row.id).cloned());
                            }
                        }
                    }
                    Step::List { state: number, limit } => {
                        let wanted = state(number);
                        let expected: Vec<JobId> = model.values().rev()
                            .filter(|(_, row)| !row.deleted && wanted.is_none_or(|state| row.state() == state))
                            .map(|(_, row)| row.id)
                            .collect();
                        assert_eq!(listed(&catalog, wanted, limit).await, expected);
                    }
                    Step::Wipe => {
                        catalog.wipe_jobs().await.unwrap();
                        model.clear();
                    }
                }
            }
            for id in ids {
                let stored = catalog.job(id).await.unwrap().map(|stored| (stored.epoch, stored.row));
                assert_eq!(stored, model.get(&id).cloned());
            }
        });
    }
}
