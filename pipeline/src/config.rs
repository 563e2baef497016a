//! The settings: flag beats environment beats `streamforge.toml` beats default.
//!
//! # Layout
//! - [`key`]: THE list of keys, with their environment variables and defaults
//! - [`size`]: byte counts as people write them; [`door`]: addresses of doors
//! - here: where each value comes from; `read`: the typed settings that follow

pub mod door;
pub mod key;
mod read;
pub mod size;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use connectors::open::{BlobsAt, CatalogAt, LogAt, Wanted};
use serde::Serialize;

use crate::edge::cors::Origins;
use crate::edge::watched::After;
use crate::shelf::place::Place;

pub use key::{KEYS, Key};
use read::Reader;

/// The file that is read from the working folder when nobody names another.
pub const FILE: &str = "streamforge.toml";

/// Environment variable that names another settings file.
pub const FILE_VARIABLE: &str = "STREAMFORGE_CONFIG";

/// What the names of settings begin with that are properties of the Kafka client.
const KAFKA: &str = "kafka.";

/// Why there are no settings to run with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings file cannot be read.
    #[error("read the settings file {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The settings file is no TOML.
    #[error("{path} is not valid TOML: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected, as the parser says it.
        reason: String,
    },
    /// A key that nobody knows.
    #[error("unknown setting `{key}` in {path}; did you mean `{nearest}`?")]
    UnknownKey {
        /// As written.
        key: String,
        /// The file.
        path: PathBuf,
        /// The known key that is closest.
        nearest: &'static str,
    },
    /// A variable of the environment that looks like a setting and is none.
    #[error("unknown setting {variable} in the environment; did you mean {nearest}?")]
    UnknownVariable {
        /// As it is.
        variable: String,
        /// The known variable that is closest.
        nearest: String,
    },
    /// A value that means nothing.
    #[error("setting `{key}` from {origin} is `{value}`, but {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// Where the value comes from.
        origin: Origin,
        /// As written, secrets masked.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A role that shares its doors with other processes, and a door that belongs to one.
    #[error("`{role}` shares its {key} with other processes, but `{key}` is `embedded`, which belongs to one process")]
    Clash {
        /// The command.
        role: &'static str,
        /// The key.
        key: &'static str,
    },
}

impl Error {
    /// What to do about it, in one sentence.
    pub fn advice(&self) -> String {
        match self {
            Self::Unreadable { .. } => format!("name a file that can be read with --config or {FILE_VARIABLE}"),
            Self::Malformed { .. } => "write one `key = \"value\"` a line".to_owned(),
            Self::UnknownKey { .. } | Self::UnknownVariable { .. } => {
                format!("the settings are {}", KEYS.map(|key| key.name).join(", "))
            }
            Self::BadValue { key, .. } => format!("`streamforge config show` lists `{key}` and where it comes from"),
            Self::Clash { key, .. } => {
                let address = if *key == "log" { "kafka://host:9092" } else { "scylla://host:9042/keyspace" };
                format!("set `{key}` to {address}, or run every role in one process with `streamforge up`")
            }
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "name", rename_all = "snake_case")]
pub enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// A variable of the environment.
    Environment(String),
    /// The settings file.
    File(PathBuf),
    /// Nobody said anything.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Environment(variable) => f.write_str(variable),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting as it holds.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key; for a property of the Kafka client `kafka.` and its name.
    pub key: String,
    /// What was written, or the default. May hold a secret: show [`Setting::shown`] instead.
    #[serde(skip)]
    pub value: String,
    /// The value with passwords masked.
    #[serde(rename = "value")]
    pub shown: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.shown, self.origin)
    }
}

/// Everything from outside that settings are made of. May hold secrets.
#[derive(Clone, Default)]
pub struct Given {
    /// Values of flags by key.
    pub flags: BTreeMap<&'static str, String>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// The settings file, if there is one: where it lies and what it says.
    pub file: Option<(PathBuf, String)>,
}

impl Given {
    /// Flags with this process's environment and the settings file that `path`, the environment or the working
    /// folder names.
    pub fn with_surroundings(flags: BTreeMap<&'static str, String>, path: Option<&Path>) -> Result<Self, Error> {
        let environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with("STREAMFORGE_"))
            .collect();
        let named = path
            .map(Path::to_path_buf)
            .or_else(|| environment.get(FILE_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
        let file = match named {
            Some(path) => Some(read(path)?),
            None if Path::new(FILE).exists() => Some(read(PathBuf::from(FILE))?),
            None => None,
        };
        Ok(Self { flags, environment, file })
    }
}

fn read(path: PathBuf) -> Result<(PathBuf, String), Error> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok((path, text)),
        Err(source) => Err(Error::Unreadable { path, source }),
    }
}

/// The settings of one process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the edge listens; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Where metrics, health and readiness are served.
    pub ops_listen: SocketAddr,
    /// Folder of everything that the embedded doors keep.
    pub data: PathBuf,
    /// Where the log is.
    pub log: LogAt,
    /// Where the catalog is.
    pub catalog: CatalogAt,
    /// Where the blobs are.
    pub blobs: BlobsAt,
    /// A worker of which nothing was heard for so long counts as gone.
    pub session_timeout: Duration,
    /// Prefix under which a proxy shows the edge; starts and ends with `/`.
    pub public_path: String,
    /// Largest upload in bytes.
    pub max_upload_bytes: u64,
    /// How long a resumable upload waits for more bytes.
    pub upload_expiry: Duration,
    /// A folder whose videos are taken as they come.
    pub watch: Option<PathBuf>,
    /// What becomes of a watched file whose video is ready.
    pub watch_after: After,
    /// Whose pages may upload resumably from their own origin.
    pub upload_origins: Origins,
    /// How many pieces of work run at once in this process.
    pub slots: usize,
    /// How long running work may take to finish on shutdown.
    pub grace: Duration,
    /// Folder in which models lie.
    pub models: PathBuf,
    /// Name of the model that hears what is said; `none` for no captions.
    pub caption_model: String,
    /// Name of the model that says what pictures show; `none` for no model.
    pub image_model: String,
    /// Where models come from.
    pub models_from: Place,
    /// How log lines look.
    pub log_format: LogFormat,
    /// Every setting and where it comes from, in the order of [`KEYS`].
    pub settings: Vec<Setting>,
    /// Variables of the environment that look like settings and are none.
    pub stray_variables: Vec<String>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Readable on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Config {
    /// The settings that follow from what was `given`.
    pub fn from_given(given: &Given) -> Result<Self, Error> {
        let settings = settle(given)?;
        let stray_variables = given.environment.keys().filter(|name| key::is_stray(name)).cloned().collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let reader = Reader { settings: &settings };
        // Wrong is wrong, even where nobody asks for it.
        reader.registry()?;
        reader.plain("topic_prefix")?;
        reader.plain("instance")?;
        let data = reader.path("data")?;
        let config = Self {
            listen: reader.address("listen")?,
            ops_listen: reader.address("ops_listen")?,
            log: reader.log()?,
            catalog: reader.catalog()?,
            blobs: reader.blobs(&data)?,
            models: reader.models(&data),
            caption_model: reader.caption_model()?,
            image_model: reader.image_model()?,
            models_from: reader.models_from()?,
            data,
            public_path: reader.public_path()?,
            max_upload_bytes: reader.size("max_upload_bytes")?,
            upload_expiry: reader.upload_expiry()?,
            watch: reader.watch(),
            watch_after: reader.watch_after()?,
            upload_origins: reader.upload_origins()?,
            slots: reader.slots(cores)?,
            session_timeout: reader.session_timeout()?,
            grace: reader.grace()?,
            log_format: reader.log_format()?,
            settings: Vec::new(),
            stray_variables,
        };
        Ok(Self { settings: completed(settings, &config), ..config })
    }

    /// The doors that it names.
    pub fn doors(&self) -> Wanted {
        Wanted {
            data: self.data.clone(),
            log: self.log.clone(),
            catalog: self.catalog.clone(),
            blobs: self.blobs.clone(),
        }
    }

    /// Refuses variables that are settings but for their spelling.
    pub fn check_spelling(&self) -> Result<(), Error> {
        let misspelt =
            self.stray_variables.iter().find_map(|variable| Some((variable.clone(), key::misspelt(variable)?)));
        match misspelt {
            Some((variable, nearest)) => Err(Error::UnknownVariable { variable, nearest }),
            None => Ok(()),
        }
    }

    /// Refuses doors that belong to one process for a `role` that shares them with others.
    pub fn check_shared(&self, role: &'static str) -> Result<(), Error> {
        if self.log == LogAt::Embedded {
            return Err(Error::Clash { role, key: "log" });
        }
        if self.catalog == CatalogAt::Embedded {
            return Err(Error::Clash { role, key: "catalog" });
        }
        Ok(())
    }
}

/// Defaults that depend on the machine or on other settings, spelled out for whoever looks.
fn completed(mut settings: Vec<Setting>, config: &Config) -> Vec<Setting> {
    for setting in settings.iter_mut().filter(|setting| setting.value.is_empty()) {
        setting.shown = match setting.key.as_str() {
            "blobs" => config.doors().blobs_at(),
            "models" => config.models.display().to_string(),
            "slots" => config.slots.to_string(),
            _ => setting.shown.clone(),
        };
    }
    settings
}

/// What the settings file says: values of keys, and properties of the Kafka client.
#[derive(Default)]
struct InFile {
    values: BTreeMap<&'static str, String>,
    kafka: BTreeMap<String, String>,
}

/// Which value of each key holds, and why.
fn settle(given: &Given) -> Result<Vec<Setting>, Error> {
    let (path, in_file) = match &given.file {
        Some((path, text)) => (path.clone(), file_values(path, text)?),
        None => (PathBuf::new(), InFile::default()),
    };
    let settled = KEYS.iter().map(|key| {
        let (value, origin) = if let Some(value) = given.flags.get(key.name) {
            (value.clone(), Origin::Flag(key.flag()))
        } else if let Some(value) = given.environment.get(&key.variable()).filter(|value| !value.is_empty()) {
            (value.clone(), Origin::Environment(key.variable()))
        } else if let Some(value) = in_file.values.get(key.name) {
            (value.clone(), Origin::File(path.clone()))
        } else {
            (key.default.to_owned(), Origin::Default)
        };
        let shown = key::masked(&value);
        Setting { key: key.name.to_owned(), value, shown, origin }
    });
    let from_file = in_file.kafka.into_iter().map(|(name, value)| (name, (value, Origin::File(path.clone()))));
    let mut kafka: BTreeMap<String, (String, Origin)> = from_file.collect();
    kafka.extend(given.environment.iter().filter(|(_, value)| !value.is_empty()).filter_map(|(variable, value)| {
        let property = door::kafka_property(variable)?;
        Some((property, (value.clone(), Origin::Environment(variable.clone()))))
    }));
    let properties = kafka.into_iter().map(|(name, (value, origin))| {
        let shown = if door::is_secret(&name) { "***".to_owned() } else { key::masked(&value) };
        Setting { key: format!("{KAFKA}{name}"), value, shown, origin }
    });
    Ok(settled.chain(properties).collect())
}

fn file_values(path: &Path, text: &str) -> Result<InFile, Error> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| Error::Malformed { path: path.to_owned(), reason: located(text, &error) })?;
    let mut found = InFile::default();
    for (name, value) in table {
        let bad = |key: &str, value: String, expected: &str| Error::BadValue {
            key: key.to_owned(),
            origin: Origin::File(path.to_owned()),
            value,
            expected: expected.to_owned(),
        };
        if let ("kafka", toml::Value::Table(properties)) = (name.as_str(), &value) {
            found.kafka = door::properties(properties)
                .map_err(|name| bad(&format!("{KAFKA}{name}"), "…".to_owned(), "it must be a text or a number"))?;
            continue;
        }
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(Error::UnknownKey { nearest: key::nearest(&name), key: name, path: path.to_owned() });
        };
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            other => return Err(bad(key.name, other.to_string(), "it must be a text or a number")),
        };
        found.values.insert(key.name, value);
    }
    Ok(found)
}

/// The parser's complaint in one line; its own rendering quotes the line, which may hold a password.
fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    format!("line {line}: {}", error.message())
}
