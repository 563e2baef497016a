//! Writing a blob of any size: small ones in one request, large ones in parts that travel side by side.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Attribute, Attributes, PutMultipartOptions, PutPayload};
use schemas::Claim;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;

use super::{Bucket, Fault, WRITE_ID, write_id};
use crate::blobs::grow::Growing;
use crate::blobs::{Error, claim};

/// Bytes of a part; stores take no smaller ones than 5 MiB, and no more than 10,000 of them: 80 GiB.
pub(super) const PART_BYTES: usize = 8 << 20;
/// Parts on their way at a time. With the one that is being gathered a writer holds 32 MiB at most.
const IN_FLIGHT: usize = 3;

/// A blob that is being written.
///
/// One that fits into a part is a single request; it replaces a blob of the same name as a whole, like a larger one when its
/// last part is there.
pub(in crate::blobs) struct Writer {
    pub(super) bucket: Arc<Bucket>,
    key: String,
    at: Path,
    pub(super) upload: Option<Upload>,
    pub(super) gathered: VecDeque<Bytes>,
    pub(super) gathered_bytes: usize,
    hasher: Sha256,
    pub(super) size: u64,
    /// For a blob that grows over many requests; its parts outlive the writer.
    pub(super) growing: Option<Growing>,
}

/// The parts of a large blob.
pub(super) struct Upload {
    pub(super) id: String,
    /// What the object will carry, so that it can be told from another of the same name.
    pub(super) write_id: String,
    pub(super) sending: JoinSet<Result<(usize, PartId), Error>>,
    pub(super) sent: Vec<Option<PartId>>,
}

impl Writer {
    pub(in crate::blobs) fn begin(bucket: Arc<Bucket>, key: &str) -> Result<Self, Error> {
        let at = bucket.at(key)?;
        Ok(Self {
            bucket,
            key: key.to_owned(),
            at,
            upload: None,
            gathered: VecDeque::new(),
            gathered_bytes: 0,
            hasher: Sha256::new(),
            size: 0,
            growing: None,
        })
    }

    /// Takes the next bytes. Nothing is lost when the wait is dropped and the writer used again.
    pub(in crate::blobs) async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        self.hasher.update(&bytes);
        self.size += bytes.len() as u64;
        self.gathered_bytes += bytes.len();
        self.gathered.push_back(bytes);
        while self.gathered_bytes > PART_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    /// The next part, or what there is of it. Some stores want all parts but the last of one size.
    fn take(&mut self) -> PutPayload {
        let mut part = Vec::new();
        let mut missing = PART_BYTES.min(self.gathered_bytes);
        self.gathered_bytes -= missing;
        while missing > 0 {
            let Some(mut bytes) = self.gathered.pop_front() else { break };
            if bytes.len() > missing {
                self.gathered.push_front(bytes.split_off(missing));
            }
            missing -= bytes.len();
            part.push(bytes);
        }
        part.into_iter().collect()
    }

    /// Sends a part; waits while too many are on their way.
    async fn send(&mut self) -> Result<(), Error> {
        if self.upload.is_none() {
            let write_id = write_id();
            let id = self.bucket.begin_upload(&self.key, &self.at, &write_id).await?;
            self.upload = Some(Upload { id, write_id, sending: JoinSet::new(), sent: Vec::new() });
        }
        if let Some(upload) = &mut self.upload {
            while upload.sending.len() >= IN_FLIGHT {
                upload.land().await?;
            }
        }
        let payload = self.take();
        let (bucket, key, at) = (Arc::clone(&self.bucket), self.key.clone(), self.at.clone());
        let Some(upload) = &mut self.upload else { return Err(ended(&self.key)) };
        let (index, id) = (upload.sent.len(), upload.id.clone());
        upload.sent.push(None);
        upload.sending.spawn(async move {
            let put = || async { Ok(bucket.store.put_part(&at, &id, index, payload.clone()).await?) };
            let part = bucket.insist("write", &key, put).await;
            // The upload is gone when somebody has given it up as forgotten; that is no missing blob.
            part.map(|part| (index, part)).map_err(|error| gave_up(error, &key))
        });
        Ok(())
    }

    pub(in crate::blobs) async fn finish(mut self) -> Result<Claim, Error> {
        if self.upload.is_none() {
            let bytes: Vec<Bytes> = std::mem::take(&mut self.gathered).into();
            return self.bucket.put(&self.key, bytes.concat().into()).await;
        }
        while self.gathered_bytes > 0 {
            self.send().await?;
        }
        let Some(upload) = &mut self.upload else { return Err(ended(&self.key)) };
        while !upload.sending.is_empty() {
            upload.land().await?;
        }
        let parts: Vec<PartId> = upload.sent.iter_mut().filter_map(Option::take).collect();
        let (bucket, at) = (&self.bucket, &self.at);
        let complete = || async {
            match bucket.store.complete_multipart(at, &upload.id, parts.clone()).await {
                Ok(_) => Ok(()),
                // An earlier attempt may have succeeded and its answer been lost: then the upload is gone and the object there.
                Err(error) => match bucket.written_by(at).await {
                    Ok(writer) if writer.as_deref() == Some(upload.write_id.as_str()) => Ok(()),
                    _ => Err(Fault::Store(error)),
                },
            }
        };
        bucket.insist("write", &self.key, complete).await.map_err(|error| gave_up(error, &self.key))?;
        self.upload = None;
        // A part that was lost inside the server would be a shorter object.
        let found = self.bucket.head(&self.key).await?.size;
        if found != self.size {
            let what = format!("{} bytes were written, {found} are there", self.size);
            return Err(Error::Mismatch { key: self.key.clone(), what });
        }
        let hasher = std::mem::take(&mut self.hasher);
        Ok(claim(&self.key, self.size, &hasher.finalize()))
    }

    pub(in crate::blobs) async fn abort(mut self) -> Result<(), Error> {
        match self.upload.take() {
            Some(upload) => give_up(&self.bucket, &self.key, &self.at, upload).await,
            None => Ok(()),
        }
    }
}

impl Bucket {
    /// Begins an upload in parts; answers its name.
    pub(super) async fn begin_upload(&self, key: &str, at: &Path, write_id: &str) -> Result<String, Error> {
        let attributes = Attributes::from_iter([(Attribute::Metadata(WRITE_ID.into()), write_id.to_owned())]);
        let begin = || async {
            let options = PutMultipartOptions { attributes: attributes.clone(), ..PutMultipartOptions::default() };
            Ok(self.store.create_multipart_opts(at, options).await?)
        };
        self.insist("write", key, begin).await
    }
}

impl Upload {
    /// Waits for one of the parts on their way.
    pub(super) async fn land(&mut self) -> Result<(), Error> {
        match self.sending.join_next().await {
            Some(Ok(landed)) => {
                let (index, part) = landed?;
                self.sent[index] = Some(part);
                Ok(())
            }
            Some(Err(error)) => Err(Error::Store { doing: "write", key: String::new(), source: Box::new(error) }),
            None => Ok(()),
        }
    }
}

/// Removes the parts. Those on their way are called back first, since a part that lands later would stay.
pub(super) async fn give_up(bucket: &Bucket, key: &str, at: &Path, mut upload: Upload) -> Result<(), Error> {
    upload.sending.shutdown().await;
    let abort = || async {
        match bucket.store.abort_multipart(at, &upload.id).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    bucket.insist("give up", key, abort).await
}

fn ended(key: &str) -> Error {
    Error::Store { doing: "write", key: key.to_owned(), source: "the blob has ended".into() }
}

fn gave_up(error: Error, key: &str) -> Error {
    match error {
        Error::NotFound(_) => Error::Store {
            doing: "write",
            key: key.to_owned(),
            source: "the upload was given up by the server or a sweeper".into(),
        },
        error => error,
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.growing.is_some() {
            return;
        }
        let (Some(upload), Ok(runtime)) = (self.upload.take(), tokio::runtime::Handle::try_current()) else { return };
        let (bucket, key, at) = (Arc::clone(&self.bucket), std::mem::take(&mut self.key), self.at.clone());
        runtime.spawn(async move {
            if let Err(error) = give_up(&bucket, &key, &at, upload).await {
                tracing::warn!(key, %error, "parts of a blob stay for the sweeper");
            }
        });
    }
}
