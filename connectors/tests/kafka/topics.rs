//! What topics look like on the broker.

use connectors::Log;
use connectors::log::{Error, Retention, TopicSpec};

use super::{open, shared, suite};
use connectors::log::kafka::{self, Settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn differences_are_named_and_retention_is_applied() {
    let Some(log) = shared("how topics differ").await else { return };
    let name = suite::fresh("topic");
    let spec = |partitions, max_age_ms, max_bytes| TopicSpec {
        name: name.clone(),
        partitions,
        retention: Retention { max_age_ms, max_bytes, is_compacted: false },
        min_in_sync: None,
    };
    let said = async |spec: TopicSpec| -> Vec<String> {
        let found = log.differences(&[spec]).await.unwrap();
        found.iter().map(|difference| difference.to_string()).collect()
    };
    assert_eq!(said(spec(2, None, None)).await, [format!("topic `{name}` does not exist")]);
    log.ensure_topics(&[spec(2, Some(3_600_000), None)]).await.unwrap();
    assert_eq!(said(spec(2, Some(3_600_000), None)).await, [""; 0]);
    let wanted = spec(3, None, Some(1 << 20));
    assert_eq!(
        said(wanted).await,
        [
            format!("topic `{name}`: partitions is 2, 3 is wanted"),
            format!("topic `{name}`: retention.ms is 3600000, -1 is wanted"),
            format!("topic `{name}`: retention.bytes is -1, 1048576 is wanted"),
        ]
    );
    // Kept for good from now on, and everything else as it was made.
    log.ensure_topics(&[spec(2, None, None)]).await.unwrap();
    assert_eq!(said(spec(2, None, None)).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compaction_and_copies_are_as_the_topic_says_and_a_setting_of_the_deployment_goes_first() {
    let Some(brokers) = super::brokers("compaction of topics") else { return };
    let log = open(Settings::new(&brokers)).await;
    let kept = Retention { is_compacted: true, ..Retention::default() };
    let compacted = TopicSpec { name: suite::fresh("topic"), partitions: 1, retention: kept, min_in_sync: Some(1) };
    let aged = Retention { max_age_ms: Some(3_600_000), ..kept };
    let both = TopicSpec { name: suite::fresh("topic"), retention: aged, ..compacted.clone() };
    log.ensure_topics(&[compacted.clone(), both.clone()]).await.unwrap();
    assert_eq!(log.differences(&[compacted.clone(), both.clone()]).await.unwrap(), []);
    // As the broker has it, not as we remember it.
    let said = async |log: &kafka::Kafka, spec: &TopicSpec| -> Vec<String> {
        let other = Retention { is_compacted: false, ..spec.retention };
        let other = TopicSpec { retention: other, min_in_sync: Some(2), ..spec.clone() };
        let found = log.differences(&[other]).await.unwrap();
        found.into_iter().map(|one| format!("{} {} {}", one.what, one.found.unwrap(), one.wanted)).collect()
    };
    let of = |policy: &str| vec![format!("cleanup.policy {policy} delete"), "min.insync.replicas 1 2".to_owned()];
    assert_eq!(said(&log, &compacted).await, of("compact"));
    assert_eq!(said(&log, &both).await, of("compact,delete"));
    let mut settings = Settings::new(&brokers);
    settings.properties.insert("min.insync.replicas".into(), "1".into());
    assert_eq!(said(&open(settings).await, &compacted).await, of("compact")[..1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_are_a_setting() {
    let Some(brokers) = super::brokers("copies of topics") else { return };
    let with = |name: &str, value: &str| {
        let mut settings = Settings::new(&brokers);
        settings.properties.insert(name.into(), value.into());
        settings
    };
    let spec =
        TopicSpec { name: suite::fresh("topic"), partitions: 1, retention: Retention::default(), min_in_sync: None };
    let one = open(with("min.insync.replicas", "1")).await;
    one.ensure_topics(std::slice::from_ref(&spec)).await.unwrap();
    assert!(one.differences(std::slice::from_ref(&spec)).await.unwrap().is_empty());
    let two = open(with("min.insync.replicas", "2")).await;
    let found = two.differences(std::slice::from_ref(&spec)).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].what.as_str(), found[0].wanted.as_str()), ("min.insync.replicas", "2"));
    // One broker cannot hold three copies, and says so.
    let three = open(with("replication.factor", "3")).await;
    let found = three.differences(std::slice::from_ref(&spec)).await.unwrap();
    let said: Vec<String> = found.iter().map(|difference| difference.to_string()).collect();
    assert_eq!(said, [format!("topic `{}`: replication.factor is 1, 3 is wanted", spec.name)]);
    let other = TopicSpec { name: suite::fresh("topic"), ..spec };
    let error = three.ensure_topics(&[other]).await.unwrap_err();
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.to_lowercase().contains("replication"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_is_told_apart_and_what_only_was_is_taken() {
    let Some(log) = shared("large records").await else { return };
    let topic = suite::topic(&*log, 1).await;
    // As somebody else's producer may send it: large when it is read, small at the broker.
    let zeros = vec![0; 20 << 20];
    log.append(vec![suite::record(&topic, 0, zeros.clone())]).await.unwrap();
    let read = log.read(&suite::at(&topic, 0), 0, 1).await.unwrap();
    assert_eq!(read[0].value, zeros);
    // Refused by the broker, because nothing makes it smaller; and by the client.
    let mut state = 1u64;
    let noise = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    for large in [noise.take(9 << 20).collect(), vec![0; 40 << 20]] {
        let bytes = large.len() + 3;
        let error = log.append(vec![suite::record(&topic, 0, large)]).await.unwrap_err();
        assert!(
            matches!(&error, Error::TooLarge { topic: of, bytes: found } if *of == topic && *found == bytes),
            "{error:?}"
        );
        suite::append(&*log, &topic, 0, &["and on it goes"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_appended_to_a_fresh_topic_at_once_is_there() {
    let Some(log) = shared("fresh topics").await else { return };
    for _ in 0..20 {
        let topic = suite::topic(&*log, 4).await;
        for partition in 0..4 {
            // Two requests under way at once: a broker that refused the first and took the second would lose one.
            let append = |value: &'static str| log.append(vec![suite::record(&topic, partition, value)]);
            let (first, second) = tokio::join!(append("first"), append("second"));
            assert_eq!((first.unwrap()[0].1, second.unwrap()[0].1), (0, 1));
        }
        for partition in 0..4 {
            let read = log.read(&suite::at(&topic, partition), 0, 9).await.unwrap();
            assert_eq!(suite::texts(&read), ["first", "second"]);
        }
    }
}
