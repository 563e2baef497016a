//! The settings in a model's folder, as Hugging Face has them.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::Error;

/// Reads the JSON file at `path`.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read(path).map_err(|error| Error::read(path, error))?;
    serde_json::from_slice(&text)
        .map_err(|error| Error::Unfit(format!("{} cannot be understood: {error}", path.display())))
}

/// Reads the JSON file at `path`, of which `check` says what is wrong; the error names the file.
pub fn read_checked<T: DeserializeOwned>(
    path: &Path,
    check: impl FnOnce(&T) -> Result<(), String>,
) -> Result<T, Error> {
    let settings: T = read_json(path)?;
    check(&settings).map_err(|fault| Error::Unfit(format!("{}: {fault}", path.display())))?;
    Ok(settings)
}
