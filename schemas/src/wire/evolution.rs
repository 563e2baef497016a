//! Whether a schema may follow another: both must read what the other has written, because versions run side by side
//! and old records stay in the log.

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};

use super::Error;

/// Why a schema may not follow another.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Incompatible(String);

/// Checks that `current` may follow `released`: each reads every value of the other.
pub fn follows(released: &str, current: &str) -> Result<(), Incompatible> {
    let parse = |text| parse(text).map_err(|error| Incompatible(error.to_string()));
    let (old, new) = (parse(released)?, parse(current)?);
    direction(&old, &new, "the new version cannot read what the released one has written")?;
    direction(&new, &old, "the released version cannot read what the new one writes")
}

/// Whether two texts are the same schema; descriptions and layout do not matter, defaults do.
pub fn is_same(one: &str, other: &str) -> Result<bool, Error> {
    let (one, other) = (parse(one)?, parse(other)?);
    Ok(one.canonical_form() == other.canonical_form() && follows_both(&one, &other))
}

fn follows_both(one: &Schema, other: &Schema) -> bool {
    matches!(SchemaCompatibility::mutual_read(one, other), Ok(Compatibility::Full))
}

fn parse(text: &str) -> Result<Schema, Error> {
    Schema::parse_str(text).map_err(|error| Error::Schema(error.to_string()))
}

fn direction(writer: &Schema, reader: &Schema, meaning: &str) -> Result<(), Incompatible> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => Err(Incompatible(format!("{meaning}: only some values can be read"))),
        Err(error) => Err(Incompatible(format!("{meaning}: {error}"))),
    }
}
