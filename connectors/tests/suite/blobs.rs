//! What every blob store must do.

use bytes::Bytes;
use connectors::Blobs;
use futures::TryStreamExt;

pub async fn collect(blobs: &Blobs, key: &str, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let pieces: Vec<Bytes> = blobs.get(key, range).await.unwrap().try_collect().await.unwrap();
    pieces.concat()
}

pub async fn blobs_come_back_whole_and_in_ranges(blobs: Blobs) {
    let bytes: Vec<u8> = (0..1_000_003u32).map(|n| (n * 7 % 251) as u8).collect();
    let mut writer = blobs.writer("jobs/a/source").await.unwrap();
    for piece in bytes.chunks(70_001) {
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    assert_eq!(writer.written(), bytes.len() as u64);
    let claim = writer.finish().await.unwrap();
    assert_eq!(claim.uri, "blob:jobs/a/source");
    assert_eq!(blobs.verify(&claim).await.unwrap(), "jobs/a/source");
    assert_eq!(blobs.read("jobs/a/source").await.unwrap(), bytes);
    assert_eq!(collect(&blobs, "jobs/a/source", None).await, bytes);
    for range in [0..1, 5..300_000, 262_143..262_145, 1_000_002..1_000_003] {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert_eq!(collect(&blobs, "jobs/a/source", Some(range)).await, expected);
    }
}
