//! How fast blobs are: how long an uploader waits after its last byte, and what reading costs. In a folder always; in a bucket
//! where `STREAMFORGE_TEST_S3` names an S3 server, against bare requests for the same bytes.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::Blobs;
use connectors::blobs::s3::{Keys, Settings, make_bucket};
use futures::TryStreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::signer::Signer;
use reqwest::Method;

const UPLOAD_BYTES: usize = 50_000_000;
/// What an HTTP body arrives in.
const PIECE_BYTES: usize = 64 << 10;
const UPLOADS: usize = 20;
const READS: usize = 20;
const BUCKET_ROUNDS: usize = 7;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let blobs = Blobs::in_folder(folder.path())?;
    let piece = Bytes::from((0..PIECE_BYTES).map(|n| (n * 31 % 251) as u8).collect::<Vec<u8>>());
    let (mut waits, mut whole, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..UPLOADS {
        let begun = Instant::now();
        let last = runtime.block_on(upload(&blobs, &piece))?;
        waits.push(last.elapsed());
        whole.push(begun.elapsed());
        plain.push(plain_file(folder.path(), &piece)?);
    }
    println!("{UPLOADS} uploads of {UPLOAD_BYTES} bytes, as fast as they are taken");
    println!(
        "wait after the last byte   p50 {:>7.1} ms   p95 {:>7.1} ms (goal: below 200)",
        at(&mut waits, 50),
        at(&mut waits, 95)
    );
    println!("whole upload               p50 {:>7.1} ms   p95 {:>7.1} ms", at(&mut whole, 50), at(&mut whole, 95));
    println!("plain file and one fsync   p50 {:>7.1} ms   p95 {:>7.1} ms", at(&mut plain, 50), at(&mut plain, 95));

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..READS {
        let begun = Instant::now();
        runtime.block_on(async {
            let mut pieces = blobs.get("upload", None).await?;
            while let Some(piece) = pieces.try_next().await? {
                std::hint::black_box(piece);
            }
            Outcome::Ok(())
        })?;
        ours.push(begun.elapsed());
        theirs.push(plain_read(&folder.path().join("upload"))?);
    }
    let (ours, theirs) = (at(&mut ours, 50), at(&mut theirs, 50));
    println!(
        "reading it from the page cache   {ours:.1} ms, plain loop of reads {theirs:.1} ms, ratio {:.2}",
        theirs / ours
    );
    match std::env::var("STREAMFORGE_TEST_S3") {
        Ok(endpoint) => runtime.block_on(bucket(endpoint, &piece)),
        Err(_) => {
            println!("not run here: blobs in a bucket needs SeaweedFS; ./dev engines up");
            Ok(())
        }
    }
}

/// Writes, reads and copies in a bucket, each beside a bare request for the same bytes, to an address that is signed
/// beforehand. The bare ones only move bytes; ours also hash what they send and check what they get.
async fn bucket(endpoint: String, piece: &Bytes) -> Outcome<()> {
    let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "streamforge".to_owned());
    let keys = Keys { id: key("STREAMFORGE_TEST_S3_KEY"), secret: key("STREAMFORGE_TEST_S3_SECRET"), token: None };
    let place = format!("s3://streamforge-tests/bench-{}", std::process::id());
    let signer = AmazonS3Builder::new()
        .with_endpoint(&endpoint)
        .with_allow_http(true)
        .with_bucket_name("streamforge-tests")
        .with_access_key_id(&keys.id)
        .with_secret_access_key(&keys.secret)
        .build()?;
    let settings = Settings { endpoint: Some(endpoint), keys: Some(keys), ..Settings::parse(&place)? };
    make_bucket(&settings).await?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let blobs = Blobs::in_bucket(&settings).await?.with_cache(folder.path(), u64::MAX)?;
    let whole = Bytes::from(piece.iter().copied().cycle().take(UPLOAD_BYTES).collect::<Vec<u8>>());
    let http = reqwest::Client::new();
    let [mut put, mut bare_put, mut get, mut bare_get, mut copy] = [(); 5].map(|()| Vec::new());
    let lasting = Duration::from_secs(600);
    for round in 0..BUCKET_ROUNDS {
        let begun = Instant::now();
        upload(&blobs, piece).await?;
        put.push(begun.elapsed());

        let address = signer.signed_url(Method::PUT, &Path::from(format!("{}/bare", settings.prefix)), lasting).await?;
        let begun = Instant::now();
        http.put(address).body(whole.clone()).send().await?.error_for_status()?;
        bare_put.push(begun.elapsed());

        let begun = Instant::now();
        let mut pieces = blobs.get("upload", None).await?;
        while let Some(piece) = pieces.try_next().await? {
            std::hint::black_box(piece);
        }
        get.push(begun.elapsed());

        let address =
            signer.signed_url(Method::GET, &Path::from(format!("{}/upload", settings.prefix)), lasting).await?;
        let begun = Instant::now();
        let mut answer = http.get(address).send().await?.error_for_status()?;
        while let Some(piece) = answer.chunk().await? {
            std::hint::black_box(piece);
        }
        bare_get.push(begun.elapsed());

        let mut bytes = whole.to_vec();
        bytes[0] = round as u8;
        let claim = blobs.put("source", bytes.into()).await?;
        let begun = Instant::now();
        blobs.open_claim(&claim, false).await?;
        copy.push(begun.elapsed());
    }
    for key in ["upload", "bare", "source"] {
        blobs.delete(key).await?;
    }
    let speed = |times: &mut [Duration]| UPLOAD_BYTES as f64 / 1e3 / at(times, 50);
    let (put, bare_put, get, bare_get) = (speed(&mut put), speed(&mut bare_put), speed(&mut get), speed(&mut bare_get));
    println!("bucket: write in parts {put:.0} MB/s, bare PUT {bare_put:.0} MB/s, ratio {:.2}", put / bare_put);
    println!("bucket: read {get:.0} MB/s, bare GET {bare_get:.0} MB/s, ratio {:.2}", get / bare_get);
    println!("bucket: checked copy into the cache {:.0} MB/s", speed(&mut copy));
    Ok(())
}

async fn upload(blobs: &Blobs, piece: &Bytes) -> Outcome<Instant> {
    let mut writer = blobs.writer("upload").await?;
    let mut left = UPLOAD_BYTES;
    while left > 0 {
        let part = piece.slice(..left.min(PIECE_BYTES));
        left -= part.len();
        writer.write(part).await?;
    }
    let last = Instant::now();
    writer.finish().await?;
    Ok(last)
}

fn plain_file(folder: &std::path::Path, piece: &[u8]) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut file = File::create(folder.join("plain"))?;
    for _ in 0..UPLOAD_BYTES / PIECE_BYTES {
        file.write_all(piece)?;
    }
    file.sync_all()?;
    Ok(begun.elapsed())
}

fn plain_read(path: &std::path::Path) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut file = File::open(path)?;
    let mut piece = vec![0; connectors::blobs::PIECE_BYTES];
    while file.read(&mut piece)? > 0 {
        std::hint::black_box(&piece);
    }
    Ok(begun.elapsed())
}

fn at(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get(times.len() * percent / 100).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}
