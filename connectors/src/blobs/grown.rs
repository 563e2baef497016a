//! A growing blob in a store that has neither files nor parts: one blob for each stretch of it.

use bytes::Bytes;
use schemas::Claim;

use super::grow::Growing;
use super::{Blobs, Error};

/// Bytes after which a stretch ends.
const STRETCH_BYTES: usize = 8 << 20;
/// What stretches are called, with the byte at which they begin, so that they sort.
const STRETCH: &str = "at-";
/// A blob without bytes that is there as long as the growing one is.
const BEGUN: &str = "begun";

/// Appends to a growing blob.
pub(super) struct Writer {
    blobs: Blobs,
    growing: Growing,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    /// Bytes in stretches that are written.
    written: u64,
}

/// Begins `growing`.
pub(super) async fn begin(blobs: &Blobs, growing: &Growing) -> Result<(), Error> {
    blobs.put(&growing.within(BEGUN), Bytes::new()).await.map(drop)
}

/// Bytes that have come.
pub(super) async fn size(blobs: &Blobs, growing: &Growing) -> Result<u64, Error> {
    if blobs.head(&growing.key).await.is_ok() {
        return Err(Error::NotFound(growing.room.clone()));
    }
    blobs.head(&growing.within(BEGUN)).await?;
    let stretches = stretches(blobs, growing).await?;
    Ok(stretches.iter().map(|(_, size)| size).sum())
}

/// Keys and sizes of the stretches, in order.
async fn stretches(blobs: &Blobs, growing: &Growing) -> Result<Vec<(String, u64)>, Error> {
    let named = growing.within(STRETCH);
    let found = blobs.list(&growing.room).await?;
    Ok(found.into_iter().filter(|meta| meta.key.starts_with(&named)).map(|meta| (meta.key, meta.size)).collect())
}

impl Writer {
    pub(super) async fn resume(blobs: &Blobs, growing: &Growing) -> Result<(Self, u64), Error> {
        let written = size(blobs, growing).await?;
        let (blobs, growing) = (blobs.clone(), growing.clone());
        Ok((Self { blobs, growing, gathered: Vec::new(), gathered_bytes: 0, written }, written))
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes < STRETCH_BYTES {
            return Ok(());
        }
        self.keep().await
    }

    pub(super) async fn keep(&mut self) -> Result<(), Error> {
        if self.gathered_bytes == 0 {
            return Ok(());
        }
        let name = format!("{STRETCH}{:020}", self.written);
        self.blobs.put(&self.growing.within(&name), self.gathered.concat().into()).await?;
        self.written += self.gathered_bytes as u64;
        self.gathered.clear();
        self.gathered_bytes = 0;
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Claim, Error> {
        self.keep().await?;
        let mut writer = self.blobs.writer(&self.growing.key).await?;
        for (key, _) in stretches(&self.blobs, &self.growing).await? {
            writer.write(self.blobs.read(&key).await?).await?;
        }
        writer.finish().await
    }
}
