//! Where models come from: the official place, a mirror of it, or a folder.

use std::path::PathBuf;

use reqwest::Url;

use super::pull::Wanted;

/// Where models officially are, as an address with parts to fill in.
pub const OFFICIAL: &str = "https://huggingface.co/{repository}/resolve/{revision}";

/// Parts of an address that are filled in.
const PARTS: [&str; 3] = ["{name}", "{repository}", "{revision}"];

/// A place that models come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A server: the address of a model's folder, with parts to fill in.
    Server(String),
    /// A folder with a folder for each model, such as a shelf, or the folder of one model.
    Folder(PathBuf),
}

impl Place {
    /// The place that `text` means: `http://` or `https://` with `{name}`, `{repository}` and `{revision}` to be filled in, or
    /// without any for `<address>/<name>/`; a folder, with or without `file://`. The error says what would be right.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        const RIGHT: &str = "it must be a folder, or begin with http://, https:// or file://";
        if let Some(folder) = text.strip_prefix("file://") {
            return if folder.is_empty() { Err(RIGHT) } else { Ok(Self::Folder(PathBuf::from(folder))) };
        }
        if !text.starts_with("http://") && !text.starts_with("https://") {
            let is_folder = !text.is_empty() && !text.contains("://");
            return if is_folder { Ok(Self::Folder(PathBuf::from(text))) } else { Err(RIGHT) };
        }
        if text.ends_with("://") {
            return Err(RIGHT);
        }
        let mut template = text.trim_end_matches('/').to_owned();
        if !PARTS.iter().any(|part| template.contains(part)) {
            template.push_str("/{name}");
        }
        let filled = PARTS.iter().fold(template.clone(), |address, part| address.replace(part, "x"));
        if filled.contains(['{', '}']) {
            return Err("only {name}, {repository} and {revision} can be filled in");
        }
        match Url::parse(&filled) {
            Ok(url) if url.query().is_none() && url.fragment().is_none() => Ok(Self::Server(template)),
            Ok(_) => Err("it must end with the path"),
            Err(_) => Err("it must be an address such as https://models.example.com"),
        }
    }

    /// The address of `file` of the model `wanted`; nothing when the place is a folder, or cannot have that model.
    pub(super) fn address(&self, wanted: &Wanted, file: &str) -> Option<Url> {
        let Self::Server(template) = self else { return None };
        let parts = [wanted.name.as_str(), wanted.repository.as_str(), wanted.revision.as_str()];
        let needs = |(part, value): &(&str, &str)| template.contains(part) && value.is_empty();
        if PARTS.into_iter().zip(parts).any(|pair| needs(&pair)) {
            return None;
        }
        let folder =
            PARTS.iter().zip(parts).fold(template.clone(), |address, (part, value)| address.replace(part, value));
        Url::parse(&format!("{folder}/{file}")).ok()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            // The password of an address ends before the first part that is filled in.
            Self::Server(template) => match (template.split_once("://"), template.rfind('@')) {
                (Some((scheme, _)), Some(at)) => write!(f, "{scheme}://***{}", &template[at..]),
                _ => f.write_str(template),
            },
        }
    }
}

/// `url` without its password.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both refuse addresses without a host only, and those never get here.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}
