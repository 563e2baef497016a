//! Lost partitions, cancelled and deleted jobs, draining.

use std::sync::Arc;
use std::time::Duration;

use connectors::catalog::Decision;
use connectors::log::{Record, Tailed};
use schemas::event::{CancelRequested, JobDeleted, Outcome};
use schemas::job::{JobEvent, JobRow};
use schemas::{Event, wire};
use tokio::time::{Instant, sleep};

use super::bench::{Actor, Answer, Bench, job, nothing, output, work};
use super::scripted::{Act, record};
use crate::stage::{Context, StageError};

/// Works for ten seconds and answers a result whatever it is told.
async fn stubborn(index: u32, cx: Arc<Context>) -> Answer {
    sleep(Duration::from_secs(10)).await;
    Ok(vec![output(&format!("{index} at attempt {}", cx.attempt))])
}

/// Works for ten seconds unless it is called off.
async fn obedient(index: u32, cx: Arc<Context>) -> Answer {
    tokio::select! {
        () = cx.cancel.cancelled() => Err(StageError::retry("called_off", "somebody said so")),
        () = sleep(Duration::from_secs(10)) => Ok(vec![output(&index.to_string())]),
    }
}

fn wish<E: Event>(event: &E) -> Tailed {
    let value = wire::encode(event).expect("encodes");
    Tailed::Records(vec![Record { headers: Vec::new(), ..record(E::TOPIC, 0, 0, value) }])
}

fn cancel(number: u32) -> Tailed {
    wish(&CancelRequested { job: job(number), at: 77 })
}

#[tokio::test(start_paused = true)]
async fn a_lost_partition_is_never_committed_and_its_late_result_is_refused() {
    for native in [false, true] {
        let stage = Actor::new("transcode", stubborn);
        let stage = if native { stage.native() } else { stage };
        let bench = Bench::tuned(&[&stage], |settings| settings.settle = Duration::from_secs(60));
        bench.log.deliver("transcode", vec![work(0, 0, job(1), 0), work(1, 0, job(2), 1)]);
        bench.until("both run", |_| stage.started().len() == 2).await;
        sleep(Duration::from_secs(5)).await;
        bench.log.lose("transcode", "in", 0);
        bench.until_committed("transcode", 1, 1).await;
        sleep(Duration::from_secs(60)).await;
        let outputs =
            |bench: &Bench| bench.log.appended("out").iter().map(|record| record.value.clone()).collect::<Vec<_>>();
        assert_eq!(outputs(&bench), ["1 at attempt 1"], "the zombie's result is refused");
        assert_eq!(bench.log.committed("transcode", 0), None);
        // It comes back: the work is new, and what the zombie left behind does not count.
        bench.log.gain("transcode", "in", 0);
        bench.log.deliver("transcode", vec![work(0, 0, job(1), 0)]);
        bench.until_committed("transcode", 0, 1).await;
        assert_eq!(outputs(&bench), ["1 at attempt 1", "0 at attempt 1"]);
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_partition_lost_and_regained_while_work_runs_is_not_committed_by_the_old_work() {
    let stage = Actor::new("split", stubborn);
    let bench = Bench::tuned(&[&stage], |settings| settings.settle = Duration::from_secs(60));
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until("it runs", |_| stage.started().len() == 1).await;
    sleep(Duration::from_secs(5)).await;
    bench.log.lose("split", "in", 0);
    bench.log.gain("split", "in", 0);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    sleep(Duration::from_secs(7)).await;
    assert_eq!(bench.log.committed("split", 0), None, "the first one ended, but it does not count");
    bench.until_committed("split", 0, 1).await;
    assert_eq!(bench.log.appended("out").len(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_old_work_finishes_late_does_not_count_for_a_partition_that_came_back() {
    let stage = Actor::new("split", |index, _| async move { Ok(vec![output(&index.to_string())]) });
    let bench = Bench::start(&[&stage]);
    bench.log.hold_appends();
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until("it runs", |_| stage.started().len() == 1).await;
    sleep(Duration::from_secs(1)).await;
    // The partition goes and comes back in the very moment in which the first work's events are acknowledged.
    bench.log.lose("split", "in", 0);
    bench.log.gain("split", "in", 0);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.log.let_through(1);
    bench.until("it runs again", |_| stage.started().len() == 2).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.log.appended("out").len(), 1, "the first one was acknowledged");
    assert_eq!(bench.log.committed("split", 0), None, "the second one still runs");
    bench.log.let_through(1);
    bench.until_committed("split", 0, 1).await;
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_of_a_lost_partition_never_starts() {
    let stage = Actor::new("split", stubborn);
    let bench = Bench::tuned(&[&stage], |settings| settings.light_slots = 1);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0), work(1, 0, job(2), 1), work(0, 1, job(3), 2)]);
    bench.until("one runs", |_| stage.started().len() == 1).await;
    bench.log.lose("split", "in", 1);
    bench.until_committed("split", 0, 2).await;
    assert_eq!(stage.started(), [(job(1), 0), (job(3), 2)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_refused_commit_is_a_lost_partition() {
    let stage = Actor::new("split", nothing);
    let bench = Bench::start(&[&stage]);
    bench.log.disown("in", 0);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0), work(1, 0, job(2), 0)]);
    bench.until_committed("split", 1, 1).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(bench.log.committed("split", 0), None);
    bench.log.deliver("split", vec![work(0, 1, job(1), 1)]);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(stage.started().len(), 2, "a record of a partition that is not ours is not worked on");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_stops_within_a_moment_and_others_go_on() {
    for native in [false, true] {
        let stage = Actor::new("transcode", obedient);
        let stage = if native { stage.native() } else { stage };
        let bench = Bench::tuned(&[&stage], |settings| (settings.slots, settings.light_slots) = (2, 2));
        let events = (0..6).map(|n| work(0, n, job(1 + n as u32 % 2), n as u32));
        bench.log.deliver("transcode", events.collect());
        bench.until("both run", |_| stage.started().len() == 2).await;
        sleep(Duration::from_secs(3)).await;
        let start = Instant::now();
        bench.log.say(cancel(1));
        bench.until("job 1 has ended", |bench| bench.ends().len() == 1).await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
        let ends = bench.ends();
        assert_eq!((ends[0].job, ends[0].outcome, ends[0].at), (job(1), Outcome::Cancelled, 77));
        bench.until_committed("transcode", 0, 6).await;
        let outputs: Vec<_> = bench.log.appended("out").iter().map(|record| record.value.clone()).collect();
        assert_eq!(outputs, ["1", "3", "5"], "nothing of job 1, everything of job 2");
        assert_eq!(stage.started().iter().filter(|(of, _)| *of == job(1)).count(), 1);
        // Work of the job that arrives even later is refused as well, without an attempt.
        bench.log.deliver("transcode", vec![work(0, 6, job(1), 9)]);
        bench.until_committed("transcode", 0, 7).await;
        assert_eq!(stage.started().iter().filter(|(of, _)| *of == job(1)).count(), 1);
        assert!(bench.log.appended("transcode.dlq").is_empty());
        bench.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_result_of_cancelled_work_is_refused_and_its_record_finished() {
    let stage = Actor::new("split", stubborn);
    let bench = Bench::tuned(&[&stage], |settings| settings.settle = Duration::from_secs(60));
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until("it runs", |_| stage.started().len() == 1).await;
    bench.log.say(cancel(1));
    bench.until_committed("split", 0, 1).await;
    assert!(bench.log.appended("out").is_empty());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_comes_after_the_end_changes_nothing() {
    let stage = Actor::new("split", nothing);
    let bench = Bench::start(&[&stage]);
    let ready = Decision { outcome: Outcome::Ready, at: 5, playable_at: Some(4), error: None, warnings: Vec::new() };
    bench.doors.catalog.decide(job(1), &ready).await.expect("decided");
    bench.log.say(cancel(1));
    bench.log.say(cancel(2));
    bench.until("job 2 has ended", |bench| !bench.ends().is_empty()).await;
    assert_eq!(bench.ends().iter().map(|end| end.job).collect::<Vec<_>>(), [job(2)]);
    assert_eq!(bench.doors.catalog.decision(job(1)).await.expect("catalog"), Some(ready));
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn native_work_of_a_job_that_has_ended_or_is_deleted_is_skipped() {
    let stage = Actor::new("transcode", |_, _| async { Ok(vec![output("no")]) }).native();
    let caption = Actor::new("caption", |_, _| async { Ok(vec![output("captions")]) }).native().optional();
    let bench = Bench::start(&[&stage, &caption]);
    let catalog = Arc::clone(&bench.doors.catalog);
    for (number, outcome) in [(1, Outcome::Ready), (2, Outcome::Failed), (3, Outcome::Cancelled)] {
        let decision = Decision { outcome, at: 5, playable_at: None, error: None, warnings: Vec::new() };
        catalog.decide(job(number), &decision).await.expect("decided");
    }
    let mut row = JobRow::new(job(4));
    row.apply(JobEvent::Deleted(JobDeleted { job: job(4), at: 5 }), Some(0));
    catalog.swap_job(&row, None).await.expect("written");
    let mut row = JobRow::new(job(5));
    row.apply(JobEvent::CancelRequested(CancelRequested { job: job(5), at: 6 }), Some(0));
    catalog.swap_job(&row, None).await.expect("written");
    for name in ["transcode", "caption"] {
        bench.log.deliver(name, (0..5).map(|n| work(0, n, job(n as u32 + 1), 0)).collect());
        bench.until_committed(name, 0, 5).await;
    }
    assert!(stage.started().is_empty());
    assert_eq!(caption.started(), [(job(1), 0)], "what adds to a ready video may come later");
    // Nobody had told the rows how jobs 2 and 3 ended, and nobody had carried out the wish for job 5.
    let told: Vec<_> = bench.ends().into_iter().map(|end| (end.job, end.outcome)).collect();
    for end in [(2, Outcome::Failed), (3, Outcome::Cancelled), (5, Outcome::Cancelled)] {
        assert!(told.contains(&(job(end.0), end.1)), "{end:?} in {told:?}");
    }
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_deleted_job_stops_without_an_end_that_anybody_hears_of() {
    let stage = Actor::new("split", obedient);
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until("it runs", |_| stage.started().len() == 1).await;
    bench.log.say(wish(&JobDeleted { job: job(1), at: 5 }));
    bench.until_committed("split", 0, 1).await;
    assert!(bench.log.appended("out").is_empty());
    assert!(bench.ends().is_empty());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn when_a_job_fails_the_rest_of_its_work_is_dropped() {
    let stage = Actor::new("split", |index, cx| async move {
        if index == 0 {
            return Err(StageError::reject("broken", "it is broken"));
        }
        obedient(index, cx).await
    });
    let bench = Bench::tuned(&[&stage], |settings| settings.light_slots = 2);
    bench.log.deliver("split", vec![work(0, 0, job(1), 1), work(0, 1, job(1), 0), work(0, 2, job(1), 2)]);
    let start = Instant::now();
    bench.until_committed("split", 0, 3).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(bench.log.appended("out").is_empty());
    assert_eq!(bench.ends().len(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn draining_finishes_what_runs_and_hands_back_what_waits() {
    let stage = Actor::new("split", stubborn);
    let bench = Bench::tuned(&[&stage], |settings| settings.light_slots = 2);
    bench.log.deliver("split", (0..5).map(|n| work(0, n, job(1), n as u32)).collect());
    bench.until("two run", |_| stage.started().len() == 2).await;
    sleep(Duration::from_secs(2)).await;
    let start = Instant::now();
    let log = bench.stop().await;
    assert!((7..9).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(stage.started().len(), 2, "nothing new starts");
    assert_eq!(log.appended("out").len(), 2);
    assert_eq!(log.committed("split", 0), Some(2));
    let acts = log.acts();
    assert_eq!(acts.last(), Some(&Act::Left("streamforge.split".to_owned())), "committed before it left");
}

#[tokio::test(start_paused = true)]
async fn what_runs_past_the_grace_period_is_handed_back() {
    for native in [false, true] {
        let stage = Actor::new("transcode", |index, cx| async move {
            tokio::select! {
                () = cx.cancel.cancelled() => Err(StageError::retry("called_off", "shutting down")),
                () = sleep(Duration::from_secs(if index == 0 { 3600 } else { 5 })) => Ok(vec![output("done")]),
            }
        });
        let stage = if native { stage.native() } else { stage };
        let bench = Bench::start(&[&stage]);
        bench.log.deliver("transcode", vec![work(0, 0, job(1), 0), work(0, 1, job(2), 1), work(1, 0, job(3), 2)]);
        bench.until("two run", |_| stage.started().len() >= 2).await;
        let catalog = Arc::clone(&bench.doors.catalog);
        let start = Instant::now();
        let log = bench.stop().await;
        assert!((20..22).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(log.committed("transcode", 0), None, "offset 0 is handed back, so 1 cannot be committed");
        assert!(log.appended("transcode.dlq").is_empty());
        assert!(log.appended("job.ended").is_empty());
        assert!(log.acts().contains(&Act::Left("streamforge.transcode".to_owned())));
        if native {
            let count = catalog.count_attempt("transcode/in/0/0").await.expect("counted");
            assert_eq!(count, 1, "what was handed back in good order is no crash");
        }
    }
}
