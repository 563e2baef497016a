//! Typed stages on the embedded doors, as one process runs them.

use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use connectors::catalog::Decision;
use connectors::clock::ManualClock;
use connectors::log::{From, Record, Tailed};
use schemas::event::{
    CancelRequested, CaptionsWritten, ChunkCut, JobEnded, JobProgress, Outcome, SourceClassified, StageState,
    UploadReceived,
};
use schemas::{Claim, Event, wire};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::bench::job;
use crate::runner::{Runner, Settings};
use crate::stage::{AnyStage, Context, Stage, StageError, record_of};
use crate::topology;

/// Answers one event for an upload; takes ten seconds for job 3.
struct Listen;

impl Stage for Listen {
    type In = UploadReceived;
    type Out = CaptionsWritten;
    const NAME: &'static str = "listen";
    const NATIVE: bool = true;

    async fn process(&self, event: UploadReceived, cx: &Context) -> Result<Vec<CaptionsWritten>, StageError> {
        if event.job == job(3) {
            tokio::select! {
                () = cx.cancel.cancelled() => return Err(StageError::retry("called_off", "called off")),
                () = sleep(Duration::from_secs(10)) => {}
            }
        }
        let words = CaptionsWritten {
            job: event.job,
            language: "en".to_owned(),
            vtt: None,
            cues: 0,
            model: "none".to_owned(),
            version: String::new(),
            parameters: String::new(),
            written_at: 0,
            reason: Some(event.name),
        };
        Ok(vec![words])
    }
}

/// Ends the job.
struct Judge;

impl Stage for Judge {
    type In = CaptionsWritten;
    type Out = SourceClassified;
    const NAME: &'static str = "judge";

    async fn process(&self, _event: CaptionsWritten, cx: &Context) -> Result<Vec<SourceClassified>, StageError> {
        let at = cx.doors.clock.now_ms();
        cx.conclude(Decision { outcome: Outcome::Ready, at, playable_at: None, error: None, warnings: Vec::new() });
        Ok(Vec::new())
    }
}

fn stages() -> Vec<Arc<dyn AnyStage>> {
    vec![Arc::new(Listen), Arc::new(Judge)]
}

async fn doors() -> Doors {
    let doors = connectors::in_memory(Arc::new(ManualClock::at(1_000_000))).expect("doors in memory");
    doors.log.ensure_topics(&topology::topics(&stages())).await.expect("topics");
    doors
}

async fn publish<E: Event>(doors: &Doors, event: &E) {
    doors.log.append(vec![record_of(event).expect("encodes")]).await.expect("appended");
}

fn upload(number: u32) -> UploadReceived {
    let source = Claim { uri: "blob:x".to_owned(), size: 1, sha256: "0".repeat(64) };
    UploadReceived { job: job(number), name: "a.mp4".to_owned(), source, received_at: 0, origin: "test".to_owned() }
}

/// Reads `topic` from its beginning until `enough` says so.
async fn read<E: Event>(doors: &Doors, enough: impl Fn(&[E]) -> bool) -> Vec<E> {
    let mut reader = doors.log.tail(&[E::TOPIC], From::Beginning).await.expect("tail");
    let mut events = Vec::new();
    while !enough(&events) {
        let next = timeout(Duration::from_secs(600), reader.next()).await.expect("in vain").expect("read");
        if let Tailed::Records(records) = next {
            let decode = |record: &Record| wire::decode::<E>(&record.value).expect("decodes");
            events.extend(records.iter().map(decode));
        }
    }
    events
}

#[tokio::test(start_paused = true)]
async fn uploads_travel_through_two_stages_and_a_second_life_does_nothing_again() {
    let doors = doors().await;
    for life in 0..2 {
        let shutdown = CancellationToken::new();
        let runner = Runner::new(doors.clone(), Settings::new(format!("life {life}")));
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { runner.run(stages(), shutdown).await }
        });
        if life == 0 {
            for number in 10..40 {
                publish(&doors, &upload(number)).await;
            }
        }
        let ends = read::<JobEnded>(&doors, |ends| ends.len() >= 30).await;
        assert!(ends.iter().all(|end| end.outcome == Outcome::Ready));
        let behind = async |group: &str, topic: &str| {
            let progress = doors.log.progress(group, &[topic]).await.expect("progress");
            progress.iter().map(|partition| partition.end - partition.committed).sum::<i64>()
        };
        let start = Instant::now();
        while behind("streamforge.listen", UploadReceived::TOPIC).await
            + behind("streamforge.judge", CaptionsWritten::TOPIC).await
            > 0
        {
            assert!(start.elapsed() < Duration::from_secs(60), "not everything is committed");
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_secs(5)).await;
        shutdown.cancel();
        running.await.expect("no panic").expect("a clean end");
    }
    let words = read::<CaptionsWritten>(&doors, |words| words.len() >= 30).await;
    assert_eq!(words.len(), 30, "each upload once");
    let told = read::<JobProgress>(&doors, |told| told.len() >= 120).await;
    assert_eq!(told.iter().filter(|event| event.state == StageState::Done).count(), 60);
    assert!(read::<ChunkCut>(&doors, |_| true).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reaches_work_through_the_log() {
    let doors = doors().await;
    let shutdown = CancellationToken::new();
    let runner = Runner::new(doors.clone(), Settings::new("one"));
    let status = runner.status();
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { runner.run(stages(), shutdown).await }
    });
    publish(&doors, &upload(3)).await;
    read::<JobProgress>(&doors, |told| !told.is_empty()).await;
    assert_eq!(status.not_ready(), None);
    let start = Instant::now();
    publish(&doors, &CancelRequested { job: job(3), at: 42 }).await;
    let ends = read::<JobEnded>(&doors, |ends| !ends.is_empty()).await;
    assert_eq!((ends[0].job, ends[0].outcome, ends[0].at), (job(3), Outcome::Cancelled, 42));
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    shutdown.cancel();
    running.await.expect("no panic").expect("a clean end");
    assert!(start.elapsed() < Duration::from_secs(2), "nothing is left to wait for: {:?}", start.elapsed());
    assert!(read::<CaptionsWritten>(&doors, |_| true).await.is_empty());
}
