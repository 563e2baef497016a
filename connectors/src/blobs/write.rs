//! Writing a blob piece by piece, wherever it lies.

use bytes::Bytes;
use schemas::Claim;

use super::{Error, cache, file, remote, s3};

/// A blob that is being written. Dropped before its end, it leaves nothing.
pub struct Writer {
    side: Side,
    written: u64,
    /// A copy for this machine.
    copy: Option<cache::Keeping>,
}

pub(super) enum Side {
    File(file::Writer),
    Bucket(Box<s3::Writer>),
    Remote(remote::Writer),
}

impl Writer {
    pub(super) fn on(side: Side) -> Self {
        Self { side, written: 0, copy: None }
    }

    pub(super) fn with_copy(self, copy: Option<cache::Keeping>) -> Self {
        Self { copy, ..self }
    }

    /// Takes the next bytes; waits when the disk or the network is behind.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.written += bytes.len() as u64;
        if let Some(mut copy) = self.copy.take() {
            match copy.write(bytes.clone()).await {
                Ok(()) => self.copy = Some(copy),
                Err(error) => tracing::debug!(%error, "what is written is not kept on this machine"),
            }
        }
        match &mut self.side {
            Side::File(file) => file.write(bytes).await,
            Side::Bucket(bucket) => bucket.write(bytes).await,
            Side::Remote(remote) => remote.write(bytes).await,
        }
    }

    /// Bytes taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Makes the blob durable and visible, in this order; one of the same name is replaced.
    pub async fn finish(self) -> Result<Claim, Error> {
        let claim = match self.side {
            Side::File(file) => file.finish().await?,
            Side::Bucket(bucket) => bucket.finish().await?,
            Side::Remote(remote) => remote.finish().await?,
        };
        if let Some(copy) = self.copy
            && let Err(error) = copy.publish(&claim).await
        {
            tracing::debug!(%error, "what was written is not kept on this machine");
        }
        Ok(claim)
    }

    /// Gives the blob up; nothing stays.
    pub async fn abort(self) -> Result<(), Error> {
        match self.side {
            Side::File(file) => file.abort().await,
            Side::Bucket(bucket) => bucket.abort().await,
            Side::Remote(remote) => remote.abort().await,
        }
    }
}
