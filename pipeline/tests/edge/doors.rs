//! Doors that do not answer, and what the edge says then.

use std::sync::Arc;

use async_trait::async_trait;
use connectors::Doors;
use connectors::catalog::{
    Catalog, ChunkRow, Decision, Error as CatalogError, Page, Swap, UploadIntent, Versioned, WorkerRow,
};
use connectors::log::{
    Consumer, Error as LogError, From, Log, NewRecord, Progress, Reader, Record, TopicPartition, TopicSpec,
};
use schemas::JobId;
use schemas::event::ChunkTranscoded;
use schemas::job::{JobRow, State};

use crate::house::{House, doors, video_bytes};

/// Fails whatever it is asked.
struct Broken;

fn log<T>() -> Result<T, LogError> {
    Err(LogError::Store { doing: "anything", source: "the disk is on fire".into() })
}

fn catalog<T>() -> Result<T, CatalogError> {
    Err(CatalogError::Store { doing: "anything", source: "the disk is on fire".into() })
}

#[async_trait]
impl Log for Broken {
    async fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), LogError> {
        log()
    }
    async fn append(&self, _: Vec<NewRecord>) -> Result<Vec<(TopicPartition, i64)>, LogError> {
        log()
    }
    async fn join(&self, _: &str, _: &[&str]) -> Result<Box<dyn Consumer>, LogError> {
        log()
    }
    async fn tail(&self, _: &[&str], _: From) -> Result<Box<dyn Reader>, LogError> {
        log()
    }
    async fn read(&self, _: &TopicPartition, _: i64, _: usize) -> Result<Vec<Record>, LogError> {
        log()
    }
    async fn progress(&self, _: &str, _: &[&str]) -> Result<Vec<Progress>, LogError> {
        log()
    }
    async fn enforce_retention(&self) -> Result<(), LogError> {
        log()
    }
    async fn check(&self) -> Result<(), LogError> {
        log()
    }
}

#[async_trait]
impl Catalog for Broken {
    async fn job(&self, _: JobId) -> Result<Option<Versioned>, CatalogError> {
        catalog()
    }
    async fn swap_job(&self, _: &JobRow, _: Option<u64>) -> Result<Swap, CatalogError> {
        catalog()
    }
    async fn jobs(&self, _: Option<State>, _: Option<&str>, _: usize) -> Result<Page<JobRow>, CatalogError> {
        catalog()
    }
    async fn wipe_jobs(&self) -> Result<(), CatalogError> {
        catalog()
    }
    async fn decide(&self, _: JobId, _: &Decision) -> Result<Decision, CatalogError> {
        catalog()
    }
    async fn decision(&self, _: JobId) -> Result<Option<Decision>, CatalogError> {
        catalog()
    }
    async fn put_chunk(&self, _: &ChunkTranscoded) -> Result<(), CatalogError> {
        catalog()
    }
    async fn chunks(&self, _: JobId, _: Option<&str>, _: usize) -> Result<Page<ChunkRow>, CatalogError> {
        catalog()
    }
    async fn chunk(&self, _: JobId, _: u32) -> Result<Option<ChunkTranscoded>, CatalogError> {
        catalog()
    }
    async fn forget(&self, _: JobId) -> Result<(), CatalogError> {
        catalog()
    }
    async fn count_attempt(&self, _: &str) -> Result<u32, CatalogError> {
        catalog()
    }
    async fn clear_attempts(&self, _: &str) -> Result<(), CatalogError> {
        catalog()
    }
    async fn put_upload(&self, _: &UploadIntent) -> Result<(), CatalogError> {
        catalog()
    }
    async fn remove_upload(&self, _: JobId) -> Result<(), CatalogError> {
        catalog()
    }
    async fn uploads(&self, _: Option<&str>, _: usize) -> Result<Page<UploadIntent>, CatalogError> {
        catalog()
    }
    async fn lease(&self, _: &str, _: &str, _: i64, _: i64) -> Result<bool, CatalogError> {
        catalog()
    }
    async fn release(&self, _: &str, _: &str) -> Result<(), CatalogError> {
        catalog()
    }
    async fn put_removal(&self, _: JobId, _: i64) -> Result<(), CatalogError> {
        catalog()
    }
    async fn due_removals(&self, _: i64, _: usize) -> Result<Vec<JobId>, CatalogError> {
        catalog()
    }
    async fn clear_removal(&self, _: JobId) -> Result<(), CatalogError> {
        catalog()
    }
    async fn put_worker(&self, _: &WorkerRow) -> Result<(), CatalogError> {
        catalog()
    }
    async fn workers(&self) -> Result<Vec<WorkerRow>, CatalogError> {
        catalog()
    }
    async fn remove_worker(&self, _: &str) -> Result<(), CatalogError> {
        catalog()
    }
    async fn check(&self) -> Result<(), CatalogError> {
        catalog()
    }
}

/// `doors` with a log and a catalog that fail.
pub fn broken(doors: Doors) -> Doors {
    Doors { log: Arc::new(Broken), catalog: Arc::new(Broken), ..doors }
}

/// `doors` with a log that fails.
pub fn without_log(doors: Doors) -> Doors {
    Doors { log: Arc::new(Broken), ..doors }
}

#[tokio::test]
async fn health_names_the_door_that_fails() {
    let house = House::new().await;
    let answer = house.get("/api/health").await;
    assert_eq!(answer.status(), 200);
    let good = house.json("/api/health").await;
    assert_eq!((good["status"].as_str(), good["doors"]["log"].as_str()), (Some("ok"), Some("ok")));
    assert_eq!(good["version"], env!("CARGO_PKG_VERSION"));
    let lame = House::on(without_log(doors().await), Default::default()).await;
    assert_eq!(lame.get("/api/health").await.status(), 503);
    let bad = lame.json("/api/health").await;
    assert_eq!(bad["doors"]["catalog"], "ok");
    assert!(bad["doors"]["log"].as_str().unwrap().contains("the disk is on fire"), "{bad}");
}

#[tokio::test]
async fn a_failing_catalog_is_a_problem_and_stores_nothing() {
    let house = House::on(broken(doors().await), Default::default()).await;
    let answer = house.upload("a.mp4", video_bytes(1_000)).await;
    assert_eq!((answer.status().as_u16(), answer.headers().contains_key("retry-after")), (503, true));
    assert!(answer.text().await.unwrap().contains("door_failed"));
    assert!(house.doors.blobs.list("").await.unwrap().is_empty());
    assert_eq!(house.get("/api/jobs").await.status(), 503);
}

#[tokio::test]
async fn an_upload_that_cannot_be_announced_is_kept_and_announced_by_the_next_process() {
    let healthy = doors().await;
    let house = House::on(without_log(healthy.clone()), Default::default()).await;
    let answer = house.upload("a.mp4", video_bytes(1_000)).await;
    assert_eq!(answer.status(), 503);
    assert!(answer.text().await.unwrap().contains("goes on by itself"));
    drop(house);
    let next = House::on(healthy, Default::default()).await;
    crate::house::eventually("the event is there", || async {
        (crate::house::records_of(&next.doors, "upload.received").await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(next.json("/api/jobs").await["jobs"][0]["name"], "a.mp4");
    crate::house::eventually("the intent is gone", || async {
        next.doors.catalog.uploads(None, 10).await.unwrap().items.is_empty().then_some(())
    })
    .await;
}
