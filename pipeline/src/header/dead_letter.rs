//! Dead letters: the untouched bytes of an event that was given up on, with headers that say why.
//!
//! A topic only grows, so what somebody has done about a letter lies beside it: a record without a value that names the
//! letter and says what was done. A letter with such a mark is handled.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use connectors::log::{NewRecord, Record, TopicPartition};
use sha2::{Digest as _, Sha256};

use super::{Headers, is_about_delivery, text};

/// Header: the stage that gave up.
pub const STAGE: &str = "stage";
/// Header: a stable word for why.
pub const REASON: &str = "reason";
/// Header: one sentence for a person.
pub const MESSAGE: &str = "message";
/// Header: the topic where the event lay.
pub const TOPIC: &str = "topic";
/// Header: its partition.
pub const PARTITION: &str = "partition";
/// Header: its offset.
pub const OFFSET: &str = "offset";
/// Header: how often it was attempted.
pub const ATTEMPTS: &str = "attempts";

/// Header of a letter without its value, because the log takes nothing so large: how many bytes the value has.
pub const VALUE_BYTES: &str = "value_bytes";
/// Header beside it: the SHA-256 of the value, as hex.
pub const VALUE_SHA256: &str = "value_sha256";

/// The headers of a letter without its value.
pub const LEFT_OUT: [&str; 2] = [VALUE_BYTES, VALUE_SHA256];

/// Longest key that such a letter keeps, and longest value of a header, bytes. What is longer is not ours.
const KEPT_BYTES: usize = 4096;

/// Header of a mark: partition and offset of the letter that was handled, with a colon between.
pub const HANDLED: &str = "handled";
/// Header of a mark: what was done.
pub const HOW: &str = "how";

/// All headers that a dead letter has beside those that its event came with.
pub const HEADERS: [&str; 7] = [STAGE, REASON, MESSAGE, TOPIC, PARTITION, OFFSET, ATTEMPTS];

/// Name of the topic where `stage` puts what it gives up on.
pub fn topic(stage: &str) -> String {
    format!("{stage}.dlq")
}

/// The dead letter of `record`. `spread` chooses its partition.
pub fn letter(record: &Record, stage: &str, reason: &str, message: &str, attempts: u32, spread: u64) -> NewRecord {
    // An event that was put back from the dead letters and died again tells of its newest death only.
    let mut headers: Vec<(String, Bytes)> =
        record.headers.iter().filter(|(name, _)| !is_about_delivery(name)).cloned().collect();
    let values = [
        stage.to_owned(),
        reason.to_owned(),
        message.to_owned(),
        record.at.topic.clone(),
        record.at.partition.to_string(),
        record.offset.to_string(),
        attempts.to_string(),
    ];
    headers.extend(HEADERS.into_iter().zip(values).map(|(name, value)| (name.to_owned(), Bytes::from(value))));
    NewRecord { topic: topic(stage), spread, key: record.key.clone(), value: record.value.clone(), headers }
}

/// `letter` for a log that takes nothing so large: it says why, and of its value how large it is and its SHA-256. The
/// untouched event lies where topic, partition and offset say, for as long as it is kept there.
pub fn without_value(letter: &NewRecord) -> NewRecord {
    let short = |value: &Bytes| value.slice(..value.len().min(KEPT_BYTES));
    let own = letter.headers.iter().filter(|(name, _)| HEADERS.contains(&name.as_str()));
    let mut headers: Vec<(String, Bytes)> = own.map(|(name, value)| (name.clone(), short(value))).collect();
    let said = [letter.value.len().to_string(), format!("{:x}", Sha256::digest(&letter.value))];
    headers.extend(LEFT_OUT.into_iter().zip(said).map(|(name, value)| (name.to_owned(), value.into())));
    let key = if letter.key.len() <= KEPT_BYTES { letter.key.clone() } else { Bytes::new() };
    NewRecord { topic: letter.topic.clone(), spread: letter.spread, key, value: Bytes::new(), headers }
}

/// What somebody did about a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Its bytes went back to where they came from.
    Retried,
    /// Nobody wants it any more.
    Dropped,
}

impl Handled {
    /// The word in headers and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retried => "retried",
            Self::Dropped => "dropped",
        }
    }
}

/// Where a letter lies; as text `<stage>:<partition>:<offset>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The stage that gave up.
    pub stage: String,
    /// Partition of its dead letters.
    pub partition: u32,
    /// Offset there.
    pub offset: i64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.stage, self.partition, self.offset)
    }
}

/// A text that is no [`Id`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a dead letter is named <stage>:<partition>:<offset>, like transcode:0:12")]
pub struct BadId;

impl FromStr for Id {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let mut parts = text.split(':');
        let (Some(stage), Some(partition), Some(offset), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(BadId);
        };
        let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else { return Err(BadId) };
        if stage.is_empty() || offset < 0 {
            return Err(BadId);
        }
        Ok(Self { stage: stage.to_owned(), partition, offset })
    }
}

/// A record of a topic of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A letter.
    Letter(Box<Letter>),
    /// Partition and offset of a letter that was handled, and how.
    Mark(u32, i64, Handled),
}

/// A letter, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Where it lies.
    pub id: Id,
    /// When it was given up on, milliseconds since the Unix epoch.
    pub at: i64,
    /// A stable word for why.
    pub reason: String,
    /// One sentence for a person.
    pub message: String,
    /// How often it was attempted.
    pub attempts: u32,
    /// Where the event lay; absent when the headers do not say so.
    pub origin: Option<(TopicPartition, i64)>,
    /// The record's key.
    pub key: Bytes,
    /// The untouched bytes; empty when they are left out.
    pub value: Bytes,
    /// How many bytes are left out; absent: none.
    pub left_out: Option<u64>,
    /// All headers.
    pub headers: Vec<(String, Bytes)>,
}

impl Letter {
    /// The event as it lay on its topic; absent when nobody knows where that was, or when its value is left out.
    pub fn event(&self) -> Option<Record> {
        if self.left_out.is_some() {
            return None;
        }
        let (at, offset) = self.origin.clone()?;
        let (key, value, headers) = (self.key.clone(), self.value.clone(), self.headers.clone());
        Some(Record { at, offset, timestamp_ms: self.at, key, value, headers })
    }
}

/// What `record`, of the dead letters of `stage`, is.
pub fn read(stage: &str, record: &Record) -> Entry {
    if let Some((partition, offset, how)) = mark_of(&record.headers) {
        return Entry::Mark(partition, offset, how);
    }
    let said = |name| text(&record.headers, name);
    let origin = || {
        let at = TopicPartition { topic: said(TOPIC)?, partition: said(PARTITION)?.parse().ok()? };
        Some((at, said(OFFSET)?.parse().ok()?))
    };
    Entry::Letter(Box::new(Letter {
        id: Id { stage: stage.to_owned(), partition: record.at.partition, offset: record.offset },
        at: record.timestamp_ms,
        reason: said(REASON).unwrap_or_default(),
        message: said(MESSAGE).unwrap_or_default(),
        attempts: said(ATTEMPTS).and_then(|count| count.parse().ok()).unwrap_or(0),
        origin: origin(),
        key: record.key.clone(),
        value: record.value.clone(),
        left_out: said(VALUE_BYTES).and_then(|bytes| bytes.parse().ok()),
        headers: record.headers.clone(),
    }))
}

fn mark_of(headers: &Headers) -> Option<(u32, i64, Handled)> {
    let place = text(headers, HANDLED)?;
    let (partition, offset) = place.split_once(':')?;
    let how = match text(headers, HOW)?.as_str() {
        "retried" => Handled::Retried,
        _ => Handled::Dropped,
    };
    Some((partition.parse().ok()?, offset.parse().ok()?, how))
}

/// The mark that `letter` is handled; it lies in the same partition.
pub fn mark(letter: &Letter, how: Handled) -> NewRecord {
    let Id { stage, partition, offset } = &letter.id;
    NewRecord {
        topic: topic(stage),
        spread: u64::from(*partition),
        key: letter.key.clone(),
        value: Bytes::new(),
        headers: vec![
            (HANDLED.to_owned(), format!("{partition}:{offset}").into()),
            (HOW.to_owned(), how.as_str().into()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use connectors::log::TopicPartition;

    use super::*;

    #[test]
    fn a_second_death_replaces_the_first_and_keeps_foreign_headers() {
        let record = Record {
            at: TopicPartition { topic: "chunk.cut".to_owned(), partition: 2 },
            offset: 40,
            timestamp_ms: 0,
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"\x00\xffvalue"),
            headers: vec![
                ("traceparent".to_owned(), Bytes::from_static(b"00-1")),
                (REASON.to_owned(), Bytes::from_static(b"panic")),
            ],
        };
        let letter = letter(&record, "transcode", "damaged", "decode: no", 3, 9);
        assert_eq!(letter.topic, "transcode.dlq");
        assert_eq!((&letter.key, &letter.value, letter.spread), (&record.key, &record.value, 9));
        let headers: Vec<(&str, &[u8])> =
            letter.headers.iter().map(|(name, value)| (name.as_str(), value.as_ref())).collect();
        assert_eq!(
            headers,
            [
                ("traceparent", b"00-1".as_slice()),
                ("stage", b"transcode"),
                ("reason", b"damaged"),
                ("message", b"decode: no"),
                ("topic", b"chunk.cut"),
                ("partition", b"2"),
                ("offset", b"40"),
                ("attempts", b"3"),
            ]
        );
    }

    #[test]
    fn a_letter_without_its_value_is_small_and_says_what_is_missing() {
        let large = |byte: u8| Bytes::from(vec![byte; 1 << 20]);
        let record = Record {
            at: TopicPartition { topic: "chunk.cut".to_owned(), partition: 2 },
            offset: 40,
            timestamp_ms: 0,
            key: large(b'k'),
            value: Bytes::from_static(b"abc"),
            headers: vec![("foreign".to_owned(), large(b'h'))],
        };
        let letter = without_value(&letter(&record, "transcode", "undecodable", &"no ".repeat(1 << 20), 0, 9));
        assert!(letter.bytes() < 8 << 10, "{} bytes", letter.bytes());
        let NewRecord { topic, key, value, headers, .. } = letter;
        let lain =
            Record { at: TopicPartition { topic, partition: 0 }, offset: 1, timestamp_ms: 9, key, value, headers };
        let Entry::Letter(found) = read("transcode", &lain) else { panic!("a letter") };
        assert_eq!((found.left_out, &found.value, found.event()), (Some(3), &Bytes::new(), None));
        assert_eq!((found.reason.as_str(), &found.origin), ("undecodable", &Some((record.at, 40))));
        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(text(&found.headers, VALUE_SHA256).as_deref(), Some(sum));
    }

    #[test]
    fn letters_and_marks_read_back() {
        let event = Record {
            at: TopicPartition { topic: "chunk.cut".to_owned(), partition: 2 },
            offset: 40,
            timestamp_ms: 7,
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"value"),
            headers: vec![(crate::header::replay::REPLAY.to_owned(), Bytes::from_static(b"transcode/r1"))],
        };
        let lain = |new: NewRecord, offset| Record {
            at: TopicPartition { topic: new.topic, partition: 0 },
            offset,
            timestamp_ms: 9,
            key: new.key,
            value: new.value,
            headers: new.headers,
        };
        let Entry::Letter(found) = read("transcode", &lain(letter(&event, "transcode", "damaged", "no", 3, 0), 12))
        else {
            panic!("a letter")
        };
        assert_eq!((found.id.to_string().as_str(), found.attempts, found.at), ("transcode:0:12", 3, 9));
        assert_eq!(found.origin, Some((event.at.clone(), 40)));
        let back = crate::header::replay::again(&found.event().unwrap(), "transcode", "r2");
        assert_eq!((back.topic, back.spread, back.value), ("chunk.cut".to_owned(), 2, event.value));
        assert_eq!(back.headers.len(), 1, "what was said about its death stays behind");
        let marked = read("transcode", &lain(mark(&found, Handled::Retried), 13));
        assert_eq!(marked, Entry::Mark(0, 12, Handled::Retried));
    }

    #[test]
    fn an_id_reads_back_and_nothing_else_does() {
        let id = Id { stage: "transcode".to_owned(), partition: 0, offset: 12 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "transcode", "transcode:0", ":0:1", "transcode:0:-1", "transcode:x:1", "a:1:2:3"] {
            assert_eq!(text.parse::<Id>(), Err(BadId), "{text}");
        }
    }
}
