//! Which offset may be committed: the lowest one that is not finished, never more.
//!
//! Pure bookkeeping. Work finishes in any order; a group's committed offset says "everything before this is done", so
//! it moves only as far as the finished records reach without a hole. Offsets of a partition ascend, perhaps with gaps.

use std::collections::{BTreeMap, BTreeSet};

use connectors::log::TopicPartition;

/// Delivered, finished and committed offsets of all partitions that one consumer owns.
#[derive(Debug, Default)]
pub struct Offsets {
    /// In order, so that what follows from it happens in the same order each time.
    partitions: BTreeMap<TopicPartition, Partition>,
}

#[derive(Debug)]
struct Partition {
    /// Delivered and not finished.
    open: BTreeSet<i64>,
    /// One past the newest that was delivered.
    next: i64,
    /// Where the group stands as far as is known: at first, where its deliveries began.
    committed: i64,
}

impl Partition {
    /// The next offset that the group has to read if everybody stopped now.
    fn position(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

impl Offsets {
    /// A record was delivered. Answers false when it was delivered before: it must not be started twice.
    pub fn delivered(&mut self, at: &TopicPartition, offset: i64) -> bool {
        let Some(partition) = self.partitions.get_mut(at) else {
            let first = Partition { open: BTreeSet::from([offset]), next: offset.saturating_add(1), committed: offset };
            self.partitions.insert(at.clone(), first);
            return true;
        };
        if offset < partition.next {
            return false;
        }
        partition.next = offset.saturating_add(1);
        partition.open.insert(offset)
    }

    /// The work of a record is over. Unknown offsets, such as those of a lost partition, are ignored.
    pub fn finished(&mut self, at: &TopicPartition, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(at) {
            partition.open.remove(&offset);
        }
    }

    /// The partition belongs to somebody else: forgets everything about it.
    pub fn lost(&mut self, at: &TopicPartition) {
        self.partitions.remove(at);
    }

    /// What can be committed now and has not been: per partition the next offset to read.
    pub fn due(&self) -> Vec<(TopicPartition, i64)> {
        self.partitions
            .iter()
            .filter(|(_, partition)| partition.position() > partition.committed)
            .map(|(at, partition)| (at.clone(), partition.position()))
            .collect()
    }

    /// These offsets are durable in the group.
    pub fn committed(&mut self, offsets: &[(TopicPartition, i64)]) {
        for (at, offset) in offsets {
            if let Some(partition) = self.partitions.get_mut(at) {
                partition.committed = partition.committed.max(*offset);
            }
        }
    }

    /// Records delivered and not finished.
    pub fn open(&self) -> usize {
        self.partitions.values().map(|partition| partition.open.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn at(partition: u32) -> TopicPartition {
        TopicPartition { topic: "chunk.cut".to_owned(), partition }
    }

    #[test]
    fn a_hole_holds_the_commit_back_until_it_closes() {
        let mut offsets = Offsets::default();
        for offset in [10, 11, 15] {
            assert!(offsets.delivered(&at(0), offset));
        }
        offsets.finished(&at(0), 15);
        offsets.finished(&at(0), 11);
        assert_eq!(offsets.due(), [], "10 is open: nothing may be committed");
        offsets.finished(&at(0), 10);
        assert_eq!(offsets.due(), [(at(0), 16)], "the gap between 11 and 15 does not count as a hole");
        offsets.committed(&[(at(0), 16)]);
        assert_eq!(offsets.due(), [], "once is enough");
    }

    #[test]
    fn a_lost_partition_is_forgotten_and_a_late_finish_changes_nothing() {
        let mut offsets = Offsets::default();
        offsets.delivered(&at(0), 3);
        offsets.delivered(&at(1), 7);
        offsets.lost(&at(0));
        offsets.finished(&at(0), 3);
        offsets.finished(&at(1), 7);
        assert_eq!(offsets.due(), [(at(1), 8)]);
        assert!(offsets.delivered(&at(0), 3), "it may come back and is new then");
    }

    /// What happens to the tracker and, beside it, to a list of everything that was ever delivered.
    #[derive(Clone, Debug)]
    enum Step {
        Deliver { partition: u32, gap: i64 },
        Redeliver { partition: u32, pick: usize },
        Finish { partition: u32, pick: usize },
        Commit,
        Lose { partition: u32 },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3u32, 0..3i64).prop_map(|(partition, gap)| Step::Deliver { partition, gap }),
            1 => (0..3u32, any::<usize>()).prop_map(|(partition, pick)| Step::Redeliver { partition, pick }),
            6 => (0..3u32, any::<usize>()).prop_map(|(partition, pick)| Step::Finish { partition, pick }),
            2 => Just(Step::Commit),
            1 => (0..3u32).prop_map(|partition| Step::Lose { partition }),
        ]
    }

    /// Every delivered offset of a partition with whether it is finished, and the last commit.
    type Model = (Vec<(i64, bool)>, Option<i64>);

    proptest! {
        #[test]
        fn commits_are_contiguous_and_as_far_as_possible(steps in prop::collection::vec(step(), 0..120)) {
            let mut offsets = Offsets::default();
            let mut model: HashMap<u32, Model> = HashMap::new();
            let mut next = [0i64; 3];
            for step in steps {
                match step {
                    Step::Deliver { partition, gap } => {
                        let offset = next[partition as usize] + gap;
                        next[partition as usize] = offset + 1;
                        prop_assert!(offsets.delivered(&at(partition), offset));
                        model.entry(partition).or_default().0.push((offset, false));
                    }
                    Step::Redeliver { partition, pick } => {
                        if let Some((list, _)) = model.get(&partition).filter(|(list, _)| !list.is_empty()) {
                            prop_assert!(!offsets.delivered(&at(partition), list[pick % list.len()].0));
                        }
                    }
                    Step::Finish { partition, pick } => {
                        if let Some((list, _)) = model.get_mut(&partition).filter(|(list, _)| !list.is_empty()) {
                            let index = pick % list.len();
                            list[index].1 = true;
                            offsets.finished(&at(partition), list[index].0);
                        }
                    }
                    Step::Commit => {
                        let due: HashMap<_, _> = offsets.due().into_iter().collect();
                        for (partition, (list, committed)) in &mut model {
                            let finished = list.iter().take_while(|(_, finished)| *finished).count();
                            let position = list.get(finished).map_or_else(
                                || list.last().map(|(offset, _)| offset + 1),
                                |(offset, _)| Some(*offset),
                            );
                            let wanted = (finished > 0 && position > *committed).then_some(position).flatten();
                            prop_assert_eq!(due.get(&at(*partition)).copied(), wanted);
                            if wanted.is_some() {
                                *committed = wanted;
                            }
                        }
                        offsets.committed(&due.into_iter().collect::<Vec<_>>());
                    }
                    Step::Lose { partition } => {
                        offsets.lost(&at(partition));
                        model.remove(&partition);
                    }
                }
                let open = model.values().flat_map(|(list, _)| list).filter(|(_, finished)| !finished).count();
                prop_assert_eq!(offsets.open(), open);
            }
        }
    }
}
