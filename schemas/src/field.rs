//! How single fields are spelled where serde's own way does not fit Avro, for `#[serde(with = …)]`.

/// `Vec<u8>` as Avro `bytes`.
pub mod as_bytes {
    use std::fmt;

    use serde::de::{SeqAccess, Visitor};
    use serde::{Deserializer, Serializer};

    /// Writes `bytes` as Avro bytes.
    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    /// Reads Avro bytes, or a list of numbers where a format has no bytes.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_byte_buf(Bytes)
    }

    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
            Ok(bytes)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = numbers.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
}

/// `u64` as Avro `long`, which is signed.
pub mod as_long {
    use serde::{Deserialize, Deserializer, Serializer, de, ser};

    /// Writes `number` as a long; refuses what is above 2^63 - 1.
    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        let long =
            i64::try_from(*number).map_err(|_| ser::Error::custom(format!("{number} is too large for a long")))?;
        serializer.serialize_i64(long)
    }

    /// Reads a long; refuses negative numbers.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let long = i64::deserialize(deserializer)?;
        u64::try_from(long).map_err(|_| de::Error::custom(format!("{long} is negative where only a count makes sense")))
    }
}
