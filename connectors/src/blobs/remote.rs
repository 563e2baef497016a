//! Writing a blob piece by piece into a store that takes whole parts.

use std::sync::Arc;

use bytes::Bytes;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use schemas::Claim;
use sha2::{Digest, Sha256};

use super::{Error, claim, failed, key};

/// Bytes of a part; stores take no smaller ones than 5 MiB.
const PART_BYTES: usize = 8 << 20;

/// A blob that is being written.
pub(super) struct Writer {
    upload: Option<Box<dyn MultipartUpload>>,
    key: String,
    gathered: Vec<Bytes>,
    gathered_bytes: usize,
    hasher: Sha256,
    size: u64,
}

impl Writer {
    pub(super) async fn begin(store: Arc<dyn ObjectStore>, key: &str) -> Result<Self, Error> {
        let upload = store.put_multipart(&key::location(key)?).await.map_err(|error| failed("write", key, error))?;
        Ok(Self {
            upload: Some(upload),
            key: key.to_owned(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            hasher: Sha256::new(),
            size: 0,
        })
    }

    pub(super) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.hasher.update(&bytes);
        self.size += bytes.len() as u64;
        self.gathered_bytes += bytes.len();
        self.gathered.push(bytes);
        if self.gathered_bytes < PART_BYTES {
            return Ok(());
        }
        self.send().await
    }

    async fn send(&mut self) -> Result<(), Error> {
        let Some(upload) = &mut self.upload else { return Err(self.ended()) };
        let part: PutPayload = std::mem::take(&mut self.gathered).into_iter().collect();
        self.gathered_bytes = 0;
        upload.put_part(part).await.map_err(|error| failed("write", &self.key, error))
    }

    pub(super) async fn finish(mut self) -> Result<Claim, Error> {
        self.send().await?;
        let Some(upload) = &mut self.upload else { return Err(self.ended()) };
        upload.complete().await.map_err(|error| failed("write", &self.key, error))?;
        self.upload = None;
        let hasher = std::mem::take(&mut self.hasher);
        Ok(claim(&self.key, self.size, &hasher.finalize()))
    }

    pub(super) async fn abort(mut self) -> Result<(), Error> {
        let Some(mut upload) = self.upload.take() else { return Ok(()) };
        upload.abort().await.map_err(|error| failed("remove", &self.key, error))
    }

    fn ended(&self) -> Error {
        Error::Store { doing: "write", key: self.key.clone(), source: "the blob has ended".into() }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let (Some(mut upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        let key = std::mem::take(&mut self.key);
        runtime.spawn(async move {
            if let Err(error) = upload.abort().await {
                tracing::warn!(key, %error, "parts of a blob cannot be removed");
            }
        });
    }
}
