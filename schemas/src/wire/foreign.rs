//! Schemas of other people, by which they write events of ours.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;

use super::{Error, body, cache, frame, nothing_left};

/// A schema that is not part of this program.
pub struct Foreign(Schema);

impl Foreign {
    /// Reads a schema; one that names types of other files is refused.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Schema::parse_str(text).map(Self).map_err(|error| Error::Schema(error.to_string()))
    }

    /// The event of `topic` whose `body` was written by this schema, framed and encoded with our newest one. Fields that
    /// we do not have are left out, fields that it does not have take their defaults.
    ///
    /// A schema of another name, or one that does not lead to ours, is refused: two events may have the same fields and
    /// mean different things.
    pub fn adopt(&self, topic: &str, mut rest: &[u8]) -> Result<Vec<u8>, Error> {
        let codec = cache::newest(topic)?;
        let refuse = |error: apache_avro::Error| body("adopt", codec.topic, error);
        SchemaCompatibility::can_read(&self.0, codec.schema).map_err(|error| body("adopt", codec.topic, error))?;
        let reader = GenericDatumReader::builder(&self.0).reader_schema(codec.schema).build().map_err(refuse)?;
        let value = reader.read_value(&mut rest).map_err(refuse)?;
        nothing_left(codec, rest)?;
        let mut framed = frame(codec.id);
        codec.writer.write_value_ref(&mut framed, &value).map_err(refuse)?;
        Ok(framed)
    }
}

/// The id that a value has here instead of its own, where `id` is somebody else's and a schema of ours has the same number.
/// No schema has such an id, and what is said about it names the one that it stands for.
pub fn standing_in(id: i32) -> i32 {
    id | i32::MIN
}

/// The id that is meant by one that may stand in for another.
pub(super) fn meant(id: i32) -> i32 {
    id & i32::MAX
}
