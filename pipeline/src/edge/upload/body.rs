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
use tokio::time::{Instant, timeout_at};

/// Pieces that wait between the connection and the blob store; with the connection's own buffer this bounds memory.
const WAITING: usize = 4;

/// A client that sends less than so many bytes for so long has gone away, or keeps a connection busy for nothing.
const WINDOW: Duration = Duration::from_secs(60);
const LEAST_BYTES: usize = 1024;

/// How long, and how many bytes, a refused body is read away.
const LINGER: Duration = Duration::from_secs(120);
const LINGER_BYTES: u64 = 1 << 30;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke, or what came was no body.
    #[error("the body broke off: {0}")]
    Broken(String),
    /// Next to nothing came for a minute.
    #[error("the body stopped arriving, or came byte by byte")]
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
    let (mut until, mut came) = (Instant::now() + WINDOW, 0);
    loop {
        // A refusal may come while the client is silent.
        let next = tokio::select! {
            next = timeout_at(until, stream.next()) => next,
            () = tx.closed() => return drain(stream).await,
        };
        came += next.as_ref().ok().and_then(|next| next.as_ref()?.as_ref().ok()).map_or(0, Bytes::len);
        let next = match next {
            Ok(Some(Ok(bytes))) => Ok(bytes),
            Ok(Some(Err(error))) => Err(Error::Broken(error)),
            Ok(None) => return,
            Err(_) => Err(Error::Silent),
        };
        let is_over = next.is_err();
        let asked = Instant::now();
        let is_unwanted = tx.send(next).await.is_err();
        // While the blob store is behind, the client cannot send.
        until += asked.elapsed();
        if came >= LEAST_BYTES {
            (until, came) = (Instant::now() + WINDOW, 0);
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client that sends `piece` every `pause`, `times` times, is told in the end.
    async fn sent(piece: &'static [u8], pause: Duration, times: usize) -> (usize, Option<Error>) {
        let pieces = futures::stream::unfold(0, move |sent| async move {
            tokio::time::sleep(pause).await;
            (sent < times).then(|| (Ok(Bytes::from_static(piece)), sent + 1))
        });
        let mut body = Body::read(pieces.boxed());
        let mut came = 0;
        while let Some(next) = body.next().await {
            match next {
                Ok(piece) => came += piece.len(),
                Err(error) => return (came, Some(error)),
            }
        }
        (came, None)
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_a_byte_a_minute_is_cut_off_and_who_is_slow_is_not() {
        let (came, end) = sent(b"x", Duration::from_secs(50), 1_000).await;
        assert!(came <= 2 && matches!(end, Some(Error::Silent)), "{came}");
        let (came, end) = sent(b"", Duration::from_secs(10), 1_000).await;
        assert!(came == 0 && matches!(end, Some(Error::Silent)));
        let (came, end) = sent(&[7; 600], Duration::from_secs(25), 500).await;
        assert!(came == 300_000 && end.is_none(), "{came} {end:?}");
    }
}
