//! The catalog goes away for a while: what can go on does, what cannot waits, nothing is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use connectors::Doors;
use connectors::clock::ManualClock;
use connectors::log::{Record, Tailed};
use schemas::event::{CancelRequested, Event, Outcome};
use schemas::wire;
use tokio::time::{Instant, sleep};

use super::bench::{Actor, Bench, job, output, work};
use super::scripted::{Scripted, record};
use super::switch::{Is, Switch};
use crate::stage::StageError;

/// A bench whose catalog is away in this way.
fn without_catalog(actor: &Actor, is: Is) -> (Bench, Arc<Switch>) {
    let log = Scripted::default();
    let doors = connectors::in_memory(Arc::new(ManualClock::at(1_000_000))).expect("doors in memory");
    let switch = Switch::before(Arc::clone(&doors.catalog));
    switch.set(is);
    let doors = Doors { log: Arc::new(log.clone()), catalog: switch.clone(), ..doors };
    (Bench::with_doors(&[actor], doors, log, |settings| settings.slots = 2), switch)
}

#[tokio::test(start_paused = true)]
async fn chunks_are_encoded_and_said_while_the_catalog_is_away() {
    for is in [Is::Refusing, Is::Silent] {
        let stage = Actor::new("transcode", |index, _| async move {
            sleep(Duration::from_secs(8)).await;
            Ok(vec![output(&format!("chunk {index}"))])
        });
        let (bench, switch) = without_catalog(&stage.clone().native(), is);
        let begun = Instant::now();
        bench.log.deliver("transcode", (0..10).map(|index| work(0, i64::from(index), job(1), index)).collect());
        bench.until_committed("transcode", 0, 10).await;
        // Ten chunks of eight seconds in two slots.
        assert!(begun.elapsed() < Duration::from_secs(80), "{is:?}: took {:?}", begun.elapsed());
        assert_eq!(stage.started().len(), 10, "{is:?}: each once");
        assert_eq!(bench.log.appended("out").len(), 10);
        assert!(bench.log.appended("transcode.dlq").is_empty() && bench.ends().is_empty());
        switch.set(Is::Here);
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn failures_while_the_catalog_is_away_are_no_failures_of_the_work() {
    for is in [Is::Refusing, Is::Silent] {
        let healthy = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&healthy);
        let stage = Actor::new("stitch", move |_, cx| {
            let seen = Arc::clone(&seen);
            async move {
                // As stitch does: what it needs to know lies in the catalog.
                cx.doors.catalog.decision(cx.job).await.map_err(|error| StageError::door("use the catalog", &error))?;
                seen.fetch_add(1, Ordering::SeqCst);
                cx.conclude(crate::runner::ending::cancelled(7));
                Ok(vec![output("stitched")])
            }
        });
        let (bench, switch) = without_catalog(&stage, is);
        bench.log.deliver("stitch", vec![work(0, 0, job(1), 0)]);
        bench.until("many attempts", |_| stage.started().len() > 8).await;
        assert!(bench.log.appended("stitch.dlq").is_empty(), "{is:?}: an outage is no reason for a dead letter");
        assert_eq!(bench.log.committed("stitch", 0), None, "{is:?}: nor for forgetting the event");
        switch.set(Is::Here);
        let back = Instant::now();
        bench.until_committed("stitch", 0, 1).await;
        assert!(back.elapsed() < Duration::from_secs(20), "{is:?}: caught up after {:?}", back.elapsed());
        assert_eq!((bench.log.appended("out").len(), bench.ends().len()), (1, 1));
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_wish_to_cancel_is_heard_while_the_catalog_is_away() {
    for is in [Is::Refusing, Is::Silent] {
        let stopped = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&stopped);
        let stage = Actor::new("transcode", move |_, cx| {
            let counted = Arc::clone(&counted);
            async move {
                cx.cancel.cancelled().await;
                counted.fetch_add(1, Ordering::SeqCst);
                Err(StageError::retry("called_off", "somebody said so"))
            }
        });
        let (bench, switch) = without_catalog(&stage.clone().native(), is);
        bench.log.deliver("transcode", (0..2).map(|n| work(0, n, job(n as u32 + 1), n as u32)).collect());
        bench.until("both run", |_| stage.started().len() == 2).await;
        for number in 1..=2 {
            let value = wire::encode(&CancelRequested { job: job(number), at: 5 }).expect("encodes");
            let told = Record { headers: Vec::new(), ..record(CancelRequested::TOPIC, 0, 0, value) };
            let said = Instant::now();
            bench.log.say(Tailed::Records(vec![told]));
            bench.until("it stops", |_| stopped.load(Ordering::SeqCst) == number).await;
            assert!(said.elapsed() < Duration::from_secs(2), "{is:?}: job {number} after {:?}", said.elapsed());
            sleep(Duration::from_secs(5)).await;
        }
        switch.set(Is::Here);
        bench.until("both ends are said", |bench| bench.ends().len() == 2).await;
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_proposed_while_the_catalog_is_away_waits_and_is_said_once() {
    for is in [Is::Refusing, Is::Silent] {
        let stage = Actor::new("transcode", |_, _| async { Err(StageError::reject("broken_media", "no picture")) });
        let stage = stage.native();
        let (bench, switch) = without_catalog(&stage, is);
        bench.log.deliver("transcode", vec![work(0, 0, job(1), 0)]);
        bench.until("the dead letter", |bench| !bench.log.appended("transcode.dlq").is_empty()).await;
        sleep(Duration::from_secs(60)).await;
        assert!(bench.ends().is_empty() && bench.log.committed("transcode", 0).is_none(), "{is:?}");
        switch.set(Is::Here);
        bench.until_committed("transcode", 0, 1).await;
        let ends = bench.ends();
        assert_eq!((ends.len(), ends[0].outcome), (1, Outcome::Failed), "{is:?}");
        bench.stop().await;
    }
}
