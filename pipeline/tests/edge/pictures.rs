//! `/api/stream/{id}/poster.jpg`, `storyboard.vtt` and the rest of the pictures.

use connectors::Doors;
use schemas::event::{JobEnded, Outcome, Picture, SourceIllustrated, Storyboard, Thumbnail};
use schemas::job::JobEvent;
use schemas::{Claim, JobId};
use serde_json::{Value, json};

use crate::house::House;
use crate::video::row;

const JOB: &str = "01KAR4C5M8T0N4Q2V6X8Z0B2D4";

fn job() -> JobId {
    JOB.parse().unwrap()
}

async fn picture(doors: &Doors, name: &str) -> Picture {
    let jpeg = blob(doors, name).await;
    Picture { jpeg, width: 640, height: 360, at_us: 1_500_000 }
}

/// A blob that holds its own name.
async fn blob(doors: &Doors, name: &str) -> Claim {
    doors.blobs.put(&format!("jobs/{JOB}/pictures/{name}"), name.to_owned().into()).await.unwrap()
}

/// The pictures of `version`.
async fn illustrated(doors: &Doors, version: &str) -> SourceIllustrated {
    let named = |what: &str| format!("{version}-{what}");
    SourceIllustrated {
        job: job(),
        posters: vec![picture(doors, &named("poster")).await, picture(doors, &named("other")).await],
        thumbnails: vec![Thumbnail {
            picture: picture(doors, &named("thumbnail")).await,
            start_us: 0,
            end_us: 4_000_000,
        }],
        storyboard: Some(Storyboard {
            sprite: blob(doors, &named("sheet")).await,
            cues: blob(doors, &named("cues")).await,
            width: 320,
            height: 90,
            tile_width: 160,
            tile_height: 90,
            tiles: 2,
        }),
        shots: 1,
        frames: 100,
        maker: version.to_owned(),
        made_at: 1_700_000_000_000,
        reason: None,
    }
}

/// Writes what the log says about the job into its row.
async fn fold(doors: &Doors, event: JobEvent, offset: i64) {
    pipeline::edge::record::change_row(doors, job(), |row| row.apply(event.clone(), Some(offset))).await.unwrap();
}

async fn text(house: &House, file: &str) -> (u16, String) {
    let answer = house.get(&format!("/api/stream/{JOB}/{file}")).await;
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn pictures_are_served_like_other_media() {
    let house = House::new().await;
    row(&house.doors, job()).await;
    let event = illustrated(&house.doors, "v1").await;
    fold(&house.doors, JobEvent::Illustrated(event.clone()), 1).await;
    for (file, holds, media_type) in [
        ("poster.jpg", "v1-poster", "image/jpeg"),
        ("posters/1.jpg", "v1-other", "image/jpeg"),
        ("thumbnails/0.jpg", "v1-thumbnail", "image/jpeg"),
        ("storyboard.jpg", "v1-sheet", "image/jpeg"),
        ("storyboard.vtt", "v1-cues", "text/vtt; charset=utf-8"),
    ] {
        let path = house.url(&format!("/api/stream/{JOB}/{file}"));
        let answer = house.http.get(&path).send().await.unwrap();
        let headers = answer.headers().clone();
        assert_eq!((answer.status().as_u16(), headers["content-type"].to_str().unwrap()), (200, media_type), "{file}");
        assert_eq!(headers["cache-control"], "public, max-age=60", "{file}");
        assert_eq!(answer.text().await.unwrap(), holds);
        let again = house.http.get(&path).header("if-none-match", &headers["etag"]).send().await.unwrap();
        assert_eq!(again.status(), 304, "{file}");
        let head = house.http.head(&path).send().await.unwrap();
        assert_eq!((head.status().as_u16(), &head.headers()["content-length"]), (200, &headers["content-length"]));
    }
    let sheet = event.storyboard.unwrap().sprite;
    let versioned = house.get(&format!("/api/stream/{JOB}/storyboard.jpg?v={}", &sheet.sha256[..12])).await;
    assert_eq!(versioned.headers()["cache-control"], "public, max-age=31536000, immutable");
    for file in ["posters/2.jpg", "posters/x.jpg", "thumbnails/1.jpg", "thumbnails/-1.jpg"] {
        assert_eq!(text(&house, file).await.0, 404, "{file}");
    }
    let posted = house.http.post(house.url(&format!("/api/stream/{JOB}/poster.jpg"))).send().await.unwrap();
    assert_eq!(posted.status(), 405);
}

#[tokio::test]
async fn the_newest_pictures_win_and_the_old_stay_where_they_are() {
    let house = House::new().await;
    row(&house.doors, job()).await;
    let (old, new) = (illustrated(&house.doors, "v1").await, illustrated(&house.doors, "v2").await);
    // In the order of the log, whatever comes first.
    fold(&house.doors, JobEvent::Illustrated(new), 7).await;
    fold(&house.doors, JobEvent::Illustrated(old.clone()), 3).await;
    assert_eq!(text(&house, "poster.jpg").await, (200, "v2-poster".to_owned()));
    let view = house.json(&format!("/api/jobs/{JOB}")).await;
    assert_eq!(view["pictures"]["maker"], "v2");
    let key = house.doors.blobs.resolve(&old.posters[0].jpeg.uri).unwrap();
    assert_eq!(house.doors.blobs.read(&key).await.unwrap(), "v1-poster");
}

#[tokio::test]
async fn what_is_not_made_yet_is_told_from_what_never_will_be() {
    let house = House::new().await;
    assert_eq!(text(&house, "poster.jpg").await.0, 404, "there is no such job");
    row(&house.doors, job()).await;
    let answer = house.get(&format!("/api/stream/{JOB}/storyboard.vtt")).await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (409, &"2".parse().unwrap()));
    let ended = |outcome| JobEnded { job: job(), outcome, at: 9, playable_at: None, error: None, warnings: Vec::new() };
    fold(&house.doors, JobEvent::Ended(ended(Outcome::Ready)), 1).await;
    assert_eq!(text(&house, "poster.jpg").await.0, 409, "a video is ready without its pictures");
    let none = include_str!("../../../schemas/examples/source.illustrated/v1/unavailable.json");
    let none = SourceIllustrated { job: job(), ..serde_json::from_str(none).unwrap() };
    fold(&house.doors, JobEvent::Illustrated(none), 1).await;
    let (status, problem) = text(&house, "poster.jpg").await;
    let problem: Value = serde_json::from_str(&problem).unwrap();
    let said = "the video has no pictures: no picture of the video can be decoded";
    assert_eq!((status, &problem["code"], &problem["detail"]), (404, &json!("not_found"), &json!(said)));
    let view = house.json(&format!("/api/jobs/{JOB}")).await;
    assert_eq!((&view["state"], &view["progress"], &view["poster"]), (&json!("ready"), &json!(1.0), &Value::Null));
    assert_eq!(view["pictures"]["unavailable"], "no picture of the video can be decoded");
    let stage = view["stages"].as_array().unwrap().iter().find(|stage| stage["name"] == "illustrate").unwrap().clone();
    assert_eq!(stage["state"], "failed", "{stage}");
}

#[tokio::test]
async fn a_list_of_jobs_leaves_thumbnails_out() {
    let house = House::new().await;
    row(&house.doors, job()).await;
    fold(&house.doors, JobEvent::Illustrated(illustrated(&house.doors, "v1").await), 1).await;
    let one = house.json(&format!("/api/jobs/{JOB}")).await;
    assert_eq!(one["pictures"]["thumbnails"][0]["url"], format!("/api/stream/{JOB}/thumbnails/0.jpg"));
    let listed = house.json("/api/jobs").await["jobs"][0].clone();
    assert_eq!((&listed["poster"], &listed["pictures"]["thumbnails"]), (&one["poster"], &json!([])));
}
