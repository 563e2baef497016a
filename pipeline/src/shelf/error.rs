//! Why a model could not be brought, looked at or removed.

use std::path::{Path, PathBuf};

/// Why something with models went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody knows a model of this name.
    #[error("no model `{name}` is known{}", nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default())]
    Unknown {
        /// As asked for.
        name: String,
        /// The known model that is closest, when it is close.
        nearest: Option<&'static str>,
    },
    /// Nobody answers there, or not in time.
    #[error("cannot reach {address}: {why}")]
    Unreachable {
        /// The address, without a password.
        address: String,
        /// The first cause.
        why: String,
    },
    /// There is an answer, and it is no.
    #[error("{address} cannot be had: {why}")]
    Refused {
        /// The address, without a password, or the file.
        address: String,
        /// What the answer was.
        why: String,
    },
    /// The bytes stopped before the end.
    #[error("{file} broke off after {got} bytes{}", of.map(|of| format!(" of {of}")).unwrap_or_default())]
    Cut {
        /// The file.
        file: String,
        /// Bytes that are here.
        got: u64,
        /// Bytes of the whole file.
        of: Option<u64>,
    },
    /// Something else came than what belongs to the model.
    #[error("{file} is not what belongs to {model}: {why}")]
    Wrong {
        /// The file.
        file: String,
        /// The model.
        model: String,
        /// Which sum or size it has, and which it should have.
        why: String,
    },
    /// The disk has no room.
    #[error("{} has no room: {needs} bytes are needed, {free} are free", folder.display())]
    Full {
        /// Where.
        folder: PathBuf,
        /// Bytes that are needed.
        needs: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The disk does not do as it is told.
    #[error("cannot {doing} {}", path.display())]
    Disk {
        /// What was tried, such as `write`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Error {
    /// `doing` something to `path` failed with `source`.
    pub fn disk(doing: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Disk { doing, path: path.to_path_buf(), source }
    }

    /// What to do about it, in one sentence.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "`streamforge models list` lists those that are known",
            Self::Unreachable { .. } => "look at the network, or name another place with --from",
            Self::Refused { .. } => "look at the address, or name another place with --from",
            Self::Cut { .. } => "ask again, it goes on where it broke off",
            Self::Wrong { .. } => "nothing of it was kept; ask again, or name another place with --from",
            Self::Full { .. } => "make room, or name a folder on another disk with --models",
            Self::Disk { source, .. } if is_full(source) => "make room, or name a folder on another disk with --models",
            Self::Disk { .. } => "look at the folder and its permissions, or name another with --models",
        }
    }

    /// Whether what came so far is worth being kept for another try. A full disk wants its room back.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self, Self::Cut { .. } | Self::Unreachable { .. })
    }
}

/// Whether `error` says that there is no room, on the disk or in what its owner may use of it.
fn is_full(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}
