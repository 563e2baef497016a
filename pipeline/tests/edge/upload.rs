//! `POST /api/upload`.

use std::time::{Duration, Instant};

use pipeline::edge::Settings;
use schemas::event::UploadReceived;
use schemas::job::State;
use schemas::wire;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::house::{House, eventually, read_all, records_of, send, video_bytes};

fn small() -> Settings {
    Settings { max_upload_bytes: 100_000, ..Settings::default() }
}

async fn code(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(body["status"], status);
    (status, body["code"].as_str().unwrap().to_owned())
}

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (head, bytes) in parts {
        body.extend_from_slice(format!("--xyz\r\nContent-Disposition: form-data; {head}\r\n\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--xyz--\r\n");
    body
}

async fn send_form(house: &House, body: Vec<u8>) -> reqwest::Response {
    let kind = "multipart/form-data; boundary=xyz";
    house.http.post(house.url("/api/upload")).header("content-type", kind).body(body).send().await.unwrap()
}

#[tokio::test]
async fn a_body_becomes_a_job_whose_bytes_row_and_event_are_there_when_it_is_answered() {
    let house = House::new().await;
    let bytes = video_bytes(300_000);
    let answer = house.upload("d%C3%ADa%201.MOV", bytes.clone()).await;
    assert_eq!(answer.status(), 201);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(location, format!("/api/jobs/{}", job["id"].as_str().unwrap()));
    assert_eq!((job["name"].as_str(), job["state"].as_str()), (Some("día 1.MOV"), Some("received")));
    assert_eq!(job["source"]["bytes"], 300_000);
    let id = job["id"].as_str().unwrap().parse().unwrap();
    let row = house.doors.catalog.job(id).await.unwrap().unwrap().row;
    assert_eq!(row.state(), State::Received);
    let events = records_of(&house.doors, "upload.received").await;
    let event: UploadReceived = wire::decode(&events[0].value).unwrap();
    assert_eq!((events.len(), event.job, event.origin.as_str()), (1, id, "http"));
    let key = house.doors.blobs.verify(&event.source).await.unwrap();
    assert_eq!(house.doors.blobs.read(&key).await.unwrap(), bytes);
    assert!(house.doors.catalog.uploads(None, 10).await.unwrap().items.is_empty());
    let again = house.json(&location).await;
    assert_eq!(again["id"], job["id"]);
}

#[tokio::test]
async fn the_first_file_of_a_form_is_taken() {
    let house = House::new().await;
    let bytes = video_bytes(80_000);
    let parts: [(&str, &[u8]); 3] = [
        ("name=\"note\"", b"hello"),
        ("name=\"file\"; filename=\"../../x/holiday.mp4\"", &bytes),
        ("name=\"file\"; filename=\"second.mp4\"", b"ignored"),
    ];
    let answer = send_form(&house, form(&parts)).await;
    assert_eq!(answer.status(), 201);
    let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((job["name"].as_str(), job["source"]["bytes"].as_u64()), (Some("holiday.mp4"), Some(80_000)));
}

#[tokio::test]
async fn what_is_no_video_is_refused_and_leaves_nothing() {
    let house = House::new().await;
    let refused = |answer: (u16, String)| assert_eq!(answer, (415, "unsupported_media".to_owned()));
    refused(code(house.upload("a.mp4", b"this is a text".to_vec()).await).await);
    refused(code(house.upload("a.mp4", Vec::new()).await).await);
    refused(code(house.upload("a.mp4", vec![b'x'; 3_000_000]).await).await);
    refused(code(send_form(&house, form(&[("name=\"f\"; filename=\"a.mp4\"", b"")])).await).await);
    let url = house.url("/api/upload");
    let typed = house.http.post(&url).header("content-type", "application/json").body(video_bytes(10)).send();
    refused(code(typed.await.unwrap()).await);
    let empty_form = send_form(&house, form(&[("name=\"note\"", b"hello")])).await;
    assert_eq!(code(empty_form).await, (400, "no_file".to_owned()));
    let cut = form(&[("name=\"f\"; filename=\"a.mp4\"", &video_bytes(50_000))]);
    let broken = send_form(&house, cut[..30_000].to_vec()).await;
    assert_eq!(code(broken).await, (400, "broken_body".to_owned()));
    let no_boundary = house.http.post(&url).header("content-type", "multipart/form-data").body("x").send();
    assert_eq!(code(no_boundary.await.unwrap()).await.0, 400);
    house.assert_nothing_left().await;
    assert!(records_of(&house.doors, "upload.received").await.is_empty());
}

#[tokio::test]
async fn the_limit_holds_with_and_without_a_stated_length() {
    let house = House::with(small()).await;
    assert_eq!(house.upload("a.mp4", video_bytes(100_000)).await.status(), 201, "the limit itself is allowed");
    assert_eq!(code(house.upload("a.mp4", video_bytes(100_001)).await).await, (413, "too_large".to_owned()));
    let pieces =
        video_bytes(5_000_000).chunks(50_000).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    let streamed = house.http.post(house.url("/api/upload")).header("content-type", "video/mp4").body(body).send();
    assert_eq!(code(streamed.await.unwrap()).await.0, 413);
    let in_form = send_form(&house, form(&[("name=\"f\"; filename=\"a.mp4\"", &video_bytes(120_000))])).await;
    assert_eq!(code(in_form).await.0, 413);
    let left = house.doors.blobs.list("").await.unwrap();
    assert_eq!(left.len(), 1, "only what was taken: {left:?}");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_writes_everything_before_it_reads() {
    let house = House::with(small()).await;
    for (head, first) in [
        ("Content-Type: video/mp4\r\nContent-Length: 20000000\r\n\r\n", video_bytes(1_000_000)),
        ("Content-Type: video/mp4\r\nTransfer-Encoding: chunked\r\n\r\n", video_bytes(1_000_000)),
        ("Content-Type: text/plain\r\nContent-Length: 20000000\r\n\r\n", vec![b'x'; 1_000_000]),
        ("Content-Type: video/mp4\r\nContent-Length: 20000000\r\n\r\n", vec![b'x'; 1_000_000]),
    ] {
        let is_chunked = head.contains("chunked");
        let mut stream = house.connect().await;
        send(&mut stream, &format!("POST /api/upload HTTP/1.1\r\nHost: x\r\n{head}")).await;
        for _ in 0..20 {
            if is_chunked {
                send(&mut stream, "f4240\r\n").await;
            }
            stream.write_all(&first).await.expect("the server reads what it has refused");
            if is_chunked {
                send(&mut stream, "\r\n").await;
            }
        }
        if is_chunked {
            send(&mut stream, "0\r\n\r\n").await;
        }
        let answer = read_all(&mut stream).await;
        let refused = answer.starts_with("HTTP/1.1 413") || answer.starts_with("HTTP/1.1 415");
        assert!(refused && answer.contains("application/problem+json"), "{head}: {answer}");
    }
    house.assert_nothing_left().await;
}

#[tokio::test]
async fn a_stated_length_over_the_limit_is_refused_before_the_body() {
    let house = House::with(small()).await;
    let mut stream = house.connect().await;
    let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 9000000000\r\n";
    send(&mut stream, &format!("{head}\r\n")).await;
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 413"));
    let mut polite = house.connect().await;
    send(&mut polite, &format!("{head}Expect: 100-continue\r\n\r\n")).await;
    let answer = read_all(&mut polite).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "no 100 before: {answer}");
    let mut welcome = house.connect().await;
    let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 1000\r\n";
    send(&mut welcome, &format!("{head}Expect: 100-continue\r\n\r\n")).await;
    assert!(read_all(&mut welcome).await.starts_with("HTTP/1.1 100"));
    welcome.write_all(&video_bytes(1_000)).await.unwrap();
    assert!(read_all(&mut welcome).await.contains("HTTP/1.1 201"));
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(connectors::clock::SystemClock);
    let doors = connectors::embedded::open(folder.path(), clock).unwrap();
    crate::house::make_topics(doors.log.as_ref()).await;
    let house = House::on(doors, Settings::default()).await;
    for body in ["Content-Length: 900000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n61a80\r\n"] {
        let mut stream = house.connect().await;
        let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\n";
        send(&mut stream, &format!("{head}{body}")).await;
        stream.write_all(&video_bytes(400_000)).await.unwrap();
        eventually("the upload has begun", || async {
            let begun = house.doors.catalog.uploads(None, 10).await.unwrap().items.len();
            (begun == 1).then_some(())
        })
        .await;
        drop(stream);
        house.assert_nothing_left().await;
    }
    let files = |at: &std::path::Path| -> Vec<std::path::PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![at.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
                if entry.file_type().unwrap().is_dir() { folders.push(entry.path()) } else { found.push(entry.path()) }
            }
        }
        found
    };
    let blobs = folder.path().join("blobs");
    eventually("no temporary file is left", || async { files(&blobs).is_empty().then_some(()) }).await;
    assert!(house.doors.catalog.jobs(None, None, 10).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_uploads_at_once_and_a_slow_one_block_nobody() {
    let house = House::new().await;
    let mut slow = house.connect().await;
    let head = "POST /api/upload?name=slow HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 20000\r\n";
    send(&mut slow, &format!("{head}\r\n")).await;
    let bytes = video_bytes(20_000);
    slow.write_all(&bytes[..10]).await.unwrap();
    let uploads = (0..10).map(|n| house.upload(if n % 2 == 0 { "even" } else { "odd" }, video_bytes(3_000_000)));
    let health = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let asked = Instant::now();
            assert_eq!(house.get("/api/health").await.status(), 200);
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slowest
    };
    let (answers, slowest) = tokio::join!(futures::future::join_all(uploads), health);
    assert!(answers.iter().all(|answer| answer.status() == 201));
    assert!(slowest < Duration::from_secs(2), "a health check took {slowest:?}");
    slow.write_all(&bytes[10..]).await.unwrap();
    assert!(read_all(&mut slow).await.starts_with("HTTP/1.1 201"));
    let listed = house.json("/api/jobs?limit=20").await;
    assert_eq!(listed["jobs"].as_array().unwrap().len(), 11);
    assert_eq!(records_of(&house.doors, "upload.received").await.len(), 11);
}
