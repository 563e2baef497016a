//! Attempts, dead letters, crashes, poison, doors that are away.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use connectors::Doors;
use connectors::clock::ManualClock;
use schemas::event::Outcome;
use tokio::time::{Instant, sleep};

use super::bench::{Actor, Bench, header, job, nothing, output, work};
use super::scripted::{Act, Scripted, record};
use crate::runner::{Backoff, StageStatus};
use crate::stage::StageError;

fn appended(topic: &str) -> Act {
    Act::Appended(topic.to_owned())
}

fn committed(stage: &str, offset: i64) -> Act {
    Act::Committed(format!("streamforge.{stage}"), 0, offset)
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_a_while_is_tried_again_and_others_use_the_slot_meanwhile() {
    let failures = Arc::new(AtomicU32::new(0));
    let stage = Actor::new("split", move |index, cx| {
        let failures = Arc::clone(&failures);
        async move {
            match index {
                0 if failures.fetch_add(1, Ordering::SeqCst) < 2 => Err(StageError::retry("flaky", "not yet")),
                _ => Ok(vec![output(&format!("{index} at attempt {}", cx.attempt))]),
            }
        }
    });
    let wait = Backoff::new(Duration::from_secs(1000), Duration::from_secs(1000));
    let bench = Bench::tuned(&[&stage], |settings| (settings.light_slots, settings.backoff) = (1, wait));
    bench.log.deliver("split", vec![work(0, 0, job(1), 0), work(0, 1, job(1), 1)]);
    bench.until_committed("split", 0, 2).await;
    assert_eq!(stage.started(), [(job(1), 0), (job(1), 1), (job(1), 0), (job(1), 0)]);
    let outputs: Vec<_> = bench.log.appended("out").iter().map(|record| record.value.clone()).collect();
    assert_eq!(outputs, ["1 at attempt 1", "0 at attempt 3"]);
    assert!(bench.ends().is_empty());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn after_the_last_attempt_the_bytes_are_kept_and_the_job_has_failed() {
    let stage = Actor::new("probe", |_, _| async { Err(StageError::retry("no_frames", "decode: nothing came out")) });
    let stage = stage.native();
    let bench = Bench::start(&[&stage]);
    let event = work(1, 5, job(1), 0);
    bench.log.deliver("probe", vec![event.clone()]);
    bench.until_committed("probe", 1, 6).await;
    assert_eq!(stage.started().len(), 3);
    let letters = bench.log.appended("probe.dlq");
    assert_eq!(letters.len(), 1);
    assert_eq!((&letters[0].key, &letters[0].value), (&event.key, &event.value));
    let said = ["stage", "reason", "message", "topic", "partition", "offset", "attempts", "traceparent"];
    let said = said.map(|name| header(&letters[0], name));
    assert_eq!(said, ["probe", "no_frames", "decode: nothing came out", "in", "1", "5", "3", "00-7"]);
    let ends = bench.ends();
    assert_eq!((ends.len(), ends[0].job, ends[0].outcome), (1, job(1), Outcome::Failed));
    let error = ends[0].error.clone().expect("an error");
    assert_eq!((error.code.as_str(), error.stage.as_str()), ("no_frames", "probe"));
    assert_eq!(error.message, "decode: nothing came out");
    let decision = bench.doors.catalog.decision(job(1)).await.expect("catalog").expect("decided");
    assert_eq!(decision.error, Some(error));
    let acts = bench.stop().await.acts();
    let place = |act: &Act| acts.iter().position(|other| other == act).expect("happened");
    let commit = Act::Committed("streamforge.probe".to_owned(), 1, 6);
    assert!(place(&appended("probe.dlq")) < place(&appended("job.ended")));
    assert!(place(&appended("job.ended")) < place(&commit), "the record is finished last");
}

#[tokio::test(start_paused = true)]
async fn an_event_too_large_to_be_copied_is_a_dead_letter_without_its_value() {
    let stage = Actor::new("probe", |_, _| async { Err(StageError::reject("no_frames", "nothing came out")) });
    let bench = Bench::start(&[&stage]);
    bench.log.take_at_most(1 << 20);
    let unreadable = record("in", 0, 5, vec![b'x'; 2 << 20]);
    let mut readable = work(0, 6, job(1), 0);
    readable.headers.push(("baggage".to_owned(), vec![b'x'; 2 << 20].into()));
    bench.log.deliver("probe", vec![unreadable.clone(), readable]);
    bench.until_committed("probe", 0, 7).await;
    let mut letters = bench.log.appended("probe.dlq");
    letters.sort_by_key(|letter| header(letter, "offset"));
    let said = |letter| ["reason", "topic", "partition", "offset", "value_bytes"].map(|name| header(letter, name));
    assert_eq!(letters.len(), 2);
    assert_eq!(said(&letters[0]), ["undecodable", "in", "0", "5", "2097152"]);
    assert_eq!(said(&letters[1])[..4], ["no_frames", "in", "0", "6"]);
    assert!(letters.iter().all(|letter| letter.value.is_empty() && header(letter, "value_sha256").len() == 64));
    assert_eq!(bench.ends().len(), 1, "the job of the one that can be read has its end");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_result_too_large_for_the_log_fails_its_job_and_the_stage_goes_on() {
    let stage =
        Actor::new(
            "split",
            |index, _| async move { Ok(vec![output(&"x".repeat(if index == 0 { 2 << 20 } else { 1 }))]) },
        );
    let bench = Bench::start(&[&stage]);
    bench.log.take_at_most(1 << 20);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0), work(0, 1, job(2), 1)]);
    bench.until_committed("split", 0, 2).await;
    assert_eq!(bench.log.appended("out").len(), 1, "nothing of the first");
    assert_eq!(header(&bench.log.appended("split.dlq")[0], "reason"), "event_too_large");
    let ends = bench.ends();
    assert_eq!((ends.len(), ends[0].job, ends[0].outcome), (1, job(1), Outcome::Failed));
    let message = ends[0].error.clone().expect("an error").message;
    assert!(message.contains("out") && message.contains("20972"), "{message}");
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_rejected_event_is_not_tried_again_and_an_optional_stage_fails_no_job() {
    let stage =
        Actor::new("caption", |_, _| async { Err(StageError::reject("no_speech", "nobody speaks")) }).optional();
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("caption", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("caption", 0, 1).await;
    assert_eq!(stage.started().len(), 1);
    assert_eq!(header(&bench.log.appended("caption.dlq")[0], "attempts"), "1");
    assert!(bench.ends().is_empty());
    assert_eq!(bench.doors.catalog.decision(job(1)).await.expect("catalog"), None);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_decision_that_holds_is_published_whoever_made_it() {
    let stage = Actor::new("stitch", |_, cx| async move {
        let won = crate::runner::ending::cancelled(7);
        cx.doors.catalog.decide(cx.job, &won).await.expect("decided");
        cx.conclude(crate::runner::ending::failed(8, "stitch", "late", "too late"));
        Ok(vec![output("last")])
    });
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("stitch", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("stitch", 0, 1).await;
    let ends = bench.ends();
    assert_eq!((ends.len(), ends[0].outcome, ends[0].at), (1, Outcome::Cancelled, 7));
    let acts = bench.stop().await.acts();
    let order = acts.into_iter().filter(|act| !matches!(act, Act::Joined(_) | Act::Left(_) | Act::Paused(..)));
    assert_eq!(order.collect::<Vec<_>>(), [appended("out"), appended("job.ended"), committed("stitch", 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_failed_attempt_and_the_slot_lives_on() {
    let stage = Actor::new("split", |index, _| async move {
        assert!(index != 0, "index {index} is not for me");
        Ok(vec![output("fine")])
    });
    let bench = Bench::tuned(&[&stage], |settings| settings.light_slots = 1);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0), work(0, 1, job(2), 1)]);
    bench.until_committed("split", 0, 2).await;
    let letter = &bench.log.appended("split.dlq")[0];
    assert_eq!((header(letter, "reason"), header(letter, "attempts")), ("panic".to_owned(), "3".to_owned()));
    assert_eq!(header(letter, "message"), "the stage panicked: index 0 is not for me");
    assert_eq!(bench.log.appended("out").len(), 1);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_at_its_deadline_even_when_the_stage_does_not_listen() {
    let told = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&told);
    let stage = Actor::new("split", move |_, cx| {
        let heard = Arc::clone(&heard);
        async move {
            cx.cancel.cancelled().await;
            heard.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    })
    .deadline(Duration::from_secs(60));
    let bench = Bench::start(&[&stage]);
    let start = Instant::now();
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("split", 0, 1).await;
    assert_eq!(header(&bench.log.appended("split.dlq")[0], "reason"), "deadline_exceeded");
    assert_eq!(told.load(Ordering::SeqCst), 3, "each attempt was told to stop");
    // Three deadlines, three times the patience with a stage that does not react, two waits.
    assert!((180..210).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    bench.stop().await;
}

#[test]
fn work_that_takes_the_process_down_is_given_up_by_a_later_process() {
    let clock = Arc::new(ManualClock::at(1_000_000));
    let doors = connectors::in_memory(clock).expect("doors in memory");
    let stage = Actor::new("transcode", |index, _| async move {
        if index == 0 { std::future::pending().await } else { Ok(Vec::new()) }
    })
    .native();
    // Each round is one life of the process; what it had in memory dies with its runtime.
    let live = |log: &Scripted, rounds: Duration| {
        let doors = Doors { log: Arc::new(log.clone()), ..doors.clone() };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.expect("runtime").block_on(async {
            let tune = |settings: &mut crate::runner::Settings| settings.max_crashes = 3;
            let _bench = Bench::with_doors(&[&stage], doors, log.clone(), tune);
            log.deliver("transcode", vec![work(0, 0, job(1), 0), work(0, 1, job(2), 1)]);
            sleep(rounds).await;
        });
    };
    for life in 1..=3 {
        let log = Scripted::default();
        live(&log, Duration::from_secs(5));
        assert!(log.appended("transcode.dlq").is_empty(), "life {life}");
        assert_eq!(log.committed("transcode", 0), None);
    }
    let log = Scripted::default();
    live(&log, Duration::from_secs(5));
    let letters = log.appended("transcode.dlq");
    assert_eq!(letters.len(), 1);
    assert_eq!((header(&letters[0], "reason"), header(&letters[0], "attempts")), ("crashed".into(), "3".into()));
    assert_eq!(log.committed("transcode", 0), Some(2));
    let guilty = stage.started().into_iter().filter(|(of, _)| *of == job(1)).count();
    assert_eq!(guilty, 3, "it is not started a fourth time");
}

#[tokio::test(start_paused = true)]
async fn a_record_that_nobody_can_read_is_a_dead_letter_and_ends_no_job() {
    let stage = Actor::new("split", nothing);
    let bench = Bench::start(&[&stage]);
    bench.log.deliver("split", vec![record("in", 0, 3, &b"\xff\x00junk"[..]), work(0, 4, job(1), 0)]);
    bench.until_committed("split", 0, 5).await;
    let letters = bench.log.appended("split.dlq");
    assert_eq!((letters.len(), letters[0].value.as_ref()), (1, &b"\xff\x00junk"[..]));
    assert_eq!(header(&letters[0], "reason"), "undecodable");
    assert_eq!((header(&letters[0], "offset"), header(&letters[0], "attempts")), ("3".into(), "0".into()));
    assert!(bench.ends().is_empty());
    assert_eq!(stage.started(), [(job(1), 0)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_record_whose_reading_panics_is_a_dead_letter_and_the_stage_lives_on() {
    let stage = Actor::new("split", nothing).poison(7);
    let bench = Bench::start(&[&stage]);
    let poison = work(0, 0, job(1), 7);
    bench.log.deliver("split", vec![poison.clone(), work(0, 1, job(2), 1)]);
    bench.until_committed("split", 0, 2).await;
    let letters = bench.log.appended("split.dlq");
    assert_eq!((letters.len(), &letters[0].value), (1, &poison.value));
    assert_eq!(header(&letters[0], "reason"), "undecodable");
    assert_eq!(header(&letters[0], "message"), "the stage panicked: index 7 breaks whoever reads it");
    assert_eq!(stage.started(), [(job(2), 1)]);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_refuses_for_a_while_costs_time_and_nothing_else() {
    let stage = Actor::new("split", |_, _| async { Ok(vec![output("made once")]) });
    let bench = Bench::start(&[&stage]);
    bench.log.fail_appends(20);
    bench.log.fail_commits(5);
    bench.log.deliver("split", vec![work(0, 0, job(1), 0)]);
    bench.until_committed("split", 0, 1).await;
    assert_eq!(stage.started().len(), 1, "the work itself is not done again");
    assert_eq!(bench.log.appended("out").len(), 1);
    assert!(bench.log.appended("split.dlq").is_empty());
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_behind_a_failed_attempt_does_not_count_as_an_attempt() {
    let stage = Actor::new("transcode", |index, cx| async move {
        match cx.doors.log.check().await {
            Ok(()) => Ok(vec![output("at last")]),
            Err(error) if index == 0 => Err(StageError::door("look", &error)),
            Err(_) => Err(StageError::retry("some_code", "the stage does not know why")),
        }
    })
    .native();
    let bench = Bench::tuned(&[&stage], |settings| settings.max_crashes = 3);
    bench.log.set_down(true);
    bench.log.deliver("transcode", vec![work(0, 0, job(1), 0), work(0, 1, job(2), 1)]);
    bench.until("many attempts", |_| stage.started().len() > 40).await;
    bench.log.set_down(false);
    bench.until_committed("transcode", 0, 2).await;
    assert!(bench.log.appended("transcode.dlq").is_empty());
    assert_eq!(bench.log.appended("out").len(), 2);
    bench.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_cannot_go_on_stops_alone_and_says_so() {
    let stage = Actor::new("caption", |index, _| async move {
        sleep(Duration::from_secs(u64::from(index))).await;
        match index {
            1 => Err(StageError::Stop(crate::stage::Cause { code: "no_model", message: "the model is gone".into() })),
            _ => Ok(vec![output(&index.to_string())]),
        }
    });
    let other = Actor::new("split", nothing);
    let bench = Bench::tuned(&[&stage, &other], |settings| settings.light_slots = 2);
    bench.until("both consume", |bench| bench.status.not_ready().is_none()).await;
    bench.log.deliver("caption", (0..3).map(|n| work(0, n, job(1), n as u32)).chain([work(0, 3, job(1), 3)]).collect());
    let left = Act::Left("streamforge.caption".to_owned());
    bench.until("it leaves its group", |bench| bench.log.acts().contains(&left)).await;
    assert_eq!(bench.status.not_ready(), Some("stage `caption` has stopped: the model is gone".to_owned()));
    assert_eq!(bench.status.stages()[0].1, StageStatus::Stopped("the model is gone".to_owned()));
    let outputs: Vec<_> = bench.log.appended("out").iter().map(|record| record.value.clone()).collect();
    assert_eq!(outputs, ["0", "2"], "what ran beside it was finished");
    assert_eq!(bench.log.committed("caption", 0), Some(1), "the event is left for another worker");
    bench.log.deliver("split", vec![work(0, 0, job(2), 0)]);
    bench.until_committed("split", 0, 1).await;
    assert!(bench.log.appended("caption.dlq").is_empty());
    bench.stop().await;
}
