//! Bytes with a checksum: none of them counts before all of them are there and right.

use std::io::{Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use futures::StreamExt;
use sha1::Digest as _;
use sha1::Sha1;
use sha2::Sha256;
use warp::http::StatusCode;

use crate::edge::problem::Problem;
use crate::edge::upload::body::Body;

/// Names of the sums that are known.
pub(super) const ALGORITHMS: [&str; 2] = ["sha1", "sha256"];

/// Bytes that are read back at a time.
const PIECE_BYTES: usize = 1 << 20;

/// What bytes have to come to.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    algorithm: Algorithm,
    sum: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    Sha1,
    Sha256,
}

enum Hasher {
    Sha1(Sha1),
    Sha256(Sha256),
}

impl Expected {
    /// `None` for an unknown algorithm, or a sum of another length.
    pub(super) fn of(algorithm: &str, sum: Vec<u8>) -> Option<Self> {
        let (algorithm, length) = match algorithm.to_ascii_lowercase().as_str() {
            "sha1" => (Algorithm::Sha1, 20),
            "sha256" => (Algorithm::Sha256, 32),
            _ => return None,
        };
        (sum.len() == length).then_some(Self { algorithm, sum })
    }

    fn hasher(&self) -> Hasher {
        match self.algorithm {
            Algorithm::Sha1 => Hasher::Sha1(Sha1::new()),
            Algorithm::Sha256 => Hasher::Sha256(<Sha256 as sha2::Digest>::new()),
        }
    }
}

impl Hasher {
    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => sha2::Digest::update(hasher, bytes),
        }
    }

    fn is(self, sum: &[u8]) -> bool {
        match self {
            Self::Sha1(hasher) => hasher.finalize().as_slice() == sum,
            Self::Sha256(hasher) => sha2::Digest::finalize(hasher).as_slice() == sum,
        }
    }
}

/// Bytes that came whole and are what they were said to be; they lie in a file without a name.
pub(super) struct Checked {
    file: std::fs::File,
}

/// Takes all of `body`, at most `room` bytes, and compares.
pub(super) async fn take(body: &mut Body, expected: &Expected, room: u64, beyond: Problem) -> Result<Checked, Problem> {
    let mut file = tempfile::tempfile().map_err(|error| no_file(&error))?;
    let (mut hasher, mut taken) = (expected.hasher(), 0_u64);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| super::receive::broke_off(&error))?;
        taken += piece.len() as u64;
        if taken > room {
            return Err(beyond);
        }
        hasher.update(&piece);
        let written = tokio::task::spawn_blocking(move || file.write_all(&piece).map(|()| file)).await;
        file = written.map_err(std::io::Error::other).and_then(|written| written).map_err(|error| no_file(&error))?;
    }
    if !hasher.is(&expected.sum) {
        // 460 is what the protocol calls a checksum mismatch.
        let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
        let detail = "the bytes that came have another checksum than was said: none of them was kept, send them again";
        return Err(Problem::new(status, "checksum_mismatch", detail));
    }
    file.seek(SeekFrom::Start(0)).map_err(|error| no_file(&error))?;
    Ok(Checked { file })
}

impl Checked {
    /// The next of the bytes; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let file = self.file.try_clone().map_err(|error| no_file(&error))?;
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            (&file).take(PIECE_BYTES as u64).read_to_end(&mut piece).map(|_| piece)
        });
        let piece = read.await.map_err(std::io::Error::other).and_then(|read| read).map_err(|error| no_file(&error))?;
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

fn no_file(error: &std::io::Error) -> Problem {
    tracing::error!(%error, "bytes to be checked cannot be kept");
    if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded) {
        return Problem::from(connectors::blobs::Error::Full);
    }
    Problem::internal("bytes that are to be checked cannot be kept for the moment")
}
