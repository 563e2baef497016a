//! What every log must do, written against the trait alone. Names are fresh in each check, so that a broker may be shared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use connectors::log::{
    Consumer, Delivery, Error, From, Log, NewRecord, Reader, Record, Retention, Tailed, TopicPartition, TopicSpec,
};

/// How long anything may take before it counts as hanging.
const PATIENCE: Duration = Duration::from_secs(20);

pub fn fresh(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}.{}.{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

pub async fn topic(log: &dyn Log, partitions: u32) -> String {
    let name = fresh("topic");
    let spec = TopicSpec { name: name.clone(), partitions, retention: Retention::default(), min_in_sync: None };
    log.ensure_topics(&[spec]).await.unwrap();
    name
}

pub fn record(topic: &str, spread: u64, value: impl Into<Bytes>) -> NewRecord {
    NewRecord { topic: topic.to_owned(), spread, key: "key".into(), value: value.into(), headers: Vec::new() }
}

pub async fn append(log: &dyn Log, topic: &str, spread: u64, values: &[&str]) {
    let records = values.iter().map(|value| record(topic, spread, value.to_string())).collect();
    log.append(records).await.unwrap();
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.to_owned(), partition }
}

pub async fn next(consumer: &mut dyn Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next()).await.expect("a delivery in time").unwrap()
}

/// Reads on until `count` records are there; changes of ownership are passed over.
pub async fn records(consumer: &mut dyn Consumer, count: usize) -> Vec<Record> {
    let mut all = Vec::new();
    while all.len() < count {
        if let Delivery::Records(records) = next(consumer).await {
            assert!(!records.is_empty());
            all.extend(records);
        }
    }
    assert_eq!(all.len(), count);
    all
}

/// Reads on until the member is told that it owns `partitions`, in any number of steps.
pub async fn gained(consumer: &mut dyn Consumer, partitions: usize) -> BTreeSet<TopicPartition> {
    let mut owned = BTreeSet::new();
    while owned.len() != partitions {
        match next(consumer).await {
            Delivery::Gained(more) => owned.extend(more),
            Delivery::Lost(gone) => owned.retain(|at| !gone.contains(at)),
            Delivery::Records(_) => {}
        }
    }
    owned
}

async fn silence(consumer: &mut dyn Consumer) {
    let waited = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await;
    assert!(waited.is_err(), "nothing should come, but {waited:?} did");
}

pub fn texts(records: &[Record]) -> Vec<String> {
    records.iter().map(|record| String::from_utf8(record.value.to_vec()).unwrap()).collect()
}

pub async fn records_come_back_as_they_went_in(log: Arc<dyn Log>) {
    let topic = topic(&*log, 3).await;
    let headers = vec![("a".to_owned(), Bytes::from_static(b"\0\xff")), ("a".to_owned(), Bytes::new())];
    let sent = NewRecord {
        topic: topic.clone(),
        spread: 7,
        key: Bytes::from_static(b"\x01k"),
        value: vec![7; 300_000].into(),
        headers: headers.clone(),
    };
    let empty = NewRecord { key: Bytes::new(), value: Bytes::new(), headers: Vec::new(), ..sent.clone() };
    let placed = log.append(vec![sent.clone(), empty]).await.unwrap();
    assert_eq!(placed, vec![(at(&topic, 1), 0), (at(&topic, 1), 1)]);
    let read = log.read(&at(&topic, 1), 0, 10).await.unwrap();
    assert_eq!(read.len(), 2);
    assert_eq!((&read[0].key, &read[0].value, &read[0].headers), (&sent.key, &sent.value, &headers));
    assert!(read[1].key.is_empty() && read[1].value.is_empty() && read[1].headers.is_empty());
    assert_eq!(log.read(&at(&topic, 1), 1, 10).await.unwrap(), read[1..]);
    assert_eq!(log.read(&at(&topic, 1), 0, 1).await.unwrap(), read[..1]);
    assert_eq!(log.read(&at(&topic, 1), 2, 10).await.unwrap(), vec![]);
    assert_eq!(log.read(&at(&topic, 0), 0, 10).await.unwrap(), vec![]);
}

pub async fn unknown_topics_and_other_partitions_are_refused(log: Arc<dyn Log>) {
    let name = fresh("nowhere");
    let refused = |error: Option<Error>| matches!(error, Some(Error::UnknownTopic(topic)) if topic == name);
    assert!(refused(log.append(vec![record(&name, 0, "x")]).await.err()));
    assert!(refused(log.join("group", &[&name]).await.err()));
    assert!(refused(log.tail(&[&name], From::Beginning).await.err()));
    let topic = topic(&*log, 2).await;
    let spec = TopicSpec { name: topic.clone(), partitions: 2, retention: Retention::default(), min_in_sync: None };
    log.ensure_topics(std::slice::from_ref(&spec)).await.unwrap();
    let other = log.ensure_topics(&[TopicSpec { partitions: 3, ..spec.clone() }]).await.unwrap_err();
    assert!(matches!(other, Error::Partitions { found: 2, wanted: 3, .. }), "{other:?}");
    assert!(log.ensure_topics(&[TopicSpec { name: fresh("none"), partitions: 0, ..spec }]).await.is_err());
    let nothing = log.append(vec![record(&topic, 0, "x"), record(&name, 0, "x")]).await;
    assert!(nothing.is_err() && log.read(&at(&topic, 0), 0, 1).await.unwrap().is_empty(), "all or nothing");
}

pub async fn a_group_reads_on_where_it_committed(log: Arc<dyn Log>) {
    let (topic, group) = (topic(&*log, 1).await, fresh("group"));
    append(&*log, &topic, 0, &["a", "b", "c"]).await;
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    assert_eq!(next(&mut *member).await, Delivery::Gained(vec![at(&topic, 0)]), "told before it gets records");
    assert_eq!(texts(&records(&mut *member, 3).await), ["a", "b", "c"]);
    member.commit(&[(at(&topic, 0), 2)]).await.unwrap();
    append(&*log, &topic, 0, &["d"]).await;
    assert_eq!(texts(&records(&mut *member, 1).await), ["d"], "committing does not move the position");
    drop(member);
    let mut again = log.join(&group, &[&topic]).await.unwrap();
    assert_eq!(texts(&records(&mut *again, 2).await), ["c", "d"]);
    let mut other = log.join(&fresh("group"), &[&topic]).await.unwrap();
    assert_eq!(texts(&records(&mut *other, 4).await), ["a", "b", "c", "d"], "groups do not see each other");
}

pub async fn a_waiting_member_is_woken_by_an_append(log: Arc<dyn Log>) {
    let topic = topic(&*log, 4).await;
    let mut member = log.join(&fresh("group"), &[&topic]).await.unwrap();
    gained(&mut *member, 4).await;
    silence(&mut *member).await;
    for round in 0..50u64 {
        let (log, topic) = (Arc::clone(&log), topic.clone());
        let waiting = async { records(&mut *member, 1).await };
        let append = async move {
            tokio::task::yield_now().await;
            log.append(vec![record(&topic, round, round.to_string())]).await.unwrap();
        };
        let (got, ()) = tokio::join!(waiting, append);
        assert_eq!(texts(&got), [round.to_string()]);
    }
}

pub async fn members_share_partitions_and_hand_them_over(log: Arc<dyn Log>) {
    let (topic, group) = (topic(&*log, 4).await, fresh("group"));
    for partition in 0..4 {
        append(&*log, &topic, partition, &["first", "second"]).await;
    }
    let mut one = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *one, 4).await;
    records(&mut *one, 8).await;
    let all: Vec<_> = (0..4).map(|partition| (at(&topic, partition), 1)).collect();
    one.commit(&all).await.unwrap();

    let mut two = log.join(&group, &[&topic]).await.unwrap();
    // The old owner is told while the new one asks, as with a broker that waits for both.
    let (lost, theirs) = tokio::join!(
        async {
            match next(&mut *one).await {
                Delivery::Lost(lost) => lost.into_iter().collect::<BTreeSet<_>>(),
                other => panic!("expected a loss, got {other:?}"),
            }
        },
        gained(&mut *two, 2)
    );
    assert_eq!(lost, theirs);
    for lost in &lost {
        let refused = one.commit(&[(lost.clone(), 2)]).await;
        assert!(matches!(&refused, Err(Error::NotOwner(at)) if at == lost), "{refused:?}");
    }
    let read = records(&mut *two, 2).await;
    assert!(read.iter().all(|record| theirs.contains(&record.at) && record.offset == 1), "from the committed offset");
    silence(&mut *one).await;

    drop(two);
    let back = gained(&mut *one, 2).await;
    assert_eq!(back, theirs);
    records(&mut *one, 2).await;
}

pub async fn a_lost_partition_cannot_be_committed_even_before_the_member_hears_of_it(log: Arc<dyn Log>) {
    let (topic, group) = (topic(&*log, 2).await, fresh("group"));
    append(&*log, &topic, 0, &["a"]).await;
    append(&*log, &topic, 1, &["b"]).await;
    let mut one = log.join(&group, &[&topic]).await.unwrap();
    records(&mut *one, 2).await;
    let mut two = log.join(&group, &[&topic]).await.unwrap();
    let moved = gained(&mut *two, 1).await.pop_first().unwrap();
    assert!(matches!(one.commit(&[(moved.clone(), 1)]).await, Err(Error::NotOwner(_))));
    // Back and forth: what was delivered before the loss is still not ours to commit.
    drop(two);
    assert!(matches!(one.commit(&[(moved.clone(), 1)]).await, Err(Error::NotOwner(_))));
    assert_eq!(next(&mut *one).await, Delivery::Lost(vec![moved.clone()]));
    assert_eq!(next(&mut *one).await, Delivery::Gained(vec![moved.clone()]));
    records(&mut *one, 1).await;
    one.commit(&[(moved, 1)]).await.unwrap();
}

pub async fn a_commit_of_several_is_all_or_nothing(log: Arc<dyn Log>) {
    let (topic, group) = (topic(&*log, 2).await, fresh("group"));
    append(&*log, &topic, 0, &["a"]).await;
    let mut one = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *one, 2).await;
    let mut two = log.join(&group, &[&topic]).await.unwrap();
    let moved = gained(&mut *two, 1).await.pop_first().unwrap();
    let kept = at(&topic, 1 - moved.partition);
    assert!(one.commit(&[(kept, 1), (moved, 1)]).await.is_err());
    let progress = log.progress(&group, &[&topic]).await.unwrap();
    assert!(progress.iter().all(|progress| progress.committed == 0), "{progress:?}");
}

pub async fn paused_partitions_wait_and_the_others_go_on(log: Arc<dyn Log>) {
    let topic = topic(&*log, 2).await;
    let mut member = log.join(&fresh("group"), &[&topic]).await.unwrap();
    gained(&mut *member, 2).await;
    member.pause(&[at(&topic, 0)]);
    append(&*log, &topic, 0, &["held"]).await;
    append(&*log, &topic, 1, &["through"]).await;
    assert_eq!(texts(&records(&mut *member, 1).await), ["through"]);
    silence(&mut *member).await;
    member.resume(&[at(&topic, 0)]);
    assert_eq!(texts(&records(&mut *member, 1).await), ["held"]);
}

pub async fn seeking_moves_the_position(log: Arc<dyn Log>) {
    let topic = topic(&*log, 1).await;
    append(&*log, &topic, 0, &["a", "b", "c"]).await;
    let mut member = log.join(&fresh("group"), &[&topic]).await.unwrap();
    records(&mut *member, 3).await;
    member.seek(&at(&topic, 0), 1).await.unwrap();
    assert_eq!(texts(&records(&mut *member, 2).await), ["b", "c"]);
    assert!(matches!(member.seek(&at(&topic, 9), 0).await, Err(Error::NotOwner(_))));
}

pub async fn records_are_found_by_the_time_they_came(log: Arc<dyn Log>) {
    let topic = topic(&*log, 1).await;
    for value in ["a", "b", "c"] {
        append(&*log, &topic, 0, &[value]).await;
        // Logs that tell the time by themselves need some of it to pass.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = log.read(&at(&topic, 0), 0, 10).await.unwrap();
    let mut member = log.join(&fresh("group"), &[&topic]).await.unwrap();
    records(&mut *member, 3).await;
    for record in &all {
        // Several may have come in one millisecond.
        let rest: Vec<Record> = all.iter().filter(|other| other.timestamp_ms >= record.timestamp_ms).cloned().collect();
        member.seek_to_time(&at(&topic, 0), record.timestamp_ms).await.unwrap();
        assert_eq!(records(&mut *member, rest.len()).await, rest);
        let mut tail = log.tail(&[&topic], From::Time(record.timestamp_ms)).await.unwrap();
        assert_eq!(tail_texts(&mut *tail, rest.len() + 1).await[..rest.len()], texts(&rest));
    }
    let later = all[2].timestamp_ms + 1;
    member.seek_to_time(&at(&topic, 0), later).await.unwrap();
    let mut tail = log.tail(&[&topic], From::Time(later)).await.unwrap();
    assert_eq!(tail_texts(&mut *tail, 1).await, ["(caught up)"]);
    append(&*log, &topic, 0, &["d"]).await;
    assert_eq!(texts(&records(&mut *member, 1).await), ["d"]);
    assert!(matches!(member.seek_to_time(&at(&topic, 9), 0).await, Err(Error::NotOwner(_))));
}

pub async fn a_dropped_wait_loses_nothing(log: Arc<dyn Log>) {
    let topic = topic(&*log, 3).await;
    let mut member = log.join(&fresh("group"), &[&topic]).await.unwrap();
    let mut tail = log.tail(&[&topic], From::Beginning).await.unwrap();
    let writer = tokio::spawn({
        let (log, topic) = (Arc::clone(&log), topic.clone());
        async move {
            for number in 0..200u64 {
                log.append(vec![record(&topic, number, number.to_string())]).await.unwrap();
            }
        }
    });
    let (mut got, mut tailed) = (Vec::new(), Vec::new());
    while got.len() < 200 || tailed.len() < 200 {
        // Ready or not, each wait is dropped after a moment.
        tokio::select! {
            biased;
            delivery = member.next() => if let Delivery::Records(records) = delivery.unwrap() { got.extend(records) },
            more = tail.next() => if let Tailed::Records(records) = more.unwrap() { tailed.extend(records) },
            () = tokio::time::sleep(Duration::from_micros(300)) => {}
        }
    }
    writer.await.unwrap();
    for all in [got, tailed] {
        let mut offsets: BTreeMap<u32, i64> = BTreeMap::new();
        for record in &all {
            let expected = offsets.entry(record.at.partition).or_default();
            assert_eq!(record.offset, *expected, "in order, none lost, none twice");
            *expected += 1;
        }
        assert_eq!(all.len(), 200);
    }
}

async fn tail_texts(tail: &mut dyn Reader, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        match tokio::time::timeout(PATIENCE, tail.next()).await.expect("in time").unwrap() {
            Tailed::Records(records) => all.extend(texts(&records)),
            Tailed::CaughtUp => all.push("(caught up)".to_owned()),
        }
    }
    all
}

pub async fn a_tail_reads_to_the_end_says_so_once_and_goes_on(log: Arc<dyn Log>) {
    let (topic, empty) = (topic(&*log, 2).await, topic(&*log, 1).await);
    append(&*log, &topic, 0, &["a", "b"]).await;
    let mut tail = log.tail(&[&topic, &empty], From::Beginning).await.unwrap();
    assert_eq!(tail_texts(&mut *tail, 3).await, ["a", "b", "(caught up)"]);
    append(&*log, &empty, 0, &["c"]).await;
    assert_eq!(tail_texts(&mut *tail, 1).await, ["c"]);
    append(&*log, &topic, 1, &["d"]).await;
    assert_eq!(tail_texts(&mut *tail, 1).await, ["d"]);
    let mut end = log.tail(&[&topic], From::End).await.unwrap();
    assert_eq!(tail_texts(&mut *end, 1).await, ["(caught up)"]);
    append(&*log, &topic, 0, &["e"]).await;
    assert_eq!(tail_texts(&mut *end, 1).await, ["e"]);
}

pub async fn progress_counts_what_is_left(log: Arc<dyn Log>) {
    let (topic, group) = (topic(&*log, 2).await, fresh("group"));
    append(&*log, &topic, 0, &["a", "b", "c"]).await;
    let before = log.progress(&group, &[&topic]).await.unwrap();
    assert_eq!(before.len(), 2, "one entry per partition");
    assert_eq!((before[0].committed, before[0].end), (0, 3));
    assert!(before[0].oldest_pending_ms.is_some() && before[1].oldest_pending_ms.is_none());
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    records(&mut *member, 3).await;
    member.commit(&[(at(&topic, 0), 3)]).await.unwrap();
    let after = log.progress(&group, &[&topic]).await.unwrap();
    assert_eq!((after[0].committed, after[0].end, after[0].oldest_pending_ms), (3, 3, None));
}

pub async fn concurrent_writers_keep_their_order(log: Arc<dyn Log>) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 40;
    let topic = topic(&*log, 3).await;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (log, topic) = (Arc::clone(&log), topic.clone());
            tokio::spawn(async move {
                for number in 0..EACH {
                    let value = format!("{writer} {number}");
                    log.append(vec![record(&topic, writer, value)]).await.unwrap();
                }
            })
        })
        .collect();
    let mut member = log.join(&fresh("group"), &[&topic]).await.unwrap();
    let all = records(&mut *member, (WRITERS * EACH) as usize).await;
    for writer in writers {
        writer.await.unwrap();
    }
    let mut next = BTreeMap::<String, u64>::new();
    let mut offsets = BTreeMap::<TopicPartition, i64>::new();
    let mut times = BTreeMap::<TopicPartition, i64>::new();
    for record in &all {
        let text = String::from_utf8(record.value.to_vec()).unwrap();
        let (writer, number) = text.split_once(' ').unwrap();
        let expected = next.entry(writer.to_owned()).or_default();
        assert_eq!(number.parse::<u64>().unwrap(), *expected);
        *expected += 1;
        assert!(offsets.insert(record.at.clone(), record.offset).is_none_or(|before| before < record.offset));
        let last = times.insert(record.at.clone(), record.timestamp_ms);
        assert!(last.is_none_or(|last| last <= record.timestamp_ms));
    }
    assert!(next.len() == WRITERS as usize && next.values().all(|count| *count == EACH));
}

pub async fn a_long_backlog_comes_in_order_beside_fresh_records(log: Arc<dyn Log>) {
    let (old, new) = (topic(&*log, 1).await, topic(&*log, 1).await);
    // More than any cache of recent records is likely to hold.
    for batch in 0..40u32 {
        let filler = vec![b'x'; 16 << 10];
        let records = (0..32u32).map(|number| {
            let mut value = (batch * 32 + number).to_be_bytes().to_vec();
            value.extend_from_slice(&filler);
            record(&old, 0, value)
        });
        log.append(records.collect()).await.unwrap();
    }
    append(&*log, &new, 0, &["fresh"]).await;
    let mut member = log.join(&fresh("group"), &[&old, &new]).await.unwrap();
    let all = records(&mut *member, 40 * 32 + 1).await;
    let numbers: Vec<u32> = all
        .iter()
        .filter(|record| record.at.topic == old)
        .map(|record| u32::from_be_bytes(*record.value.first_chunk().unwrap()))
        .collect();
    assert_eq!(numbers, (0..40 * 32).collect::<Vec<u32>>());
    let first_fresh = all.iter().position(|record| record.at.topic == new).unwrap();
    assert!(first_fresh < all.len() - 1, "a backlog does not hold up other topics to its end");
    log.check().await.unwrap();
}

/// Calls the macro `$with` with what stands in braces, and behind it the list of all checks of the suite.
macro_rules! every_check {
    ($with:ident, { $($before:tt)* }) => {
        $with!($($before)* [
            records_come_back_as_they_went_in,
            unknown_topics_and_other_partitions_are_refused,
            a_group_reads_on_where_it_committed,
            a_waiting_member_is_woken_by_an_append,
            members_share_partitions_and_hand_them_over,
            a_lost_partition_cannot_be_committed_even_before_the_member_hears_of_it,
            a_commit_of_several_is_all_or_nothing,
            paused_partitions_wait_and_the_others_go_on,
            seeking_moves_the_position,
            records_are_found_by_the_time_they_came,
            a_dropped_wait_loses_nothing,
            a_tail_reads_to_the_end_says_so_once_and_goes_on,
            progress_counts_what_is_left,
            concurrent_writers_keep_their_order,
            a_long_backlog_comes_in_order_beside_fresh_records,
        ]);
    };
}
pub(crate) use every_check;
