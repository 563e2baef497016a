//! Models that are known: what each does, where it officially lies, how large it is and how well it is said to do.

use serde::Serialize;

use super::table::TABLE;

/// A model that is known.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name here, and of its folder.
    pub name: &'static str,
    /// What it does.
    pub task: Task,
    /// What it does, for a person: at most 30 letters.
    pub about: &'static str,
    /// Its repository at Hugging Face.
    pub repository: &'static str,
    /// The commit of the repository, 40 hex digits, so that what is pulled never changes.
    pub revision: &'static str,
    /// The licence that its model card states.
    pub licence: &'static str,
    /// How well it does, where its makers say so.
    pub published: Option<Published>,
    /// What belongs to it; small files first, so that a wrong address shows early.
    pub files: &'static [KnownFile],
}

/// What a model does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// Writes down what is said.
    Speech,
    /// Says what a picture shows.
    Pictures,
}

/// A figure that the makers of a model have published.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Published {
    /// Words that are wrong on `test-clean` of LibriSpeech, percent, as the model card says.
    WordError(f64),
    /// Pictures of ImageNet's validation set whose first label is right, percent.
    TopOne(f64),
}

/// A file of a model that is known.
#[derive(Clone, Copy, Debug)]
pub struct KnownFile {
    /// Its name, without a folder.
    pub name: &'static str,
    /// How large it is.
    pub size: Size,
    /// SHA-256, 64 lower-case hex digits; nothing where no published sum is known. Then the sum of what comes is written down at first
    /// use and holds from then on.
    pub sha256: Option<&'static str>,
}

/// How large a file is, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// To the byte.
    Exact(u64),
    /// As its page says it, with three digits; good for a bar, not for a check.
    About(u64),
}

impl Size {
    /// Bytes, where every one of them is known.
    pub fn exactly(self) -> Option<u64> {
        match self {
            Self::Exact(bytes) => Some(bytes),
            Self::About(_) => None,
        }
    }

    /// Bytes, as well as they are known.
    pub fn roughly(self) -> u64 {
        match self {
            Self::Exact(bytes) | Self::About(bytes) => bytes,
        }
    }
}

impl Known {
    /// Bytes of all of its files, as well as they are known.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size.roughly()).sum()
    }

    /// The page that says all of this, and more.
    pub fn page(&self) -> String {
        format!("https://huggingface.co/{}", self.repository)
    }
}

/// All models that are known.
pub fn all() -> &'static [Known] {
    TABLE
}

/// The model of this name.
pub fn find(name: &str) -> Option<&'static Known> {
    TABLE.iter().find(|known| known.name == name)
}

/// The name that is closest to `written`.
pub fn nearest(written: &str) -> &'static str {
    let far = |known: &&Known| strsim::damerau_levenshtein(known.name, written);
    TABLE.iter().min_by_key(far).map_or("", |known| known.name)
}
