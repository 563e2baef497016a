//! Records that are no event, events that say what is not so, and events that came before.

use connectors::log::{From, NewRecord, Record, Tailed};
use schemas::event::UploadReceived;
use schemas::{Claim, JobId, wire};
use serde_json::Value;

use super::kcat::{self, Raw};
use super::place::Place;
use super::server::Server;

/// A record that nobody can work on, and what is said about it.
struct Bad {
    what: &'static str,
    key: String,
    value: Vec<u8>,
    /// The header `reason` of its letter.
    reason: &'static str,
    /// A part of the header `message`.
    message: &'static str,
    /// The job that fails of it, where one can be known.
    job: Option<JobId>,
}

/// What comes to `upload.received` that is none.
fn unreadable(what: &'static str, value: &[u8], message: &'static str) -> Bad {
    Bad { what, key: what.to_owned(), value: value.to_owned(), reason: "undecodable", message, job: None }
}

/// An upload whose claim does not hold.
fn untrue(what: &'static str, source: Claim, reason: &'static str, message: &'static str) -> Bad {
    let job = JobId::from_parts(now_ms(), rand::random());
    let event = UploadReceived { job, name: what.into(), source, received_at: 0, origin: "somebody".into() };
    Bad { what, key: job.to_string(), value: wire::encode(&event).unwrap(), reason, message, job: Some(job) }
}

fn now_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// The id that uploads have in this log, as `registry` says it.
async fn upload_id(place: &Place, registry: &str) -> i32 {
    let subject = format!("{}upload.received-value", place.prefix);
    let found = reqwest::get(format!("{registry}/subjects/{subject}/versions/1")).await.unwrap();
    let found: Value = found.error_for_status().unwrap().json().await.unwrap();
    i32::try_from(found["id"].as_i64().unwrap()).unwrap()
}

/// Everything bad that a producer may write, each to be buried for its own reason. Uploads have the schema `id`.
async fn bad(place: &Place, id: i32, video: &[u8]) -> Vec<Bad> {
    let blobs = place.blobs().await;
    let good = blobs.put("drop/clip.mp4", video.to_vec().into()).await.unwrap();
    let at = |uri: String| Claim { uri, ..good.clone() };
    let below = |key: &str| at(format!("{}/{key}", place.store.uri()));
    let bucket = &place.store.bucket;
    let short = [&[0], id.to_be_bytes().as_slice(), &[52]].concat();
    let mut all = vec![
        unreadable("not Avro", b"this is no event", "does not begin with a zero byte"),
        unreadable("a schema that nobody has", b"\0\0\0\x63\x63body", "schema id 25443 is unknown"),
        unreadable("an event cut short", &short, "decode upload.received"),
        // Bytes that lie in a cache are found by their hash, wherever a claim says they are.
        untrue(
            "bytes that are not there",
            Claim { sha256: "1".repeat(64), ..below("drop/nothing.mp4") },
            "missing_source",
            "nothing.mp4",
        ),
        untrue("other bytes", Claim { sha256: "0".repeat(64), ..below("drop/clip.mp4") }, "claim_mismatch", "clip.mp4"),
        untrue("more bytes", Claim { size: good.size + 1, ..below("drop/clip.mp4") }, "claim_mismatch", "clip.mp4"),
        untrue("beside the store", at(format!("s3://{bucket}/elsewhere/clip.mp4")), "foreign_claim", "elsewhere"),
        untrue("another bucket", at("s3://somebody-elses/clip.mp4".into()), "foreign_claim", "somebody-elses"),
        untrue("another scheme", at("https://example.org/clip.mp4".into()), "foreign_claim", "https"),
        untrue("a file of this machine", at("file:///etc/passwd".into()), "foreign_claim", "/etc/passwd"),
    ];
    for record in all.iter_mut().filter(|record| record.job.is_some()) {
        record.value[1..wire::FRAME_BYTES].copy_from_slice(&id.to_be_bytes());
    }
    all
}

/// Everything bad becomes a dead letter that says why, and a video that comes after it gets ready. `registry` tells ids.
pub async fn is_buried_and_the_stage_goes_on(place: &Place, server: &Server, registry: &str, video: &[u8]) {
    if !kcat::is_here("what a bad record leaves").await {
        return;
    }
    let bad = bad(place, upload_id(place, registry).await, video).await;
    for record in &bad {
        kcat::produce(place, "upload.received", &record.key, &record.value).await;
    }
    let good = server.upload(video).await;
    server.job_in("ready", &good).await;

    let keys: Vec<&str> = bad.iter().map(|record| record.key.as_str()).collect();
    let letters = server
        .eventually("every bad record is a dead letter", || async {
            let letters = kcat::records(place, "probe.dlq").await;
            keys.iter().all(|key| letters.iter().any(|letter| letter.key == *key)).then_some(letters)
        })
        .await;
    assert_eq!(letters.len(), bad.len(), "and nothing else is: {letters:?}");
    let came = kcat::records(place, "upload.received").await;
    for record in &bad {
        let letter = letters.iter().find(|letter| letter.key == record.key).unwrap();
        let original = came.iter().find(|raw| raw.key == record.key).unwrap();
        check_letter(record, letter, original);
        if let Some(job) = record.job {
            let failed = server.job_in("failed", &job.to_string()).await;
            let error = &failed["error"];
            assert_eq!((&error["code"], &error["stage"]), (&record.reason.into(), &"probe".into()), "{failed}");
        }
    }
    nothing_waits(place, server).await;
}

/// What an operator sees of a letter without any program of ours.
fn check_letter(record: &Bad, letter: &Raw, original: &Raw) {
    let what = record.what;
    assert_eq!((letter.header("stage"), letter.header("reason")), ("probe", record.reason), "{what}: {letter:?}");
    assert!(letter.header("message").contains(record.message), "{what}: {letter:?}");
    assert_eq!(letter.header("topic"), "upload.received", "{what}");
    let place = (letter.header("partition").parse().unwrap(), letter.header("offset").parse().unwrap());
    assert_eq!(place, original.at, "{what}: it says where the event lies");
    assert!(letter.header("attempts").parse::<u32>().is_ok(), "{what}: {letter:?}");
    assert_eq!(letter.value, original.value, "{what}: the bytes are untouched");
}

/// An upload that is announced again is passed by: no letter, no second probe, the job as it was.
pub async fn a_known_upload_is_passed_by(place: &Place, server: &Server, job: &str) {
    let (_, before) = server.get(&format!("/api/jobs/{job}")).await;
    let log = place.log().await;
    let again = of_job(place, "upload.received", job).await.remove(0);
    let Record { at, key, value, headers, .. } = again;
    let record = NewRecord { topic: at.topic, spread: u64::from(at.partition), key, value, headers };
    log.append(vec![record]).await.unwrap();
    nothing_waits(place, server).await;
    assert_eq!(of_job(place, "upload.received", job).await.len(), 2, "it lies there twice");
    assert_eq!(of_job(place, "source.probed", job).await.len(), 1, "and was probed once");
    assert_eq!(of_job(place, "probe.dlq", job).await.len(), 0, "and is no dead letter");
    let (_, after) = server.get(&format!("/api/jobs/{job}")).await;
    assert_eq!(before, after);
}

/// The stage is done with everything that lies on its topic.
async fn nothing_waits(place: &Place, server: &Server) {
    let log = place.log().await;
    server
        .eventually("probe is done with every upload", || async {
            let all = log.progress("streamforge.probe", &["upload.received"]).await.unwrap();
            all.iter().all(|partition| partition.committed == partition.end).then_some(())
        })
        .await;
}

/// The records of `topic` whose key is `job`.
async fn of_job(place: &Place, topic: &str, job: &str) -> Vec<Record> {
    let mut reader = place.log().await.tail(&[topic], From::Beginning).await.unwrap();
    let mut found = Vec::new();
    while let Tailed::Records(records) = reader.next().await.unwrap() {
        found.extend(records.into_iter().filter(|record| record.key == job.as_bytes()));
    }
    found
}
