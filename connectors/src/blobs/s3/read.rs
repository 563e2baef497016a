//! Reading ranges: a few pieces ahead of the reader, each fetched again when it comes torn.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use sha2::{Digest, Sha256};

use super::{Bucket, Fault};
use crate::blobs::{Error, PIECE_BYTES, check_range};

/// First piece of a read: small, so that it comes soon.
const FIRST_BYTES: u64 = PIECE_BYTES as u64;
/// Further pieces: large enough that a request's round trip does not count.
const NEXT_BYTES: u64 = 2 << 20;
/// Pieces that are fetched while an earlier one is still being handed out.
const AHEAD: usize = 2;

/// Bytes that are handed out at once, or a little more.
const HANDFUL_BYTES: u64 = 1 << 20;

/// Whole reads that are made before it is believed that the bytes change on their way.
const ATTEMPTS: usize = 4;

/// What the first piece tells of the object.
struct Found {
    size: u64,
    tag: Option<String>,
}

impl Bucket {
    /// Streams the object of `key`, or `range` of it.
    pub(in crate::blobs) async fn get(
        self: &Arc<Self>,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let wanted = range.clone().unwrap_or(0..u64::MAX);
        if wanted.is_empty() {
            let size = self.head(key).await?.size;
            return check_range(key, &wanted, size).map(|()| stream::empty().boxed());
        }
        let first = wanted.start..wanted.end.min(wanted.start.saturating_add(FIRST_BYTES));
        let (piece, found) = match self.piece(key, first.clone(), None).await {
            Ok(got) => got,
            Err(error @ Error::NotFound(_)) => return Err(error),
            // A range that begins behind the end is refused with words that differ between servers.
            Err(error) => {
                let size = self.head(key).await?.size;
                return match range {
                    None if size == 0 => Ok(stream::empty().boxed()),
                    Some(range) => Err(check_range(key, &range, size).err().unwrap_or(error)),
                    None => Err(error),
                };
            }
        };
        if let Some(range) = &range {
            check_range(key, range, found.size)?;
        }
        let (from, end) = (wanted.start + piece.len() as u64, wanted.end.min(found.size));
        let (bucket, key, tag): (_, Arc<str>, _) = (Arc::clone(self), key.into(), found.tag);
        let ranges = (from..end).step_by(NEXT_BYTES as usize).map(move |start| start..end.min(start + NEXT_BYTES));
        let rest = stream::iter(ranges)
            .map(move |range| {
                let (bucket, key, tag) = (Arc::clone(&bucket), Arc::clone(&key), tag.clone());
                // In a task of its own, so that it goes on while the reader is busy with the piece before.
                let task = tokio::spawn(async move { bucket.piece(&key, range, tag).await.map(|(piece, _)| piece) });
                Abandoned(task)
            })
            .buffered(AHEAD);
        Ok(stream::once(async { Ok(piece) }).chain(rest).boxed())
    }

    /// The bytes of `range`, as far as there are any, of the object whose tag is `tag`.
    async fn piece(&self, key: &str, range: Range<u64>, tag: Option<String>) -> Result<(Bytes, Found), Error> {
        let at = self.at(key)?;
        let got = self.insist("read", key, || self.fetch(&at, range.clone(), tag.clone())).await;
        got.map_err(|error| match error {
            Error::Store { source, .. } if source.to_string().contains("412 Precondition Failed") => {
                Error::Mismatch { key: key.to_owned(), what: "it was replaced while it was read".to_owned() }
            }
            error => error,
        })
    }

    /// One attempt at a range.
    async fn fetch(&self, at: &Path, range: Range<u64>, tag: Option<String>) -> Result<(Bytes, Found), Fault> {
        let options =
            GetOptions { range: Some(GetRange::Bounded(range.clone())), if_match: tag, ..GetOptions::default() };
        let got = self.store.get_opts(at, options).await?;
        let (came, found) = (got.range.clone(), Found { size: got.meta.size, tag: got.meta.e_tag.clone() });
        let expected = range.start..range.end.min(found.size);
        if came != expected {
            return Err(Fault::Torn(format!("bytes {expected:?} were asked for, {came:?} came")));
        }
        let bytes = got.bytes().await?;
        if bytes.len() as u64 != expected.end - expected.start {
            return Err(Fault::Torn(format!("{} of {} bytes came", bytes.len(), expected.end - expected.start)));
        }
        Ok((bytes, found))
    }

    /// SHA-256 of `key` in hex. One that is not `claimed` is believed when it came twice.
    pub(in crate::blobs) async fn hash(self: &Arc<Self>, key: &str, claimed: &str) -> Result<String, Error> {
        let mut unlike: Vec<String> = Vec::new();
        while unlike.len() < ATTEMPTS {
            let mut hasher = Sha256::new();
            let mut pieces = self.get(key, None).await?;
            while let Some(piece) = pieces.try_next().await? {
                hasher.update(&piece);
            }
            let hash = schemas::id::hex(&hasher.finalize());
            if hash == claimed || unlike.contains(&hash) {
                return Ok(hash);
            }
            unlike.push(hash);
        }
        let source = "its bytes change on their way, other ones come each time".into();
        Err(Error::Store { doing: "read", key: key.to_owned(), source })
    }

    /// Hands the bytes of `range` of `key` to `take` in order, each handful with its offset. The range must lie inside the
    /// object. What is torn goes on where it broke off.
    pub(in crate::blobs) async fn hand_out<F>(
        &self,
        key: &str,
        range: Range<u64>,
        take: impl Fn(u64, Vec<Bytes>) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let at = self.at(key)?;
        let taken = AtomicU64::new(range.start);
        let attempt = async || -> Result<Result<(), Error>, Fault> {
            let left = taken.load(Ordering::Relaxed)..range.end;
            if left.is_empty() {
                return Ok(Ok(()));
            }
            let options = GetOptions { range: Some(GetRange::Bounded(left.clone())), ..GetOptions::default() };
            let got = self.store.get_opts(&at, options).await?;
            if got.range != left {
                return Err(Fault::Torn(format!("bytes {left:?} were asked for, {:?} came", got.range)));
            }
            let mut pieces = got.into_stream();
            let (mut start, mut end, mut handful) = (left.start, left.start, Vec::new());
            loop {
                let piece = pieces.try_next().await?;
                let is_last = piece.is_none();
                if let Some(piece) = piece {
                    end += piece.len() as u64;
                    handful.push(piece);
                }
                if end > left.end || is_last && end < left.end {
                    return Err(Fault::Torn(format!("bytes {left:?} were asked for, they ended at {end}")));
                }
                if end - start >= HANDFUL_BYTES || is_last && end > start {
                    if let Err(error) = take(start, std::mem::take(&mut handful)).await {
                        return Ok(Err(error));
                    }
                    start = end;
                    taken.store(end, Ordering::Relaxed);
                }
                if is_last {
                    return Ok(Ok(()));
                }
            }
        };
        loop {
            let before = taken.load(Ordering::Relaxed);
            match self.insist("read", key, &attempt).await {
                // Patience is for a server that gives nothing.
                Err(_) if taken.load(Ordering::Relaxed) > before => {}
                outcome => return outcome?,
            }
        }
    }
}

/// A task that ends when nobody waits for it any more.
struct Abandoned(tokio::task::JoinHandle<Result<Bytes, Error>>);

impl Future for Abandoned {
    type Output = Result<Bytes, Error>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Self::Output> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|joined| {
            joined.unwrap_or_else(|error| {
                Err(Error::Store { doing: "read", key: String::new(), source: Box::new(error) })
            })
        })
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.abort();
    }
}
