//! Topic files: what each topic is for, who writes and reads it, how it is kept, and its schema.
//!
//! The files lie in `schemas/topics`, the schemas in `schemas/avro`; both are part of the program.

use std::sync::OnceLock;

use serde::Deserialize;

/// A topic file with the schemas beside it, as they are in the repository.
struct Embedded {
    file: &'static str,
    text: &'static str,
    /// Oldest version first: name and text.
    schemas: &'static [(&'static str, &'static str)],
}

macro_rules! embedded {
    ($($topic:literal: $($schema:literal),+;)+) => {
        [$(Embedded {
            file: concat!("topics/", $topic, ".yaml"),
            text: include_str!(concat!("../topics/", $topic, ".yaml")),
            schemas: &[$(($schema, include_str!(concat!("../avro/", $schema)))),+],
        }),+]
    };
}

/// One line per topic; a new version of a schema goes to the end of its line.
const FILES: [Embedded; 13] = embedded! {
    "upload.received": "upload_received.v1.avsc";
    "source.probed": "source_probed.v1.avsc";
    "chunk.cut": "chunk_cut.v1.avsc";
    "chunk.transcoded": "chunk_transcoded.v1.avsc", "chunk_transcoded.v2.avsc", "chunk_transcoded.v3.avsc";
    "rendition.stitched": "rendition_stitched.v1.avsc";
    "source.illustrated": "source_illustrated.v1.avsc";
    "captions.written": "captions_written.v1.avsc";
    "source.classified": "source_classified.v1.avsc";
    "rendition.assessed": "rendition_assessed.v1.avsc";
    "cancel.requested": "cancel_requested.v1.avsc";
    "job.ended": "job_ended.v1.avsc";
    "job.deleted": "job_deleted.v1.avsc";
    "job.progress": "job_progress.v1.avsc";
};

/// The template of all dead letter topics.
const DEAD_LETTERS: Embedded =
    Embedded { file: "topics/stage.dlq.yaml", text: include_str!("../topics/stage.dlq.yaml"), schemas: &[] };

/// A topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Name, such as `chunk.cut`.
    pub name: String,
    /// What its events mean.
    pub description: String,
    /// Who writes it.
    pub producers: Vec<String>,
    /// Who reads it.
    pub consumers: Vec<String>,
    /// What the record's key is.
    pub key: String,
    /// Which partition a record goes to, in words.
    pub partitioning: String,
    /// Partitions, at least 1.
    pub partitions: u32,
    /// How long records stay.
    pub retention: Retention,
    /// Copies that must have a record before it counts as durable; absent: as the cluster has it.
    pub min_in_sync: Option<u16>,
    /// Subject in a schema registry.
    pub subject: String,
    /// How schemas may change, in the words of schema registries.
    pub compatibility: String,
    /// Versions of the schema, oldest first; none when the value is another topic's.
    pub versions: Vec<Version>,
    /// Examples, as paths below `schemas/examples`.
    pub examples: Vec<String>,
}

/// How long records of a topic stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Longest age in milliseconds; absent: for good.
    pub max_age_ms: Option<i64>,
    /// Most bytes per partition; absent: no limit.
    pub max_bytes: Option<u64>,
    /// Whether only the newest record of each key has to stay.
    pub is_compacted: bool,
}

/// One version of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Number, from 1.
    pub version: u32,
    /// Id in the frame of a value, the same in every deployment.
    pub id: i32,
    /// Name of the file below `schemas/avro`.
    pub file: String,
    /// The schema, as JSON.
    pub text: &'static str,
}

/// A topic file says something that cannot be.
#[derive(Debug, thiserror::Error)]
#[error("read {file}: {detail}")]
pub struct BadFile {
    file: &'static str,
    detail: String,
}

impl Topic {
    /// The newest version of its schema.
    pub fn newest(&self) -> Option<&Version> {
        self.versions.last()
    }

    /// The newest schema, as JSON.
    pub fn schema(&self) -> Option<&'static str> {
        self.newest().map(|version| version.text)
    }

    /// Id of the newest schema.
    pub fn schema_id(&self) -> Option<i32> {
        self.newest().map(|version| version.id)
    }
}

/// All topics with a name of their own, that is all but dead letters.
///
/// The files are part of the program and a test reads them with [`load`]; if one were bad there would be no topics, and
/// the topology would refuse to start.
pub fn all() -> &'static [Topic] {
    static TOPICS: OnceLock<Vec<Topic>> = OnceLock::new();
    TOPICS.get_or_init(|| load().unwrap_or_default())
}

/// Reads all topic files, or says which one is bad.
pub fn load() -> Result<Vec<Topic>, BadFile> {
    FILES.iter().map(read).collect()
}

/// The topic of this name; dead letter topics are found by [`dead_letters`].
pub fn find(name: &str) -> Option<&'static Topic> {
    all().iter().find(|topic| topic.name == name)
}

/// The topic that keeps the dead letters of `stage`.
pub fn dead_letters(stage: &str) -> Topic {
    static TEMPLATE: OnceLock<Option<Topic>> = OnceLock::new();
    let template = TEMPLATE.get_or_init(|| read(&DEAD_LETTERS).ok());
    let name = format!("{stage}.dlq");
    match template {
        Some(template) => Topic { name, ..template.clone() },
        // As with `all`, a test keeps this from happening; dead letters must have a place even then.
        None => Topic {
            name,
            description: String::new(),
            producers: Vec::new(),
            consumers: Vec::new(),
            key: String::new(),
            partitioning: String::new(),
            partitions: 1,
            retention: Retention { max_age_ms: None, max_bytes: None, is_compacted: false },
            min_in_sync: None,
            subject: String::new(),
            compatibility: String::new(),
            versions: Vec::new(),
            examples: Vec::new(),
        },
    }
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    topic: String,
    description: String,
    producers: Vec<String>,
    consumers: Vec<String>,
    key: String,
    partitioning: String,
    partitions: u32,
    retention: WrittenRetention,
    min_in_sync: String,
    subject: String,
    compatibility: String,
    schemas: Vec<WrittenVersion>,
    examples: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRetention {
    max_age: String,
    max_bytes: String,
    compaction: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenVersion {
    version: u32,
    id: i32,
    file: String,
}

fn read(embedded: &Embedded) -> Result<Topic, BadFile> {
    let refuse = |detail: String| BadFile { file: embedded.file, detail };
    let written: Written = serde_yaml_ng::from_str(embedded.text).map_err(|error| refuse(error.to_string()))?;
    if written.partitions == 0 {
        return Err(refuse("a topic has at least one partition".into()));
    }
    if written.schemas.len() != embedded.schemas.len() {
        return Err(refuse(format!(
            "{} schemas are listed, {} embedded",
            written.schemas.len(),
            embedded.schemas.len()
        )));
    }
    let mut versions = Vec::new();
    for ((WrittenVersion { version, id, file }, (name, text)), number) in
        written.schemas.into_iter().zip(embedded.schemas).zip(1..)
    {
        if file != *name || version != number {
            return Err(refuse(format!("version {number} is listed as {version} in `{file}`, embedded is `{name}`")));
        }
        versions.push(Version { version, id, file, text });
    }
    Ok(Topic {
        name: written.topic,
        description: written.description.trim().to_owned(),
        producers: written.producers,
        consumers: written.consumers,
        key: written.key,
        partitioning: written.partitioning,
        partitions: written.partitions,
        retention: Retention {
            max_age_ms: age(&written.retention.max_age).map_err(refuse)?,
            max_bytes: size(&written.retention.max_bytes).map_err(refuse)?,
            is_compacted: compaction(&written.retention.compaction).map_err(refuse)?,
        },
        min_in_sync: copies(&written.min_in_sync).map_err(refuse)?,
        subject: written.subject,
        compatibility: written.compatibility,
        versions,
        examples: written.examples,
    })
}

/// `for good`, `1 hour`, `7 days`, in milliseconds.
fn age(text: &str) -> Result<Option<i64>, String> {
    const HOUR: i64 = 3_600_000;
    if text == "for good" {
        return Ok(None);
    }
    let ms = match text.split_once(' ') {
        Some((number, "hour" | "hours")) => number.parse().ok().and_then(|hours: i64| hours.checked_mul(HOUR)),
        Some((number, "day" | "days")) => number.parse().ok().and_then(|days: i64| days.checked_mul(24 * HOUR)),
        _ => None,
    };
    match ms {
        Some(ms) if ms > 0 => Ok(Some(ms)),
        _ => Err(format!("`{text}` is no age: write `for good`, `1 hour` or `7 days`")),
    }
}

/// `no limit` or `256 MiB`, in bytes.
fn size(text: &str) -> Result<Option<u64>, String> {
    if text == "no limit" {
        return Ok(None);
    }
    let bytes = match text.split_once(' ') {
        Some((number, "MiB")) => number.parse().ok().and_then(|mib: u64| mib.checked_mul(1 << 20)),
        _ => None,
    };
    bytes.map(Some).ok_or_else(|| format!("`{text}` is no size: write `no limit` or `256 MiB`"))
}

/// `none` or `by key`.
fn compaction(text: &str) -> Result<bool, String> {
    match text {
        "none" => Ok(false),
        "by key" => Ok(true),
        _ => Err(format!("`{text}` is no compaction: write `none` or `by key`")),
    }
}

/// `as the cluster` or `2 copies`.
fn copies(text: &str) -> Result<Option<u16>, String> {
    if text == "as the cluster" {
        return Ok(None);
    }
    let number = text.strip_suffix(" copies").and_then(|number| number.parse().ok()).filter(|copies| *copies > 0);
    number.map(Some).ok_or_else(|| format!("`{text}` is no number of copies: write `as the cluster` or `2 copies`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_reads_and_lies_under_its_own_name() {
        let topics = load().unwrap();
        assert_eq!(topics.len(), FILES.len());
        for (topic, embedded) in topics.iter().zip(&FILES) {
            assert_eq!(embedded.file, format!("topics/{}.yaml", topic.name));
            assert_eq!(topic.subject, format!("{}-value", topic.name));
        }
        assert!(read(&DEAD_LETTERS).unwrap().name.starts_with("<stage>"));
    }

    #[test]
    fn retention_is_what_the_files_say() {
        let kept = |name: &str| find(name).unwrap().retention.max_age_ms;
        assert_eq!(kept("upload.received"), None);
        assert_eq!(kept("chunk.cut"), Some(7 * 24 * 3_600_000));
        assert_eq!(kept("job.progress"), Some(3_600_000));
        assert_eq!(find("job.progress").unwrap().retention.max_bytes, Some(256 << 20));
        assert_eq!(find("chunk.cut").unwrap().partitions, 16);
    }

    #[test]
    fn no_topic_loses_events_that_others_of_its_key_follow() {
        // A key is a job, and a job has several events in some topics.
        assert!(all().iter().all(|topic| !topic.retention.is_compacted));
        assert!(!dead_letters("transcode").retention.is_compacted);
    }

    #[test]
    fn a_file_says_whether_a_topic_is_compacted_and_how_many_copies_a_record_needs() {
        let text = FILES[0].text.replace("compaction: none", "compaction: by key");
        let text = text.replace("min_in_sync: as the cluster", "min_in_sync: 2 copies");
        let embedded = Embedded { text: String::leak(text), ..FILES[0] };
        let topic = read(&embedded).unwrap();
        assert_eq!((topic.retention.is_compacted, topic.min_in_sync), (true, Some(2)));
        for text in ["yes", "0 copies", "two copies", "2"] {
            assert!(compaction(text).unwrap_err().contains(text) && copies(text).unwrap_err().contains(text));
        }
    }

    #[test]
    fn dead_letters_are_named_for_their_stage() {
        let topic = dead_letters("transcode");
        assert_eq!((topic.name.as_str(), topic.partitions, topic.schema()), ("transcode.dlq", 1, None));
        assert!(find("transcode.dlq").is_none());
    }

    #[test]
    fn bad_words_for_retention_are_refused() {
        for text in ["7", "seven days", "0 days", "-1 hour", "9223372036854775807 days", "2 weeks"] {
            assert!(age(text).unwrap_err().contains(text));
        }
        assert!(size("256 MB").is_err());
    }
}
