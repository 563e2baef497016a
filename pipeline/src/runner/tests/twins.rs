//! The same event more than once.

use std::time::Duration;

use tokio::time::sleep;

use super::bench::{Actor, Bench, header, job, output, work};
use crate::stage::StageError;

/// A stage with native code whose work takes ten seconds.
fn slow() -> Actor {
    let play = |index: u32, _| async move {
        sleep(Duration::from_secs(10)).await;
        Ok(vec![output(&index.to_string())])
    };
    Actor::new("transcode", play).native()
}

#[tokio::test(start_paused = true)]
async fn same_events_are_done_once_and_end_together() {
    let stage = slow();
    let bench = Bench::start(&[&stage]);
    // Two sets of the same three, as a stage leaves them that died before its commit.
    bench.log.deliver("transcode", (0..6).map(|n| work(0, n, job(1), n as u32 % 3)).collect());
    sleep(Duration::from_secs(15)).await;
    assert_eq!(bench.log.committed("transcode", 0), Some(2), "the second set waits for the first");
    bench.until_committed("transcode", 0, 6).await;
    bench.log.deliver("transcode", vec![work(0, 6, job(1), 1)]);
    bench.until_committed("transcode", 0, 7).await;
    assert_eq!(stage.started(), [(job(1), 0), (job(1), 1), (job(1), 2)]);
    assert_eq!(bench.log.appended("out").len(), 3);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn same_events_are_buried_once() {
    let stage = Actor::new("transcode", |_, _| async { Err(StageError::reject("no_good", "no good")) }).native();
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0), work(0, 1, job(1), 0)]);
    bench.until_committed("transcode", 0, 2).await;
    let buried = bench.log.appended("transcode.dlq");
    assert_eq!((stage.started().len(), buried.len()), (1, 1));
    assert_eq!(header(&buried[0], "offset"), "0");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_waited_for_a_lost_event_does_its_work() {
    let stage = slow();
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0), work(1, 0, job(1), 0), work(0, 1, job(1), 0)]);
    bench.until("the first runs", |_| stage.started().len() == 1).await;
    bench.log.lose("transcode", "in", 0);
    bench.until_committed("transcode", 1, 1).await;
    assert_eq!((stage.started().len(), bench.log.appended("out").len()), (2, 1));
    assert_eq!(bench.log.committed("transcode", 0), None, "what is lost is not committed");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_an_event_that_is_handed_back_is_handed_back_with_it() {
    let stage = Actor::new("transcode", |_, _| std::future::pending()).native();
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("transcode", (0..3).map(|n| work(0, n, job(1), 0)).collect());
    bench.until("the first runs", |_| stage.started().len() == 1).await;
    let log = bench.stop().await;
    assert_eq!((stage.started().len(), log.committed("transcode", 0)), (1, None));
}
