//! `/api/jobs`: listing, reading, steering.

use schemas::JobId;
use schemas::event::{CancelRequested, Failure, JobEnded, JobProgress, Outcome, SourceClassified, StageState};
use schemas::wire;
use serde_json::Value;

use crate::house::{House, eventually, records_of, video_bytes};

const BEACH: &str = include_str!("../../../schemas/examples/source.classified/v1/beach.json");
const SLIDES: &str = include_str!("../../../schemas/examples/source.classified/v1/slides.json");

fn ended(job: JobId, outcome: Outcome) -> JobEnded {
    let error = (outcome == Outcome::Failed).then(|| Failure {
        code: "no_video".into(),
        stage: "probe".into(),
        message: "there is no video track in it".into(),
    });
    JobEnded { job, outcome, at: 1_795_428_009_500, playable_at: None, error, warnings: Vec::new() }
}

async fn state_of(house: &House, job: JobId, state: &str) {
    eventually(&format!("the job is {state}"), || async {
        (house.json(&format!("/api/jobs/{job}")).await["state"] == state).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest() {
    let house = House::new().await;
    let mut uploaded = Vec::new();
    for n in 0..5 {
        assert_eq!(house.upload(&format!("{n}.mp4"), video_bytes(100)).await.status(), 201);
        uploaded.push(format!("{n}.mp4"));
        // Ids are made of milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    uploaded.reverse();
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = house.json(&format!("/api/jobs?limit=2&after={after}")).await;
        seen.extend(page["jobs"].as_array().unwrap().iter().map(|job| job["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(seen, uploaded);
    assert_eq!(house.json("/api/jobs?state=ready").await["jobs"], Value::Array(Vec::new()));
    assert_eq!(house.json("/api/jobs?state=received&limit=9999").await["jobs"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn jobs_are_found_by_what_they_show_page_by_page() {
    let house = House::new().await.recording();
    let mut beaches = Vec::new();
    for n in 0..7 {
        let id = house.job().await;
        let is_beach = n % 3 == 0;
        let text = if is_beach { BEACH } else { SLIDES };
        house.publish(&SourceClassified { job: id, ..serde_json::from_str(text).unwrap() }).await;
        eventually("it is labelled", || async {
            (house.json(&format!("/api/jobs/{id}")).await["content"]["labels"].is_array()).then_some(())
        })
        .await;
        if is_beach {
            beaches.push(id.to_string());
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    beaches.reverse();
    for label in ["camera", "SEACOAST", "seashore%2C+coast%2C+seacoast%2C+sea-coast"] {
        for limit in [1, 2, 50] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let page = house.json(&format!("/api/jobs?label={label}&limit={limit}&after={after}")).await;
                let jobs = page["jobs"].as_array().unwrap();
                assert!(jobs.len() <= limit);
                seen.extend(jobs.iter().map(|job| job["id"].as_str().unwrap().to_owned()));
                match page["next"].as_str() {
                    Some(next) => after = next.to_owned(),
                    None => break,
                }
            }
            assert_eq!(seen, beaches, "{label} by {limit}");
        }
    }
    assert_eq!(house.json("/api/jobs?label=volcano").await["jobs"], Value::Array(Vec::new()));
    assert_eq!(house.json("/api/jobs?label=").await["jobs"].as_array().unwrap().len(), 7, "no label is no question");
    assert_eq!(house.json("/api/jobs?label=camera&state=ready").await["jobs"], Value::Array(Vec::new()));
}

#[tokio::test]
async fn questions_that_make_no_sense_get_problems() {
    let house = House::new().await;
    let nobody = JobId::from_parts(1, 1);
    for (path, status, code) in [
        ("/api/jobs?after=rubbish".to_owned(), 400, "bad_cursor"),
        ("/api/jobs?state=sleeping".to_owned(), 400, "bad_state"),
        ("/api/jobs?limit=0".to_owned(), 400, "bad_limit"),
        ("/api/jobs?limit=many".to_owned(), 400, "bad_limit"),
        ("/api/jobs/not-an-id".to_owned(), 404, "not_found"),
        (format!("/api/jobs/{nobody}"), 404, "not_found"),
        (format!("/api/jobs/{nobody}/status"), 404, "not_found"),
        (format!("/api/jobs/{nobody}/events"), 404, "not_found"),
        (format!("/api/jobs/{nobody}/explain"), 404, "not_found"),
        (format!("/api/jobs/{nobody}/ledger"), 404, "not_found"),
        (format!("/api/jobs/{nobody}/ws"), 426, "upgrade_required"),
        (format!("/api/stream/{nobody}/720p"), 404, "not_found"),
        (format!("/api/stream/{nobody}/master.m3u8"), 404, "not_found"),
        (format!("/api/stream/{nobody}/360p/seg-0.m4s"), 404, "not_found"),
        ("/api/nothing".to_owned(), 404, "not_found"),
        ("/nothing".to_owned(), 404, "not_found"),
        ("/api/jobs/x/y/z".to_owned(), 404, "not_found"),
    ] {
        let answer = house.get(&path).await;
        assert_eq!(answer.status().as_u16(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
        let problem: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(
            (problem["code"].as_str(), problem["status"].as_u64()),
            (Some(code), Some(u64::from(status))),
            "{path}"
        );
        assert!(problem["title"].is_string() && problem["detail"].is_string() && problem["type"].is_string());
    }
}

#[tokio::test]
async fn wrong_methods_are_told_the_right_ones() {
    let house = House::new().await;
    for (method, path, allowed) in [
        ("GET", "/api/upload", "POST"),
        ("PUT", "/api/jobs", "GET, HEAD"),
        ("PATCH", "/api/jobs/01KAR4C5M8T0N4Q2V6X8Z0B2D4", "GET, HEAD, DELETE"),
        ("GET", "/api/jobs/01KAR4C5M8T0N4Q2V6X8Z0B2D4/cancel", "POST"),
        ("POST", "/api/stream/01KAR4C5M8T0N4Q2V6X8Z0B2D4/720p", "GET, HEAD"),
        ("POST", "/api/health", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
    ] {
        let asked = house.http.request(method.parse().unwrap(), house.url(path)).send().await.unwrap();
        assert_eq!(
            (asked.status().as_u16(), asked.headers()["allow"].to_str().unwrap()),
            (405, allowed),
            "{method} {path}"
        );
        assert!(asked.text().await.unwrap().contains("method_not_allowed"));
    }
}

#[tokio::test]
async fn cancelling_is_an_event_and_twice_is_fine() {
    let house = House::new().await.recording();
    let job = house.job().await;
    let cancel = || house.http.post(house.url(&format!("/api/jobs/{job}/cancel"))).send();
    assert_eq!(cancel().await.unwrap().status(), 202);
    let events = records_of(&house.doors, "cancel.requested").await;
    assert_eq!(wire::decode::<CancelRequested>(&events[0].value).unwrap().job, job);
    let told = house.json(&format!("/api/jobs/{job}/explain")).await;
    assert!(told["because"].as_str().unwrap().contains("asked to cancel"), "{told}");
    house.publish(&ended(job, Outcome::Cancelled)).await;
    state_of(&house, job, "cancelled").await;
    assert_eq!(cancel().await.unwrap().status(), 202);
    assert_eq!(records_of(&house.doors, "cancel.requested").await.len(), 1);
    let done = house.job().await;
    house.publish(&ended(done, Outcome::Failed)).await;
    state_of(&house, done, "failed").await;
    let late = house.http.post(house.url(&format!("/api/jobs/{done}/cancel"))).send().await.unwrap();
    assert_eq!(late.status(), 409);
    assert!(late.text().await.unwrap().contains("already_ended"));
    let nobody = house.http.post(house.url(&format!("/api/jobs/{}/cancel", JobId::from_parts(1, 1)))).send();
    assert_eq!(nobody.await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_deleted_job_is_gone_with_its_bytes_at_once_and_for_good() {
    let house = House::new().await.recording();
    let job = house.job().await;
    let delete = || house.http.delete(house.url(&format!("/api/jobs/{job}"))).send();
    assert_eq!(delete().await.unwrap().status(), 202);
    assert_eq!(house.get(&format!("/api/jobs/{job}")).await.status(), 404);
    assert_eq!(house.json("/api/jobs").await["jobs"], Value::Array(Vec::new()));
    assert_eq!(delete().await.unwrap().status(), 202, "twice is fine");
    house.assert_nothing_left().await;
    assert_eq!(records_of(&house.doors, "job.deleted").await.len(), 1);
    // A result of a worker that had not heard of it changes nothing.
    house.publish(&ended(job, Outcome::Ready)).await;
    let other = house.job().await;
    state_of(&house, other, "received").await;
    assert_eq!(house.get(&format!("/api/jobs/{job}")).await.status(), 404);
    let nobody = house.http.delete(house.url(&format!("/api/jobs/{}", JobId::from_parts(1, 1)))).send();
    assert_eq!(nobody.await.unwrap().status(), 404);
}

#[tokio::test]
async fn a_failed_job_says_why() {
    let house = House::new().await.recording();
    let job = house.job().await;
    house.publish(&ended(job, Outcome::Failed)).await;
    state_of(&house, job, "failed").await;
    let view = house.json(&format!("/api/jobs/{job}")).await;
    assert_eq!((view["error"]["code"].as_str(), view["error"]["stage"].as_str()), (Some("no_video"), Some("probe")));
    let told = house.json(&format!("/api/jobs/{job}/explain")).await;
    assert_eq!(told["because"], "It failed in probe: there is no video track in it (no_video).");
    assert_eq!(house.get(&format!("/api/stream/{job}/720p")).await.status(), 404);
    assert_eq!(house.get(&format!("/api/jobs/{job}/ledger")).await.status(), 404);
}

#[tokio::test]
async fn explain_tells_of_workers_retries_and_dead_letters() {
    let house = House::new().await.recording();
    let job = house.job().await;
    let told = house.json(&format!("/api/jobs/{job}/explain")).await;
    let because = told["because"].as_str().unwrap();
    assert!(because.starts_with("No living worker runs probe, so nobody takes it up; it has waited for "), "{because}");
    let progress = JobProgress {
        job,
        stage: "probe".into(),
        state: StageState::Waiting,
        unit: 0,
        units: 1,
        done: 0,
        weight: 0,
        total_weight: 0,
        playable: false,
        attempt: 2,
        worker: "w".into(),
        at: 1_795_428_000_000,
        note: Some("the disk did not answer".into()),
    };
    house.publish(&progress).await;
    let told = eventually("the retry is told", || async {
        let told = house.json(&format!("/api/jobs/{job}/explain")).await;
        told["because"].as_str().unwrap().contains("will be tried again").then_some(told)
    })
    .await;
    assert!(told["because"].as_str().unwrap().contains("the disk did not answer"), "{told}");
    let mut letter = crate::house::garbage("probe.dlq", job);
    let header = |name: &str, value: &'static str| (name.to_owned(), value.into());
    letter.headers = vec![header("reason", "no_video"), header("message", "nothing to see"), header("attempts", "3")];
    house.doors.log.append(vec![letter]).await.unwrap();
    let told = house.json(&format!("/api/jobs/{job}/explain")).await;
    assert!(
        told["history"].to_string().contains("probe gave up after 3 attempt(s): nothing to see (no_video)"),
        "{told}"
    );
}

#[tokio::test]
async fn a_ledger_is_served_when_there_is_one() {
    let house = House::new().await;
    let job = house.job().await;
    assert_eq!(house.get(&format!("/api/jobs/{job}/ledger")).await.status(), 409);
    crate::contract::books(&house, job).await;
    assert_eq!(house.json(&format!("/api/jobs/{job}/ledger")).await["balanced"], true);
}

#[tokio::test]
async fn addresses_carry_the_public_path_and_are_answered_with_and_without_it() {
    let settings = pipeline::edge::Settings { public_path: "/videos/".into(), ..Default::default() };
    let house = House::with(settings).await;
    let answer = house.upload("a.mp4", video_bytes(100)).await;
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    assert!(location.starts_with("/videos/api/jobs/"), "{location}");
    assert_eq!(house.get(&location).await.status(), 200);
    assert_eq!(house.get(location.strip_prefix("/videos").unwrap()).await.status(), 200);
    assert_eq!(house.get("/videos/").await.status(), 200);
    assert_eq!(house.get("/videos/api/jobs?limit=1").await.status(), 200);
    assert_eq!(house.json("/videos/api/openapi.json").await["servers"][0]["url"], "/videos");
    assert_eq!(house.get("/videosapi/jobs").await.status(), 404);
}

#[tokio::test]
async fn pages_of_other_sites_change_nothing() {
    let house = House::new().await;
    let job = house.job().await;
    for path in ["/api/upload".to_owned(), format!("/api/jobs/{job}/cancel")] {
        let forged = house.http.post(house.url(&path)).header("sec-fetch-site", "cross-site").body(video_bytes(100));
        assert_eq!(forged.send().await.unwrap().status(), 403, "{path}");
        let own = house.http.post(house.url(&path)).header("sec-fetch-site", "same-origin").body(video_bytes(100));
        assert!(own.send().await.unwrap().status().is_success(), "{path}");
    }
}

#[tokio::test]
async fn the_parts_of_a_video_that_was_ready_long_ago_are_still_counted() {
    let house = House::new().await.recording();
    let job = house.job().await;
    crate::video::Video::make(&house.doors, job, 3).await.publish(&house.doors).await;
    house.publish(&ended(job, Outcome::Ready)).await;
    state_of(&house, job, "ready").await;
    // An edge that was not there then.
    let other = House::on(house.doors.clone(), pipeline::edge::Settings::default()).await;
    let shown = other.json(&format!("/api/jobs/{job}")).await;
    let of =
        |name: &str| shown["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == name).unwrap().clone();
    for (name, parts) in [("probe", 1), ("transcode", 4), ("stitch", 4)] {
        assert_eq!((&of(name)["done"], &of(name)["total"]), (&parts.into(), &parts.into()), "{shown}");
    }
}
