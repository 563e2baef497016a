//! The suites of all doors, run for the embedded sides on disk and in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use connectors::clock::ManualClock;
use connectors::{Blobs, Catalog, Doors, Log, embedded};

mod suite {
    pub mod blobs;
    pub mod catalog;
    pub mod log;
}

const NOW: i64 = 1_700_000_000_000;

fn on_disk() -> (Doors, Arc<ManualClock>, Option<tempfile::TempDir>) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    (embedded::open(folder.path(), clock.clone()).unwrap(), clock, Some(folder))
}

fn in_memory() -> (Doors, Arc<ManualClock>, Option<tempfile::TempDir>) {
    let clock = Arc::new(ManualClock::at(NOW));
    (connectors::in_memory(clock.clone()).unwrap(), clock, None)
}

macro_rules! suite {
    ($suite:ident, $door:ident, $kind:ty, [$($check:ident),* $(,)?]) => {
        mod $suite {
            use super::*;
            mod on_disk {
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    let (doors, _clock, _folder) = super::super::on_disk();
                    let door: $kind = doors.$door;
                    suite::$suite::$check(door).await;
                })*
            }
            mod in_memory {
                use super::*;
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    let (doors, _clock, _folder) = super::super::in_memory();
                    let door: $kind = doors.$door;
                    suite::$suite::$check(door).await;
                })*
            }
        }
    };
}

suite::log::every_check!(suite, { log, log, Arc<dyn Log>, });

suite!(
    catalog,
    catalog,
    Arc<dyn Catalog>,
    [
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
    ]
);

suite!(
    blobs,
    blobs,
    Blobs,
    [
        blobs_come_back_whole_and_in_ranges,
        big_and_empty_blobs_are_written_in_pieces,
        a_put_replaces_and_a_create_does_not,
        of_many_creators_one_wins,
        unfinished_blobs_are_never_seen,
        what_is_not_there_is_not_found,
        claims_that_lie_are_found_out,
        prefixes_are_folders,
        bad_keys_are_refused,
        writers_and_removers_of_one_folder_do_not_trip,
        a_blob_grows_over_many_writers_some_of_which_die,
        a_growing_blob_with_its_sum_is_not_read_again_and_one_that_is_given_up_leaves_nothing,
    ]
);
