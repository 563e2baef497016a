//! Dead letters: the untouched bytes of an event that was given up on, with headers that say why.

use bytes::Bytes;
use connectors::log::{NewRecord, Record};

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
        record.headers.iter().filter(|(name, _)| !HEADERS.contains(&name.as_str())).cloned().collect();
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
}
