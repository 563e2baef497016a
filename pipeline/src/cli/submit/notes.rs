//! Where uploads go on that were interrupted: a small file in the user's own state folder
//! (`$XDG_STATE_HOME/streamforge/uploads.json`, as the XDG base directory specification has it).
//!
//! It is a convenience. Whoever has no such folder uploads from the beginning, and a note that is wrong costs one question to
//! the server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::files::Source;

/// Notes older than this are forgotten, seconds: servers keep no unfinished upload for so long.
const OLDEST_S: u64 = 30 * 24 * 3600;

/// What is known of uploads that were begun.
pub(super) struct Notes {
    file: Option<PathBuf>,
    one_at_a_time: Mutex<()>,
}

/// One upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    /// Its address.
    address: String,
    /// When it was begun, seconds since the Unix epoch.
    at: u64,
}

impl Notes {
    pub(super) fn open() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder =
            variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local").join("state")));
        Self {
            file: folder.map(|folder| folder.join("streamforge").join("uploads.json")),
            one_at_a_time: Mutex::new(()),
        }
    }

    /// The address at which `source` is being uploaded to `server`.
    pub(super) fn address(&self, server: &str, source: &Source) -> Option<String> {
        let file = self.file.as_deref()?;
        read(file).remove(&key(server, source)?).map(|note| note.address)
    }

    /// Notes that `source` goes to `address` now.
    pub(super) fn begun(&self, server: &str, source: &Source, address: &str) {
        let Some(key) = key(server, source) else { return };
        self.change(|notes| {
            notes.insert(key, Note { address: address.to_owned(), at: now_s() });
        });
    }

    /// Forgets `source`.
    pub(super) fn over(&self, server: &str, source: &Source) {
        let Some(key) = key(server, source) else { return };
        self.change(|notes| drop(notes.remove(&key)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, Note>)) {
        let Some(file) = self.file.as_deref() else { return };
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let mut notes = read(file);
        change(&mut notes);
        if let Err(error) = write(file, &notes) {
            tracing::debug!(%error, "what is being uploaded cannot be noted");
        }
    }
}

/// What tells one upload from another; none for what is no plain file.
fn key(server: &str, source: &Source) -> Option<String> {
    let path = source.path.canonicalize().ok()?;
    Some(format!("{server} {} {} {}", source.length?, source.changed_ms, path.display()))
}

fn read(file: &Path) -> BTreeMap<String, Note> {
    let known: Option<BTreeMap<String, Note>> =
        std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let mut notes = known.unwrap_or_default();
    notes.retain(|_, note| now_s().saturating_sub(note.at) < OLDEST_S);
    notes
}

/// Replaces the file as a whole: two commands at once lose a note at worst.
fn write(file: &Path, notes: &BTreeMap<String, Note>) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&beside, serde_json::to_vec_pretty(notes)?)?;
    std::fs::rename(&beside, file)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
