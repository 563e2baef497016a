//! How fast blobs in a folder are: how long an uploader waits after its last byte, and what reading costs.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::Blobs;
use futures::TryStreamExt;

const UPLOAD_BYTES: usize = 50_000_000;
/// What an HTTP body arrives in.
const PIECE_BYTES: usize = 64 << 10;
const UPLOADS: usize = 20;
const READS: usize = 20;

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
