//! Request bodies of uploads: read by a task of their own, so that an answer can be given before the body has ended.
//!
//! A client that is refused in the middle of its body and does not listen would meet a reset connection and never see
//! the answer. So whoever loses interest drops the [`Body`], and the task reads the rest away for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};

/// Pieces that wait between the connection and the blob store; with the connection's own buffer this bounds memory.
const WAITING: usize = 4;

/// A client that sends nothing for so long has gone away.
const SILENCE: Duration = Duration::from_secs(60);

/// How long, and how many bytes, a refused body is read away.
const LINGER: Duration = Duration::from_secs(120);
const LINGER_BYTES: u64 = 1 << 30;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke, or what came was no body.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// Nothing came for a minute.
    #[error("the body stopped arriving")]
    Silent,
}

/// A body on its way.
pub struct Body(mpsc::Receiver<Result<Bytes, Error>>);

impl Body {
    /// Reads `stream`; dropping the body early has the rest read away.
    pub fn read(stream: BoxStream<'static, Result<Bytes, String>>) -> Self {
        let (tx, rx) = mpsc::channel(WAITING);
        tokio::spawn(pump(stream, tx));
        Self(rx)
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(cx)
    }
}

async fn pump(mut stream: BoxStream<'static, Result<Bytes, String>>, tx: mpsc::Sender<Result<Bytes, Error>>) {
    loop {
        // A refusal may come while the client is silent.
        let next = tokio::select! {
            next = timeout(SILENCE, stream.next()) => next,
            () = tx.closed() => return drain(stream).await,
        };
        let next = match next {
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(error))) => Err(Error::Broken(error)),
            Ok(None) => return,
            Err(_) => Err(Error::Silent),
        };
        let is_over = next.is_err();
        let is_unwanted = tx.send(next).await.is_err();
        if is_over {
            return;
        }
        if is_unwanted {
            return drain(stream).await;
        }
    }
}

/// Reads what nobody wants, within bounds.
async fn drain(mut stream: BoxStream<'static, Result<Bytes, String>>) {
    let until = Instant::now() + LINGER;
    let mut read = 0;
    while let Ok(Some(Ok(bytes))) = timeout_at(until, stream.next()).await {
        read += bytes.len() as u64;
        if read > LINGER_BYTES {
            return;
        }
    }
}
