//! Webhooks: told what happens, signed, again when it was not taken.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pipeline::edge::Settings;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemas::event::{JobEnded, Outcome};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::house::{House, doors, eventually};

/// Somebody who is told: what came, and what is answered.
struct Receiver {
    url: String,
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answer: Arc<Mutex<&'static str>>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/told", listener.local_addr().unwrap());
        let (got, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new("204 Fine")));
        let (seen, said) = (Arc::clone(&got), Arc::clone(&answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut text = String::new();
                let mut piece = [0; 4096];
                loop {
                    let read = stream.read(&mut piece).await.unwrap_or(0);
                    text.push_str(&String::from_utf8_lossy(&piece[..read]));
                    let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                    let length = head.lines().find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("content-length: ")
                            .map(|length| length.parse::<usize>().unwrap())
                    });
                    if read == 0 || body.len() >= length.unwrap_or(0) {
                        break;
                    }
                }
                let (head, body) = text.split_once("\r\n\r\n").unwrap();
                let headers = head.lines().skip(1).filter_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    Some((HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap()))
                });
                seen.lock().unwrap().push((headers.collect(), body.to_owned()));
                let reply =
                    format!("HTTP/1.1 {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", *said.lock().unwrap());
                let _ = stream.write_all(reply.as_bytes()).await;
            }
        });
        Self { url, got, answer }
    }

    /// Kinds of what came, in order.
    fn kinds(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|(_, body)| serde_json::from_str::<Value>(body).unwrap()["type"].as_str().unwrap().into())
            .collect()
    }
}

async fn add(house: &House, wish: Value) -> (u16, Value) {
    let answer = house.http.post(house.url("/api/webhooks")).json(&wish).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

fn ended(job: schemas::JobId) -> JobEnded {
    JobEnded { job, outcome: Outcome::Ready, at: 5, playable_at: Some(4), error: None, warnings: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_is_told_what_happens_signed_and_nothing_of_before() {
    let house = House::new().await.recording();
    let before = house.job().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let receiver = Receiver::start().await;
    let (status, hook) = add(&house, json!({ "url": receiver.url })).await;
    assert_eq!(status, 201);
    let secret = hook["secret"].as_str().unwrap();
    let job = house.job().await;
    house.publish(&ended(job)).await;
    eventually("both are told", || async { (receiver.kinds().len() == 2).then_some(()) }).await;
    let mut kinds = receiver.kinds();
    kinds.sort();
    assert_eq!(kinds, ["job.ready", "job.received"]);
    for (headers, body) in receiver.got.lock().unwrap().iter() {
        Webhook::new(secret).unwrap().verify(body.as_bytes(), headers).expect("the signature is right");
        let told: Value = serde_json::from_str(body).unwrap();
        assert_eq!(told["data"]["id"], job.to_string());
        assert_ne!(told["data"]["id"], before.to_string());
        let state = told["type"].as_str().unwrap().trim_start_matches("job.");
        assert_eq!((told["data"]["state"].as_str(), told["data"]["name"].as_str()), (Some(state), Some("a.mp4")));
        assert_eq!(headers["webhook-id"], format!("msg_{job}_{state}"));
    }
    eventually("nothing waits any more", || async {
        let listed = house.json("/api/webhooks").await;
        let hook = &listed["webhooks"][0];
        assert!(hook.get("secret").is_none(), "the secret is told once");
        (hook["waiting"] == 0 && hook["last"]["outcome"] == "taken").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_taken_is_told_again_by_whichever_edge_and_delays_nobody() {
    let doors = doors().await;
    let first = House::on(doors.clone(), Settings::default()).await.recording();
    let (well, ill) = (Receiver::start().await, Receiver::start().await);
    *ill.answer.lock().unwrap() = "500 Ill";
    let (_, ill_hook) = add(&first, json!({ "url": ill.url, "events": ["job.ready"] })).await;
    let (_, away) = add(&first, json!({ "url": "http://127.0.0.1:1/nobody" })).await;
    add(&first, json!({ "url": well.url, "events": ["job.ready"] })).await;
    let job = first.job().await;
    first.publish(&ended(job)).await;
    eventually("the well one is told", || async { (well.kinds() == ["job.ready"]).then_some(()) }).await;
    eventually("the ill one was tried", || async { (ill.kinds() == ["job.ready"]).then_some(()) }).await;
    eventually("the edge says why", || async {
        let listed = first.json("/api/webhooks").await;
        let of =
            |id: &Value| listed["webhooks"].as_array().unwrap().iter().find(|hook| hook["id"] == *id).cloned().unwrap();
        let (ill, away) = (of(&ill_hook["id"]), of(&away["id"]));
        let is_told = ill["last"]["why"] == "it answered 500" && !away["last"]["why"].is_null();
        (is_told && ill["waiting"] == 1 && away["waiting"] == 2).then_some(())
    })
    .await;
    // The edge ends; the next one finds what waits, once it is due.
    let doors = first.stop().await;
    *ill.answer.lock().unwrap() = "200 Better";
    tokio::time::sleep(Duration::from_secs(6)).await;
    let second = House::on(doors, Settings::default()).await;
    eventually("it is told again", || async { (ill.kinds().len() == 2).then_some(()) }).await;
    let got = ill.got.lock().unwrap().clone();
    assert_eq!(got[0].0["webhook-id"], got[1].0["webhook-id"], "a second try has the same id");
    assert_eq!(got[0].1, got[1].1);
    // Who is removed is told nothing more.
    let removed = second.http.delete(second.url(&format!("/api/webhooks/{}", away["id"].as_str().unwrap())));
    assert_eq!(removed.send().await.unwrap().status(), 204);
    assert!(second.doors.blobs.list("webhooks/pending/").await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_gone_is_told_no_more_and_one_can_be_tried() {
    let house = House::new().await;
    let receiver = Receiver::start().await;
    let (_, hook) = add(&house, json!({ "url": receiver.url })).await;
    let id = hook["id"].as_str().unwrap().to_owned();
    let tried = house.http.post(house.url(&format!("/api/webhooks/{id}/test"))).send().await.unwrap();
    let tried: Value = serde_json::from_str(&tried.text().await.unwrap()).unwrap();
    assert_eq!((&tried["taken"], receiver.kinds()), (&json!(true), vec!["webhook.test".to_owned()]));
    *receiver.answer.lock().unwrap() = "410 Gone";
    house.job().await;
    eventually("it is switched off", || async {
        let listed = house.json("/api/webhooks").await;
        listed["webhooks"][0]["disabled"].as_str().map(|why| assert!(why.contains("410")))
    })
    .await;
    house.job().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.kinds().len(), 2);
}

#[tokio::test]
async fn what_is_no_hook_is_refused_with_what_would_be_one() {
    let house = House::new().await;
    for (wish, word) in [
        (json!({ "url": "ftp://host" }), "http://host/path"),
        (json!({ "url": "http://host", "events": ["job.done"] }), "job.ready"),
        (json!({ "url": "http://host", "secret": "hunter2" }), "whsec_"),
        (json!({ "url": "http://host", "colour": "red" }), "colour"),
        (json!({}), "url"),
    ] {
        let (status, problem) = add(&house, wish).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    for odd in ["x", "01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let answer = house.http.post(house.url(&format!("/api/webhooks/{odd}/test"))).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{odd}");
    }
}
