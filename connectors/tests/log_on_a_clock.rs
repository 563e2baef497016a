//! What the embedded log does over time and over restarts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use connectors::clock::ManualClock;
use connectors::embedded::{self, OpenError};
use connectors::log::embedded::Embedded;
use connectors::log::{Delivery, From, Log, Retention, Tailed, TopicPartition, TopicSpec};
use futures::FutureExt;
use proptest::prelude::*;

#[path = "suite/log.rs"]
#[allow(dead_code, unused_macros, unused_imports, reason = "this file has checks of its own")]
mod log;

use log::{append, at, gained, record, records, texts};

const NOW: i64 = 1_700_000_000_000;

fn spec(name: &str, partitions: u32, max_age_ms: Option<i64>, max_bytes: Option<u64>) -> TopicSpec {
    TopicSpec {
        name: name.into(),
        partitions,
        retention: Retention { max_age_ms, max_bytes, is_compacted: false },
        min_in_sync: None,
    }
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> Embedded {
    Embedded::open(&folder.join("log.redb"), clock.clone()).unwrap()
}

#[tokio::test]
async fn records_offsets_and_topics_outlive_the_process() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let log = open(folder.path(), &clock);
    log.ensure_topics(&[spec("t", 2, None, None), spec("u", 1, Some(5), None)]).await.unwrap();
    append(&log, "t", 0, &["a", "b"]).await;
    append(&log, "t", 1, &["c"]).await;
    let mut member = log.join("g", &["t"]).await.unwrap();
    records(&mut *member, 3).await;
    member.commit(&[(at("t", 0), 1)]).await.unwrap();
    drop((log, member));

    let log = open(folder.path(), &clock);
    assert!(log.ensure_topics(&[spec("t", 3, None, None)]).await.is_err(), "partitions are remembered");
    append(&log, "t", 0, &["d"]).await;
    let mut member = log.join("g", &["t"]).await.unwrap();
    let mut got = texts(&records(&mut *member, 3).await);
    got.sort();
    assert_eq!(got, ["b", "c", "d"]);
    let progress = log.progress("g", &["t", "u"]).await.unwrap();
    assert_eq!((progress[0].committed, progress[0].end), (1, 3));
    assert_eq!((progress[1].committed, progress[1].end), (0, 1));
}

#[tokio::test]
async fn a_second_owner_is_told_which_folder_is_in_use() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let doors = embedded::open(folder.path(), clock.clone()).unwrap();
    let error = embedded::open(folder.path(), clock.clone()).map(drop).unwrap_err();
    assert!(matches!(error, embedded::Error::InUse(OpenError::InUse(_))), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(folder.path().to_str().unwrap()) && text.contains("in use"), "{text}");
    drop(doors);
    embedded::open(folder.path(), clock).unwrap();
}

#[test]
fn a_file_that_is_no_log_is_refused_and_left_alone() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let path = folder.path().join("log.redb");
    std::fs::write(&path, b"this is somebody's letter, not a database").unwrap();
    let error = Embedded::open(&path, clock).map(drop).unwrap_err();
    assert!(error.to_string().contains("log.redb"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"this is somebody's letter, not a database");
}

#[tokio::test]
async fn records_are_found_by_time() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let log = open(folder.path(), &clock);
    log.ensure_topics(&[spec("t", 1, None, None)]).await.unwrap();
    for value in ["0", "10", "20", "20 again"] {
        append(&log, "t", 0, &[value]).await;
        if value != "20" {
            clock.advance(10);
        }
    }
    // A clock that is set back does not turn records around.
    clock.advance(-1000);
    append(&log, "t", 0, &["late"]).await;
    let all = log.read(&at("t", 0), 0, 10).await.unwrap();
    let times: Vec<i64> = all.iter().map(|record| record.timestamp_ms - NOW).collect();
    assert_eq!(times, [0, 10, 20, 20, 20]);
    let mut member = log.join("g", &["t"]).await.unwrap();
    records(&mut *member, 5).await;
    for (time, first) in [(-5, 0), (0, 0), (1, 1), (10, 1), (20, 2)] {
        member.seek_to_time(&at("t", 0), NOW + time).await.unwrap();
        assert_eq!(records(&mut *member, 5 - first).await, all[first..], "from {time}");
        let mut tail = log.tail(&["t"], From::Time(NOW + time)).await.unwrap();
        assert_eq!(tail.next().await.unwrap(), Tailed::Records(all[first..].to_vec()));
    }
    let mut tail = log.tail(&["t"], From::Time(NOW + 21)).await.unwrap();
    assert_eq!(tail.next().await.unwrap(), Tailed::CaughtUp);
}

#[tokio::test]
async fn retention_drops_by_age_and_size_and_readers_go_on() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let log = open(folder.path(), &clock);
    log.ensure_topics(&[
        spec("aged", 1, Some(100), None),
        spec("sized", 1, None, Some(10_000)),
        spec("kept", 1, None, None),
    ])
    .await
    .unwrap();
    let mut tail = log.tail(&["aged"], From::Beginning).await.unwrap();
    for _ in 0..10 {
        append(&log, "aged", 0, &["x"]).await;
        append(&log, "kept", 0, &["x"]).await;
        log.append(vec![record("sized", 0, vec![0; 2000])]).await.unwrap();
        clock.advance(20);
    }
    log.enforce_retention().await.unwrap();
    let offsets = async |topic| -> Vec<i64> {
        log.read(&at(topic, 0), 0, 100).await.unwrap().iter().map(|record| record.offset).collect()
    };
    assert_eq!(offsets("aged").await, [5, 6, 7, 8, 9]);
    assert_eq!(offsets("sized").await, [6, 7, 8, 9]);
    assert_eq!(offsets("kept").await.len(), 10);
    let mut member = log.join("g", &["aged"]).await.unwrap();
    assert_eq!(records(&mut *member, 5).await[0].offset, 5, "a new group begins at the oldest kept record");
    clock.advance(1000);
    log.enforce_retention().await.unwrap();
    assert!(offsets("aged").await.is_empty());
    assert_eq!(tail.next().await.unwrap(), Tailed::CaughtUp, "what is dropped counts as read");
    drop((log, tail, member));
    let log = open(folder.path(), &clock);
    append(&log, "aged", 0, &["y"]).await;
    assert_eq!(log.read(&at("aged", 0), 0, 9).await.unwrap()[0].offset, 10, "offsets are never given twice");
    assert_eq!(log.read(&at("sized", 0), 0, 9).await.unwrap()[0].offset, 6);
}

#[tokio::test]
async fn retention_of_many_records_goes_in_steps() {
    let clock = Arc::new(ManualClock::at(NOW));
    let log = Embedded::in_memory(clock.clone()).unwrap();
    log.ensure_topics(&[spec("t", 2, Some(1), None)]).await.unwrap();
    for _ in 0..10 {
        log.append((0..1000).map(|number| record("t", number, "x")).collect()).await.unwrap();
    }
    clock.advance(2);
    log.enforce_retention().await.unwrap();
    assert!(log.read(&at("t", 0), 0, 9).await.unwrap().is_empty());
    assert!(log.read(&at("t", 1), 0, 9).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn simulated_time_stands_still_while_the_log_in_memory_works() {
    let log = Embedded::in_memory(Arc::new(ManualClock::at(NOW))).unwrap();
    log.ensure_topics(&[spec("t", 1, None, None)]).await.unwrap();
    let mut member = log.join("g", &["t"]).await.unwrap();
    let begun = tokio::time::Instant::now();
    for _ in 0..200 {
        let work = async {
            append(&log, "t", 0, &["x"]).await;
            gained_or_record(&mut *member).await;
        };
        tokio::time::timeout(std::time::Duration::from_millis(1), work).await.unwrap();
    }
    assert_eq!(begun.elapsed().as_nanos(), 0);
}

async fn gained_or_record(member: &mut dyn connectors::log::Consumer) {
    member.next().await.unwrap();
}

#[tokio::test]
async fn a_member_that_leaves_hands_over_at_once() {
    let log = Embedded::in_memory(Arc::new(ManualClock::at(NOW))).unwrap();
    log.ensure_topics(&[spec("t", 5, None, None)]).await.unwrap();
    let mut one = log.join("g", &["t"]).await.unwrap();
    let mut two = log.join("g", &["t"]).await.unwrap();
    let (a, b) = (gained(&mut *one, 3).await, gained(&mut *two, 2).await);
    assert!(a.is_disjoint(&b));
    drop(one);
    assert_eq!(gained(&mut *two, 3).await, a);
}

/// What a user of the log may do, in any order.
#[derive(Clone, Debug)]
enum Step {
    Append { partition: u32, count: usize },
    Advance(i64),
    Retain,
    Join,
    Leave(usize),
    Poll(usize),
    Commit(usize),
    Seek { partition: u32, time: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..3, 1usize..5).prop_map(|(partition, count)| Step::Append { partition, count }),
        1 => (0i64..40).prop_map(Step::Advance),
        1 => Just(Step::Retain),
        1 => Just(Step::Join),
        1 => (0usize..3).prop_map(Step::Leave),
        6 => (0usize..3).prop_map(Step::Poll),
        2 => (0usize..3).prop_map(Step::Commit),
        1 => (0u32..3, 0i64..200).prop_map(|(partition, time)| Step::Seek { partition, time }),
    ]
}

/// The same log, as simple as can be.
#[derive(Default)]
struct Model {
    records: BTreeMap<(u32, i64), (i64, String)>,
    ends: BTreeMap<u32, i64>,
    committed: BTreeMap<u32, i64>,
    now: i64,
}

impl Model {
    fn first(&self, partition: u32) -> i64 {
        let kept = self.records.range((partition, 0)..(partition + 1, 0)).next();
        kept.map_or(self.end(partition), |((_, offset), _)| *offset)
    }

    fn end(&self, partition: u32) -> i64 {
        self.ends.get(&partition).copied().unwrap_or_default()
    }
}

const MAX_AGE: i64 = 50;

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn any_history_looks_like_the_model(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let clock = Arc::new(ManualClock::at(0));
            let log = Embedded::in_memory(clock.clone()).unwrap();
            log.ensure_topics(&[spec("t", 3, Some(MAX_AGE), None)]).await.unwrap();
            let mut model = Model::default();
            // Each member with the positions that it has been told of.
            let mut members = Vec::new();
            let mut count = 0;
            for step in steps {
                match step {
                    Step::Append { partition, count: more } => {
                        for _ in 0..more {
                            count += 1;
                            append(&log, "t", u64::from(partition), &[&count.to_string()]).await;
                            let end = model.end(partition);
                            model.records.insert((partition, end), (model.now, count.to_string()));
                            model.ends.insert(partition, end + 1);
                        }
                    }
                    Step::Advance(ms) => {
                        clock.advance(ms);
                        model.now += ms;
                    }
                    Step::Retain => {
                        log.enforce_retention().await.unwrap();
                        let oldest = model.now - MAX_AGE;
                        model.records.retain(|_, (time, _)| *time >= oldest);
                    }
                    Step::Join if members.len() < 3 => {
                        members.push((log.join("g", &["t"]).await.unwrap(), BTreeMap::<u32, i64>::new()));
                    }
                    Step::Leave(index) if index < members.len() => drop(members.remove(index)),
                    Step::Poll(index) if index < members.len() => {
                        let (member, held) = &mut members[index];
                        match member.next().now_or_never() {
                            Some(Ok(Delivery::Gained(gained))) => for at in gained {
                                let first = model.first(at.partition);
                                let start = model.committed.get(&at.partition).copied().unwrap_or(first).max(first);
                                assert!(held.insert(at.partition, start).is_none());
                            },
                            Some(Ok(Delivery::Lost(lost))) => for at in lost {
                                assert!(held.remove(&at.partition).is_some());
                            },
                            Some(Ok(Delivery::Records(records))) => for record in records {
                                let partition = record.at.partition;
                                let position = held.get_mut(&partition).expect("only of partitions that are ours");
                                *position = (*position).max(model.first(partition));
                                assert_eq!(record.offset, *position);
                                let (time, value) = &model.records[&(partition, record.offset)];
                                assert_eq!((record.timestamp_ms, record.value.as_ref()), (*time, value.as_bytes()));
                                *position += 1;
                            },
                            Some(Err(error)) => panic!("{error}"),
                            None => for (partition, position) in held.iter() {
                                // What is dropped counts as read.
                                let position = (*position).max(model.first(*partition));
                                assert!(position >= model.end(*partition), "it waits although there is more");
                            },
                        }
                    }
                    Step::Commit(index) if index < members.len() => {
                        let (member, held) = &mut members[index];
                        for (partition, position) in held.iter() {
                            // Refusals are right when the partition has moved and the member has not heard yet.
                            if member.commit(&[(at("t", *partition), *position)]).await.is_ok() {
                                model.committed.insert(*partition, *position);
                            }
                        }
                    }
                    Step::Seek { partition, time } => {
                        let mut tail = log.tail(&["t"], From::Time(time)).await.unwrap();
                        let mut got = Vec::new();
                        while let Tailed::Records(records) = tail.next().await.unwrap() {
                            got.extend(records.into_iter().filter(|record| record.at.partition == partition));
                        }
                        let found: Vec<i64> = got.iter().map(|record| record.offset).collect();
                        let stored = model.records.range((partition, 0)..(partition + 1, 0));
                        let expected: Vec<i64> =
                            stored.filter(|(_, (at, _))| *at >= time).map(|((_, offset), _)| *offset).collect();
                        assert_eq!(found, expected);
                    }
                    Step::Join | Step::Leave(_) | Step::Poll(_) | Step::Commit(_) => {}
                }
            }
            for progress in log.progress("g", &["t"]).await.unwrap() {
                let TopicPartition { partition, .. } = progress.at;
                let first = model.first(partition);
                let committed = model.committed.get(&partition).copied().unwrap_or(first).max(first);
                assert_eq!((progress.committed, progress.end), (committed, model.end(partition)));
                let oldest = model.records.get(&(partition, committed)).map(|(time, _)| *time);
                assert_eq!(progress.oldest_pending_ms, oldest);
            }
            // When nothing moves any more, every partition has one owner who knows it.
            if !members.is_empty() {
                let mut owned = Vec::new();
                for (member, held) in &mut members {
                    while let Some(delivery) = member.next().now_or_never() {
                        match delivery.unwrap() {
                            Delivery::Gained(gained) => held.extend(gained.iter().map(|at| (at.partition, 0))),
                            Delivery::Lost(lost) => held.retain(|partition, _| !lost.contains(&at("t", *partition))),
                            Delivery::Records(_) => {}
                        }
                    }
                    owned.extend(held.keys().copied());
                }
                owned.sort_unstable();
                assert_eq!(owned, [0, 1, 2]);
            }
        });
    }
}

/// What is older lies in the database, what is newer in memory and the journal; whoever reads sees one log.
#[tokio::test]
async fn a_log_that_lies_in_several_places_reads_as_one() {
    const AT_ONCE: i64 = 1000;
    let (folder, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::at(NOW)));
    let log = open(folder.path(), &clock);
    log.ensure_topics(&[spec("t", 1, None, None)]).await.unwrap();
    let place = at("t", 0);
    // Many small records, which take more room in memory than in the journal, until there are more than memory keeps.
    for round in 0..250_i64 {
        let numbers = round * AT_ONCE..(round + 1) * AT_ONCE;
        log.append(numbers.clone().map(|number| record("t", 0, number.to_string())).collect()).await.unwrap();
        clock.advance(1);
        if round % 25 != 24 {
            continue;
        }
        let all = log.read(&place, 0, usize::MAX).await.unwrap();
        let is_whole = (0..).zip(&all).all(|(n, record)| record.offset == n && record.value == n.to_string());
        assert!(is_whole && all.len() as i64 == numbers.end, "{} of {}", all.len(), numbers.end);
        assert_eq!(log.read(&place, 100, 7).await.unwrap(), all[100..107]);
        let mut member = log.join("g", &["t"]).await.unwrap();
        gained(&mut *member, 1).await;
        for middle in [0, 1, round / 2, round - 1, round] {
            member.seek_to_time(&place, NOW + middle).await.unwrap();
            let Delivery::Records(found) = log::next(&mut *member).await else { panic!("no records") };
            assert_eq!(found[0].offset, middle * AT_ONCE);
            member.commit(&[(place.clone(), middle * AT_ONCE + 1)]).await.unwrap();
            let progress = log.progress("g", &["t"]).await.unwrap();
            assert_eq!(progress[0].oldest_pending_ms, Some(NOW + middle), "of round {round}");
        }
        let mut tail = log.tail(&["t"], From::Time(NOW + 3)).await.unwrap();
        let mut next = 3 * AT_ONCE;
        while let Tailed::Records(records) = tail.next().await.unwrap() {
            for record in records {
                assert_eq!(record.offset, next);
                next += 1;
            }
        }
        assert_eq!(next, numbers.end);
    }
}
