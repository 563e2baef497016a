//! `/api/jobs/{id}/quality`: what is there, as it comes.

use connectors::log::NewRecord;
use pipeline::header::dead_letter;
use pipeline::stage::record_of;
use schemas::event::{Event, JobEnded, Outcome, RenditionAssessed, RenditionStitched};
use schemas::job::{JobEvent, JobRow};
use schemas::ladder::Rung;
use schemas::quality::table::{self, Row};
use schemas::quality::{self, ChunkQuality, Metric, Quality, RenditionQuality, Summaries};
use schemas::{Claim, JobId};

use crate::house::{House, records_of};

/// Two frames of `quality`, of which the encoder says 40 and 42 dB.
async fn told(house: &House, job: JobId, quality: &str) -> RenditionQuality {
    let rows = [(0, 40.0), (40, 42.0)].map(|(pts, db)| Row::at(pts).with(Metric::PsnrEncoded, db));
    let key = format!("jobs/{job}/{quality}/frames.bin");
    let table = house.doors.blobs.put(&key, table::pack(&rows).into()).await.unwrap();
    let chunk = ChunkQuality {
        index: 0,
        start_s: 0.0,
        end_s: 0.08,
        frames: 2,
        again: 0,
        cap_won: false,
        metrics: Summaries::new(),
    };
    let mut rendition = RenditionQuality {
        quality: quality.into(),
        width: 640,
        height: 360,
        verdict: String::new(),
        assessed: false,
        trouble: None,
        frames: 2,
        floor_db: Some(33),
        encoded_again: 0,
        cap_won: 0,
        metrics: Summaries::new(),
        chunks: vec![chunk],
        notes: Vec::new(),
        compared: None,
        maker: "x264".into(),
        timescale: 1000,
        table,
    };
    rendition.measure(&rows);
    rendition
}

/// A job that is ready, in two renditions.
pub async fn ready(house: &House) -> (JobId, Vec<RenditionQuality>) {
    let job = house.job().await;
    let renditions = vec![told(house, job, "720p").await, told(house, job, "360p").await];
    let media = crate::video::probed(job).media;
    let rungs = renditions.iter().map(|one| Rung {
        quality: one.quality.clone(),
        width: one.width,
        height: one.height,
        max_kbps: 1000,
    });
    let known = Quality { job, source: None, media, rungs: rungs.collect(), renditions: renditions.clone() };
    let json = serde_json::to_vec(&known).unwrap();
    house.doors.blobs.put(&quality::key(job), json.into()).await.unwrap();
    (job, renditions)
}

pub async fn change(house: &House, job: JobId, change: impl FnOnce(&mut JobRow)) {
    let found = house.doors.catalog.job(job).await.unwrap().unwrap();
    let mut row = found.row;
    change(&mut row);
    house.doors.catalog.swap_job(&row, Some(found.epoch)).await.unwrap();
}

fn ended(job: JobId, outcome: Outcome) -> JobEvent {
    JobEvent::Ended(JobEnded { job, outcome, at: 5, playable_at: None, error: None, warnings: Vec::new() })
}

#[tokio::test]
async fn a_report_is_promised_then_told_by_encoders_and_then_measured() {
    let house = House::new().await;
    let early = house.job().await;
    let answer = house.get(&format!("/api/jobs/{early}/quality")).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (409, true));
    assert_eq!(house.get(&format!("/api/jobs/{early}/quality.csv")).await.status(), 409);
    change(&house, early, |row| row.apply(ended(early, Outcome::Failed), Some(1))).await;
    assert_eq!(house.get(&format!("/api/jobs/{early}/quality")).await.status(), 404);

    let (job, renditions) = ready(&house).await;
    let path = format!("/api/jobs/{job}/quality");
    let report = house.json(&path).await;
    assert_eq!((&report["assessed"], report["renditions"].as_array().unwrap().len()), (&false.into(), 2), "{report}");
    assert_eq!(report["renditions"][0]["metrics"]["psnr_encoded"]["mean"], 41.0);
    assert!(report["renditions"][0].get("table").is_none(), "blobs are nobody's business");
    let table = house.get(&format!("{path}.csv")).await;
    assert_eq!(table.headers()["content-type"], "text/csv; charset=utf-8");
    let best = table.text().await.unwrap();
    assert_eq!(
        best,
        "frame,time_s,psnr_encoded,psnr_y,psnr_all,ssim_y,ssim_all,vmaf\n0,0.000000,40.00,,,,,\n1,0.040000,42.00,,,,,\n"
    );
    assert_eq!(house.get(&format!("{path}.csv?quality=144p")).await.status(), 404);

    // One of the two is measured.
    let mut measured = RenditionQuality { assessed: true, compared: Some(2), ..renditions[1].clone() };
    measured.measure(&[0, 40].map(|pts| Row::at(pts).with(Metric::PsnrY, 39.0).with(Metric::SsimAll, 0.97)));
    let key = format!("jobs/{job}/360p/quality.json");
    let json = serde_json::to_vec(&measured).unwrap();
    let claim = house.doors.blobs.put(&key, json.into()).await.unwrap();
    let event = RenditionAssessed {
        job,
        quality: "360p".into(),
        psnr_db: 39.0,
        ssim: 0.97,
        report: claim,
        maker: "eyes".into(),
    };
    change(&house, job, |row| row.apply(JobEvent::Assessed(event), Some(1))).await;
    let report = house.json(&path).await;
    let parts = report["renditions"].as_array().unwrap();
    let assessed: Vec<_> = parts.iter().map(|part| part["assessed"].as_bool().unwrap()).collect();
    assert_eq!((assessed, &report["assessed"]), (vec![false, true], &false.into()));
    assert_eq!(parts[1]["metrics"]["ssim_all"]["mean"], 0.97);
}

#[tokio::test]
async fn what_cannot_be_measured_is_told_and_not_promised_for_ever() {
    let house = House::new().await;
    let (job, _) = ready(&house).await;
    let stitched = RenditionStitched {
        job,
        quality: "720p".into(),
        codec: "h264".into(),
        width: 1280,
        height: 720,
        bitrate_bps: 1,
        bytes: 1,
        frames: 2,
        duration_us: 1,
        manifest: Claim { uri: String::new(), size: 0, sha256: String::new() },
    };
    house.doors.log.append(vec![record_of(&stitched).unwrap()]).await.unwrap();
    let record = records_of(&house.doors, RenditionStitched::TOPIC).await.remove(0);
    let letter: NewRecord =
        dead_letter::letter(&record, "assess", "missing_source", "the upload is gone", 1, job.hash64());
    house.doors.log.append(vec![letter]).await.unwrap();
    let report = house.json(&format!("/api/jobs/{job}/quality")).await;
    let parts = report["renditions"].as_array().unwrap();
    assert_eq!(parts[0]["trouble"], "the upload is gone");
    let verdict = parts[0]["verdict"].as_str().unwrap();
    assert!(verdict.ends_with("the decoded pictures could not be compared: the upload is gone."), "{verdict}");
    assert!(parts[1]["trouble"].is_null(), "the other one may still come");
}
