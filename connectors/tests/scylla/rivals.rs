//! Many who want the same at the same time.

use std::sync::Arc;

use connectors::Catalog;
use connectors::catalog::{Swap, Versioned};
use futures::future::join_all;
use schemas::event::{CancelRequested, Outcome};
use schemas::job::{Fact, JobRow};

use crate::catalog::{job, row};
use crate::in_own_keyspace;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_rivals_over_50_epochs_one_wins_each() {
    in_own_keyspace(|open| async move {
        // Two processes, so that no memory is shared.
        let doors = [open.catalog().await, open.catalog().await];
        let id = job(1);
        let mut expected = None;
        for epoch in 1..=50_u64 {
            let rivals = (0..32_usize).map(|rival| {
                let door = Arc::clone(&doors[rival % 2]);
                // Every rival writes something else, so that the row tells who won.
                let at = i64::try_from(epoch * 100 + rival as u64).unwrap();
                let wish = Fact { offset: Some(at), event: CancelRequested { job: id, at }, timing: None };
                let row = JobRow { cancel_requested: Some(wish), ..JobRow::new(id) };
                tokio::spawn(async move { (row.clone(), door.swap_job(&row, expected).await.unwrap()) })
            });
            let answers: Vec<(JobRow, Swap)> = join_all(rivals).await.into_iter().map(Result::unwrap).collect();
            let won: Vec<&JobRow> = answers.iter().filter(|(_, swap)| *swap == Swap::Won).map(|(row, _)| row).collect();
            assert_eq!(won.len(), 1, "winners of epoch {epoch}");
            let there = Versioned { epoch, row: won[0].clone() };
            assert_eq!(doors[1].job(id).await.unwrap(), Some(there.clone()));
            for (_, swap) in &answers {
                assert!(matches!(swap, Swap::Won) || *swap == Swap::Lost(Some(Box::new(there.clone()))), "{swap:?}");
            }
            expected = Some(epoch);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_free_lease_is_taken_by_one_of_many() {
    in_own_keyspace(|open| async move {
        let catalog = open.catalog().await;
        for round in 0..10_i64 {
            let owners = (0..16).map(|owner| {
                let catalog = Arc::clone(&catalog);
                // Each round begins when the lease of the last one is over.
                let now = round * 1000;
                tokio::spawn(
                    async move { catalog.lease("sweep", &format!("edge-{owner}"), now, now + 500).await.unwrap() },
                )
            });
            let taken = join_all(owners).await.into_iter().filter(|taken| *taken.as_ref().unwrap()).count();
            assert_eq!(taken, 1, "round {round}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fold_by_many_processes_loses_nothing() {
    in_own_keyspace(|open| async move {
        let doors = [open.catalog().await, open.catalog().await];
        let id = job(1);
        let writers = (0..12_u32).map(|writer| {
            let door = Arc::clone(&doors[writer as usize % 2]);
            tokio::spawn(async move {
                let mut found = door.job(id).await.unwrap();
                loop {
                    let mut row =
                        found.as_ref().map_or_else(|| row(id, Some(Outcome::Ready)), |found| found.row.clone());
                    if let Some(end) = &mut row.ended {
                        end.event.warnings.push(format!("writer {writer}"));
                    }
                    match door.swap_job(&row, found.map(|found| found.epoch)).await.unwrap() {
                        Swap::Won => return,
                        Swap::Lost(there) => found = there.map(|there| *there),
                    }
                }
            })
        });
        for writer in join_all(writers).await {
            writer.unwrap();
        }
        let there = doors[0].job(id).await.unwrap().unwrap();
        let mut said = there.row.ended.unwrap().event.warnings;
        said.retain(|word| word.starts_with("writer"));
        said.sort();
        said.dedup();
        assert_eq!((there.epoch, said.len()), (12, 12));
    })
    .await;
}
