//! The suites of all doors, run for the embedded sides on disk and in memory.

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

suite!(
    log,
    log,
    Arc<dyn Log>,
    [
        records_come_back_as_they_went_in,
        unknown_topics_and_other_partitions_are_refused,
        a_group_reads_on_where_it_committed,
        a_waiting_member_is_woken_by_an_append,
        members_share_partitions_and_hand_them_over,
        a_lost_partition_cannot_be_committed_even_before_the_member_hears_of_it,
        a_commit_of_several_is_all_or_nothing,
        paused_partitions_wait_and_the_others_go_on,
        seeking_moves_the_position,
        a_dropped_wait_loses_nothing,
        a_tail_reads_to_the_end_says_so_once_and_goes_on,
        progress_counts_what_is_left,
        concurrent_writers_keep_their_order,
        a_long_backlog_comes_in_order_beside_fresh_records,
    ]
);

suite!(catalog, catalog, Arc<dyn Catalog>, [a_row_is_written_only_over_the_epoch_that_was_read,]);

suite!(blobs, blobs, Blobs, [blobs_come_back_whole_and_in_ranges,]);
