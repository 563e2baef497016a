//! Reading files in large pieces, into buffers that are used again.

use std::fs::File;
use std::io::{ErrorKind, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, try_unfold};
use rustix::io::ReadWriteFlags;

use super::folder::{Folder, failed};
use super::{Error, blocking, check_range};

/// Bytes of a piece; the last one of a read may be shorter.
pub const PIECE_BYTES: usize = 256 << 10;
/// Buffers that are kept for the next piece.
const IDLE_BUFFERS: usize = 32;

static IDLE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// A buffer on loan. Fresh memory costs more than the read itself, so it goes back to the others.
struct Buffer {
    bytes: Box<[u8]>,
    filled: usize,
}

impl Buffer {
    fn take() -> Self {
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { bytes: idle.unwrap_or_else(|| vec![0; PIECE_BYTES].into()), filled: 0 }
    }

    /// Takes what the system has in memory, without waiting for a disk; answers whether that is all. Most of what is
    /// watched was just written or read, and then no other thread is needed.
    fn fill_from_memory(&mut self, file: &File, start: u64, wanted: usize) -> bool {
        while self.filled < wanted {
            let at = start + self.filled as u64;
            let rest = &mut [IoSliceMut::new(&mut self.bytes[self.filled..wanted])];
            match rustix::io::preadv2(file, rest, at, ReadWriteFlags::NOWAIT) {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.filled += count,
            }
        }
        true
    }

    /// Reads what is still missing.
    fn fill(mut self, file: &File, key: &str, start: u64, wanted: usize) -> Result<Bytes, Error> {
        while self.filled < wanted {
            let at = start + self.filled as u64;
            match file.read_at(&mut self.bytes[self.filled..wanted], at) {
                Ok(0) => {
                    let what = format!("it ends at {at} while it is read");
                    return Err(Error::Mismatch { key: key.to_owned(), what });
                }
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed("read", key, error)),
            }
        }
        Ok(Bytes::from_owner(self))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_BUFFERS {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }
}

/// Streams the file of `key`, or `range` of it.
pub(super) async fn file(
    folder: Arc<Folder>,
    key: &str,
    range: Option<Range<u64>>,
) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
    let owned = key.to_owned();
    let (file, size) = blocking("read", key, move || folder.open_blob(&owned)).await?;
    let range = match range {
        Some(range) => check_range(key, &range, size).map(|()| range)?,
        None => 0..size,
    };
    let (file, key): (Arc<File>, Arc<str>) = (Arc::new(file), key.into());
    let pieces = try_unfold(range, move |left| {
        let (file, key) = (Arc::clone(&file), Arc::clone(&key));
        async move {
            if left.is_empty() {
                return Ok(None);
            }
            let start = left.start;
            let wanted = usize::try_from(left.end - start).unwrap_or(usize::MAX).min(PIECE_BYTES);
            let mut buffer = Buffer::take();
            let piece = if buffer.fill_from_memory(&file, start, wanted) {
                Bytes::from_owner(buffer)
            } else {
                let shown = Arc::clone(&key);
                blocking("read", &key, move || buffer.fill(&file, &shown, start, wanted)).await?
            };
            let next = start + piece.len() as u64..left.end;
            Ok(Some((piece, next)))
        }
    });
    Ok(pieces.boxed())
}
