//! A watched folder: each content once, whatever it is called, and a word beside what became nothing.

use std::path::Path;
use std::time::Duration;

use connectors::Doors;
use pipeline::edge::board::Board;
use pipeline::edge::watched::Watched;
use pipeline::edge::{Edge, Settings};
use schemas::event::{Failure, JobEnded, Outcome, UploadReceived};
use schemas::wire;
use tokio_util::sync::CancellationToken;

use crate::house::{House, eventually, records_of, video_bytes};

/// Watches `folder` as a process of its own until it is dropped.
fn watch(doors: &Doors, folder: &Path) -> tokio_util::sync::DropGuard {
    let shutdown = CancellationToken::new();
    let edge = Edge::new(Settings::default(), doors.clone(), Board::new(doors.clone()), shutdown.clone());
    tokio::spawn(Watched::open(edge, folder).unwrap().run(shutdown.clone()));
    shutdown.drop_guard()
}

async fn uploads(house: &House) -> Vec<UploadReceived> {
    let records = records_of(&house.doors, "upload.received").await;
    records.iter().map(|record| wire::decode(&record.value).unwrap()).collect()
}

/// The upload called `name`, once it is there.
async fn taken(house: &House, name: &str) -> UploadReceived {
    eventually("it is taken", || async { uploads(house).await.into_iter().find(|upload| upload.name == name) }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_taken_once_by_their_content_and_left_as_they_are() {
    let house = House::new().await.recording();
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("from camera")).unwrap();
    std::fs::write(at("from camera/one.MOV"), video_bytes(70_000)).unwrap();
    std::fs::write(at("text.mp4"), "no video at all").unwrap();
    let watching = watch(&house.doors, home.path());
    let one = taken(&house, "one.MOV").await;
    assert_eq!(one.origin, "watch");
    house.doors.blobs.verify(&one.source).await.unwrap();
    // Renamed, copied, and touched: the same content is the same upload.
    std::fs::rename(at("from camera/one.MOV"), at("renamed.mov")).unwrap();
    std::fs::copy(at("renamed.mov"), at("copy.mov")).unwrap();
    std::fs::write(at("two.mp4"), video_bytes(30_000)).unwrap();
    let two = taken(&house, "two.mp4").await;
    // A failure is told beside the file.
    let error = Failure { code: "damaged_media".into(), stage: "probe".into(), message: "the file is damaged".into() };
    let end = JobEnded {
        job: two.job,
        outcome: Outcome::Failed,
        at: 5,
        playable_at: None,
        error: Some(error),
        warnings: vec![],
    };
    house.publish(&end).await;
    let report =
        eventually("a report lies beside it", || async { std::fs::read_to_string(at("two.mp4.streamforge.txt")).ok() })
            .await;
    assert!(
        report.starts_with("two.mp4 was not made into a video.")
            && report.contains("the file is damaged (damaged_media)")
    );
    assert!(report.contains(&two.job.to_string()));
    // A process that watches after a restart takes nothing again.
    drop(watching);
    let _again = watch(&house.doors, home.path());
    std::fs::write(at("three.mp4"), video_bytes(20_000)).unwrap();
    taken(&house, "three.mp4").await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(uploads(&house).await.len(), 3);
    let mut names: Vec<String> = std::fs::read_dir(home.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected =
        ["copy.mov", "from camera", "renamed.mov", "text.mp4", "three.mp4", "two.mp4", "two.mp4.streamforge.txt"];
    assert_eq!(names, expected, "nothing else is changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_ended_between_note_and_job_loses_no_file() {
    let house = House::new().await;
    let home = tempfile::tempdir().unwrap();
    let bytes = video_bytes(40_000);
    std::fs::write(home.path().join("lost.mp4"), &bytes).unwrap();
    let (sum, _) = connectors::sources::folder::sum(&home.path().join("lost.mp4"), 0).unwrap();
    let note = r#"{"job":"01ARZ3NDEKTSV4RRFFQ69G5FAV","owner":"edge-1-dead","at":5,"name":"lost.mp4"}"#;
    house.doors.blobs.put(&format!("watched/{sum}.json"), note.into()).await.unwrap();
    let _watching = watch(&house.doors, home.path());
    taken(&house, "lost.mp4").await;
}
