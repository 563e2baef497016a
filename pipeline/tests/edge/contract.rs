//! The HTTP contract: every address answers as it is described, and every answer is as it is described.

use std::collections::BTreeSet;

use connectors::Doors;
use connectors::catalog::WorkerRow;
use schemas::JobId;
use schemas::event::SourceProbed;
use schemas::job::{JobEvent, JobRow};
use schemas::ledger::{self, Ledger};
use serde_json::{Value, json};

use crate::house::described::description;
use crate::house::{House, garbage, video_bytes};
use crate::quality;
use crate::video::{Video, received, row};

macro_rules! example {
    ($path:literal) => {
        serde_json::from_str(include_str!(concat!("../../../schemas/examples/", $path))).unwrap()
    };
}

/// A job of which everything is known that can be.
async fn known(house: &House) -> JobId {
    let (job, _) = quality::ready(house).await;
    let mut events = vec![
        JobEvent::Stitched(example!("rendition.stitched/v1/720p.json")),
        JobEvent::Illustrated(example!("source.illustrated/v1/whole.json")),
        JobEvent::Captioned(example!("captions.written/v1/english.json")),
        JobEvent::Classified(example!("source.classified/v1/beach.json")),
        JobEvent::Assessed(example!("rendition.assessed/v1/720p.json")),
        JobEvent::Ended(example!("job.ended/v1/ready.json")),
    ];
    let probed = SourceProbed { job, ..example!("source.probed/v1/phone.json") };
    events.insert(0, JobEvent::Probed(Box::new(probed)));
    let made = schemas::job::Timing { began_at: Some(1), ended_at: 2, worker: Some("w1".into()) };
    quality::change(house, job, |row: &mut JobRow| {
        events.into_iter().for_each(|event| row.apply_made(event, Some(1), Some(made.clone())));
        row.assessed.clear();
    })
    .await;
    books(house, job).await;
    Video::make(&house.doors, job, 2).await.publish(&house.doors).await;
    job
}

/// Writes the books of stitch.
pub async fn books(house: &House, job: JobId) {
    let books = Ledger {
        job,
        balanced: true,
        findings: Vec::new(),
        frames_in: 2,
        damaged: 0,
        renditions: Vec::new(),
        audio: None,
        video_end_s: 1.0,
        source_end_difference_s: None,
        output_end_difference_s: Some(0.5),
        chunks: Vec::new(),
    };
    house.doors.blobs.put(&ledger::key(job), serde_json::to_vec(&books).unwrap().into()).await.unwrap();
}

async fn work(doors: &Doors) {
    let now = doors.clock.now_ms();
    let worker = WorkerRow {
        id: "w1".to_owned(),
        version: "1.2.3".to_owned(),
        stages: vec![("transcode".to_owned(), 4, 1)],
        current: vec!["transcode 3/9".to_owned()],
        load: 0.25,
        started_at: now,
        seen_at: now,
    };
    doors.catalog.put_worker(&worker).await.unwrap();
}

#[tokio::test]
async fn every_described_address_answers_as_described() {
    let house = House::new().await;
    let job = known(&house).await;
    work(&house.doors).await;
    let webhook = json!({ "url": "http://127.0.0.1:9/nobody", "events": ["job.ready"] });
    let (status, added) = house.ask(house.http.post(house.url("/api/webhooks")).json(&webhook)).await;
    assert_eq!(status, 201, "{added}");
    let letter = crate::operate::given_up(&house, job).await;
    let mut answered = BTreeSet::new();
    // Deleting comes last, or there would be nothing left to ask for.
    let mut operations: Vec<_> = description().operations().collect();
    operations.sort_by_key(|(method, ..)| method == reqwest::Method::DELETE);
    let count = operations.len();
    for (method, path, operation) in operations {
        let named = [
            ("{id}", job.to_string()),
            ("{quality}", "360p".into()),
            ("{track}", "360p".into()),
            ("{n}", "0".into()),
            ("{file}", "0".into()),
            ("{letter}", letter.clone()),
            ("{webhook}", added["id"].as_str().unwrap().to_owned()),
            ("{name}", "upload.received-value".into()),
        ];
        let address = named.iter().fold(path.to_owned(), |path, (name, value)| path.replace(name, value));
        assert!(!address.contains('{'), "{address}");
        let request = house.http.request(method.clone(), house.url(&address));
        let request = match path {
            "/api/upload" => request.header("content-type", "video/mp4").body(video_bytes(3_000)),
            "/api/replay" => request.json(&json!({ "stage": "probe", "dry_run": true })),
            "/api/webhooks" if method == reqwest::Method::POST => request.json(&webhook),
            _ if path.starts_with("/api/uploads") => {
                request.header("tus-resumable", "1.0.0").header("upload-length", 9)
            }
            _ => request,
        };
        let id = operation["operationId"].as_str().unwrap();
        let status = if operation["responses"]["200"]["content"].get("text/event-stream").is_some() {
            house.get(&address).await.status().as_u16()
        } else {
            let (status, body) = house.ask(request).await;
            assert!(!body.to_string().contains("nothing at this address"), "{method} {address}");
            status
        };
        assert_ne!(status, 405, "{method} {address}");
        if (200..300).contains(&status) {
            answered.insert(id);
        }
    }
    assert!(count >= 60, "{count}");
    // What has JSON to show has shown it: nothing was held against an error alone.
    let shows = |operation: &Value| {
        let responses = operation["responses"].as_object().unwrap();
        responses
            .iter()
            .any(|(status, answer)| status.starts_with('2') && answer["content"].get("application/json").is_some())
    };
    let all = description().operations().filter(|(.., operation)| shows(operation));
    let all: BTreeSet<&str> = all.map(|(.., operation)| operation["operationId"].as_str().unwrap()).collect();
    // A job that is ready cannot be cancelled; the next test does that.
    let missing: Vec<&&str> = all.difference(&answered).filter(|id| **id != "cancelJob").collect();
    assert!(missing.is_empty(), "only refused: {missing:?}");
}

#[tokio::test]
async fn answers_about_work_in_progress_are_as_described() {
    let house = House::new().await;
    let job = JobId::from_parts(1_700_000_000_000, 4);
    row(&house.doors, job).await;
    house.publish(&received(job)).await;
    house.doors.log.append(vec![garbage("upload.received", job)]).await.unwrap();
    for part in ["", "/status", "/explain", "/timeline", "/ledger", "/quality"] {
        house.json(&format!("/api/jobs/{job}{part}")).await;
    }
    for wish in [json!({ "stage": "probe" }), json!({ "stage": "prob" }), json!({ "stage": "probe", "oops": 1 })] {
        house.ask(house.http.post(house.url("/api/replay")).json(&wish)).await;
    }
    let cancelled = house.ask(house.http.post(house.url(&format!("/api/jobs/{job}/cancel")))).await;
    assert_eq!(cancelled.0, 202, "{}", cancelled.1);
    let begun = house.http.post(house.url("/api/uploads")).header("tus-resumable", "1.0.0").header("upload-length", 9);
    let begun = begun.send().await.unwrap();
    let address = begun.headers()["location"].to_str().unwrap().to_owned();
    assert_eq!(house.json(&address).await["state"], "arriving");
    let mut stream = house.get(&format!("/api/jobs/{job}/events")).await;
    let mut text = String::new();
    while !text.split_once("data: ").is_some_and(|(_, data)| data.contains('\n')) {
        text.push_str(&String::from_utf8_lossy(&stream.chunk().await.unwrap().unwrap()));
    }
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let status: Value = serde_json::from_str(data).unwrap();
    let faults: Vec<String> = description().of("Status").iter_errors(&status).map(|error| error.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?} {status}");
}

#[tokio::test]
async fn a_fault_of_an_answer_would_be_seen() {
    let faults = |path: &str, status: u16, kind: &str, body: Value| {
        let status = reqwest::StatusCode::from_u16(status).unwrap();
        description().faults((&reqwest::Method::GET, path), status, kind, Some(&body.to_string())).join("; ")
    };
    let id = "01KAR4C5M8T0N4Q2V6X8Z0B2D4";
    let path = format!("/api/jobs/{id}/status");
    let good = json!({
        "id": id, "state": "ready", "progress": 1.0, "playable": true, "stage": null, "eta_s": null,
    });
    assert_eq!(faults(&path, 200, "application/json", good.clone()), "");
    assert!(faults(&path, 418, "application/json", good.clone()).contains("may not answer 418"));
    assert!(faults(&path, 200, "text/html", good.clone()).contains("no media type"));
    let with = |key: &str, value: Value| {
        let mut bad = good.clone();
        bad[key] = value;
        faults(&path, 200, "application/json", bad)
    };
    assert!(with("state", json!("odd")).contains("odd"), "a word that is none");
    assert!(with("progress", json!(1.5)).contains("maximum"), "too much");
    assert!(with("id", json!("x")).contains("01"), "{}", with("id", json!("x")));
    assert!(with("extra", json!(1)).contains("extra"), "a field that nobody described");
    let mut short = good.clone();
    short.as_object_mut().unwrap().remove("stage");
    assert!(faults(&path, 200, "application/json", short).contains("stage"), "a field that is missing");
}

#[tokio::test]
async fn the_description_refers_to_nothing_that_is_not_in_it() {
    let house = House::new().await;
    let described = house.json("/api/openapi.json").await;
    assert_eq!(described["openapi"], "3.1.0");
    assert_eq!(described["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut stack = vec![&described];
    let mut ids = Vec::new();
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(described.pointer(pointer).is_some(), "{reference}");
                }
                if let Some(Value::String(id)) = fields.get("operationId") {
                    ids.push(id.clone());
                }
                stack.extend(fields.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "operation ids are unique");
}

#[test]
fn no_address_answers_that_is_not_described() {
    let described: BTreeSet<&str> = description().operations().map(|(_, path, _)| path).collect();
    let sources = [include_str!("../../src/edge/routes.rs"), include_str!("../../src/edge/routes/operate.rs")].concat();
    // The names of routes, as metrics have them.
    let routes = sources.split('"').filter(|text| text.starts_with("/api/"));
    let routes: BTreeSet<&str> = routes.collect();
    assert!(routes.len() >= 25, "{routes:?}");
    // Each of these stands for many addresses, which are described one by one.
    let many = ["/api/stream/{id}/{track}/{file}", "/api/registry"];
    let missing: Vec<&&str> =
        routes.iter().filter(|route| !described.contains(*route) && !many.contains(route)).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
}
