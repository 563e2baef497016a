//! `/api/uploads`: resumable uploads by tus 1.0.0.

use std::sync::Arc;
use std::time::Duration;

use pipeline::edge::Settings;
use reqwest::{Method, RequestBuilder, Response};
use schemas::event::UploadReceived;
use schemas::{Claim, JobId, wire};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::full::Full;
use crate::house::{House, doors, eventually, records_of, send, video_bytes};

const BYTES: &str = "application/offset+octet-stream";

/// An upload that was begun.
pub struct Begun<'h> {
    house: &'h House,
    path: String,
}

pub fn header<'r>(answer: &'r Response, name: &str) -> Option<&'r str> {
    answer.headers().get(name).map(|value| value.to_str().unwrap())
}

pub async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
    assert_eq!(header(&answer, "tus-resumable"), Some("1.0.0"));
    let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

pub fn request(house: &House, method: &str, path: &str) -> RequestBuilder {
    house.http.request(Method::from_bytes(method.as_bytes()).unwrap(), house.url(path)).header("tus-resumable", "1.0.0")
}

impl<'h> Begun<'h> {
    pub async fn new(house: &'h House, length: usize) -> Self {
        let answer = request(house, "POST", "/api/uploads")
            .header("upload-length", length)
            .header("upload-metadata", "filename aG9saWRheS5tb3Y=,filetype dmlkZW8vbXA0")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 201);
        assert!(header(&answer, "upload-expires").unwrap().ends_with("GMT"));
        Self { house, path: header(&answer, "location").unwrap().to_owned() }
    }

    pub fn id(&self) -> JobId {
        self.path.rsplit('/').next().unwrap().parse().unwrap()
    }

    /// The same upload, seen by another edge.
    pub fn at<'o>(&self, house: &'o House) -> Begun<'o> {
        Begun { house, path: self.path.clone() }
    }

    pub fn patch(&self, offset: u64, bytes: &[u8]) -> RequestBuilder {
        request(self.house, "PATCH", &self.path)
            .header("content-type", BYTES)
            .header("upload-offset", offset)
            .body(bytes.to_vec())
    }

    pub async fn head(&self) -> Response {
        request(self.house, "HEAD", &self.path).send().await.unwrap()
    }

    pub async fn offset(&self) -> u64 {
        let answer = self.head().await;
        assert_eq!(answer.status(), 200);
        header(&answer, "upload-offset").unwrap().parse().unwrap()
    }

    /// Sends `bytes` from wherever the upload is until all of them are there, as a client does.
    pub async fn finish(&self, bytes: &[u8]) {
        for _ in 0..200 {
            let offset = self.offset().await;
            let answer = self.patch(offset, &bytes[usize::try_from(offset).unwrap()..]).send().await.unwrap();
            match answer.status().as_u16() {
                204 => return assert_eq!(header(&answer, "streamforge-job"), Some(self.id().to_string().as_str())),
                409 | 423 => tokio::time::sleep(Duration::from_millis(20)).await,
                other => panic!("{other}: {}", answer.text().await.unwrap()),
            }
        }
        panic!("the upload never came to its end");
    }

    /// Begins to send `bytes` at `offset` as the first of `length`, and leaves the connection as it is.
    pub async fn hold(&self, offset: u64, bytes: &[u8], length: usize) -> tokio::net::TcpStream {
        let mut stream = self.house.connect().await;
        let head = format!(
            "PATCH {} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\nContent-Type: {BYTES}\r\nContent-Length: {length}\r\n\r\n",
            self.path
        );
        send(&mut stream, &head).await;
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The upload is a job with just these bytes, and nothing is left beside it.
    pub async fn assert_is(&self, bytes: &[u8]) {
        let (id, doors) = (self.id(), &self.house.doors);
        let row = doors.catalog.job(id).await.unwrap().expect("it is a job").row;
        let received = row.received.expect("it was received").event;
        let hash: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let claim = Claim { uri: format!("blob:jobs/{id}/source"), size: bytes.len() as u64, sha256: hash };
        assert_eq!((received.source.clone(), received.origin.as_str()), (claim, "tus"));
        doors.blobs.verify(&received.source).await.unwrap();
        eventually("nothing else is left", || async {
            let below = doors.blobs.list(&format!("uploads/{id}/")).await.unwrap();
            below.is_empty().then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_upload_in_pieces_is_the_same_job_as_one_at_once() {
    let house = House::new().await;
    let bytes = video_bytes(300_000);
    let upload = Begun::new(&house, bytes.len()).await;
    let seen = upload.head().await;
    assert_eq!((header(&seen, "upload-offset"), header(&seen, "upload-length")), (Some("0"), Some("300000")));
    assert_eq!(header(&seen, "upload-metadata"), Some("filename aG9saWRheS5tb3Y=,filetype dmlkZW8vbXA0"));
    assert_eq!(header(&seen, "cache-control"), Some("no-store"));
    for (offset, end) in [(0, 1), (1, 100_000), (100_000, 100_000)] {
        let answer = upload.patch(offset, &bytes[offset as usize..end]).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), header(&answer, "upload-offset")), (204, Some(&*end.to_string())));
        assert_eq!(header(&answer, "streamforge-job"), None);
    }
    let shown = house.json(&upload.path).await;
    assert_eq!((shown["state"].as_str(), shown["offset"].as_u64()), (Some("arriving"), Some(100_000)));
    assert_eq!((shown["name"].as_str(), &shown["job"]), (Some("holiday.mov"), &Value::Null));
    assert_eq!(house.get(&format!("/api/jobs/{}", upload.id())).await.status(), 404, "it is no job yet");
    // Bytes for another place are not taken, and the client is told which.
    for wrong in [0, 99_999, 100_001] {
        let answer = upload.patch(wrong, &bytes[..10]).send().await.unwrap();
        assert_eq!(header(&answer, "upload-offset"), Some("100000"));
        assert_eq!(code(answer).await, (409, "wrong_offset".to_owned()));
    }
    let beyond = upload.patch(100_000, &vec![0; 200_001]).send().await.unwrap();
    assert_eq!(code(beyond).await, (413, "too_large".to_owned()));
    upload.finish(&bytes).await;
    upload.assert_is(&bytes).await;
    let events = records_of(&house.doors, "upload.received").await;
    assert_eq!(events.len(), 1);
    assert_eq!(wire::decode::<UploadReceived>(&events[0].value).unwrap().name, "holiday.mov");
    // Whoever lost the last answer asks again, and is told the same.
    assert_eq!(upload.offset().await, 300_000);
    let again = upload.patch(300_000, b"").send().await.unwrap();
    assert_eq!((again.status().as_u16(), header(&again, "streamforge-job").is_some()), (204, true));
    let shown = house.json(&upload.path).await;
    assert_eq!((shown["state"].as_str(), shown["job"].as_str()), (Some("complete"), Some(&*upload.id().to_string())));
}

#[tokio::test]
async fn bytes_may_come_with_the_creation_and_the_length_later() {
    let house = House::new().await;
    let bytes = video_bytes(50_000);
    let begin = |length: &str| {
        let request = request(&house, "POST", "/api/uploads").header("content-type", BYTES);
        request.header(if length == "1" { "upload-defer-length" } else { "upload-length" }, length)
    };
    let whole = begin("50000").body(bytes.clone()).send().await.unwrap();
    assert_eq!((whole.status().as_u16(), header(&whole, "upload-offset")), (201, Some("50000")));
    let job = header(&whole, "streamforge-job").unwrap().to_owned();
    Begun { house: &house, path: format!("/api/uploads/{job}") }.assert_is(&bytes).await;
    let part = begin("1").body(bytes[..20_000].to_vec()).send().await.unwrap();
    assert_eq!((part.status().as_u16(), header(&part, "upload-offset")), (201, Some("20000")));
    let upload = Begun { house: &house, path: header(&part, "location").unwrap().to_owned() };
    let seen = upload.head().await;
    assert_eq!((header(&seen, "upload-defer-length"), header(&seen, "upload-length")), (Some("1"), None));
    let short = upload.patch(20_000, &[]).header("upload-length", 19_999).send().await.unwrap();
    assert_eq!(short.status(), 400);
    let told = upload.patch(20_000, &bytes[20_000..30_000]).header("upload-length", 50_000).send().await.unwrap();
    assert_eq!(told.status(), 204);
    assert_eq!(header(&upload.head().await, "upload-length"), Some("50000"));
    let other = upload.patch(30_000, &[]).header("upload-length", 60_000).send().await.unwrap();
    assert_eq!(other.status(), 400, "a length does not change");
    upload.finish(&bytes).await;
    upload.assert_is(&bytes).await;
    // What is no video is refused as soon as that shows, and leaves nothing.
    let text = begin("5000").body(vec![b'x'; 5_000]).send().await.unwrap();
    assert_eq!(code(text).await, (415, "unsupported_media".to_owned()));
    let slowly = Begun::new(&house, 30).await;
    assert_eq!(slowly.patch(0, &[b'x'; 20]).send().await.unwrap().status(), 204);
    assert_eq!(code(slowly.patch(20, &[b'x'; 10]).send().await.unwrap()).await.0, 415);
    assert_eq!(slowly.head().await.status(), 404);
    assert!(house.doors.blobs.list("uploads/").await.unwrap().is_empty());
}

#[tokio::test]
async fn checked_bytes_count_only_when_they_are_right() {
    let house = House::new().await;
    let bytes = video_bytes(40_000);
    let upload = Begun::new(&house, bytes.len()).await;
    let sum = |algorithm: &str, bytes: &[u8]| {
        use base64::Engine as _;
        let sum = match algorithm {
            "sha1" => <sha1::Sha1 as sha1::Digest>::digest(bytes).to_vec(),
            _ => Sha256::digest(bytes).to_vec(),
        };
        format!("{algorithm} {}", base64::prelude::BASE64_STANDARD.encode(sum))
    };
    let wrong =
        upload.patch(0, &bytes[..20_000]).header("upload-checksum", sum("sha1", b"other")).send().await.unwrap();
    assert_eq!(code(wrong).await, (460, "checksum_mismatch".to_owned()));
    assert_eq!(upload.offset().await, 0);
    let right = upload.patch(0, &bytes[..20_000]).header("upload-checksum", sum("sha1", &bytes[..20_000]));
    assert_eq!(right.send().await.unwrap().status(), 204);
    // A body that breaks off cannot be checked, so none of it is kept.
    let mut cut = upload.house.connect().await;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 20000\r\nContent-Type: {BYTES}\r\nContent-Length: 20000\r\nUpload-Checksum: {}\r\n\r\n",
        upload.path,
        sum("sha256", &bytes[20_000..])
    );
    send(&mut cut, &head).await;
    cut.write_all(&bytes[20_000..30_000]).await.unwrap();
    drop(cut);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(upload.offset().await, 20_000);
    let rest = upload.patch(20_000, &bytes[20_000..]).header("upload-checksum", sum("sha256", &bytes[20_000..]));
    assert_eq!(rest.send().await.unwrap().status(), 204);
    upload.assert_is(&bytes).await;
    let unknown =
        Begun::new(&house, 10).await.patch(0, b"").header("upload-checksum", "crc32 AAAA").send().await.unwrap();
    assert_eq!(code(unknown).await, (400, "bad_checksum".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_cut_at_any_byte_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    // The bytes in files, as on one machine; the rest does not matter here.
    let blobs = connectors::Blobs::in_folder(folder.path()).unwrap();
    let house = House::on(connectors::Doors { blobs, ..doors().await }, Settings::default()).await;
    let bytes = video_bytes(70_000);
    let (mut kept, mut cuts) = (0, 0);
    // A thousand places, from the first byte to the last, in a hundred uploads of ten cuts.
    for round in 0..100_usize {
        let upload = Begun::new(&house, bytes.len()).await;
        let mut sent = 0;
        for cut in 0..10_usize {
            let end = (bytes.len() * cut / 10 + 1 + round * 69).min(bytes.len() - 1).max(sent);
            let offset = upload.offset().await as usize;
            drop(upload.hold(offset as u64, &bytes[offset..end.max(offset)], bytes.len() - offset).await);
            cuts += 1;
            let mut answered = upload.offset().await as usize;
            // What had not been read yet may still come; what was told once never goes back.
            for _ in 0..3 {
                let next = upload.offset().await as usize;
                assert!(next >= answered, "the offset went from {answered} back to {next}");
                answered = next;
            }
            kept += usize::from(answered > sent);
            sent = answered;
        }
        upload.finish(&bytes).await;
        upload.assert_is(&bytes).await;
    }
    assert_eq!(cuts, 1_000);
    assert!(kept > 300, "hardly anything of what was cut off was kept: {kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_never_write_at_once_and_a_silent_one_gives_way() {
    let doors = doors().await;
    // Two edges behind a balancer, on the same doors.
    let shared = Settings { is_alone: false, ..Settings::default() };
    let (one, other) = (House::on(doors.clone(), shared.clone()).await, House::on(doors, shared).await);
    let bytes = video_bytes(200_000);
    let here = Begun::new(&one, bytes.len()).await;
    let mut slow = here.hold(0, &bytes[..50_000], bytes.len()).await;
    eventually("its bytes flow", || async {
        // Refused for its place as long as nobody holds the upload.
        (here.patch(7, b"").send().await.unwrap().status() == 423).then_some(())
    })
    .await;
    // While bytes flow, nobody else may write, whichever edge is asked.
    let mut sent = 50_000;
    for house in [&one, &other] {
        let refused = {
            let there = here.at(house);
            let patch = there.patch(0, &bytes).send();
            let flow = async {
                loop {
                    slow.write_all(&bytes[sent..sent + 10]).await.unwrap();
                    sent += 10;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            };
            tokio::select! { answer = patch => answer.unwrap(), () = flow => unreachable!() }
        };
        assert_eq!(header(&refused, "retry-after"), Some("2"));
        assert_eq!(code(refused).await, (423, "locked".to_owned()));
    }
    // The first client falls silent without closing its connection, as a phone in a tunnel does.
    let there = here.at(&other);
    let answer = eventually("the other may go on", || async {
        let offset = there.offset().await;
        let answer = there.patch(offset, &bytes[offset as usize..]).send().await.unwrap();
        (answer.status() == 204).then_some(answer)
    })
    .await;
    assert_eq!(header(&answer, "streamforge-job"), Some(here.id().to_string().as_str()));
    // What the first one still sends is not taken.
    let _ = slow.write_all(&bytes[sent..sent + 10]).await;
    there.assert_is(&bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_ends_keeps_what_came_and_the_next_one_completes_it() {
    let doors = doors().await;
    let bytes = video_bytes(100_000);
    let first = House::on(doors.clone(), Settings::default()).await;
    let upload = Begun::new(&first, bytes.len()).await;
    let path = upload.path.clone();
    let held = upload.hold(0, &bytes[..60_000], bytes.len()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.stop().await;
    drop(held);
    let second = House::on(doors.clone(), Settings::default()).await;
    let upload = Begun { house: &second, path: path.clone() };
    assert_eq!(upload.offset().await, 60_000, "an orderly end keeps everything");
    upload.finish(&bytes).await;
    upload.assert_is(&bytes).await;
}

#[tokio::test]
async fn what_nobody_finishes_expires_and_its_bytes_go() {
    let settings = Settings { upload_expiry: Duration::from_millis(300), ..Settings::default() };
    let house = House::with(settings).await;
    let upload = Begun::new(&house, 5_000).await;
    assert_eq!(upload.patch(0, &video_bytes(4_000)).send().await.unwrap().status(), 204);
    assert!(house.doors.blobs.usage().await.unwrap() > 4_000);
    tokio::time::sleep(Duration::from_millis(350)).await;
    let gone = request(&house, "PATCH", &upload.path).header("content-type", BYTES).header("upload-offset", 4_000);
    assert_eq!(code(gone.body("x").send().await.unwrap()).await, (410, "expired".to_owned()));
    assert_eq!(upload.head().await.status(), 410);
    // Given up by whoever finds it so, or by the edge itself a little later.
    assert_eq!(request(&house, "DELETE", &upload.path).send().await.unwrap().status(), 204);
    assert_eq!(house.doors.blobs.usage().await.unwrap(), 0);
    let left = Begun::new(&house, 5_000).await;
    drop(left.hold(0, &video_bytes(100), 5_000).await);
    eventually("the edge removes it", || async { (house.doors.blobs.usage().await.unwrap() == 0).then_some(()) }).await;
    assert_eq!(left.head().await.status(), 404);
}

#[tokio::test]
async fn a_client_may_give_up() {
    let house = House::new().await.recording();
    let upload = Begun::new(&house, 5_000).await;
    upload.patch(0, &video_bytes(4_000)).send().await.unwrap();
    let terminate = || request(&house, "DELETE", &upload.path).send();
    assert_eq!(terminate().await.unwrap().status(), 204);
    assert_eq!(house.doors.blobs.usage().await.unwrap(), 0);
    assert_eq!(upload.head().await.status(), 404);
    assert_eq!(code(terminate().await.unwrap()).await.0, 404);
    // One that is complete takes its job along.
    let done = Begun::new(&house, 5_000).await;
    done.finish(&video_bytes(5_000)).await;
    assert_eq!(request(&house, "DELETE", &done.path).send().await.unwrap().status(), 204);
    eventually("the job is gone", || async {
        (house.get(&format!("/api/jobs/{}", done.id())).await.status() == 404).then_some(())
    })
    .await;
    assert_eq!(done.head().await.status(), 404);
}

#[tokio::test]
async fn a_full_store_says_so_and_the_upload_goes_on_when_there_is_room() {
    let store = Arc::new(Full::default());
    let doors = doors().await;
    let doors = connectors::Doors { blobs: connectors::Blobs::in_memory_behind(store.clone()), ..doors };
    let house = House::on(doors, Settings::default()).await;
    let bytes = video_bytes(60_000);
    let upload = Begun::new(&house, bytes.len()).await;
    assert_eq!(upload.patch(0, &bytes[..20_000]).send().await.unwrap().status(), 204);
    store.set(true);
    let full = upload.patch(20_000, &bytes[20_000..]).send().await.unwrap();
    assert_eq!(code(full).await, (507, "storage_full".to_owned()));
    let begun = request(&house, "POST", "/api/uploads").header("upload-length", 10).send().await.unwrap();
    assert_eq!(code(begun).await.0, 507);
    assert_eq!(upload.offset().await, 20_000);
    store.set(false);
    upload.finish(&bytes).await;
    upload.assert_is(&bytes).await;
}

#[tokio::test]
async fn what_cannot_be_an_upload_is_refused_at_its_creation() {
    let house = House::with(Settings { max_upload_bytes: 1_000, ..Settings::default() }).await;
    let begin = |length: &str| request(&house, "POST", "/api/uploads").header("upload-length", length).send();
    for too_much in ["1001", "9223372036854775808", "99999999999999999999999999"] {
        assert_eq!(code(begin(too_much).await.unwrap()).await, (413, "too_large".to_owned()), "{too_much}");
    }
    assert_eq!(code(begin("-1").await.unwrap()).await.0, 400);
    assert_eq!(code(begin("0").await.unwrap()).await.0, 415);
    let old = house.http.post(house.url("/api/uploads")).header("tus-resumable", "0.2.2").send().await.unwrap();
    assert_eq!(header(&old, "tus-version"), Some("1.0.0"));
    assert_eq!(code(old).await, (412, "tus_version".to_owned()));
    let put = request(&house, "PUT", "/api/uploads").send().await.unwrap();
    assert!(header(&put, "allow").unwrap().contains("POST"));
    assert_eq!(code(put).await.0, 405);
    assert!(house.doors.blobs.list("").await.unwrap().is_empty());
    // Without a length, the limit holds for what comes.
    let later = request(&house, "POST", "/api/uploads").header("upload-defer-length", "1").send().await.unwrap();
    let upload = Begun { house: &house, path: header(&later, "location").unwrap().to_owned() };
    assert_eq!(code(upload.patch(0, &video_bytes(1_001)).send().await.unwrap()).await.0, 413);
    for odd in ["/api/uploads/x", "/api/uploads/01ARZ3NDEKTSV4RRFFQ69G5FAV"] {
        let answer = request(&house, "HEAD", odd).send().await.unwrap();
        assert_eq!(answer.status(), 404);
    }
    // A client that cannot send every method.
    let meant = house.http.post(house.url(&upload.path)).header("tus-resumable", "1.0.0");
    let answer = meant.header("x-http-method-override", "DELETE").send().await.unwrap();
    assert_eq!((answer.status().as_u16(), upload.head().await.status().as_u16()), (204, 404));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_pauses_goes_on_over_the_same_connection_and_its_day_begins_anew() {
    let settings = Settings { upload_expiry: Duration::from_secs(60), ..Settings::default() };
    let house = House::with(settings).await;
    let bytes = video_bytes(60_000);
    let later = request(&house, "POST", "/api/uploads").header("upload-defer-length", "1").send().await.unwrap();
    let upload = Begun { house: &house, path: header(&later, "location").unwrap().to_owned() };
    let expires = |shown: &Value| shown["expires_at"].as_str().unwrap().to_owned();
    let first = expires(&house.json(&upload.path).await);
    // The length comes with bytes that pause for longer than the lock is kept.
    let mut stream = house.connect().await;
    let head = format!(
        "PATCH {} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nUpload-Length: 60000\r\nContent-Type: {BYTES}\r\nContent-Length: 60000\r\n\r\n",
        upload.path
    );
    send(&mut stream, &head).await;
    stream.write_all(&bytes[..20_000]).await.unwrap();
    eventually("what came is kept while nothing comes", || async { (upload.offset().await == 20_000).then_some(()) })
        .await;
    stream.write_all(&bytes[20_000..]).await.unwrap();
    let answer = crate::house::read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 204") && answer.contains("streamforge-job"), "{answer}");
    upload.assert_is(&bytes).await;
    // One whose every request breaks off has as long as any other.
    let broken = Begun::new(&house, bytes.len()).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    drop(broken.hold(0, &bytes[..30_000], bytes.len()).await);
    eventually("it is given more time", || async { (expires(&house.json(&broken.path).await) > first).then_some(()) })
        .await;
}
