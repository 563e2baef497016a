//! A watched folder: each content once, whatever it is called, and a word beside what became nothing.

use std::path::Path;
use std::time::Duration;

use connectors::Doors;
use pipeline::edge::board::Board;
use pipeline::edge::watched::{After, Watched};
use pipeline::edge::{Edge, Settings};
use schemas::event::{Failure, JobEnded, Outcome, UploadReceived};
use schemas::wire;
use tokio_util::sync::CancellationToken;

use crate::house::{House, eventually, records_of, video_bytes};

/// Watches `folder` as a process of its own until it is dropped.
fn watch(doors: &Doors, folder: &Path) -> tokio_util::sync::DropGuard {
    watch_and(doors, folder, After::Keep)
}

fn watch_and(doors: &Doors, folder: &Path, after: After) -> tokio_util::sync::DropGuard {
    let shutdown = CancellationToken::new();
    let edge = Edge::new(Settings::default(), doors.clone(), Board::new(doors.clone()), shutdown.clone());
    tokio::spawn(Watched::open(edge, folder, after).unwrap().run(shutdown.clone()));
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

async fn end(house: &House, upload: &UploadReceived, outcome: Outcome) {
    let error = Failure { code: "damaged_media".into(), stage: "probe".into(), message: "the file is damaged".into() };
    let error = (outcome == Outcome::Failed).then_some(error);
    house.publish(&JobEnded { job: upload.job, outcome, at: 5, playable_at: None, error, warnings: vec![] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_put_away_when_somebody_wants_it_and_their_videos_are_ready() {
    for (after, kept) in [(After::Move, vec!["done/deep/good.mp4"]), (After::Delete, Vec::new())] {
        let house = House::new().await.recording();
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        std::fs::create_dir(at("deep")).unwrap();
        std::fs::write(at("deep/good.mp4"), video_bytes(30_000)).unwrap();
        std::fs::write(at("bad.mp4"), video_bytes(31_000)).unwrap();
        let _watching = watch_and(&house.doors, home.path(), after);
        let (good, bad) = (taken(&house, "good.mp4").await, taken(&house, "bad.mp4").await);
        assert!(at("deep/good.mp4").exists(), "its video is not ready");
        end(&house, &bad, Outcome::Failed).await;
        end(&house, &good, Outcome::Ready).await;
        eventually("the good one is put away", || async { (!at("deep/good.mp4").exists()).then_some(()) }).await;
        eventually("the bad one is reported", || async { at("bad.mp4.streamforge.txt").exists().then_some(()) }).await;
        assert!(at("bad.mp4").exists(), "what became nothing stays");
        assert!(kept.iter().all(|name| at(name).exists()), "{after:?}");
        assert_eq!(at("done").exists(), after == After::Move);
    }
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
    end(&house, &two, Outcome::Failed).await;
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
