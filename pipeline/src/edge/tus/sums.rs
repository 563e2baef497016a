//! SHA-256 of what has come of each upload, so that its end need not be preceded by reading it all again.
//!
//! It is a convenience of one process: whoever does not find a sum reads the bytes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use connectors::blobs::Sum;
use schemas::JobId;

/// Uploads that are remembered at a time.
const MOST: usize = 10_000;

/// Sums by upload.
#[derive(Default)]
pub struct Sums(Mutex<HashMap<JobId, Sum>>);

impl Sums {
    /// Takes the sum of `upload` out.
    pub(super) fn take(&self, upload: JobId) -> Option<Sum> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&upload)
    }

    /// Keeps the sum of `upload`.
    pub(super) fn keep(&self, upload: JobId, sum: Option<Sum>) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sum) = sum.filter(|_| sums.len() < MOST) {
            sums.insert(upload, sum);
        }
    }

    pub(super) fn forget(&self, upload: JobId) {
        let _ = self.take(upload);
    }
}
