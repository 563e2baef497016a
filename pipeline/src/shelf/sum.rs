//! SHA-256 of files.

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::Error;

/// How much is read at once, bytes.
const PIECE: usize = 1 << 20;

/// Whether `text` is a SHA-256: 64 lower-case hex digits.
pub(super) fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// What `hasher` has seen, as 64 lower-case hex digits.
pub(super) fn shown(hasher: Sha256) -> String {
    schemas::id::hex(&hasher.finalize())
}

/// A hasher that has seen the file at `path`, and how many bytes that were; tells `at` how far it is.
pub(super) fn of_file(path: &Path, at: &dyn Fn(u64)) -> Result<(Sha256, u64), Error> {
    let read = |error| Error::disk("read", path, error);
    let mut file = std::fs::File::open(path).map_err(read)?;
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0, vec![0; PIECE]);
    loop {
        match file.read(&mut piece).map_err(read)? {
            0 => return Ok((hasher, bytes)),
            count => {
                hasher.update(&piece[..count]);
                bytes += count as u64;
                at(bytes);
            }
        }
    }
}

/// The sum of the file at `path`.
pub fn of(path: &Path) -> Result<String, Error> {
    of_file(path, &|_| {}).map(|(hasher, _)| shown(hasher))
}
