//! Work that only adds to a video: late, never in the way, and not for ever.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bench::{Actor, Bench, job, nothing, output, work};
use crate::stage::{Lane, StageError};

/// When an actor's attempts began, from the beginning of the test.
fn starts(actor: &Actor, begun: Instant) -> Vec<Duration> {
    actor.starts.lock().expect("lock").iter().map(|start| start.2 - begun).collect()
}

/// A stage whose work takes `seconds`.
fn busy(name: &'static str, seconds: u64) -> Actor {
    Actor::new(name, move |_, _| async move {
        sleep(Duration::from_secs(seconds)).await;
        Ok(Vec::new())
    })
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_a_moment_of_rest_even_where_nothing_runs_yet() {
    let begun = Instant::now();
    let (transcode, illustrate) = (busy("transcode", 5).native(), busy("illustrate", 1).lane(Lane::Background));
    let bench = Bench::tuned(&[&transcode, &illustrate], |settings| settings.slots = 1);
    bench.log.deliver("illustrate", vec![work(0, 0, job(1), 0)]);
    // Its own video comes to be encoded a little later.
    sleep(Duration::from_millis(300)).await;
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0), work(0, 1, job(1), 1)]);
    bench.until_committed("illustrate", 0, 1).await;
    let began = starts(&illustrate, begun)[0];
    assert!((Duration::from_secs(11)..Duration::from_secs(12)).contains(&began), "{began:?}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_has_begun_keeps_no_slot_from_what_comes() {
    let begun = Instant::now();
    let (transcode, illustrate) = (busy("transcode", 5).native(), busy("illustrate", 600).lane(Lane::Background));
    let bench = Bench::tuned(&[&transcode, &illustrate], |settings| settings.slots = 1);
    bench.log.deliver("illustrate", vec![work(0, 0, job(1), 0), work(0, 1, job(2), 0)]);
    bench.until("it has begun", |_| illustrate.started().len() == 1).await;
    sleep(Duration::from_secs(10)).await;
    let came = begun.elapsed();
    bench.log.deliver("transcode", vec![work(0, 0, job(3), 0)]);
    bench.until_committed("transcode", 0, 1).await;
    assert!(starts(&transcode, begun)[0] - came < Duration::from_millis(100), "a slot was free");
    assert_eq!(illustrate.started().len(), 1, "as many at once as there are slots");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn it_starts_in_the_end_although_there_is_never_a_moment_of_rest() {
    let begun = Instant::now();
    let (transcode, illustrate) = (busy("transcode", 60).native(), Actor::new("illustrate", nothing));
    let illustrate = illustrate.lane(Lane::Background);
    let bench = Bench::tuned(&[&transcode, &illustrate], |settings| settings.slots = 1);
    bench.log.deliver("transcode", (0..40).map(|n| work(0, n, job(1), n as u32)).collect());
    bench.log.deliver("illustrate", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("illustrate", 0, 1).await;
    let began = starts(&illustrate, begun)[0];
    assert!((Duration::from_secs(899)..Duration::from_secs(902)).contains(&began), "{began:?}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_gives_up_on_what_only_adds_to_a_video_says_so() {
    let broken = Actor::new("illustrate", |_, _| async { Err(StageError::reject("damaged_media", "nothing to see")) });
    let broken = broken.lane(Lane::Background).optional().telling(|cause| output(&format!("none: {}", cause.message)));
    let bench = Bench::start(&[&broken]);
    bench.log.deliver("illustrate", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("illustrate", 0, 1).await;
    assert_eq!(bench.log.appended("illustrate.dlq").len(), 1);
    let told: Vec<_> = bench.log.appended("out").iter().map(|record| record.value.clone()).collect();
    assert_eq!(told, ["none: nothing to see"]);
    assert!(bench.ends().is_empty(), "its job goes on");
    bench.stop().await;
}
