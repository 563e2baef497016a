//! The catalog goes away for a while and comes back.

use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use pipeline::edge::Settings;
use schemas::JobId;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;

use crate::house::{House, doors, eventually, records_of, video_bytes};
use crate::switch::{Is, Switch};
use crate::video::Video;

/// An edge that waits a moment for its catalog, and the switch of that.
async fn house(patience: Duration) -> (House, Arc<Switch>, Doors) {
    let healthy = doors().await;
    let switch = Switch::before(Arc::clone(&healthy.catalog));
    let settings = Settings { catalog_patience: patience, ..Settings::default() };
    let house = House::on(Doors { catalog: switch.clone(), ..healthy.clone() }, settings).await;
    (house, switch, healthy)
}

type Piece = Result<Vec<u8>, std::io::Error>;

/// An upload whose body comes in two pieces, and what it is answered.
fn slow_upload(house: &House) -> (mpsc::Sender<Piece>, JoinHandle<(u16, bool, Value)>) {
    let (pieces, body) = mpsc::channel(1);
    let request = house
        .http
        .post(house.url("/api/upload?name=slow.mp4"))
        .header("content-type", "video/mp4")
        .body(reqwest::Body::wrap_stream(ReceiverStream::new(body)));
    let answer = tokio::spawn(async move {
        let answer = request.send().await.unwrap();
        let (status, again) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
        (status, again, serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    });
    (pieces, answer)
}

async fn stored_source(doors: &Doors) -> Option<String> {
    let blobs = doors.blobs.list("").await.unwrap();
    blobs.into_iter().map(|blob| blob.key).find(|key| key.ends_with("/source"))
}

#[tokio::test]
async fn an_upload_under_way_waits_for_the_catalog_and_is_taken() {
    let (house, switch, healthy) = house(Duration::from_secs(20)).await;
    let (pieces, answer) = slow_upload(&house);
    let (head, tail) = (video_bytes(40_000), vec![7; 10_000]);
    pieces.send(Ok(head)).await.unwrap();
    eventually("the intent is there", || async {
        (!healthy.catalog.uploads(None, 5).await.unwrap().items.is_empty()).then_some(())
    })
    .await;
    switch.set(Is::Refusing);
    pieces.send(Ok(tail)).await.unwrap();
    drop(pieces);
    let key = eventually("the bytes are stored", || stored_source(&healthy)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!answer.is_finished(), "the client waits");
    switch.set(Is::Here);
    let (status, _, job) = answer.await.unwrap();
    assert_eq!((status, job["source"]["bytes"].as_u64()), (201, Some(50_000)));
    assert_eq!(records_of(&healthy, "upload.received").await.len(), 1);
    let left: Vec<String> = healthy.blobs.list("").await.unwrap().into_iter().map(|blob| blob.key).collect();
    assert_eq!(left, [key], "no note is left beside the bytes");
}

#[tokio::test]
async fn an_upload_under_way_keeps_its_bytes_and_is_announced_when_the_catalog_is_back() {
    let (house, switch, healthy) = house(Duration::from_millis(300)).await;
    let (pieces, answer) = slow_upload(&house);
    pieces.send(Ok(video_bytes(40_000))).await.unwrap();
    eventually("the intent is there", || async {
        (!healthy.catalog.uploads(None, 5).await.unwrap().items.is_empty()).then_some(())
    })
    .await;
    switch.set(Is::Refusing);
    drop(pieces);
    let (status, again, problem) = answer.await.unwrap();
    assert_eq!((status, again, problem["code"].as_str()), (503, true, Some("door_failed")));
    assert!(problem["detail"].as_str().unwrap().contains("goes on by itself"), "{problem}");
    assert!(stored_source(&healthy).await.is_some());
    assert!(records_of(&healthy, "upload.received").await.is_empty());
    // New ones are sent away before their bytes are taken.
    let answer = house.upload("new.mp4", video_bytes(1_000)).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert_eq!(healthy.blobs.list("").await.unwrap().iter().filter(|blob| blob.key.ends_with("/source")).count(), 1);
    switch.set(Is::Here);
    let job: JobId = eventually("the event is there", || async {
        let records = records_of(&healthy, "upload.received").await;
        records.first().map(|record| String::from_utf8_lossy(&record.key).parse().unwrap())
    })
    .await;
    assert_eq!(house.json(&format!("/api/jobs/{job}")).await["name"], "slow.mp4");
    eventually("nothing is left to do", || async {
        let blobs = healthy.blobs.list("").await.unwrap();
        let intents = healthy.catalog.uploads(None, 5).await.unwrap().items;
        (blobs.len() == 1 && intents.is_empty()).then_some(())
    })
    .await;
    assert_eq!(house.upload("new.mp4", video_bytes(1_000)).await.status(), 201);
}

#[tokio::test]
async fn an_edge_that_ends_while_the_catalog_is_away_leaves_a_note_for_the_next() {
    let (house, switch, healthy) = house(Duration::from_millis(300)).await;
    let (pieces, answer) = slow_upload(&house);
    pieces.send(Ok(video_bytes(40_000))).await.unwrap();
    eventually("the intent is there", || async {
        (!healthy.catalog.uploads(None, 5).await.unwrap().items.is_empty()).then_some(())
    })
    .await;
    switch.set(Is::Refusing);
    drop(pieces);
    assert_eq!(answer.await.unwrap().0, 503);
    house.stop().await;
    let next = House::on(healthy, Settings::default()).await;
    eventually("the event is there", || async {
        (records_of(&next.doors, "upload.received").await.len() == 1).then_some(())
    })
    .await;
    eventually("the note is gone", || async { (next.doors.blobs.list("").await.unwrap().len() == 1).then_some(()) })
        .await;
    assert_eq!(next.json("/api/jobs").await["jobs"][0]["name"], "slow.mp4");
}

#[tokio::test]
async fn a_ready_video_plays_and_health_names_the_catalog_while_it_says_nothing() {
    let (house, switch, healthy) = house(Duration::from_secs(1)).await;
    let video = Video::make(&healthy, JobId::from_parts(1_700_000_000_000, 9), 2).await;
    video.publish(&healthy).await;
    for is in [Is::Refusing, Is::Silent] {
        switch.set(is);
        let answer = house.get(&format!("/api/stream/{}/360p", video.job)).await;
        assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap() == video.file), (200, true), "{is:?}");
        for path in ["master.m3u8", "360p/index.m3u8", "360p/seg-0.m4s"] {
            let answer = house.get(&format!("/api/stream/{}/{path}", video.job)).await;
            assert_eq!(answer.status(), 200, "{is:?}: {path}");
        }
        let answer = house.get("/api/health").await;
        assert_eq!(answer.status(), 503);
        let health: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!((&health["doors"]["log"], &health["doors"]["blobs"]), (&"ok".into(), &"ok".into()), "{is:?}");
        assert_ne!(health["doors"]["catalog"], "ok");
        switch.set(Is::Here);
        assert_eq!(house.get("/api/health").await.status(), 200);
    }
}
