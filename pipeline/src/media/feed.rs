//! A rendition on its way to a media process: pieces, each behind four bytes of length (big-endian), and a piece of none at the
//! end.
//!
//! It goes over the socket of the requests, and as fast as the other side reads it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Code, Error, Feed};

/// Longest piece, bytes.
const LONGEST: usize = 1 << 20;

/// Sends `feed` to its end. The error is absent when the other side is gone, which says more of itself.
pub async fn send(to: &mut (impl AsyncWrite + Unpin), mut feed: Feed) -> Result<(), Option<Error>> {
    while let Some(piece) = feed.next().await {
        let mut piece: Bytes = piece.map_err(Some)?;
        while !piece.is_empty() {
            let part = piece.split_to(piece.len().min(LONGEST));
            let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
            to.write_all(&length.to_be_bytes()).await.map_err(|_| None)?;
            to.write_all(&part).await.map_err(|_| None)?;
        }
    }
    to.write_all(&0_u32.to_be_bytes()).await.map_err(|_| None)
}

/// The other side: what comes over a socket.
pub struct Reader<R = File> {
    socket: R,
    left: Arc<Mutex<Left>>,
}

/// What is left of a feed.
#[derive(Default)]
struct Left {
    /// Bytes of the piece that is being read.
    of_piece: u32,
    is_over: bool,
}

impl Reader {
    /// The feed behind the request that was just read from standard output, which is a socket.
    pub fn open() -> Result<Self, Error> {
        let socket = io::stdout().as_fd().try_clone_to_owned().map(File::from);
        Ok(Self { socket: socket.map_err(lost)?, left: Arc::default() })
    }

    /// The same feed once more: whoever reads, reads on.
    pub fn again(&self) -> Result<Self, Error> {
        Ok(Self { socket: self.socket.try_clone().map_err(lost)?, left: Arc::clone(&self.left) })
    }

    /// Reads to the end what nobody wants.
    pub fn drain(&mut self) -> Result<(), Error> {
        io::copy(self, &mut io::sink()).map(drop).map_err(lost)
    }
}

fn lost(error: io::Error) -> Error {
    Error::new(Code::EncoderFailed, format!("read the rendition: {error}"))
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.of_piece == 0 && !left.is_over {
            let mut length = [0; 4];
            self.socket.read_exact(&mut length)?;
            left.of_piece = u32::from_be_bytes(length);
            left.is_over = left.of_piece == 0;
        }
        let wanted = buffer.len().min(usize::try_from(left.of_piece).unwrap_or(usize::MAX));
        if left.is_over || wanted == 0 {
            return Ok(0);
        }
        match self.socket.read(&mut buffer[..wanted])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                left.of_piece -= u32::try_from(count).unwrap_or(left.of_piece);
                Ok(count)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    async fn sent(pieces: Vec<Result<Bytes, Error>>) -> (Vec<u8>, Result<(), Option<Error>>) {
        let mut wire = Vec::new();
        let result = send(&mut wire, stream::iter(pieces).boxed()).await;
        (wire, result)
    }

    fn read(wire: &[u8]) -> (io::Result<Vec<u8>>, usize) {
        let mut reader = Reader { socket: wire, left: Arc::default() };
        let mut all = Vec::new();
        let result = reader.read_to_end(&mut all).map(|_| all);
        (result, reader.socket.len())
    }

    #[tokio::test]
    async fn what_is_sent_arrives_and_what_follows_stays_where_it_is() {
        let (long, short) = (Bytes::from(vec![7; LONGEST + 5]), Bytes::from_static(b"end"));
        let (mut wire, result) = sent(vec![Ok(long.clone()), Ok(Bytes::new()), Ok(short.clone())]).await;
        assert_eq!(result, Ok(()));
        wire.extend_from_slice(b"the next request");
        let (read, left) = read(&wire);
        assert_eq!(read.unwrap(), [long, short].concat());
        assert_eq!(left, 16);
    }

    #[tokio::test]
    async fn a_feed_that_breaks_off_is_no_short_feed() {
        let gone = Error::new(Code::EncoderFailed, "the blob is gone");
        let (wire, result) = sent(vec![Ok(Bytes::from_static(b"some")), Err(gone.clone())]).await;
        assert_eq!(result, Err(Some(gone)));
        assert!(read(&wire).0.is_err());
        assert!(read(&wire[..6]).0.is_err());
    }
}
