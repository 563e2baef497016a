//! The quality report: what it says when a video is ready, and what it says later.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::client::{Api, files_below};
use crate::clip;
use crate::server::Server;

/// Longest time for a short clip to be compared with its source.
const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until every rendition has been compared.
async fn assessed(api: &Api, id: &str) -> Value {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = api.json(&format!("/api/jobs/{id}/quality")).await.unwrap();
        if report["assessed"] == true {
            return report;
        }
        assert!(Instant::now() < until, "it is not compared: {report}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a stored file is the report on a rendition.
fn is_report(file: &Path) -> bool {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.starts_with("quality-") && name.ends_with(".json")
}

/// The chunks below `blobs`, and when each was written.
fn written(blobs: &Path) -> Vec<(PathBuf, SystemTime)> {
    let chunks = files_below(&blobs.join("chunks")).into_iter().map(|(file, _)| file);
    let mut chunks: Vec<_> = chunks.map(|file| (file.clone(), file.metadata().unwrap().modified().unwrap())).collect();
    chunks.sort();
    assert!(!chunks.is_empty(), "there are chunks below {}", blobs.display());
    chunks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_grows_from_what_the_encoder_says_to_what_is_measured_and_can_be_made_again() {
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let file = clip::plain(folder.path(), "clip.mp4", 1280, 720, 4.0).await.unwrap();
    let server = Server::start(&folder.path().join("data")).await;
    let api = Api::new(&server.url);
    let upload = api.upload(&file).await.unwrap();
    let id = &upload.id;
    let path = format!("/api/jobs/{id}/quality");

    // Before the video is ready the report is promised, and nothing else.
    let early = api.get(&path).await.unwrap();
    match early.status().as_u16() {
        409 => assert!(early.headers().contains_key("retry-after")),
        status => assert_eq!(status, 200, "a fast machine may be done"),
    }
    api.ready(id, PATIENCE).await.unwrap();
    let first = api.json(&path).await.unwrap();
    let renditions = first["renditions"].as_array().unwrap();
    assert_eq!(renditions.len(), 2, "{first}");
    for rendition in renditions {
        let said = &rendition["metrics"]["psnr_encoded"];
        assert_eq!((said["frames"].as_u64(), rendition["frames"].as_u64()), (Some(100), Some(100)));
        assert!(said["mean"].as_f64().unwrap() > 30.0, "{rendition}");
        assert!(rendition["verdict"].as_str().unwrap().ends_with('.'));
    }

    let whole = assessed(&api, id).await;
    for rendition in whole["renditions"].as_array().unwrap() {
        let (psnr, ssim) = (&rendition["metrics"]["psnr_y"], &rendition["metrics"]["ssim_all"]);
        assert_eq!((psnr["frames"].as_u64(), rendition["compared"].as_u64()), (Some(100), Some(100)), "{rendition}");
        assert!(ssim["worst"].as_f64() <= ssim["percentile_5"].as_f64(), "{ssim}");
        assert!(ssim["mean"].as_f64().unwrap() > 0.8 && ssim["mean"].as_f64().unwrap() < 1.0, "{ssim}");
        let chunks = rendition["chunks"].as_array().unwrap();
        assert_eq!(chunks.iter().map(|chunk| chunk["frames"].as_u64().unwrap()).sum::<u64>(), 100);
        assert!(rendition["notes"].to_string().contains("VMAF was not measured"), "{rendition}");
        let table = api.get(rendition["csv"].as_str().unwrap()).await.unwrap();
        assert!(table.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
        let table = table.text().await.unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 101, "{}", lines[0]);
        assert!(lines[0].starts_with("frame,time_s,psnr_encoded,psnr_y"), "{}", lines[0]);
        let worst = psnr["worst_frame"].as_u64().unwrap() as usize;
        let field: f64 = lines[worst + 1].split(',').nth(3).unwrap().parse().unwrap();
        assert!((field - psnr["worst"].as_f64().unwrap()).abs() < 0.006, "{}", lines[worst + 1]);
    }
    let job = api.job(id).await.unwrap();
    let best = &job["renditions"][0];
    assert_eq!(best["psnr_db"], whole["renditions"][0]["metrics"]["psnr_y"]["mean"]);
    assert_eq!(api.get(&format!("{path}.csv?quality=4320p")).await.unwrap().status(), 404);

    // Once more from the log: a report that was lost is there again, the same, and no chunk was touched.
    let blobs = folder.path().join("data/blobs/jobs").join(id);
    let reports: Vec<PathBuf> =
        files_below(&blobs).into_iter().map(|(file, _)| file).filter(|file| is_report(file)).collect();
    assert_eq!(reports.len(), 2, "{reports:?}");
    for report in &reports {
        std::fs::remove_file(report).unwrap();
    }
    let lost = api.json(&path).await.unwrap();
    assert_eq!(lost["assessed"], false, "without its report a rendition is as its encoder said");
    let before = written(&blobs);
    let asked = json!({ "stage": "assess", "job": id });
    let answer = reqwest::Client::new().post(api.url("/api/replay")).body(asked.to_string()).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    assert_eq!(assessed(&api, id).await, whole);
    assert_eq!(written(&blobs), before);
    assert_eq!(api.job(id).await.unwrap()["state"], "ready");
}
