//! Status as it changes.

use std::time::Duration;

use futures::StreamExt;
use schemas::JobId;
use schemas::event::{JobDeleted, JobEnded, JobProgress, Outcome, StageState};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;

use crate::house::{House, eventually};
use crate::video::{probed, row};

fn progress(job: JobId, unit: u32, done: u64, state: StageState) -> JobProgress {
    JobProgress {
        job,
        stage: "transcode".into(),
        state,
        unit,
        units: 4,
        done,
        weight: 100,
        total_weight: 400,
        playable: unit > 0,
        attempt: 1,
        worker: "w".into(),
        at: 1_795_428_001_000 + i64::from(unit) * 1_000,
        note: None,
    }
}

fn ready(job: JobId) -> JobEnded {
    JobEnded { job, outcome: Outcome::Ready, at: 5, playable_at: Some(4), error: None, warnings: Vec::new() }
}

/// Reads server-sent events until the stream ends or `enough` says so.
async fn events(
    answer: reqwest::Response,
    enough: impl Fn(&[(String, String, Value)]) -> bool,
) -> Vec<(String, String, Value)> {
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let (mut text, mut found) = (String::new(), Vec::new());
    let mut body = answer.bytes_stream();
    while let Ok(Some(piece)) = tokio::time::timeout(Duration::from_secs(10), body.next()).await {
        text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        while let Some(end) = text.find("\n\n") {
            let block: String = text.drain(..end + 2).collect();
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
            if let (Some(id), Some(event), Some(data)) = (field("id: "), field("event: "), field("data: ")) {
                found.push((id, event, serde_json::from_str(&data).unwrap()));
            }
        }
        if enough(&found) {
            break;
        }
    }
    found
}

#[tokio::test]
async fn a_job_is_followed_to_its_one_end() {
    let house = House::new().await.recording();
    let job = house.job().await;
    let path = format!("/api/jobs/{job}/events");
    let answer = house.get(&path).await;
    let work = async {
        house.publish(&probed(job)).await;
        for unit in 0..4 {
            house.publish(&progress(job, unit, 50, StageState::Running)).await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            house.publish(&progress(job, unit, 100, StageState::Done)).await;
        }
        house.publish(&ready(job)).await;
    };
    let (heard, ()) = tokio::join!(events(answer, |_| false), work);
    let shares: Vec<f64> = heard.iter().map(|(.., data)| data["progress"].as_f64().unwrap()).collect();
    assert!(shares.is_sorted() && shares.len() >= 4, "{shares:?}");
    let (last, before) = heard.split_last().unwrap();
    assert_eq!((last.0.as_str(), last.1.as_str(), last.2["state"].as_str()), ("end", "end", Some("ready")));
    assert_eq!(last.2["progress"], 1.0);
    assert!(before.iter().all(|(_, event, data)| event == "progress" && data["progress"].as_f64().unwrap() < 1.0));
    assert!(before.iter().any(|(.., data)| data["playable"] == true && data["stage"] == "transcode"));
    let again = house.http.get(house.url(&path)).header("last-event-id", "end").send().await.unwrap();
    assert_eq!(again.status(), 204, "a browser that has seen the end stops asking");
    let late = events(house.get(&path).await, |_| false).await;
    assert_eq!((late.len(), late[0].1.as_str()), (1, "end"));
}

#[tokio::test]
async fn a_watcher_hears_every_two_seconds_and_picks_up_where_it_was() {
    let house = House::new().await;
    let job = house.job().await;
    let path = format!("/api/jobs/{job}/events");
    let began = std::time::Instant::now();
    let heard = events(house.get(&path).await, |found| found.len() >= 3).await;
    assert!(heard.len() >= 3 && began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    let seen = heard.last().unwrap().0.clone();
    let again = house.http.get(house.url(&path)).header("last-event-id", &seen).send().await.unwrap();
    let began = std::time::Instant::now();
    let heard = events(again, |found| !found.is_empty()).await;
    assert_eq!(heard[0].1, "progress");
    assert!(began.elapsed() > Duration::from_millis(500), "the same picture is not said again at once");
}

#[tokio::test]
async fn a_watcher_of_a_deleted_job_is_let_go() {
    let house = House::new().await.recording();
    let job = house.job().await;
    let answer = house.get(&format!("/api/jobs/{job}/events")).await;
    house.publish(&JobDeleted { job, at: 1 }).await;
    let heard = events(answer, |_| false).await;
    assert_eq!(
        heard.last().map(|(_, event, data)| (event.as_str(), data["state"].as_str())),
        Some(("end", Some("deleted")))
    );
}

#[tokio::test]
async fn lists_hear_of_all_jobs() {
    let house = House::new().await.recording();
    let answer = house.get("/api/events").await;
    let work = async {
        let job = house.job().await;
        house.publish(&progress(job, 0, 50, StageState::Running)).await;
        house.publish(&ready(job)).await;
        job
    };
    let is_over = |found: &[(String, String, Value)]| found.iter().any(|(_, event, _)| event == "end");
    let (heard, job) = tokio::join!(events(answer, is_over), work);
    assert!(heard.iter().all(|(.., data)| data["id"] == job.to_string()));
    let names: Vec<&str> = heard.iter().map(|(_, event, _)| event.as_str()).collect();
    assert!(names.contains(&"progress") && names.contains(&"end"), "{names:?}");
    let back = house.http.get(house.url("/api/events")).header("last-event-id", "3").send().await.unwrap();
    assert_eq!(events(back, |found| !found.is_empty()).await[0].1, "refresh");
}

#[tokio::test]
async fn a_websocket_says_the_same() {
    let house = House::new().await.recording();
    let job = house.job().await;
    let url = format!("ws://{}/api/jobs/{job}/ws", house.address);
    let (mut socket, answer) = tokio_tungstenite::connect_async(&url).await.unwrap();
    assert_eq!(answer.status(), 101);
    house.publish(&progress(job, 1, 50, StageState::Running)).await;
    house.publish(&ready(job)).await;
    let (mut said, mut close) = (Vec::<Value>::new(), None);
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Text(text) => said.push(serde_json::from_str(&text).unwrap()),
            Message::Close(frame) => close = frame,
            _ => {}
        }
    }
    let (last, before) = said.split_last().unwrap();
    assert_eq!((last["event"].as_str(), last["state"].as_str()), (Some("end"), Some("ready")));
    assert!(!before.is_empty() && before.iter().all(|message| message["event"] == "progress"));
    assert_eq!(close.map(|frame| u16::from(frame.code)), Some(1000));
    let nobody = format!("ws://{}/api/jobs/{}/ws", house.address, JobId::from_parts(1, 1));
    assert!(tokio_tungstenite::connect_async(&nobody).await.is_err());
}

#[tokio::test]
async fn a_shutdown_ends_streams_politely_and_soon() {
    let house = House::new().await;
    let job = house.job().await;
    let one = house.get(&format!("/api/jobs/{job}/events")).await;
    let all = house.get("/api/events").await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://{}/api/jobs/{job}/ws", house.address)).await.unwrap();
    let asked = std::time::Instant::now();
    let farewell = async {
        let mut close = None;
        while let Some(Ok(message)) = socket.next().await {
            if let Message::Close(frame) = message {
                close = frame;
            }
        }
        close
    };
    // Bodies end without an error: the last chunk is there.
    let (stopped, one, all, close) = tokio::join!(house.stop(), one.text(), all.text(), farewell);
    assert!(one.is_ok() && all.is_ok());
    assert_eq!(close.map(|frame| u16::from(frame.code)), Some(1001));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    drop(stopped);
}

#[tokio::test]
async fn after_a_restart_finished_chunks_say_how_far_a_job_is() {
    let house = House::new().await;
    let job = JobId::from_parts(1_700_000_000_000, 3);
    row(&house.doors, job).await;
    let text = include_str!("../../../schemas/examples/chunk.transcoded/v1/video.json");
    let mut chunk: schemas::event::ChunkTranscoded = serde_json::from_str(text).unwrap();
    (chunk.job, chunk.total, chunk.weight) = (job, 5, 104);
    for index in 1..=3 {
        chunk.index = index;
        house.doors.catalog.put_chunk(&chunk).await.unwrap();
    }
    let status = house.json(&format!("/api/jobs/{job}/status")).await;
    let progress = status["progress"].as_f64().unwrap();
    assert!((0.55..0.65).contains(&progress), "three of five chunks of 520 frames: {status}");
    let view = house.json(&format!("/api/jobs/{job}")).await;
    let transcode =
        view["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "transcode").unwrap().clone();
    assert_eq!((transcode["done"].as_u64(), transcode["total"].as_u64()), (Some(3), Some(5)));
    let listed = house.json("/api/jobs").await;
    assert_eq!(listed["jobs"][0]["progress"], status["progress"]);
}

#[tokio::test]
async fn a_new_edge_reads_the_progress_of_the_last_hour() {
    let house = House::new().await;
    let job = house.job().await;
    house.publish(&progress(job, 2, 100, StageState::Done)).await;
    let doors = house.stop().await;
    let next = House::on(doors, Default::default()).await;
    eventually("the progress is there", || async {
        (next.json(&format!("/api/jobs/{job}/status")).await["progress"].as_f64() > Some(0.2)).then_some(())
    })
    .await;
}
