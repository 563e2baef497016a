//! What a video is said to show: labels in the job, jobs found by them, and once more on demand.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::Api;
use crate::server::Server;
use crate::speech::{ffmpeg, speech, with_sound};
use crate::turn;

/// Longest wait for a job's end, and for its labels after that.
const PATIENCE: Duration = Duration::from_secs(120);

/// The job when `is_there` says so of its content.
async fn content(api: &Api, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let job = api.job(id).await.unwrap();
        if is_there(&job["content"]) {
            return job;
        }
        assert!(Instant::now() < deadline, "job {id} has no such content after {PATIENCE:?}: {job}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn names(content: &Value) -> Vec<&str> {
    content["labels"].as_array().unwrap().iter().filter_map(|label| label["name"].as_str()).collect()
}

async fn found(api: &Api, label: &str) -> Vec<String> {
    let page = api.json(&format!("/api/jobs?label={label}")).await.unwrap();
    page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()).collect()
}

/// Slides on which somebody speaks.
fn lecture(folder: &Path) -> std::path::PathBuf {
    let spoken = speech(folder, "en-us", 160, &["this is the first slide", "and this is the second one"], None);
    let picture = folder.join("slides.mp4");
    let slide = |colour: &str, text: &str| {
        format!("color={colour}:s=640x360:r=25:d=3,drawtext=text='{text}':x=60:y=60:fontsize=30:fontcolor=black")
    };
    let graph = format!(
        "{}[a];{}[b];[a][b]concat=n=2",
        slide("white", "first of the slides\nwith two lines of text"),
        slide("0xf0f0e0", "second of the slides\nand a few more words\nin three lines")
    );
    ffmpeg(&["-filter_complex", &graph, "-c:v", "libx264", "-pix_fmt", "yuv420p"], &picture);
    let file = folder.join("lecture.mp4");
    let inputs = ["-i", picture.to_str().unwrap(), "-i", spoken.wav.to_str().unwrap()];
    ffmpeg(&[inputs.as_slice(), &["-c:v", "copy", "-c:a", "aac", "-shortest"]].concat(), &file);
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn videos_are_found_by_what_they_show() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data")).await;
    let api = Api::new(&server.url);
    let slides = api.upload(&lecture(folder.path())).await.unwrap().id;
    let hum = folder.path().join("hum.wav");
    ffmpeg(&["-f", "lavfi", "-i", "anoisesrc=c=brown:d=4:a=0.4"], &hum);
    let noise = api.upload(&with_sound(folder.path(), "noise.mp4", &hum, &["-c:a", "aac"])).await.unwrap().id;
    let is_there = |content: &Value| !content.is_null();
    let job = content(&api, &slides, is_there).await;
    let told = &job["content"];
    assert_eq!((told["kind"].as_str(), &told["unavailable"]), (Some("screen"), &Value::Null), "{told}");
    assert!(names(told).contains(&"speech") && told["features"]["edges"].as_f64() > Some(0.0), "{told}");
    assert!(told["no_model"].as_str().unwrap().contains("models pull mobilenet"), "{told}");
    let first = told["classified_at"].clone();
    content(&api, &noise, is_there).await;
    api.ready(&slides, PATIENCE).await.unwrap();

    assert_eq!(found(&api, "screen").await, std::slice::from_ref(&slides));
    assert_eq!(found(&api, "Speech").await, std::slice::from_ref(&slides));
    assert_eq!(found(&api, "sounds").await, [noise]);
    assert_eq!(found(&api, "seashore").await, [""; 0]);

    let body = json!({ "stage": "classify", "job": slides }).to_string();
    let request = reqwest::Client::new().post(format!("{}/api/replay", server.url));
    let answer = request.header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!(answer.status(), 202);
    let again = content(&api, &slides, |content| !content.is_null() && content["classified_at"] != first).await;
    assert_eq!((names(&again["content"]), &again["state"]), (names(told), &"ready".into()));
}
