//! The shelf: which models are known, the folder in which they lie, and how they get there.
//!
//! A model lies in a folder of its own name below the folder of the setting `models`: the files of Hugging Face and beside them
//! an inventory of what came. It appears whole, by one rename, or not at all.
//!
//! # Layout
//! - here: where a model lies and whether it is whole, for stages and commands
//! - [`known`]: the table of known models, `table`: its rows; [`inventory`]: what lies beside a model's files
//! - [`place`]: where models come from; `web`: over HTTP; [`pull`]: bringing one here; `part`: one that is not whole yet
//! - [`verify`]: every byte read again; [`sum`]: SHA-256

pub mod error;
pub mod inventory;
pub mod known;
mod part;
pub mod place;
pub mod pull;
pub mod sum;
mod table;
pub mod verify;
mod web;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use error::Error;
use inventory::Inventory;

/// The file without which a folder is no model, whatever else it holds.
const WEIGHTS: &str = "model.safetensors";

/// A folder in which models lie.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

/// Why a model cannot be used, as one sentence that says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// It is not there.
    #[error("no model: run streamforge models pull {name}")]
    Absent {
        /// Its name.
        name: String,
    },
    /// Something of it is not there.
    #[error("model {name} is not whole, {fault}: run streamforge models pull {name}")]
    Broken {
        /// Its name.
        name: String,
        /// What is wrong, such as `config.json is missing`.
        fault: String,
    },
}

/// How a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It is not there.
    Absent,
    /// Every file is there with its size.
    Whole,
    /// Something is not as it should be: what.
    Broken(String),
}

/// A file that a model needs, and its size in bytes where that is known.
struct Needed {
    name: String,
    bytes: Option<u64>,
}

impl Shelf {
    /// The shelf in `folder`, which need not be there yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder in which the models lie.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the model `name` lies, or would.
    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of the model `name`, when every file is there with its size; what is in them [`verify`] says.
    pub fn find(&self, name: &str) -> Result<PathBuf, Missing> {
        match self.state(name) {
            State::Whole => Ok(self.at(name)),
            State::Absent => Err(Missing::Absent { name: name.to_owned() }),
            State::Broken(fault) => Err(Missing::Broken { name: name.to_owned(), fault }),
        }
    }

    /// How the model `name` is. Reads no more than its inventory.
    pub fn state(&self, name: &str) -> State {
        let folder = self.at(name);
        if !is_name(name) || !folder.is_dir() {
            return State::Absent;
        }
        let inventory = match Inventory::read(&folder) {
            Ok(inventory) => inventory,
            Err(_) => return State::Broken(format!("{} cannot be read", inventory::FILE)),
        };
        let fault = needed(name, inventory.as_ref()).into_iter().find_map(|file| fault(&folder, &file));
        fault.map_or(State::Whole, State::Broken)
    }

    /// Names of the models that are here, whole or not, sorted.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::disk("read", &self.folder, error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| Error::disk("read", &self.folder, error))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_name(&name) && entry.path().is_dir() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Bytes that a pull of `name` that was cut has left behind; nothing when there was none.
    pub fn unfinished(&self, name: &str) -> Option<u64> {
        let entries = std::fs::read_dir(part::folder(&self.folder, name)).ok()?;
        let bytes = entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len());
        Some(bytes.sum()).filter(|bytes| *bytes > 0)
    }

    /// Removes the model `name` and what a cut pull has left of it; true when there was anything.
    pub fn remove(&self, name: &str) -> Result<bool, Error> {
        if !is_name(name) {
            return Ok(false);
        }
        let was_unfinished = part::discard(&self.folder, name)?;
        let folder = self.at(name);
        // Out of sight first: whoever looks meanwhile sees the model whole or not at all.
        let gone = self.folder.join(format!(".{name}.gone"));
        let removed = |error: std::io::Error| Error::disk("remove", &folder, error);
        if gone.symlink_metadata().is_ok() {
            std::fs::remove_dir_all(&gone).map_err(removed)?;
        }
        match std::fs::rename(&folder, &gone) {
            Ok(()) => std::fs::remove_dir_all(&gone).map(|()| true).map_err(removed),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(was_unfinished),
            Err(error) => Err(removed(error)),
        }
    }
}

/// Whether `name` can be the name of a model, and of its folder.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=100).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(['.', '-'])
        && !name.ends_with(part::ENDING)
}

/// What must be in the folder of the model `name`: what came, or what is known of it when its owner put it there by hand.
fn needed(name: &str, inventory: Option<&Inventory>) -> Vec<Needed> {
    let mut files: Vec<Needed> = match (inventory, known::find(name)) {
        (Some(inventory), _) => {
            let of = |item: &inventory::Item| Needed { name: item.name.clone(), bytes: Some(item.bytes) };
            inventory.files.iter().map(of).collect()
        }
        (None, Some(known)) => {
            let of = |file: &known::KnownFile| Needed { name: file.name.to_owned(), bytes: file.size.exactly() };
            known.files.iter().map(of).collect()
        }
        (None, None) => Vec::new(),
    };
    if !files.iter().any(|file| file.name == WEIGHTS) {
        files.push(Needed { name: WEIGHTS.to_owned(), bytes: None });
    }
    files
}

/// What is wrong with `file` in `folder`, as far as its size tells.
fn fault(folder: &Path, file: &Needed) -> Option<String> {
    let name = &file.name;
    match (std::fs::metadata(folder.join(name)), file.bytes) {
        (Ok(metadata), _) if !metadata.is_file() => Some(format!("{name} is no file")),
        (Ok(metadata), Some(bytes)) if metadata.len() != bytes => {
            Some(format!("{name} has {} bytes instead of {bytes}", metadata.len()))
        }
        (Ok(_), _) => None,
        (Err(error), _) if error.kind() == std::io::ErrorKind::NotFound => Some(format!("{name} is missing")),
        (Err(error), _) => Some(format!("{name} cannot be read: {error}")),
    }
}
