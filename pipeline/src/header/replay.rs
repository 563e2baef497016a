//! Events that lie on their topic once more, for one stage alone.
//!
//! Replaying a stage means appending its input again, untouched, under a header that names the stage. Whoever else reads
//! the topic has seen the event before and passes it by: other stages, the record projection, the board.

use bytes::Bytes;
use connectors::log::{NewRecord, Record};

use super::{Headers, is_about_delivery};

/// Header: the stage that the event is meant for, a slash, and the name of the replay.
pub const REPLAY: &str = "streamforge-replay";

/// The stage that a replayed event is meant for; nothing for events that are meant for everybody.
pub fn stage(headers: &Headers) -> Option<&str> {
    let value = value(headers)?;
    // A name that nobody has: no stage takes the event for its own.
    let text = std::str::from_utf8(value).unwrap_or_default();
    Some(text.split_once('/').map_or(text, |(stage, _)| stage))
}

/// What tells one replay of a stage from another.
pub fn value(headers: &Headers) -> Option<&Bytes> {
    headers.iter().find(|(name, _)| name == REPLAY).map(|(_, value)| value)
}

/// Whether the event is meant for others than `stage`.
pub fn is_for_others(headers: &Headers, stage: &str) -> bool {
    self::stage(headers).is_some_and(|meant| meant != stage)
}

/// `record` once more, for `stage` alone; `name` is the replay's.
pub fn again(record: &Record, stage: &str, name: &str) -> NewRecord {
    let mut headers: Vec<(String, Bytes)> =
        record.headers.iter().filter(|(header, _)| !is_about_delivery(header)).cloned().collect();
    headers.push((REPLAY.to_owned(), format!("{stage}/{name}").into()));
    record.again(headers)
}

#[cfg(test)]
mod tests {
    use connectors::log::TopicPartition;

    use super::*;

    #[test]
    fn a_replayed_event_is_untouched_and_meant_for_one_stage() {
        let record = Record {
            at: TopicPartition { topic: "source.probed".to_owned(), partition: 5 },
            offset: 40,
            timestamp_ms: 0,
            key: Bytes::from_static(b"key"),
            value: Bytes::from_static(b"\x00\xffvalue"),
            headers: vec![
                ("traceparent".to_owned(), Bytes::from_static(b"00-1")),
                (REPLAY.to_owned(), Bytes::from_static(b"split/old")),
            ],
        };
        let again = again(&record, "caption", "r1");
        assert_eq!((again.topic.as_str(), again.spread), ("source.probed", 5));
        assert_eq!((&again.key, &again.value), (&record.key, &record.value));
        assert_eq!(
            again.headers,
            [
                ("traceparent".to_owned(), Bytes::from_static(b"00-1")),
                (REPLAY.to_owned(), Bytes::from_static(b"caption/r1")),
            ]
        );
        assert_eq!(stage(&again.headers), Some("caption"));
        assert!(is_for_others(&again.headers, "split") && !is_for_others(&again.headers, "caption"));
        assert!(!is_for_others(&record.headers[..1], "split"), "an ordinary event is everybody's");
    }
}
