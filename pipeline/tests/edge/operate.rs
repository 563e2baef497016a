//! What operators ask: workers, replay, dead letters.

use bytes::Bytes;
use connectors::Doors;
use connectors::catalog::WorkerRow;
use connectors::log::{NewRecord, Record, TopicPartition};
use pipeline::edge::sweep::Sweeper;
use pipeline::header::{dead_letter, replay};
use schemas::JobId;
use schemas::event::{Event, JobEnded, Outcome, UploadReceived};
use schemas::job::{JobEvent, JobRow};
use serde_json::{Value, json};

use crate::house::{House, eventually, garbage, records_of};
use crate::video::{received, row};

fn job(n: u128) -> JobId {
    JobId::from_parts(1_700_000_000_000, n)
}

async fn work(doors: &Doors, id: &str, silent_ms: i64) {
    let now = doors.clock.now_ms();
    let worker = WorkerRow {
        id: id.to_owned(),
        version: "1.2.3".to_owned(),
        stages: vec![("transcode".to_owned(), 4, 1)],
        current: vec!["transcode 3/9".to_owned()],
        load: 0.25,
        started_at: now - 1_000_000,
        seen_at: now - silent_ms,
    };
    doors.catalog.put_worker(&worker).await.unwrap();
}

#[tokio::test]
async fn workers_are_listed_and_a_silent_one_is_gone_after_its_timeout() {
    let house = House::new().await;
    work(&house.doors, "silent", 11_000).await;
    work(&house.doors, "well", 1_000).await;
    let listed = house.json("/api/workers").await;
    let of = |n: usize, key: &str| listed["workers"][n][key].clone();
    assert_eq!((of(0, "id"), of(0, "state"), of(0, "load")), (json!("well"), json!("alive"), json!(0.25)));
    assert_eq!(of(0, "stages"), json!([{ "name": "transcode", "slots": 4, "busy": 1 }]));
    assert_eq!((of(0, "current"), of(0, "version")), (json!(["transcode 3/9"]), json!("1.2.3")));
    assert_eq!((of(1, "id"), of(1, "state"), of(1, "load")), (json!("silent"), json!("gone"), json!(0.0)));
    assert_eq!(of(1, "current"), json!([]), "others do what it did");
}

#[tokio::test]
async fn a_worker_that_was_silent_for_a_day_leaves_the_list() {
    let doors = crate::house::doors().await;
    work(&doors, "yesterday", 25 * 3_600_000).await;
    work(&doors, "today", 23 * 3_600_000).await;
    Sweeper { owner: "me".into(), is_alone: false }.sweep(&doors).await.unwrap();
    let left: Vec<String> = doors.catalog.workers().await.unwrap().into_iter().map(|worker| worker.id).collect();
    assert_eq!(left, ["today"]);
}

async fn ask_replay(house: &House, body: Value) -> (u16, Value) {
    house.ask(house.http.post(house.url("/api/replay")).json(&body)).await
}

async fn end(doors: &Doors, job: JobId, outcome: Outcome) {
    let mut row = JobRow::new(job);
    row.apply(JobEvent::Received(received(job)), Some(0));
    let end = JobEnded { job, outcome, at: 5, playable_at: None, error: None, warnings: Vec::new() };
    row.apply(JobEvent::Ended(end), Some(0));
    doors.catalog.swap_job(&row, None).await.unwrap();
}

#[tokio::test]
async fn a_replay_puts_a_stage_s_input_on_its_topic_again_for_that_stage_alone() {
    let house = House::new().await;
    for n in 1..=5 {
        house.publish(&received(job(n))).await;
    }
    house.doors.log.append(vec![garbage(UploadReceived::TOPIC, job(6))]).await.unwrap();
    row(&house.doors, job(1)).await;
    end(&house.doors, job(2), Outcome::Ready).await;
    end(&house.doors, job(3), Outcome::Failed).await;
    house.doors.catalog.swap_job(&JobRow { deleted: true, ..JobRow::new(job(4)) }, None).await.unwrap();
    let before = records_of(&house.doors, UploadReceived::TOPIC).await;

    let (status, dry) = ask_replay(&house, json!({ "stage": "probe", "dry_run": true })).await;
    assert_eq!((status, &dry["count"], &dry["jobs"]), (200, &json!(2), &json!(2)), "{dry}");
    assert_eq!(dry["skipped"], json!({ "ended": 2, "deleted": 1, "unreadable": 1 }));
    assert_eq!(records_of(&house.doors, UploadReceived::TOPIC).await.len(), before.len(), "nothing happens when dry");

    let (status, said) = ask_replay(&house, json!({ "stage": "probe", "job": job(1).to_string() })).await;
    assert_eq!((status, &said["count"], &said["jobs"]), (202, &json!(1), &json!(1)), "{said}");
    let after = records_of(&house.doors, UploadReceived::TOPIC).await;
    let again: Vec<&Record> = after.iter().filter(|record| replay::stage(&record.headers).is_some()).collect();
    assert_eq!((again.len(), after.len()), (1, before.len() + 1));
    let original = before.iter().find(|record| record.key == again[0].key).unwrap();
    assert_eq!(
        (&again[0].value, &again[0].at),
        (&original.value, &original.at),
        "the same bytes in the same partition"
    );
    assert_eq!(replay::stage(&again[0].headers), Some("probe"));

    // What was repeated is not repeated once more.
    let (_, said) = ask_replay(&house, json!({ "stage": "probe", "job": job(1).to_string() })).await;
    assert_eq!(said["count"], 1);
    let (_, none) = ask_replay(&house, json!({ "stage": "probe", "since": "2100-01-01T00:00:00Z" })).await;
    assert_eq!(none["count"], 0);
}

#[tokio::test]
async fn what_adds_to_a_video_may_be_replayed_after_the_video_is_ready() {
    let house = House::new().await;
    let probed = crate::video::probed(job(1));
    house.publish(&probed).await;
    end(&house.doors, job(1), Outcome::Ready).await;
    assert_eq!(ask_replay(&house, json!({ "stage": "caption", "dry_run": true })).await.1["count"], 1);
    assert_eq!(ask_replay(&house, json!({ "stage": "split", "dry_run": true })).await.1["count"], 0);
}

#[tokio::test]
async fn a_replay_of_nothing_known_is_refused_with_a_hint() {
    let house = House::new().await;
    for (body, status, code) in [
        (json!({ "stage": "trancode" }), 400, "unknown_stage"),
        (json!({ "stage": "probe", "job": "x" }), 404, "not_found"),
        (json!({ "stage": "probe", "job": job(9).to_string() }), 404, "not_found"),
        (json!({ "stage": "probe", "since": "yesterday" }), 400, "bad_since"),
        (json!({ "stage": "probe", "sins": "x" }), 400, "bad_body"),
        (json!([]), 400, "bad_body"),
    ] {
        let (said, problem) = ask_replay(&house, body.clone()).await;
        assert_eq!((said, problem["code"].as_str()), (status, Some(code)), "{body} {problem}");
    }
    let (_, problem) = ask_replay(&house, json!({ "stage": "trancode" })).await;
    assert!(problem["detail"].as_str().unwrap().contains("did you mean `transcode`?"), "{problem}");
}

#[tokio::test]
async fn rows_pass_repeated_events_by() {
    let house = House::new().await.recording();
    house.publish(&received(job(1))).await;
    eventually("the row is there", || async {
        house.doors.catalog.job(job(1)).await.unwrap().filter(|found| found.row.received.is_some())
    })
    .await;
    let found = house.doors.catalog.job(job(1)).await.unwrap();
    ask_replay(&house, json!({ "stage": "probe" })).await;
    house.publish(&received(job(2))).await;
    eventually("what came later is folded", || async { house.doors.catalog.job(job(2)).await.unwrap() }).await;
    assert_eq!(house.doors.catalog.job(job(1)).await.unwrap(), found);
}

/// Leaves a dead letter of `event` and answers its id.
async fn die(doors: &Doors, stage: &str, event: NewRecord, reason: &str) -> String {
    let (at, offset) = doors.log.append(vec![event.clone()]).await.unwrap().remove(0);
    let NewRecord { key, value, headers, .. } = event;
    let record = Record { at, offset, timestamp_ms: 0, key, value, headers };
    let letter = dead_letter::letter(&record, stage, reason, "it broke", 3, 0);
    let (TopicPartition { partition, .. }, offset) = doors.log.append(vec![letter]).await.unwrap().remove(0);
    format!("{stage}:{partition}:{offset}")
}

/// The id of a dead letter of `job` that can be put back.
pub async fn given_up(house: &House, job: JobId) -> String {
    die(&house.doors, "probe", event(job), "media_crashed").await
}

fn event(job: JobId) -> NewRecord {
    let mut record = pipeline::stage::record_of(&received(job)).unwrap();
    record.headers.push(("traceparent".to_owned(), Bytes::from_static(b"00-1")));
    record
}

async fn listed(house: &House, query: &str) -> Vec<String> {
    let found = house.json(&format!("/api/dlq{query}")).await;
    let letters = found["letters"].as_array().unwrap();
    letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn dead_letters_are_listed_shown_retried_and_dropped() {
    let house = House::new().await;
    row(&house.doors, job(1)).await;
    let good = die(&house.doors, "probe", event(job(1)), "media_crashed").await;
    let bad = die(&house.doors, "split", garbage("source.probed", job(2)), "undecodable").await;
    let mut all = listed(&house, "").await;
    all.sort();
    assert_eq!(all, [good.clone(), bad.clone()]);
    assert_eq!(listed(&house, "?stage=split").await, [bad.as_str()]);
    assert_eq!(house.json("/api/dlq?limit=1").await["total"], 2);
    assert_eq!(house.get("/api/dlq?stage=splat").await.status(), 400);

    let shown = house.json(&format!("/api/dlq/{good}")).await;
    assert_eq!((&shown["reason"], &shown["attempts"]), (&json!("media_crashed"), &json!(3)), "{shown}");
    assert_eq!((&shown["topic"], &shown["event"]["job"]), (&json!("upload.received"), &json!(job(1).to_string())));
    let shown = house.json(&format!("/api/dlq/{}", bad.replace(':', "%3A"))).await;
    assert_eq!((&shown["hex"], &shown["job"]), (&json!("010203"), &Value::Null), "{shown}");
    assert!(shown["undecodable"].as_str().unwrap().contains("Confluent"), "{shown}");

    let (status, said) = house.ask(house.http.post(house.url(&format!("/api/dlq/{good}/retry")))).await;
    assert_eq!(status, 202);
    assert_eq!((&said["job_state"], &said["note"]), (&json!("processing"), &Value::Null), "{said}");
    let records = records_of(&house.doors, "upload.received").await;
    assert_eq!(records.len(), 2);
    assert_eq!((&records[1].value, &records[1].at), (&records[0].value, &records[0].at), "untouched");
    let names: Vec<&str> = records[1].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["traceparent", replay::REPLAY], "what was said about its death stays behind");
    assert_eq!(replay::stage(&records[1].headers), Some("probe"));
    assert_eq!(listed(&house, "").await, [bad.as_str()]);
    assert_eq!(house.json(&format!("/api/dlq/{good}")).await["handled"], "retried");
    let twice = house.ask(house.http.post(house.url(&format!("/api/dlq/{good}/retry")))).await;
    assert_eq!(twice.0, 409);

    for _ in 0..2 {
        let dropped = house.ask(house.http.delete(house.url(&format!("/api/dlq/{bad}")))).await;
        assert_eq!(dropped.0, 202);
    }
    assert!(listed(&house, "").await.is_empty());
    assert_eq!(records_of(&house.doors, "split.dlq").await.len(), 2, "the letter and one mark");
    for id in ["probe:0:99", "probe:0", "nobody:0:0", "..%2Fx"] {
        assert_eq!(house.get(&format!("/api/dlq/{id}")).await.status(), 404, "{id}");
    }
}

#[tokio::test]
async fn retrying_for_a_job_that_has_failed_says_that_nothing_comes_of_it() {
    let house = House::new().await;
    end(&house.doors, job(1), Outcome::Failed).await;
    let id = die(&house.doors, "probe", event(job(1)), "media_crashed").await;
    let (_, said) = house.ask(house.http.post(house.url(&format!("/api/dlq/{id}/retry")))).await;
    assert_eq!(said["job_state"], "failed");
    assert!(said["note"].as_str().unwrap().contains("upload the video again"), "{said}");
}

#[tokio::test]
async fn a_letter_without_its_value_says_so_and_cannot_be_put_back() {
    let house = House::new().await;
    let event = NewRecord { value: vec![7; 5000].into(), ..garbage("upload.received", job(1)) };
    let (at, offset) = house.doors.log.append(vec![event.clone()]).await.unwrap().remove(0);
    let NewRecord { key, value, headers, .. } = event;
    let record = Record { at, offset, timestamp_ms: 0, key, value, headers };
    let letter = dead_letter::letter(&record, "probe", "undecodable", "it broke", 0, 0);
    house.doors.log.append(vec![dead_letter::without_value(&letter)]).await.unwrap();
    let shown = house.json("/api/dlq/probe:0:0").await;
    assert_eq!((&shown["bytes"], &shown["topic"]), (&json!(5000), &json!("upload.received")), "{shown}");
    assert!(shown["undecodable"].as_str().unwrap().contains("too large"), "{shown}");
    let answer = house.http.post(house.url("/api/dlq/probe:0:0/retry")).send().await.unwrap();
    assert_eq!(answer.status(), 409);
    assert!(answer.text().await.unwrap().contains("value_left_out"));
    assert_eq!(records_of(&house.doors, "upload.received").await.len(), 1, "nothing empty is put on the topic");
    let dropped = house.http.delete(house.url("/api/dlq/probe:0:0")).send().await.unwrap();
    assert_eq!(dropped.status(), 202);
}

#[tokio::test]
async fn a_letter_that_does_not_say_where_it_came_from_cannot_be_put_back() {
    let house = House::new().await;
    let stray = NewRecord { topic: "probe.dlq".to_owned(), headers: Vec::new(), ..event(job(1)) };
    house.doors.log.append(vec![stray]).await.unwrap();
    // A letter that claims to come from a topic that its stage does not read must not be able to write there.
    let forged = die(&house.doors, "probe", garbage("job.deleted", job(1)), "x").await;
    for id in ["probe:0:0", forged.as_str()] {
        let answer = house.http.post(house.url(&format!("/api/dlq/{id}/retry"))).send().await.unwrap();
        assert_eq!(answer.status(), 409, "{id}");
        assert!(answer.text().await.unwrap().contains("no_origin"));
    }
}
