//! Every byte of a model read again and held against what is known of it.

use serde::Serialize;

use super::error::Error;
use super::inventory::Inventory;
use super::pull::Watch;
use super::{Shelf, known, sum};

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Its name.
    pub name: String,
    /// Its SHA-256 now; nothing when it cannot be read.
    pub sha256: Option<String>,
    /// What is wrong; nothing when it is as it should be.
    pub fault: Option<String>,
    /// Whether there is a sum that it could be held against. There is none for a file that was put there by hand and whose sum nobody
    /// has published.
    pub has_sum: bool,
}

/// What is known of a file.
struct Known {
    name: String,
    bytes: Option<u64>,
    sha256: Option<String>,
}

/// Reads every file of the model `name`, which takes as long as the disk needs. Whether a file is right the table says first and the
/// inventory second.
pub fn verify(shelf: &Shelf, name: &str, watch: &dyn Watch) -> Result<Vec<Checked>, Error> {
    let folder = shelf.at(name);
    let files = files(name, Inventory::read(&folder)?);
    files.into_iter().map(|file| check(&folder.join(&file.name), &file, watch)).collect()
}

fn check(path: &std::path::Path, file: &Known, watch: &dyn Watch) -> Result<Checked, Error> {
    let is = |sha256, fault| Checked { name: file.name.clone(), sha256, fault, has_sum: file.sha256.is_some() };
    let of = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(is(None, Some("it is missing".into())));
        }
        Err(error) => return Ok(is(None, Some(format!("it cannot be read: {error}")))),
    };
    watch.begins(&file.name, 0, of);
    let (hasher, bytes) = match sum::of_file(path, &|bytes| watch.is_at(bytes)) {
        Ok(hashed) => hashed,
        Err(Error::Disk { source, .. }) => return Ok(is(None, Some(format!("it cannot be read: {source}")))),
        Err(error) => return Err(error),
    };
    let sha256 = sum::shown(hasher);
    let fault = match (&file.sha256, file.bytes) {
        (_, Some(should)) if should != bytes => Some(format!("it has {bytes} bytes instead of {should}")),
        (Some(should), _) if *should != sha256 => Some(format!("its SHA-256 is {sha256} instead of {should}")),
        _ => None,
    };
    Ok(is(Some(sha256), fault))
}

/// What belongs to the model `name`.
fn files(name: &str, inventory: Option<Inventory>) -> Vec<Known> {
    let table = known::find(name).map(|known| known.files).unwrap_or_default();
    let mut files: Vec<Known> = table
        .iter()
        .map(|file| Known {
            name: file.name.to_owned(),
            bytes: file.size.exactly(),
            sha256: file.sha256.map(str::to_owned),
        })
        .collect();
    for item in inventory.map(|inventory| inventory.files).unwrap_or_default() {
        match files.iter_mut().find(|file| file.name == item.name) {
            Some(file) => {
                file.bytes = file.bytes.or(Some(item.bytes));
                file.sha256 = file.sha256.take().or(Some(item.sha256));
            }
            None => files.push(Known { name: item.name, bytes: Some(item.bytes), sha256: Some(item.sha256) }),
        }
    }
    if files.is_empty() {
        files.push(Known { name: super::WEIGHTS.to_owned(), bytes: None, sha256: None });
    }
    files
}
