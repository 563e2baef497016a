//! Commits, order, fairness, read-ahead, progress.

use std::sync::Arc;
use std::time::Duration;

use connectors::log::{Delivery, Error};
use schemas::event::StageState;
use tokio::time::sleep;

use super::bench::{Actor, Bench, job, nothing, output, work};
use super::scripted::Act;
use crate::stage::{Lane, Report};

#[tokio::test(start_paused = true)]
async fn work_that_finishes_out_of_order_is_committed_without_a_hole() {
    let stage = Actor::new("split", |index, _| async move {
        sleep(Duration::from_secs(if index == 0 { 30 } else { 1 })).await;
        Ok(vec![output(&index.to_string())])
    });
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("split", (0..3).map(|n| work(0, n, job(1), n as u32)).collect());
    bench.until("two are done", |bench| bench.log.appended("out").len() == 2).await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(bench.log.committed("split", 0), None, "offset 0 is not finished");
    bench.until_committed("split", 0, 3).await;
    let commits = |act: &&Act| matches!(act, Act::Committed(..));
    assert_eq!(bench.log.acts().iter().filter(commits).count(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_that_finish_together_are_one_commit_per_partition() {
    let stage = Actor::new("split", nothing);
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("split", (0..200).map(|n| work((n % 2) as u32, n, job(n as u32), 0)).collect());
    bench.until_committed("split", 0, 199).await;
    bench.until_committed("split", 1, 200).await;
    let commits = bench.log.acts().iter().filter(|act| matches!(act, Act::Committed(..))).count();
    assert!(commits <= 4, "{commits} commits for 200 records");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_clip_behind_a_film_waits_for_a_slot_and_not_for_the_film() {
    let stage = Actor::new("transcode", |_, _| async {
        sleep(Duration::from_secs(10)).await;
        Ok(Vec::new())
    })
    .native();
    let (film, clip) = (job(1), job(2));
    let bench = Bench::tuned(&[&stage], |settings| settings.slots = 1);
    bench.log.deliver("transcode", (0..720).map(|n| work(0, n, film, n as u32)).collect());
    sleep(Duration::from_secs(15)).await;
    bench.log.deliver("transcode", vec![work(0, 720, clip, 0), work(0, 721, clip, 1)]);
    sleep(Duration::from_secs(45)).await;
    let order = stage.started();
    assert_eq!(order[..6], [(film, 0), (film, 1), (film, 2), (clip, 0), (film, 3), (clip, 1)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn short_native_work_has_a_slot_of_its_own_and_background_work_waits_for_all_other() {
    let busy = |_, _: Arc<_>| async {
        sleep(Duration::from_secs(10)).await;
        Ok(Vec::new())
    };
    let probe = Actor::new("probe", nothing).lane(Lane::Express);
    let transcode = Actor::new("transcode", busy).native();
    let caption = Actor::new("caption", busy).lane(Lane::Background);
    let bench = Bench::tuned(&[&probe, &transcode, &caption], |settings| settings.slots = 1);
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0)]);
    bench.until("transcoding", |_| transcode.started().len() == 1).await;
    bench.log.deliver("caption", vec![work(0, 0, job(1), 0)]);
    bench.log.deliver("transcode", (1..4).map(|n| work(0, n, job(1), n as u32)).collect());
    bench.log.deliver("probe", vec![work(0, 0, job(2), 0)]);
    sleep(Duration::from_millis(500)).await;
    assert_eq!(probe.started().len(), 1, "probe does not wait behind encoding");
    bench.until_committed("caption", 0, 1).await;
    let starts = |actor: &Actor| actor.starts.lock().expect("lock").iter().map(|start| start.2).collect::<Vec<_>>();
    assert_eq!(transcode.started().len(), 4);
    assert!(starts(&caption)[0] > starts(&transcode)[3], "background work is last");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn deliveries_pause_when_enough_is_in_hand_and_go_on_later() {
    let stage = Actor::new("split", |_, _| async {
        sleep(Duration::from_secs(10)).await;
        Ok(Vec::new())
    });
    let bench = Bench::tuned(&[&stage], |settings| {
        settings.light_slots = 1;
        settings.light_read_ahead = 4;
    });
    bench.log.deliver("split", (0..5).map(|n| work(0, n, job(1), n as u32)).collect());
    let paused = |bench: &Bench| bench.log.acts().iter().any(|act| matches!(act, Act::Paused(..)));
    bench.until("paused", paused).await;
    bench.log.gain("split", "in", 2);
    sleep(Duration::from_secs(15)).await;
    let acts = bench.log.acts();
    assert!(acts.contains(&Act::Paused("streamforge.split".to_owned(), vec![2])), "a new partition pauses as well");
    assert!(!acts.iter().any(|act| matches!(act, Act::Resumed(..))), "four of five are still in hand");
    bench.until("resumed", |bench| bench.log.acts().iter().any(|act| matches!(act, Act::Resumed(..)))).await;
    assert_eq!(stage.started().len(), 4, "three are done and the fourth runs");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_delivered_twice_runs_once() {
    let stage = Actor::new("split", nothing);
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("split", vec![work(0, 7, job(1), 0)]);
    bench.log.deliver("split", vec![work(0, 7, job(1), 0), work(0, 9, job(1), 1)]);
    bench.until_committed("split", 0, 10).await;
    assert_eq!(stage.started(), [(job(1), 0), (job(1), 1)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_closed_membership_is_joined_anew_and_reading_goes_on_after_errors() {
    let stage = Actor::new("split", nothing);
    let bench = Bench::tuned(&[&stage], |_| {});
    bench.log.fail_joins(2);
    bench.log.tell("split", Err(Error::Store { doing: "read", source: "flaky".into() }));
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("split", 0, 1).await;
    bench.log.tell("split", Err(Error::Closed));
    bench.log.tell("split", Ok(Delivery::Gained(vec![super::scripted::at("in", 0)])));
    bench.log.deliver("split", vec![work(0, 1, job(1), 1)]);
    bench.until_committed("split", 0, 2).await;
    let joins = bench.log.acts().iter().filter(|act| matches!(act, Act::Joined(_))).count();
    assert_eq!(joins, 2);
    assert_eq!(bench.status.not_ready(), None);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_sees_a_unit_start_grow_and_end() {
    let stage = Actor::new("transcode", |_, cx| async move {
        for done in 1..=40 {
            cx.report(Report::Done(done));
            sleep(Duration::from_millis(100)).await;
        }
        cx.report(Report::Playable);
        Ok(Vec::new())
    })
    .native();
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 4)]);
    bench.until_committed("transcode", 0, 1).await;
    let workers = bench.doors.catalog.workers().await.expect("workers");
    assert_eq!((workers[0].id.as_str(), workers[0].stages[0].0.as_str()), ("bench", "transcode"));
    bench
        .until("the end is told", |bench| bench.progress().last().is_some_and(|event| event.state == StageState::Done))
        .await;
    let told = bench.progress();
    assert!((6..=7).contains(&told.len()), "start, four seconds of growth, playable, end: {}", told.len());
    assert!(told.iter().all(|event| (event.unit, event.units, event.attempt) == (4, 10, 1)));
    assert_eq!((told[0].state, told[0].done), (StageState::Running, 0));
    let end = told.last().expect("an end");
    assert_eq!((end.state, end.done, end.playable), (StageState::Done, 100, true));
    let (catalog, log) = (Arc::clone(&bench.doors.catalog), bench.stop().await);
    assert!(catalog.workers().await.expect("workers").is_empty(), "the worker says goodbye");
    assert!(log.acts().contains(&Act::Left("streamforge.transcode".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn a_job_s_chunks_start_in_the_order_of_the_video_whatever_partition_they_lie_in() {
    let stage = Actor::new("transcode", |_, _| async {
        sleep(Duration::from_secs(10)).await;
        Ok(Vec::new())
    })
    .native();
    let bench = Bench::tuned(&[&stage], |settings| settings.slots = 1);
    let even = (0..4).map(|n| work(0, n, job(1), 2 * n as u32));
    let odd = (0..4).map(|n| work(1, n, job(1), 2 * n as u32 + 1));
    bench.log.deliver("transcode", even.chain(odd).collect());
    bench.until_committed("transcode", 1, 4).await;
    assert_eq!(stage.started().iter().map(|(_, index)| *index).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6, 7]);
    bench.stop().await;
}
