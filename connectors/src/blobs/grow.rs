//! Blobs that arrive over many requests, in whichever processes, before they are whole.
//!
//! What has come so far is a fact of the store itself and of nothing beside it: the length of a file, or one blob that
//! names the parts of a bucket's multipart upload and holds what does not fill a part yet. So no record elsewhere can disagree with
//! the bytes, whoever dies when. One writer at a time is the caller's to see to.

use bytes::Bytes;
use futures::TryStreamExt;
use schemas::Claim;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Blobs, Error, blocking, claim, file, grown, key, s3};

/// A blob that is not whole yet. Kept by the caller from [`Blobs::begin_growing`] on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Growing {
    /// Key of the blob that it becomes.
    pub key: String,
    /// Folder of blobs that holds what has come, and nothing else that this module knows of. The caller removes it at the end.
    pub room: String,
    /// What a bucket calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<s3::Parts>,
}

impl Growing {
    /// The blob below the room that is called `name`.
    pub(super) fn within(&self, name: &str) -> String {
        format!("{}/{name}", self.room.trim_end_matches('/'))
    }
}

/// SHA-256 of the beginning of a blob that still grows, so that its end need not read it again.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    upto: u64,
    hasher: Sha256,
}

impl Sum {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.upto += bytes.len() as u64;
    }
}

/// Appends to a blob that is not whole yet. Dropped, it leaves what was settled and perhaps more.
pub struct Appender {
    side: Side,
    size: u64,
    sum: Option<Sum>,
}

enum Side {
    File(file::Writer),
    Bucket(Box<s3::Writer>),
    Remote(grown::Writer),
}

impl Appender {
    /// Bytes that have come, with those that are not durable yet.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes; waits when the disk or the network is behind.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        if let Some(sum) = &mut self.sum {
            sum.update(&bytes);
        }
        self.size += bytes.len() as u64;
        match &mut self.side {
            Side::File(file) => file.write(bytes).await,
            Side::Bucket(bucket) => bucket.write(bytes).await,
            Side::Remote(remote) => remote.write(bytes).await,
        }
    }

    /// Makes durable what has come; answers how many bytes that are, and their sum where it is known.
    pub async fn settle(&mut self) -> Result<(u64, Option<Sum>), Error> {
        match &mut self.side {
            Side::File(file) => file.keep().await?,
            Side::Bucket(bucket) => bucket.keep().await?,
            Side::Remote(remote) => remote.keep().await?,
        }
        Ok((self.size, self.sum.clone()))
    }

    /// Makes the blob whole under its key, where it replaces one of the same name. Bytes of which no sum is known are read again.
    pub async fn finish(self, blobs: &Blobs, growing: &Growing) -> Result<Claim, Error> {
        match self.side {
            Side::File(file) => file.finish().await?,
            Side::Bucket(bucket) => bucket.finish().await?,
            Side::Remote(remote) => remote.finish().await?,
        };
        match self.sum {
            Some(sum) => Ok(claim(&growing.key, self.size, &sum.hasher.finalize())),
            None => blobs.claimed(&growing.key).await,
        }
    }
}

impl Blobs {
    /// Begins a blob `key` that grows in the folder `room`, which is its own.
    pub async fn begin_growing(&self, key: &str, room: &str) -> Result<Growing, Error> {
        key::check(key)?;
        key::prefix(room)?;
        let mut growing = Growing { key: key.to_owned(), room: room.to_owned(), parts: None };
        if let Some(bucket) = &self.bucket {
            growing.parts = Some(bucket.begin_parts(&growing).await?);
        } else if let Some(folder) = self.folder.clone() {
            let of = growing.clone();
            blocking("write", key, move || folder.begin_file(&of)).await?;
        } else {
            grown::begin(self, &growing).await?;
        }
        Ok(growing)
    }

    /// Durable bytes of `growing`; all of them when it is whole already.
    pub async fn grown(&self, growing: &Growing) -> Result<u64, Error> {
        let grown = if let Some(bucket) = &self.bucket {
            bucket.grown(growing).await
        } else if let Some(folder) = self.folder.clone() {
            let of = growing.clone();
            blocking("look up", &growing.key, move || folder.grown(&of)).await
        } else {
            grown::size(self, growing).await
        };
        match grown {
            Err(Error::NotFound(_)) => Ok(self.head(&growing.key).await?.size),
            other => other,
        }
    }

    /// Goes on with `growing` behind its last durable byte. `sum` saves reading it again at the end; one of other bytes than lie
    /// there is ignored.
    pub async fn appender(&self, growing: &Growing, sum: Option<Sum>) -> Result<Appender, Error> {
        let (side, size) = if let Some(bucket) = &self.bucket {
            let (writer, size) = s3::Writer::resume(std::sync::Arc::clone(bucket), growing).await?;
            (Side::Bucket(Box::new(writer)), size)
        } else if let Some(folder) = self.folder.clone() {
            let (writer, size) = file::Writer::resume(folder, growing).await?;
            (Side::File(writer), size)
        } else {
            let (writer, size) = grown::Writer::resume(self, growing).await?;
            (Side::Remote(writer), size)
        };
        let sum = sum.or_else(|| (size == 0).then(Sum::default)).filter(|sum| sum.upto == size);
        Ok(Appender { side, size, sum })
    }

    /// Gives `growing` up; nothing of it stays. It is fine if nothing is there.
    pub async fn give_up_growing(&self, growing: &Growing) -> Result<(), Error> {
        if let (Some(bucket), Some(parts)) = (&self.bucket, &growing.parts) {
            bucket.drop_parts(&growing.key, parts).await?;
        }
        self.delete_prefix(&growing.room).await.map(drop)
    }

    /// SHA-256 of `key` in hex.
    pub(super) async fn hash(&self, key: &str) -> Result<String, Error> {
        if let Some(folder) = self.folder.clone() {
            let owned = key.to_owned();
            return blocking("read", key, move || folder.hash(&owned)).await;
        }
        let mut hasher = Sha256::new();
        let mut pieces = self.get(key, None).await?;
        while let Some(piece) = pieces.try_next().await? {
            hasher.update(&piece);
        }
        Ok(schemas::id::hex(&hasher.finalize()))
    }

    /// A claim to `key` as it lies there.
    pub async fn claimed(&self, key: &str) -> Result<Claim, Error> {
        let size = self.head(key).await?.size;
        let sha256 = self.hash(key).await?;
        Ok(Claim { uri: Self::claim_uri(key), size, sha256 })
    }
}
