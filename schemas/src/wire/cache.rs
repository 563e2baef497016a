//! Every built-in schema version, parsed once per process.

use std::collections::HashMap;
use std::sync::OnceLock;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;

use super::{Error, MAX_FIELD_BYTES};
use crate::topic;

/// One schema version, ready to write and to read.
pub(super) struct Codec {
    /// Id in the frame.
    pub(super) id: i32,
    /// The topic that it belongs to.
    pub(super) topic: &'static str,
    /// The parsed schema.
    pub(super) schema: &'static Schema,
    /// Id of the topic's newest version.
    newest: i32,
    /// Writes values of this version.
    pub(super) writer: GenericDatumWriter<'static>,
    /// Reads values of this version; those of an older one are resolved to the newest.
    pub(super) reader: GenericDatumReader<'static>,
}

impl Codec {
    /// Whether no later version exists.
    pub(super) fn is_newest(&self) -> bool {
        self.id == self.newest
    }
}

/// All codecs.
pub(super) struct Codecs {
    /// By schema id.
    pub(super) by_id: HashMap<i32, Codec>,
    /// Id of the newest schema by topic.
    newest: HashMap<&'static str, i32>,
}

/// The codec of schema `id`.
pub(super) fn by_id(id: i32) -> Result<&'static Codec, Error> {
    codecs()?.by_id.get(&id).ok_or(Error::UnknownSchema(id))
}

/// The codec of the newest schema of `topic`.
pub(super) fn newest(topic: &str) -> Result<&'static Codec, Error> {
    let codecs = codecs()?;
    let id = codecs.newest.get(topic).ok_or_else(|| Error::UnknownTopic(topic.to_owned()))?;
    by_id(*id)
}

fn codecs() -> Result<&'static Codecs, Error> {
    static CODECS: OnceLock<Result<Codecs, String>> = OnceLock::new();
    CODECS.get_or_init(|| build(topic::all(), schemas()?)).as_ref().map_err(|detail| Error::Schema(detail.clone()))
}

/// The schemas live as long as the process, and so do the codecs that borrow them.
fn schemas() -> Result<&'static HashMap<i32, Schema>, String> {
    static SCHEMAS: OnceLock<Result<HashMap<i32, Schema>, String>> = OnceLock::new();
    SCHEMAS.get_or_init(|| parse(topic::all())).as_ref().map_err(Clone::clone)
}

/// Parses every version of every topic; answers them by id.
pub(super) fn parse(topics: &[topic::Topic]) -> Result<HashMap<i32, Schema>, String> {
    let mut schemas = HashMap::new();
    for version in topics.iter().flat_map(|topic| &topic.versions) {
        let schema = Schema::parse_str(version.text).map_err(|error| format!("{}: {error}", version.file))?;
        if schemas.insert(version.id, schema).is_some() {
            return Err(format!("{}: schema id {} is taken", version.file, version.id));
        }
    }
    Ok(schemas)
}

/// Makes a codec of every version of every topic.
pub(super) fn build(topics: &'static [topic::Topic], schemas: &'static HashMap<i32, Schema>) -> Result<Codecs, String> {
    // Takes effect on its first call only; nothing else in a process of ours decodes Avro.
    apache_avro::util::max_allocation_bytes(MAX_FIELD_BYTES);
    let find = |version: &topic::Version| schemas.get(&version.id).ok_or(format!("{} is not parsed", version.file));
    let mut codecs = Codecs { by_id: HashMap::new(), newest: HashMap::new() };
    for topic in topics {
        let Some(newest) = topic.newest() else { continue };
        codecs.newest.insert(&topic.name, newest.id);
        for version in &topic.versions {
            let refuse = |error: apache_avro::Error| format!("{}: {error}", version.file);
            let schema = find(version)?;
            let resolved = if version.id == newest.id { None } else { Some(find(newest)?) };
            let writer = GenericDatumWriter::builder(schema).build().map_err(refuse)?;
            let reader = GenericDatumReader::builder(schema).maybe_reader_schema(resolved).build().map_err(refuse)?;
            let codec = Codec { id: version.id, topic: &topic.name, schema, newest: newest.id, writer, reader };
            codecs.by_id.insert(version.id, codec);
        }
    }
    Ok(codecs)
}
