use super::*;
use bytes::Bytes;
use proptest::prelude::*;

const TOPIC: &str = "t";

fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: TOPIC.to_owned(), partition }
}

fn record(partition: u32, offset: i64, bytes: usize) -> Record {
    let value = vec![0; bytes].into();
    Record { at: at(partition), offset, timestamp_ms: 0, key: Bytes::new(), value, headers: Vec::new() }
}

#[derive(Clone, Debug)]
enum Step {
    Gain(u32),
    Lose(u32),
    /// Records of all partitions, polled so many changes of ownership ago.
    Push(u64),
    Pause(u32),
    Resume(u32),
    Take,
    Commit(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let partition = 0u32..3;
    let step = prop_oneof![
        partition.clone().prop_map(Step::Gain),
        partition.clone().prop_map(Step::Lose),
        (0u64..3).prop_map(Step::Push),
        partition.clone().prop_map(Step::Pause),
        partition.clone().prop_map(Step::Resume),
        Just(Step::Take),
        Just(Step::Take),
        partition.prop_map(Step::Commit),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever the poller and the reader do: the reader gets records only of what it has been told is its own, in
    /// order, not of what it has paused, and may commit exactly what is its own and known to it.
    #[test]
    fn only_what_is_ours_and_known_is_delivered_and_committed(steps in steps()) {
        let inbox = Inbox::default();
        // The truth, with the number of the change that gave it; and what the reader knows of it.
        let (mut owned, mut told) = (BTreeMap::<u32, u64>::new(), BTreeMap::<u32, u64>::new());
        let (mut news, mut paused) = (VecDeque::new(), BTreeSet::new());
        let (mut changes, mut next) = (0u64, BTreeMap::<(u32, u64), i64>::new());
        let mut sent = BTreeMap::<(u32, u64), i64>::new();
        for step in steps {
            match step {
                Step::Gain(partition) if !owned.contains_key(&partition) => {
                    inbox.gain(vec![at(partition)]);
                    changes += 1;
                    owned.insert(partition, changes);
                    news.push_back((partition, Some(changes)));
                }
                Step::Lose(partition) => {
                    inbox.lose(&[at(partition)]);
                    if owned.remove(&partition).is_some() {
                        changes += 1;
                        news.push_back((partition, None));
                    }
                }
                Step::Push(ago) => {
                    let as_of = changes.saturating_sub(ago);
                    // A poll brings what belongs to the ownership of its time.
                    let records = (0..3).map(|partition| {
                        let offset = sent.get(&(partition, as_of)).copied().unwrap_or(0);
                        record(partition, offset, 1)
                    });
                    inbox.push(records.collect(), as_of);
                    for (partition, since) in owned.iter().filter(|(_, since)| **since <= as_of) {
                        *sent.entry((*partition, *since)).or_default() += 1;
                    }
                }
                Step::Pause(partition) => {
                    inbox.hold_back(&[at(partition)]);
                    if told.contains_key(&partition) {
                        paused.insert(partition);
                    }
                }
                Step::Resume(partition) => {
                    inbox.let_go(&[at(partition)]);
                    paused.remove(&partition);
                }
                Step::Take => match (inbox.take(), news.pop_front()) {
                    (Some(Ok(Delivery::Gained(gained))), Some((partition, Some(since)))) => {
                        prop_assert_eq!(gained, vec![at(partition)]);
                        told.insert(partition, since);
                    }
                    (Some(Ok(Delivery::Lost(lost))), Some((partition, None))) => {
                        prop_assert_eq!(lost, vec![at(partition)]);
                        told.remove(&partition);
                        paused.remove(&partition);
                    }
                    (Some(Ok(Delivery::Records(records))), None) => {
                        for record in records {
                            let partition = record.at.partition;
                            let since = told.get(&partition).copied();
                            prop_assert!(since.is_some() && since == owned.get(&partition).copied());
                            prop_assert!(!paused.contains(&partition));
                            *next.entry((partition, since.unwrap_or(0))).or_default() += 1;
                        }
                    }
                    (None, None) => {
                        for (partition, since) in &owned {
                            let key = (*partition, *since);
                            let (sent, next) = (sent.get(&key).unwrap_or(&0), next.get(&key).unwrap_or(&0));
                            prop_assert!(paused.contains(partition) || sent == next, "nothing is held back");
                        }
                    }
                    (other, expected) => prop_assert!(false, "{other:?} where {expected:?} was due"),
                },
                Step::Commit(partition) => {
                    let is_ours = owned.contains_key(&partition) && owned.get(&partition) == told.get(&partition);
                    let begun = inbox.begin(&[at(partition)], 1);
                    prop_assert_eq!(begun.is_ok(), is_ours);
                    if begun.is_ok() {
                        prop_assert_eq!(inbox.begin(&[at(partition)], 1), Err(Refused::Busy));
                        inbox.settle();
                    }
                }
                Step::Gain(_) => {}
            }
        }
    }
}

#[test]
fn a_reader_that_is_slow_stops_the_fetching_and_starts_it_again() {
    let inbox = Inbox::default();
    inbox.gain(vec![at(0), at(1)]);
    assert!(matches!(inbox.take(), Some(Ok(Delivery::Gained(_)))));
    inbox.push((0..).map(|offset| record(0, offset, 10)).take(LANE_RECORDS).collect(), inbox.epoch());
    inbox.push(vec![record(1, 0, 10)], inbox.epoch());
    let flow = inbox.flow();
    assert_eq!((flow.pause, flow.resume, flow.is_choked), (vec![at(0)], vec![], true));
    assert_eq!(inbox.flow(), Flow { is_choked: true, ..Flow::default() }, "said once");
    let mut taken = 0;
    while taken <= LANE_RECORDS / 2 + 1 {
        let Some(Ok(Delivery::Records(records))) = inbox.take() else { panic!("there is more") };
        assert!(records.len() <= DELIVERY_RECORDS);
        taken += records.len();
    }
    assert_eq!(inbox.flow(), Flow { resume: vec![at(0)], ..Flow::default() });
}

#[test]
fn bytes_are_bounded_over_all_partitions() {
    let inbox = Inbox::default();
    inbox.gain((0..32).map(at).collect());
    assert!(matches!(inbox.take(), Some(Ok(Delivery::Gained(_)))));
    for partition in 0..32 {
        inbox.push(vec![record(partition, 0, 1 << 20)], inbox.epoch());
    }
    assert_eq!(inbox.flow().pause.len(), 32, "none of them is full, all of them together are");
    while let Some(Ok(Delivery::Records(records))) = inbox.take() {
        assert!(records.len() <= 2, "one delivery is a megabyte or one record");
    }
    assert_eq!(inbox.flow().resume.len(), 32);
}
