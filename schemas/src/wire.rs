//! Avro with Confluent framing: `0x00`, the schema id as big-endian int32, the body. Only this room names `apache_avro`.
//!
//! Each schema version has a fixed id, written in its topic file, so that two processes agree without asking anybody. A
//! value written with an older version is resolved to the newest one that the reader has.

use apache_avro::from_value;
use apache_avro::types::Value;
use serde::de::DeserializeOwned;

use crate::Event;

mod cache;
pub mod evolution;
mod foreign;

pub use foreign::{Foreign, standing_in};

/// A value on the wire could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Shorter than its frame, or the magic byte is not 0.
    #[error("the value is not Avro with Confluent framing: {0}")]
    Framing(&'static str),
    /// The schema id is none that the reader knows.
    #[error("schema id {} is unknown", foreign::meant(*.0))]
    UnknownSchema(i32),
    /// No topic file of this name, or one without a schema.
    #[error("topic `{0}` has no schema")]
    UnknownTopic(String),
    /// The value carries another topic's event.
    #[error("decode {wanted}: the value carries {found}")]
    OtherTopic {
        /// Topic that was asked for.
        wanted: String,
        /// Topic that the schema id belongs to.
        found: &'static str,
    },
    /// The body does not fit its schema.
    #[error("{doing} {topic}: {detail}")]
    Body {
        /// `encode`, `decode` or `adopt`.
        doing: &'static str,
        /// The event's topic.
        topic: &'static str,
        /// What Avro says.
        detail: String,
    },
    /// A schema cannot be parsed.
    #[error("read the schemas: {0}")]
    Schema(String),
}

/// Bytes before the body: the magic byte and the schema id.
pub const FRAME_BYTES: usize = 5;

/// The largest string or byte field that decoding allocates for, bytes; a record of more is damaged or hostile.
pub const MAX_FIELD_BYTES: usize = 64 << 20;

/// Encodes `event` with its newest schema, framed.
pub fn encode<E: Event>(event: &E) -> Result<Vec<u8>, Error> {
    let codec = cache::newest(E::TOPIC)?;
    let mut framed = frame(codec.id);
    codec.writer.write_ser(&mut framed, event).map_err(|error| body("encode", codec.topic, error))?;
    Ok(framed)
}

/// Decodes a framed value, written with any known version of the schema.
pub fn decode<E: Event>(value: &[u8]) -> Result<E, Error> {
    let (codec, body) = open(E::TOPIC, value)?;
    decode_body(codec, body)
}

fn decode_body<T: DeserializeOwned>(codec: &cache::Codec, mut rest: &[u8]) -> Result<T, Error> {
    let event = if codec.is_newest() {
        codec.reader.read_deser(&mut rest)
    } else {
        codec.reader.read_value(&mut rest).and_then(|value| from_value(&value))
    };
    let event = event.map_err(|error| body("decode", codec.topic, error))?;
    nothing_left(codec, rest)?;
    Ok(event)
}

/// Encodes the event of `topic` that `json` spells, framed; absent fields take their defaults.
pub fn encode_json(topic: &str, json: &serde_json::Value) -> Result<Vec<u8>, Error> {
    let codec = cache::newest(topic)?;
    let refuse = |error| body("encode", codec.topic, error);
    let value = Value::try_from(json.clone()).and_then(|value| value.resolve(codec.schema)).map_err(refuse)?;
    let mut framed = frame(codec.id);
    codec.writer.write_value_ref(&mut framed, &value).map_err(refuse)?;
    Ok(framed)
}

/// Decodes a framed value of `topic` for a reader that has no type for it; bytes come as lists of numbers.
pub fn decode_json(topic: &str, value: &[u8]) -> Result<serde_json::Value, Error> {
    let (codec, mut rest) = open(topic, value)?;
    let value = codec.reader.read_value(&mut rest).and_then(serde_json::Value::try_from);
    let value = value.map_err(|error| body("decode", codec.topic, error))?;
    nothing_left(codec, rest)?;
    Ok(value)
}

/// The schema id of a framed value.
pub fn schema_id(value: &[u8]) -> Result<i32, Error> {
    match value {
        [0, a, b, c, d, ..] => Ok(i32::from_be_bytes([*a, *b, *c, *d])),
        [] => Err(Error::Framing("it is empty")),
        [0, ..] => Err(Error::Framing("it is shorter than a frame")),
        _ => Err(Error::Framing("it does not begin with a zero byte")),
    }
}

/// The codec that `value` was written with, and the body.
fn open<'v>(topic: &str, value: &'v [u8]) -> Result<(&'static cache::Codec, &'v [u8]), Error> {
    let codec = cache::by_id(schema_id(value)?)?;
    if codec.topic != topic {
        return Err(Error::OtherTopic { wanted: topic.to_owned(), found: codec.topic });
    }
    Ok((codec, &value[FRAME_BYTES..]))
}

fn nothing_left(codec: &cache::Codec, rest: &[u8]) -> Result<(), Error> {
    if rest.is_empty() {
        return Ok(());
    }
    Err(body("decode", codec.topic, format!("{} bytes follow the event", rest.len())))
}

fn frame(id: i32) -> Vec<u8> {
    let mut framed = Vec::with_capacity(256);
    framed.push(0);
    framed.extend_from_slice(&id.to_be_bytes());
    framed
}

fn body(doing: &'static str, topic: &'static str, detail: impl ToString) -> Error {
    Error::Body { doing, topic, detail: detail.to_string() }
}

#[cfg(test)]
mod tests;
