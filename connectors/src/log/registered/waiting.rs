//! Records on their way in: translated where that can be, in order behind the first that has to wait for the registry where
//! it cannot.

use std::collections::{BTreeMap, VecDeque};

use super::Translator;
use crate::log::{Record, TopicPartition};

/// What reading a record came to.
pub(super) enum Inward {
    /// It can go on.
    Done(Record),
    /// Nobody knows its schema yet.
    Waits(Record),
}

/// Records that wait, by partition; only the first of each is asked about.
#[derive(Default)]
pub(super) struct Waiting {
    lines: BTreeMap<TopicPartition, VecDeque<Record>>,
}

impl Waiting {
    /// Takes `records` in; answers those that can go on, and partitions whose records wait from now on.
    pub(super) fn pass(&mut self, translator: &Translator, records: Vec<Record>) -> (Vec<Record>, Vec<TopicPartition>) {
        let (mut done, mut held) = (Vec::with_capacity(records.len()), Vec::new());
        for record in records {
            if let Some(line) = self.lines.get_mut(&record.at) {
                line.push_back(record);
                continue;
            }
            match translator.inward(record) {
                Inward::Done(record) => done.push(record),
                Inward::Waits(record) => {
                    held.push(record.at.clone());
                    self.lines.insert(record.at.clone(), VecDeque::from([record]));
                }
            }
        }
        (done, held)
    }

    /// Tries again; answers what can go on now, and partitions in which nothing waits any more. Those that `is_held` says
    /// stay as they are.
    pub(super) fn retry(
        &mut self,
        translator: &Translator,
        is_held: impl Fn(&TopicPartition) -> bool,
    ) -> (Vec<Record>, Vec<TopicPartition>) {
        let (mut done, mut released) = (Vec::new(), Vec::new());
        self.lines.retain(|at, line| {
            if is_held(at) {
                return true;
            }
            while let Some(record) = line.pop_front() {
                match translator.inward(record) {
                    Inward::Done(record) => done.push(record),
                    Inward::Waits(record) => {
                        line.push_front(record);
                        return true;
                    }
                }
            }
            released.push(at.clone());
            false
        });
        (done, released)
    }

    /// Whether records of `at` wait.
    pub(super) fn has(&self, at: &TopicPartition) -> bool {
        self.lines.contains_key(at)
    }

    /// Forgets what waits in `at`; answers whether something did.
    pub(super) fn forget(&mut self, at: &TopicPartition) -> bool {
        self.lines.remove(at).is_some()
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        self.lines.values().map(VecDeque::len).sum()
    }
}
