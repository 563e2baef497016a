//! What lies beside the files of a model: which files came, from where, how large they are and what their sums are.
//!
//! A folder with an inventory can be handed on: another shelf pulls from it, whether the table knows the model or not.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::sum;

/// Its name in the folder of the model.
pub const FILE: &str = "inventory.json";

/// Longest inventory that is believed, bytes.
pub(super) const LONGEST: u64 = 1 << 20;

/// The inventory of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// The model's name.
    pub model: String,
    /// The commit or version that this is; empty when nobody said.
    #[serde(default)]
    pub revision: String,
    /// Where it came from, without a password.
    #[serde(default)]
    pub from: String,
    /// The files, in the order in which they came.
    pub files: Vec<Item>,
}

/// One file of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Its name, without a folder.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256, 64 lower-case hex digits.
    pub sha256: String,
    /// Who says so.
    pub sum: Says,
}

/// Who says what the sum of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// The table of known models.
    Table,
    /// The inventory of the place it came from.
    Inventory,
    /// The server that sent it, before it sent it; the table knows none.
    Server,
    /// Nobody: it is the sum of what came.
    FirstUse,
}

impl Inventory {
    /// The inventory in `folder`; nothing when there is none.
    pub fn read(folder: &Path) -> Result<Option<Self>, Error> {
        let path = folder.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => Self::parse(&bytes, &path.display().to_string()).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::disk("read", &path, error)),
        }
    }

    /// The inventory that `bytes` are, which come from `address`. Its names cannot leave the model's folder.
    pub(super) fn parse(bytes: &[u8], address: &str) -> Result<Self, Error> {
        let refused = |why: String| Error::Refused { address: address.to_owned(), why };
        let inventory: Self = serde_json::from_slice(bytes)
            .map_err(|error| refused(format!("it is no inventory of a model: {error}")))?;
        for (at, item) in inventory.files.iter().enumerate() {
            if !super::is_name(&item.name) || item.name == FILE {
                return Err(refused(format!("`{}` is no name of a file", item.name.escape_default())));
            }
            if inventory.files[..at].iter().any(|other| other.name == item.name) {
                return Err(refused(format!("`{}` is in it twice", item.name)));
            }
            if !sum::is_sum(&item.sha256) {
                return Err(refused(format!("the sum of `{}` is no SHA-256", item.name)));
            }
        }
        Ok(inventory)
    }
}
