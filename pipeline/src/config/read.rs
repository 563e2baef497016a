//! Settled values, read into types.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use connectors::log::registry::Address;
use connectors::open::{BlobsAt, Brokers, CatalogAt, LogAt};

use crate::edge::cors::Origins;
use crate::edge::watched::After;
use crate::shelf::place::Place;

use super::{Error, KAFKA, LogFormat, Origin, Setting, door, size};

/// Reads settled values into types.
pub(super) struct Reader<'a> {
    pub settings: &'a [Setting],
}

impl Reader<'_> {
    fn setting(&self, key: &'static str) -> Setting {
        let missing =
            || Setting { key: key.to_owned(), value: String::new(), shown: String::new(), origin: Origin::Default };
        self.settings.iter().find(|setting| setting.key == key).cloned().unwrap_or_else(missing)
    }

    fn bad<T>(setting: Setting, expected: impl Into<String>) -> Result<T, Error> {
        let Setting { key, shown, origin, .. } = setting;
        Err(Error::BadValue { key, origin, value: shown, expected: expected.into() })
    }

    pub fn address(&self, key: &'static str) -> Result<SocketAddr, Error> {
        let setting = self.setting(key);
        match setting.value.to_socket_addrs().map(|mut found| found.next()) {
            Ok(Some(address)) => Ok(address),
            _ => Self::bad(setting, "it must be an address and a port such as 127.0.0.1:8080"),
        }
    }

    pub fn path(&self, key: &'static str) -> Result<PathBuf, Error> {
        let setting = self.setting(key);
        if setting.value.is_empty() {
            return Self::bad(setting, "it must name a folder");
        }
        Ok(PathBuf::from(setting.value))
    }

    pub fn log(&self) -> Result<LogAt, Error> {
        let setting = self.setting("log");
        if setting.value == "embedded" {
            return Ok(LogAt::Embedded);
        }
        if !setting.value.starts_with("kafka://") {
            return Self::bad(setting, "it must be `embedded` or start with `kafka://`");
        }
        let brokers = match door::brokers(&setting.value) {
            Ok(brokers) => brokers,
            Err(right) => return Self::bad(setting, right),
        };
        let property = |setting: &Setting| Some((setting.key.strip_prefix(KAFKA)?.to_owned(), setting.value.clone()));
        Ok(LogAt::Kafka(Brokers {
            brokers,
            properties: self.settings.iter().filter_map(property).collect(),
            prefix: self.plain("topic_prefix")?,
            instance: Some(self.plain("instance")?).filter(|name| !name.is_empty()),
            session_timeout: self.session_timeout()?,
            registry: self.registry()?,
        }))
    }

    pub fn catalog(&self) -> Result<CatalogAt, Error> {
        let setting = self.setting("catalog");
        if setting.value == "embedded" {
            return Ok(CatalogAt::Embedded);
        }
        if !setting.value.starts_with("scylla://") {
            return Self::bad(setting, "it must be `embedded` or start with `scylla://`");
        }
        match door::cluster(&setting.value) {
            Ok(cluster) => Ok(CatalogAt::Scylla(cluster)),
            Err(right) => Self::bad(setting, right),
        }
    }

    pub fn blobs(&self, data: &Path) -> Result<BlobsAt, Error> {
        let setting = self.setting("blobs");
        if setting.value.is_empty() {
            return Ok(BlobsAt::Folder(data.join("blobs")));
        }
        match door::blobs(&setting.value) {
            Ok(blobs) => Ok(blobs),
            Err(right) => Self::bad(setting, right),
        }
    }

    pub fn models(&self, data: &Path) -> PathBuf {
        let setting = self.setting("models");
        if setting.value.is_empty() { data.join("models") } else { PathBuf::from(setting.value) }
    }

    pub fn caption_model(&self) -> Result<String, Error> {
        self.model("caption_model", "it must be the name of a model, such as whisper-base.en, or none")
    }

    pub fn image_model(&self) -> Result<String, Error> {
        self.model("image_model", "it must be the name of a model, such as mobilenet-v2-1.0-224, or none")
    }

    fn model(&self, key: &'static str, right: &'static str) -> Result<String, Error> {
        let setting = self.setting(key);
        match crate::shelf::is_name(&setting.value) {
            true => Ok(setting.value.clone()),
            false => Self::bad(setting, right),
        }
    }

    pub fn models_from(&self) -> Result<Place, Error> {
        let setting = self.setting("models_from");
        match Place::parse(&setting.value) {
            Ok(place) => Ok(place),
            Err(right) => Self::bad(setting, right),
        }
    }

    /// A schema registry of its own, where there is one.
    pub fn registry(&self) -> Result<Option<Address>, Error> {
        let setting = self.setting("registry");
        if setting.value == "built-in" {
            return Ok(None);
        }
        match Address::parse(&setting.value) {
            Ok(address) => Ok(Some(address)),
            Err(right) => Self::bad(setting, format!("{right}, or `built-in`")),
        }
    }

    /// A part of a name in Kafka.
    pub fn plain(&self, key: &'static str) -> Result<String, Error> {
        let setting = self.setting(key);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if setting.value.len() > 100 || !setting.value.bytes().all(plain) {
            return Self::bad(setting, "it must be at most 100 letters, digits, dots, hyphens and underscores");
        }
        Ok(setting.value)
    }

    pub fn session_timeout(&self) -> Result<Duration, Error> {
        let setting = self.setting("session_timeout_s");
        match setting.value.parse::<f64>() {
            Ok(seconds) if (6.0..=300.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Self::bad(setting, "it must be a number of seconds from 6 to 300"),
        }
    }

    pub fn public_path(&self) -> Result<String, Error> {
        let setting = self.setting("public_path");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        let path = setting.value.trim_matches('/');
        if !setting.value.starts_with('/') || !path.bytes().all(plain) || path.split('/').any(|part| part == "..") {
            return Self::bad(setting, "it must be a plain path such as `/` or `/video/`");
        }
        Ok(if path.is_empty() { "/".to_owned() } else { format!("/{path}/") })
    }

    pub fn size(&self, key: &'static str) -> Result<u64, Error> {
        let setting = self.setting(key);
        match size::parse(&setting.value) {
            Ok(0) => Self::bad(setting, "it must be more than nothing"),
            Ok(bytes) => Ok(bytes),
            Err(error) => Self::bad(setting, error.to_string()),
        }
    }

    pub fn watch(&self) -> Option<PathBuf> {
        let setting = self.setting("watch");
        (!setting.value.is_empty()).then(|| PathBuf::from(setting.value))
    }

    pub fn watch_after(&self) -> Result<After, Error> {
        let setting = self.setting("watch_after");
        match setting.value.as_str() {
            "keep" => Ok(After::Keep),
            "move" => Ok(After::Move),
            "delete" => Ok(After::Delete),
            _ => Self::bad(setting, "it must be `keep`, `move` or `delete`"),
        }
    }

    pub fn upload_expiry(&self) -> Result<Duration, Error> {
        let setting = self.setting("upload_expiry_h");
        match setting.value.parse::<f64>() {
            // A second at least, a year at most.
            Ok(hours) if (1.0 / 3_600.0..=8_760.0).contains(&hours) => Ok(Duration::from_secs_f64(hours * 3_600.0)),
            _ => Self::bad(setting, "it must be a number of hours up to 8760, such as 24 or 0.5"),
        }
    }

    pub fn upload_origins(&self) -> Result<Origins, Error> {
        let setting = self.setting("upload_origins");
        let named: Vec<String> = setting.value.split(',').map(|origin| origin.trim().to_owned()).collect();
        // An origin is scheme, host and port and nothing else (RFC 6454, section 6.1).
        let is_origin = |origin: &String| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
            host.is_some_and(|host| !host.is_empty() && host.chars().all(plain))
        };
        match setting.value.trim() {
            "*" => Ok(Origins::Any),
            "none" => Ok(Origins::Only(Vec::new())),
            _ if named.iter().all(is_origin) => Ok(Origins::Only(named)),
            _ => Self::bad(
                setting,
                "it must be `*`, `none`, or origins such as https://videos.example with commas between",
            ),
        }
    }

    pub fn slots(&self, cores: usize) -> Result<usize, Error> {
        let setting = self.setting("slots");
        if setting.value.is_empty() {
            return Ok(cores);
        }
        match setting.value.parse() {
            Ok(slots) if (1..=1024).contains(&slots) => Ok(slots),
            _ => Self::bad(setting, "it must be a whole number from 1 to 1024"),
        }
    }

    pub fn grace(&self) -> Result<Duration, Error> {
        let setting = self.setting("grace_s");
        match setting.value.parse::<f64>() {
            Ok(seconds) if (0.0..=3600.0).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
            _ => Self::bad(setting, "it must be a number of seconds from 0 to 3600"),
        }
    }

    pub fn log_format(&self) -> Result<LogFormat, Error> {
        let setting = self.setting("log_format");
        match setting.value.as_str() {
            "auto" => Ok(LogFormat::Auto),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Self::bad(setting, "it must be `auto`, `text` or `json`"),
        }
    }
}
