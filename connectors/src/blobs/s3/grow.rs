//! Blobs that grow over many requests: a multipart upload, and beside it one blob that says how far it is.
//!
//! That blob names the parts that the server has taken and ends with the bytes that do not fill one yet. It is replaced as a
//! whole, after its parts have landed: whoever dies in between leaves the older one, and the parts that it does not name are sent
//! again under the same numbers. The names are kept, not asked for, since a server that checks sums wants them back and does
//! not list them.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::PartId;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::write::{PART_BYTES, Upload, Writer, give_up};
use super::{Bucket, write_id};
use crate::blobs::Error;
use crate::blobs::grow::Growing;

/// What the blob is called that says how far a growing one is.
const GROWN: &str = "grown";

/// What a bucket calls a blob that is not whole yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    upload: String,
    write: String,
}

/// How far a blob has grown.
struct Grown {
    /// The client library's names for the parts, in order.
    parts: Vec<String>,
    rest: Bytes,
}

impl Grown {
    /// A line of JSON, then the rest.
    fn bytes(parts: &[Option<PartId>], rest: &VecDeque<Bytes>) -> Bytes {
        let names: Vec<&str> = parts.iter().flatten().map(|part| part.content_id.as_str()).collect();
        let mut bytes = serde_json::json!(names).to_string().into_bytes();
        bytes.push(b'\n');
        rest.iter().for_each(|piece| bytes.extend_from_slice(piece));
        bytes.into()
    }

    fn read(bytes: &Bytes) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        Some(Self { parts: serde_json::from_slice(&bytes[..end]).ok()?, rest: bytes.slice(end + 1..) })
    }

    fn size(&self) -> u64 {
        (self.parts.len() * PART_BYTES + self.rest.len()) as u64
    }
}

impl Bucket {
    /// Begins a blob in parts.
    pub(in crate::blobs) async fn begin_parts(&self, growing: &Growing) -> Result<Parts, Error> {
        let write = write_id();
        let upload = self.begin_upload(&growing.key, &self.at(&growing.key)?, &write).await?;
        self.put(&growing.within(GROWN), Grown::bytes(&[], &VecDeque::new())).await?;
        Ok(Parts { upload, write })
    }

    /// Durable bytes of `growing`.
    pub(in crate::blobs) async fn grown(&self, growing: &Growing) -> Result<u64, Error> {
        self.how_far(growing).await.map(|grown| grown.size())
    }

    async fn how_far(&self, growing: &Growing) -> Result<Grown, Error> {
        let key = growing.within(GROWN);
        let bytes = self.read(&key).await?;
        Grown::read(&bytes).ok_or_else(|| failed(&key, "it does not say how far it is"))
    }

    /// Gives the parts up.
    pub(in crate::blobs) async fn drop_parts(&self, key: &str, parts: &Parts) -> Result<(), Error> {
        give_up(self, key, &self.at(key)?, Upload::known(parts, Vec::new())).await
    }
}

fn failed(key: &str, why: &'static str) -> Error {
    Error::Store { doing: "go on with", key: key.to_owned(), source: why.into() }
}

impl Writer {
    /// Goes on with `growing`; answers how many bytes it has.
    pub(in crate::blobs) async fn resume(bucket: Arc<Bucket>, growing: &Growing) -> Result<(Self, u64), Error> {
        let other = || failed(&growing.key, "it was begun in a store of another kind");
        let parts = growing.parts.as_ref().ok_or_else(other)?;
        let grown = bucket.how_far(growing).await?;
        let mut writer = Self::begin(bucket, &growing.key)?;
        writer.size = grown.size();
        writer.gathered_bytes = grown.rest.len();
        writer.gathered = VecDeque::from([grown.rest]);
        let sent = grown.parts.into_iter().map(|content_id| Some(PartId { content_id })).collect();
        writer.upload = Some(Upload::known(parts, sent));
        writer.growing = Some(growing.clone());
        let size = writer.size;
        Ok((writer, size))
    }

    /// Makes durable what was written so far.
    pub(in crate::blobs) async fn keep(&mut self) -> Result<(), Error> {
        let (Some(upload), Some(growing)) = (&mut self.upload, &self.growing) else { return Ok(()) };
        while !upload.sending.is_empty() {
            upload.land().await?;
        }
        let grown = Grown::bytes(&upload.sent, &self.gathered);
        self.bucket.put(&growing.within(GROWN), grown).await.map(drop)
    }
}

impl Upload {
    fn known(parts: &Parts, sent: Vec<Option<PartId>>) -> Self {
        Self { id: parts.upload.clone(), write_id: parts.write.clone(), sending: JoinSet::new(), sent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_says_how_far_it_is() {
        let part = PartId { content_id: "<PartMetadata><e_tag>\"a\"</e_tag></PartMetadata>".to_owned() };
        let rest = VecDeque::from([Bytes::from_static(b"\n\0"), Bytes::from_static(b"c")]);
        let grown = Grown::read(&Grown::bytes(&[Some(part.clone())], &rest)).unwrap();
        assert_eq!((grown.size(), grown.parts), (PART_BYTES as u64 + 3, vec![part.content_id]));
        assert_eq!(grown.rest, "\n\0c");
        assert_eq!(Grown::read(&Grown::bytes(&[], &VecDeque::new())).unwrap().size(), 0);
        assert!(Grown::read(&Bytes::from_static(b"{}\n")).is_none());
        assert!(Grown::read(&Bytes::from_static(b"[]")).is_none());
    }
}
