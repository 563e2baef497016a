//! The embedded catalog against a map, and over restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use connectors::Catalog;
use connectors::catalog::Swap;
use connectors::catalog::embedded::Embedded;
use proptest::prelude::*;
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::State;

#[path = "suite/catalog.rs"]
#[allow(dead_code)]
mod catalog;
#[path = "suite/model.rs"]
mod model;

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

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn listings_and_epochs_follow_a_map(steps in prop::collection::vec(model::step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let ids: Vec<JobId> = (0..8).map(|number| JobId::from_parts(number, 9)).collect();
            model::follow(&Embedded::in_memory().unwrap(), &ids, steps).await;
        });
    }
}
