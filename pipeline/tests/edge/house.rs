//! A running edge, and how to talk to it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use connectors::clock::SystemClock;
use connectors::log::{NewRecord, TopicSpec};
use connectors::{Doors, log};
use pipeline::edge::board::Board;
use pipeline::edge::{KnownStage, Settings, serve};
use pipeline::stage::record_of;
use schemas::{Event, JobId, topic};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

#[path = "described.rs"]
pub mod described;

/// The required stages, and some that add to a video.
pub const STAGES: [KnownStage; 8] = [
    KnownStage { name: "probe", input: "upload.received", is_required: true },
    KnownStage { name: "split", input: "source.probed", is_required: true },
    KnownStage { name: "transcode", input: "chunk.cut", is_required: true },
    KnownStage { name: "stitch", input: "chunk.transcoded", is_required: true },
    KnownStage { name: "caption", input: "source.probed", is_required: false },
    KnownStage { name: "assess", input: "rendition.stitched", is_required: false },
    KnownStage { name: "illustrate", input: "source.probed", is_required: false },
    KnownStage { name: "classify", input: "source.probed", is_required: false },
];

/// An edge that serves until it is dropped or stopped.
pub struct House {
    pub doors: Doors,
    pub address: SocketAddr,
    pub http: reqwest::Client,
    pub shutdown: CancellationToken,
    serving: Option<JoinHandle<()>>,
}

impl House {
    /// An edge on empty doors in memory.
    pub async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// The same with `settings`.
    pub async fn with(settings: Settings) -> Self {
        Self::on(doors().await, settings).await
    }

    /// An edge on `doors` that knows the stages.
    pub async fn on(doors: Doors, settings: Settings) -> Self {
        let settings = Settings { stages: STAGES.to_vec(), ..settings };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let board = Board::new(doors.clone());
        let serving = tokio::spawn(serve(listener, settings, doors.clone(), board, shutdown.clone()));
        let http = reqwest::Client::builder().timeout(Duration::from_secs(30)).build().unwrap();
        Self { doors, address, http, shutdown, serving: Some(serving) }
    }

    /// Runs the record projection beside the edge.
    pub fn recording(self) -> Self {
        tokio::spawn(pipeline::edge::record(self.doors.clone(), self.shutdown.clone()));
        self
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What a GET is answered, which is held against the description but for its body.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        let answer = self.http.get(self.url(path)).send().await.unwrap();
        check(path, &answer, None);
        answer
    }

    /// Body of a GET, whatever its status. It is held against the description.
    pub async fn json(&self, path: &str) -> Value {
        let mut answer = self.http.get(self.url(path)).send().await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = answer.chunk().await.unwrap() {
            bytes.extend_from_slice(&piece);
        }
        let text = String::from_utf8(bytes).unwrap();
        check(path, &answer, Some(&text));
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON at {path}: {text}"))
    }

    /// What `request` is answered, as JSON or as text; it is held against the description.
    pub async fn ask(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let answer = self.http.execute(request).await.unwrap();
        let kind = kind(&answer).to_owned();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        let faults = described::description().faults((&method, &path), status, &kind, Some(&text));
        assert!(faults.is_empty(), "{faults:#?}\n{text}");
        (status.as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Uploads `bytes` as the body.
    pub async fn upload(&self, name: &str, bytes: Vec<u8>) -> reqwest::Response {
        let url = self.url(&format!("/api/upload?name={name}"));
        self.http.post(url).header("content-type", "video/mp4").body(bytes).send().await.unwrap()
    }

    /// Uploads something and answers its id.
    pub async fn job(&self) -> JobId {
        let answer = self.upload("a.mp4", video_bytes(5_000)).await;
        assert_eq!(answer.status(), 201);
        let job: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        job["id"].as_str().unwrap().parse().unwrap()
    }

    pub async fn publish<E: Event>(&self, event: &E) {
        self.doors.log.append(vec![record_of(event).unwrap()]).await.unwrap();
    }

    /// A raw connection.
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Ends the edge, and answers once it has ended.
    pub async fn stop(mut self) -> Doors {
        self.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            serving.await.unwrap();
        }
        self.doors.clone()
    }

    /// Nothing of any upload is left in the blob store and among the intents.
    pub async fn assert_nothing_left(&self) {
        eventually("nothing is left", || async {
            let blobs = self.doors.blobs.list("").await.unwrap();
            let intents = self.doors.catalog.uploads(None, 10).await.unwrap().items;
            (blobs.is_empty() && intents.is_empty()).then_some(())
        })
        .await;
    }
}

/// Holds the answer to a GET against the description.
fn check(path: &str, answer: &reqwest::Response, body: Option<&str>) {
    let asked = (&reqwest::Method::GET, path);
    let faults = described::description().faults(asked, answer.status(), kind(answer), body);
    assert!(faults.is_empty(), "{faults:#?}\n{}", body.unwrap_or_default());
}

fn kind(answer: &reqwest::Response) -> &str {
    answer.headers().get("content-type").map_or("", |kind| kind.to_str().unwrap())
}

impl Drop for House {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Doors in memory with all topics.
pub async fn doors() -> Doors {
    let doors = connectors::in_memory(Arc::new(SystemClock)).unwrap();
    make_topics(doors.log.as_ref()).await;
    doors
}

pub async fn make_topics(log: &dyn log::Log) {
    let letters = STAGES.map(|stage| topic::dead_letters(stage.name));
    let specs: Vec<TopicSpec> = topic::all()
        .iter()
        .chain(&letters)
        .map(|topic| TopicSpec {
            name: topic.name.clone(),
            partitions: topic.partitions,
            retention: log::Retention {
                max_age_ms: topic.retention.max_age_ms,
                max_bytes: topic.retention.max_bytes,
                is_compacted: topic.retention.is_compacted,
            },
            min_in_sync: topic.min_in_sync,
        })
        .collect();
    log.ensure_topics(&specs).await.unwrap();
}

/// All records of `topic` by now.
pub async fn records_of(doors: &Doors, topic: &str) -> Vec<log::Record> {
    let mut reader = doors.log.tail(&[topic], log::From::Beginning).await.unwrap();
    let mut found = Vec::new();
    while let log::Tailed::Records(records) = reader.next().await.unwrap() {
        found.extend(records);
    }
    found
}

/// A record whose value nobody can read.
pub fn garbage(topic: &str, job: JobId) -> NewRecord {
    NewRecord {
        topic: topic.to_owned(),
        spread: job.hash64(),
        key: job.to_string().into(),
        value: vec![1, 2, 3].into(),
        headers: Vec::new(),
    }
}

/// Asks until there is an answer; what takes more than ten seconds fails.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    for _ in 0..500 {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited too long until {what}");
}

/// Bytes that begin like an MP4.
pub fn video_bytes(size: usize) -> Vec<u8> {
    let mut bytes = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42".to_vec();
    bytes.extend((bytes.len()..size).map(|n| (n * 31 % 251) as u8));
    bytes
}

/// Reads until the other side closes or says nothing for a while.
pub async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut piece = [0; 8192];
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(1_500), stream.read(&mut piece)).await {
        if read == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..read]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

pub async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}
