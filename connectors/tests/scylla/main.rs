//! The catalog on a real CQL server: the suite, and what only many processes and broken networks bring about.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use connectors::Catalog;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use schemas::JobId;

#[path = "../suite/catalog.rs"]
mod catalog;
mod cuts;
mod death;
mod keyspace;
mod listing;
#[path = "../suite/model.rs"]
mod model;
mod node;
mod opening;
#[path = "../suite/ports.rs"]
mod ports;
mod proxy;
mod rivals;

use keyspace::in_own_keyspace;

macro_rules! suite {
    ([$($check:ident),* $(,)?]) => {
        mod suite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                super::in_own_keyspace(|open| async move {
                    let catalog: super::Arc<dyn super::Catalog> = open.catalog().await;
                    super::catalog::$check(catalog).await;
                })
                .await;
            })*
        }
    };
}

suite!([
    a_row_is_written_only_over_the_epoch_that_was_read,
    of_many_writers_over_one_epoch_one_wins,
    jobs_are_listed_newest_first_by_state_and_in_pages,
    wiping_jobs_touches_nothing_else,
    the_first_decision_holds_for_good,
    chunks_are_kept_once_and_listed_without_tables,
    attempts_count_up_and_each_count_is_given_once,
    uploads_are_listed_until_they_are_removed,
    a_lease_has_one_owner_until_it_ends,
    removals_come_due_in_order,
    workers_are_known_until_removed,
]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listings_and_epochs_follow_a_map() {
    in_own_keyspace(|open| async move {
        let catalog = open.catalog().await;
        let mut runner = TestRunner::default();
        for _ in 0..6 {
            let steps = proptest::collection::vec(model::step(), 1..30).new_tree(&mut runner).unwrap().current();
            println!("{steps:?}");
            // Days apart, so that listings go over many of them.
            let ids: Vec<JobId> = (0..8).map(|number| JobId::from_parts(number * 50_000_000, 9)).collect();
            catalog.wipe_jobs().await.unwrap();
            model::follow(&*catalog, &ids, steps).await;
        }
    })
    .await;
}
