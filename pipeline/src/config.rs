//! The settings: flag beats environment beats `streamforge.toml` beats default.
//!
//! # Layout
//! - [`key`]: THE list of keys, with their environment variables and defaults
//! - [`size`]: byte counts as people write them
//! - here: where each value comes from, and the typed settings that follow

pub mod key;
pub mod size;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

pub use key::{KEYS, Key};

/// The file that is read from the working folder when nobody names another.
pub const FILE: &str = "streamforge.toml";

/// Environment variable that names another settings file.
pub const FILE_VARIABLE: &str = "STREAMFORGE_CONFIG";

/// Why there are no settings to run with. All of them are wrong usage.
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
    /// A value that means nothing.
    #[error("setting `{key}` from {origin} is `{value}`, but {expected}")]
    BadValue {
        /// The key.
        key: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// As written, secrets masked.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// A value for a side that this build does not have.
    #[error("setting `{key}` from {origin} asks for {service}, which is not in this build yet")]
    NotInThisBuild {
        /// The key.
        key: &'static str,
        /// Where the value comes from.
        origin: Origin,
        /// The service, by its name.
        service: &'static str,
    },
}

impl Error {
    /// What to do about it, in one sentence.
    pub fn advice(&self) -> String {
        match self {
            Self::Unreadable { .. } => format!("name a file that can be read with --config or {FILE_VARIABLE}"),
            Self::Malformed { .. } => "write one `key = \"value\"` a line".to_owned(),
            Self::UnknownKey { .. } => {
                format!("the settings are {}", KEYS.map(|key| key.name).join(", "))
            }
            Self::BadValue { key, .. } => format!("`streamforge config show` lists `{key}` and where it comes from"),
            Self::NotInThisBuild { key, .. } => {
                format!("leave `{key}` out, and everything runs on the embedded doors of one machine")
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: &'static str,
    /// What was written, or the default. May hold a secret: show [`Setting::shown`] instead.
    #[serde(skip)]
    pub value: String,
    /// The value with passwords masked.
    #[serde(rename = "value")]
    pub shown: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Everything from outside that settings are made of.
#[derive(Clone, Debug, Default)]
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
    /// Folder of the blobs.
    pub blobs: PathBuf,
    /// Prefix under which a proxy shows the edge; starts and ends with `/`.
    pub public_path: String,
    /// Largest upload in bytes.
    pub max_upload_bytes: u64,
    /// How many pieces of work run at once in this process.
    pub slots: usize,
    /// How long running work may take to finish on shutdown.
    pub grace: Duration,
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
        reader.embedded("log", "kafka://", "Kafka")?;
        reader.embedded("catalog", "scylla://", "ScyllaDB")?;
        reader.built_in_registry()?;
        let data = reader.path("data")?;
        let config = Self {
            listen: reader.address("listen")?,
            ops_listen: reader.address("ops_listen")?,
            blobs: reader.blobs(&data)?,
            data,
            public_path: reader.public_path()?,
            max_upload_bytes: reader.size("max_upload_bytes")?,
            slots: reader.slots(cores)?,
            grace: reader.grace()?,
            log_format: reader.log_format()?,
            settings: Vec::new(),
            stray_variables,
        };
        Ok(Self { settings: completed(settings, &config), ..config })
    }
}

/// Defaults that depend on the machine or on other settings, spelled out for whoever looks.
fn completed(mut settings: Vec<Setting>, config: &Config) -> Vec<Setting> {
    for setting in settings.iter_mut().filter(|setting| setting.value.is_empty()) {
        setting.shown = match setting.key {
            "blobs" => format!("file://{}", config.blobs.display()),
            "slots" => config.slots.to_string(),
            _ => setting.shown.clone(),
        };
    }
    settings
}

/// Which value of each key holds, and why.
fn settle(given: &Given) -> Result<Vec<Setting>, Error> {
    let (path, in_file) = match &given.file {
        Some((path, text)) => (path.clone(), file_values(path, text)?),
        None => (PathBuf::new(), BTreeMap::new()),
    };
    let settled = KEYS.iter().map(|key| {
        let (value, origin) = if let Some(value) = given.flags.get(key.name) {
            (value.clone(), Origin::Flag(key.flag()))
        } else if let Some(value) = given.environment.get(&key.variable()).filter(|value| !value.is_empty()) {
            (value.clone(), Origin::Environment(key.variable()))
        } else if let Some(value) = in_file.get(key.name) {
            (value.clone(), Origin::File(path.clone()))
        } else {
            (key.default.to_owned(), Origin::Default)
        };
        let shown = key::masked(&value);
        Setting { key: key.name, value, shown, origin }
    });
    Ok(settled.collect())
}

fn file_values(path: &Path, text: &str) -> Result<BTreeMap<&'static str, String>, Error> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| Error::Malformed { path: path.to_owned(), reason: located(text, &error) })?;
    let mut values = BTreeMap::new();
    for (name, value) in table {
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            return Err(Error::UnknownKey { nearest: key::nearest(&name), key: name, path: path.to_owned() });
        };
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            other => {
                return Err(Error::BadValue {
                    key: key.name,
                    origin: Origin::File(path.to_owned()),
                    value: other.to_string(),
                    expected: "it must be a text or a number".to_owned(),
                });
            }
        };
        values.insert(key.name, value);
    }
    Ok(values)
}

/// The parser's complaint in one line; its own rendering quotes the line, which may hold a password.
fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
    format!("line {line}: {}", error.message())
}

/// Reads settled values into types.
struct Reader<'a> {
    settings: &'a [Setting],
}

impl Reader<'_> {
    fn setting(&self, key: &'static str) -> Setting {
        let missing = || Setting { key, value: String::new(), shown: String::new(), origin: Origin::Default };
        self.settings.iter().find(|setting| setting.key == key).cloned().unwrap_or_else(missing)
    }

    fn bad<T>(setting: Setting, expected: impl Into<String>) -> Result<T, Error> {
        let Setting { key, shown, origin, .. } = setting;
        Err(Error::BadValue { key, origin, value: shown, expected: expected.into() })
    }

    fn address(&self, key: &'static str) -> Result<SocketAddr, Error> {
        let setting = self.setting(key);
        match setting.value.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => Ok(address),
            _ => Self::bad(setting, "it must be an address and a port such as 127.0.0.1:8080"),
        }
    }

    fn path(&self, key: &'static str) -> Result<PathBuf, Error> {
        let setting = self.setting(key);
        if setting.value.is_empty() {
            return Self::bad(setting, "it must name a folder");
        }
        Ok(PathBuf::from(setting.value))
    }

    fn embedded(&self, key: &'static str, scheme: &str, service: &'static str) -> Result<(), Error> {
        let setting = self.setting(key);
        if setting.value == "embedded" {
            return Ok(());
        }
        if setting.value.starts_with(scheme) {
            return Err(Error::NotInThisBuild { key, origin: setting.origin, service });
        }
        Self::bad(setting, format!("it must be `embedded` or start with `{scheme}`"))
    }

    fn blobs(&self, data: &Path) -> Result<PathBuf, Error> {
        let setting = self.setting("blobs");
        if setting.value.is_empty() {
            return Ok(data.join("blobs"));
        }
        if setting.value.starts_with("s3://") {
            return Err(Error::NotInThisBuild { key: "blobs", origin: setting.origin, service: "S3" });
        }
        match setting.value.strip_prefix("file://") {
            Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
            _ => Self::bad(setting, "it must start with `file://` or `s3://`"),
        }
    }

    fn built_in_registry(&self) -> Result<(), Error> {
        let setting = self.setting("registry");
        if setting.value == "built-in" {
            return Ok(());
        }
        if setting.value.starts_with("http://") || setting.value.starts_with("https://") {
            let service = "a schema registry of its own";
            return Err(Error::NotInThisBuild { key: "registry", origin: setting.origin, service });
        }
        Self::bad(setting, "it must be `built-in` or start with `http://`")
    }

    fn public_path(&self) -> Result<String, Error> {
        let setting = self.setting("public_path");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let path = setting.value.trim_matches('/');
        if !setting.value.starts_with('/') || !path.bytes().all(plain) || path.split('/').any(|part| part == "..") {
            return Self::bad(setting, "it must be a plain path such as `/` or `/video/`");
        }
        Ok(if path.is_empty() { "/".to_owned() } else { format!("/{path}/") })
    }

    fn size(&self, key: &'static str) -> Result<u64, Error> {
        let setting = self.setting(key);
        match size::parse(&setting.value) {
            Ok(0) => Self::bad(setting, "it must be more than nothing"),
            Ok(bytes) => Ok(bytes),
            Err(error) => Self::bad(setting, error.to_string()),
        }
    }

    fn slots(&self, cores: usize) -> Result<usize, Error> {
        let setting = self.setting("slots");
        if setting.value.is_empty() {
            return Ok(cores);
        }
        match setting.value.parse() {
            Ok(slots) if (1..=1024).contains(&slots) => Ok(slots),
            _ => Self::bad(setting, "it must be a whole number from 1 to 1024"),
        }
    }

    fn grace(&self) -> Result<Duration, Error> {
        let setting = self.setting("grace_s");
        match setting.value.parse::<f64>() {
            Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Self::bad(setting, "it must be a number of seconds from 0 to 3600"),
        }
    }

    fn log_format(&self) -> Result<LogFormat, Error> {
        let setting = self.setting("log_format");
        match setting.value.as_str() {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Self::bad(setting, "it must be `auto`, `text` or `json`"),
        }
    }
}
