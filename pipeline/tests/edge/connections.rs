//! Connections: time limits and the end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use connectors::Doors;
use pipeline::edge::Settings;
use pipeline::edge::ops::{Needs, Ops, serve};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::house::{House, doors, eventually, read_all, send, video_bytes};
use crate::switch::{Is, Switch};

#[tokio::test]
async fn a_running_upload_may_end_after_the_shutdown_but_not_for_ever() {
    let house = House::with(Settings { grace: Duration::from_secs(5), ..Settings::default() }).await;
    let head = "POST /api/upload HTTP/1.1\r\nHost: x\r\nContent-Type: video/mp4\r\nContent-Length: 50000\r\n\r\n";
    let mut stream = house.connect().await;
    send(&mut stream, head).await;
    let bytes = video_bytes(50_000);
    stream.write_all(&bytes[..30_000]).await.unwrap();
    let doors = house.doors.clone();
    eventually("the upload has begun", || async {
        (doors.catalog.uploads(None, 1).await.unwrap().items.len() == 1).then_some(())
    })
    .await;
    let address = house.address;
    let rest = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
        stream.write_all(&bytes[30_000..]).await.unwrap();
        read_all(&mut stream).await
    };
    let (doors, answer) = tokio::join!(house.stop(), rest);
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("connection: close"), "{answer}");
    assert_eq!(doors.catalog.jobs(None, None, 10).await.unwrap().items.len(), 1);

    let house = House::with(Settings { grace: Duration::from_millis(200), ..Settings::default() }).await;
    let mut stuck = house.connect().await;
    send(&mut stuck, head).await;
    stuck.write_all(&bytes[..30_000]).await.unwrap();
    let doors = house.doors.clone();
    eventually("the upload has begun", || async {
        (doors.catalog.uploads(None, 1).await.unwrap().items.len() == 1).then_some(())
    })
    .await;
    let asked = Instant::now();
    let doors = house.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(doors.blobs.list("").await.unwrap().is_empty(), "what did not end left nothing");
    assert!(doors.catalog.uploads(None, 10).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_ops_address_tells_metrics_and_readiness() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (draining, shutdown) = (CancellationToken::new(), CancellationToken::new());
    let metrics = Box::new(|| "streamforge_jobs_ended_total 3\n".to_owned());
    let broken_stage = Arc::new(Mutex::new(None));
    let hindrance = Box::new({
        let broken_stage = Arc::clone(&broken_stage);
        move || broken_stage.lock().unwrap().clone()
    });
    let ops = Ops { metrics, needs: Needs::Blobs, hindrance, draining: draining.clone() };
    let broken = crate::doors::broken(doors().await);
    let serving = tokio::spawn(serve(listener, ops, broken.clone(), shutdown.clone()));
    let get = |path: &str| reqwest::get(format!("{url}{path}"));
    let metrics = get("/metrics").await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("text/plain; version=0.0.4"));
    assert_eq!(metrics.text().await.unwrap(), "streamforge_jobs_ended_total 3\n");
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    assert_eq!(get("/readyz").await.unwrap().status(), 200, "an edge can play with the blob store alone");
    assert_eq!(get("/nothing").await.unwrap().status(), 404);
    *broken_stage.lock().unwrap() = Some("transcode has stopped".to_owned());
    let hindered = get("/readyz").await.unwrap();
    assert_eq!(
        (hindered.status().as_u16(), hindered.text().await.unwrap()),
        (503, "transcode has stopped\n".to_owned())
    );
    *broken_stage.lock().unwrap() = None;
    draining.cancel();
    assert_eq!(get("/readyz").await.unwrap().status(), 503);
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    shutdown.cancel();
    serving.await.unwrap();
}

#[tokio::test]
async fn an_edge_is_ready_at_once_although_a_door_that_it_can_do_without_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/readyz", listener.local_addr().unwrap());
    let healthy = doors().await;
    let switch = Switch::before(Arc::clone(&healthy.catalog));
    switch.set(Is::Silent);
    let shutdown = CancellationToken::new();
    let (metrics, hindrance) = (Box::new(String::new), Box::new(|| None));
    let ops = Ops { metrics, needs: Needs::Blobs, hindrance, draining: CancellationToken::new() };
    let serving = tokio::spawn(serve(listener, ops, Doors { catalog: switch, ..healthy }, shutdown.clone()));
    // Whoever shares out requests waits two seconds, which is what a silent door is given.
    let asked = Instant::now();
    let answer = reqwest::get(&url).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    eventually("it says which door is silent", || async {
        let told: serde_json::Value = serde_json::from_str(&reqwest::get(&url).await.ok()?.text().await.ok()?).ok()?;
        (told["doors"]["catalog"] == "does not answer" && told["doors"]["log"] == "ok").then_some(())
    })
    .await;
    shutdown.cancel();
    serving.await.unwrap();
}
