//! THE list of settings.

use crate::shelf::place::OFFICIAL;

/// One setting: its key, its default and what it says.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As written in the settings file.
    pub name: &'static str,
    /// What holds when nobody says anything; empty when it follows from the machine or another setting.
    pub default: &'static str,
    /// One line for a person.
    pub about: &'static str,
}

impl Key {
    /// Its variable in the environment, such as `STREAMFORGE_OPS_LISTEN`.
    pub fn variable(&self) -> String {
        format!("STREAMFORGE_{}", self.name.to_uppercase())
    }

    /// Its flag, such as `--ops-listen`.
    pub fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }
}

const fn key(name: &'static str, default: &'static str, about: &'static str) -> Key {
    Key { name, default, about }
}

/// Every setting there is.
pub const KEYS: [Key; 23] = [
    key("listen", "127.0.0.1:8080", "where the edge listens; port 0 takes any free one"),
    key("ops_listen", "127.0.0.1:9464", "where metrics, health and readiness are served"),
    key("data", "./data", "folder of everything that the embedded doors keep"),
    key("log", "embedded", "where events travel: `embedded` or kafka://host:9092[,host:9092]"),
    key("catalog", "embedded", "where job rows lie: `embedded` or scylla://host:9042[,host:9042]/keyspace"),
    key("blobs", "", "where bytes lie: file://<folder> or s3://bucket/prefix; file://<data>/blobs by default"),
    key("public_path", "/", "prefix under which a proxy shows the edge"),
    key("max_upload_bytes", "500 MB", "largest upload, such as 500 MB or 2 GiB"),
    key("upload_expiry_h", "24", "hours that a resumable upload waits for more bytes before it is removed"),
    key(
        "upload_origins",
        "*",
        "whose pages may upload resumably from elsewhere: `*`, `none`, or https://a.example,https://b.example",
    ),
    key("watch", "", "a folder whose videos are taken as they come, by `up` and by `work --stages watch`"),
    key(
        "watch_after",
        "keep",
        "what becomes of a watched file whose video is ready: `keep`, `move` (to `done` in the folder) or `delete`",
    ),
    key("registry", "built-in", "schema registry: `built-in` or http://[user:password@]host:8081[/path]; for Kafka"),
    key("topic_prefix", "", "what names of topics and groups begin with, where several share a Kafka"),
    key("instance", "", "name of this process in Kafka's groups, so that a restart keeps its partitions"),
    key("session_timeout_s", "10", "seconds after which a worker that says nothing counts as gone"),
    key("slots", "", "how many pieces of work run at once; one per core by default"),
    key("grace_s", "20", "seconds that running work may take to finish on shutdown"),
    key("models", "", "folder in which models lie; <data>/models by default"),
    key("caption_model", "whisper-base.en", "the model that hears what is said, by its name; `none` for no captions"),
    key(
        "image_model",
        "mobilenet-v2-1.0-224",
        "the model that says what pictures show, by its name; `none` for no model",
    ),
    key("models_from", OFFICIAL, "where models come from: a folder, or http(s)://host[/path] with /<name>/ below it"),
    key("log_format", "auto", "log lines: `text`, `json`, or `auto`, which is text on a terminal"),
];

/// Variables with the prefix of settings that say something else, some of them to the script that builds.
const OTHER_VARIABLES: [&str; 7] = [
    "STREAMFORGE_SERVER",
    "STREAMFORGE_BINARY",
    "STREAMFORGE_ML",
    "STREAMFORGE_PAGE",
    "STREAMFORGE_LIBTORCH_CACHE",
    "STREAMFORGE_PYPI_FILES",
    super::FILE_VARIABLE,
];

/// Beginnings of variables that are for the tests and for the script that runs engines.
const OTHER_PREFIXES: [&str; 2] = ["STREAMFORGE_TEST_", "STREAMFORGE_ENGINES"];

/// Whether `variable` looks like a setting and is none.
pub fn is_stray(variable: &str) -> bool {
    variable.starts_with("STREAMFORGE_")
        && !OTHER_VARIABLES.contains(&variable)
        && !OTHER_PREFIXES.iter().any(|prefix| variable.starts_with(prefix))
        && super::door::kafka_property(variable).is_none()
        && !KEYS.iter().any(|key| key.variable() == variable)
}

/// The variable that `stray` is probably meant to be: all but two letters of it are right. Others may belong to whoever runs this
/// program, such as the addresses of services that Kubernetes tells every process.
pub fn misspelt(stray: &str) -> Option<String> {
    let known = KEYS.iter().map(Key::variable);
    known.into_iter().find(|variable| strsim::damerau_levenshtein(variable, stray) <= 2)
}

/// The known key that is closest to `written`.
pub fn nearest(written: &str) -> &'static str {
    let written = written.to_lowercase().replace('-', "_");
    let far = |key: &&Key| strsim::damerau_levenshtein(key.name, &written);
    KEYS.iter().min_by_key(far).map_or("", |key| key.name)
}

/// `value` with the user and password of an address masked.
pub fn masked(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once("://") else { return value.to_owned() };
    let authority_end = rest.find(['/', '?']).unwrap_or(rest.len());
    // A password may hold any of the marks, so the last `@` of the value counts when the authority has none.
    let Some(at) = rest[..authority_end].rfind('@').or_else(|| rest.rfind('@')) else { return value.to_owned() };
    format!("{scheme}://***{}", &rest[at..])
}
