//! Slots are for whoever computes: what only waits for doors gives its slot back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bench::{Actor, Bench, job, output, work};
use crate::stage::Report;

/// Seconds of simulated time after `begun` at which the attempts of `actor` started.
fn starts(actor: &Actor, begun: Instant) -> Vec<u64> {
    actor.starts.lock().expect("lock").iter().map(|(.., at)| (*at - begun).as_secs()).collect()
}

#[tokio::test(start_paused = true)]
async fn while_a_result_is_published_the_next_is_computed_but_not_more_than_that() {
    let stage = Actor::new("transcode", |index, _| async move {
        sleep(Duration::from_secs(10)).await;
        Ok(vec![output(&index.to_string())])
    })
    .native();
    let bench = Bench::tuned(&[&stage], |settings| settings.slots = 1);
    let begun = Instant::now();
    bench.log.hold_appends();
    bench.log.deliver("transcode", (0..4).map(|n| work(0, n, job(1), n as u32)).collect());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(starts(&stage, begun), [0, 10], "the second does not wait for the log, the third does");
    assert_eq!(bench.log.committed("transcode", 0), None, "nothing is done before it is published");
    bench.log.let_through(4);
    bench.until_committed("transcode", 0, 4).await;
    assert_eq!(starts(&stage, begun), [0, 10, 60, 70], "one at a time, as there is one slot");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn light_work_keeps_its_slot_until_everything_is_published() {
    let stage = Actor::new("stitch", |index, _| async move { Ok(vec![output(&index.to_string())]) });
    let bench = Bench::tuned(&[&stage], |settings| settings.light_slots = 1);
    bench.log.hold_appends();
    bench.log.deliver("stitch", (0..3).map(|n| work(0, n, job(1), n as u32)).collect());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.started().len(), 1);
    bench.log.let_through(3);
    bench.until_committed("stitch", 0, 3).await;
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_needs_no_processor_any_more_gives_its_slot_back() {
    let stage = Actor::new("transcode", |_, cx: Arc<crate::stage::Context>| async move {
        sleep(Duration::from_secs(10)).await;
        cx.report(Report::SlotFree);
        // The bytes are on their way to the blob store.
        sleep(Duration::from_secs(5)).await;
        Ok(Vec::new())
    })
    .native();
    let bench = Bench::tuned(&[&stage], |settings| settings.slots = 1);
    let begun = Instant::now();
    bench.log.deliver("transcode", (0..3).map(|n| work(0, n, job(1), n as u32)).collect());
    sleep(Duration::from_secs(12)).await;
    let row = bench.doors.catalog.workers().await.expect("workers").remove(0);
    assert_eq!((row.stages, row.current.len()), (vec![("transcode".to_owned(), 1, 1)], 1), "one slot, one at work");
    bench.until_committed("transcode", 0, 3).await;
    assert_eq!(starts(&stage, begun), [0, 10, 20]);
    bench.stop().await;
}
