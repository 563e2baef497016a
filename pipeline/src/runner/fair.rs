//! Which work starts next: one piece of each job in turn.
//!
//! Pure. A ten-second clip that arrives behind a two-hour film waits for a free slot, not for the film. Within a job the
//! order of arrival is kept.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// A queue that serves its jobs round-robin. `J` names a job, `T` is a piece of its work.
#[derive(Debug)]
pub struct Fair<J, T> {
    lines: HashMap<J, VecDeque<T>>,
    /// Jobs that have a line, the next to be served first.
    turns: VecDeque<J>,
    len: usize,
}

impl<J, T> Default for Fair<J, T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }
}

impl<J: Copy + Eq + Hash, T> Fair<J, T> {
    /// Adds `item` at the end of the line of `job`. A new job gets the last turn.
    pub fn push(&mut self, job: J, item: T) {
        self.line(job).push_back(item);
    }

    /// Puts `item` back at the head of the line of `job`, where it was before it was tried.
    pub fn push_front(&mut self, job: J, item: T) {
        self.line(job).push_front(item);
    }

    fn line(&mut self, job: J) -> &mut VecDeque<T> {
        self.len += 1;
        self.lines.entry(job).or_insert_with(|| {
            self.turns.push_back(job);
            VecDeque::new()
        })
    }

    /// Takes the oldest item of the job whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let job = self.turns.pop_front()?;
        let line = self.lines.get_mut(&job)?;
        let item = line.pop_front();
        if line.is_empty() {
            self.lines.remove(&job);
        } else {
            self.turns.push_back(job);
        }
        self.len -= usize::from(item.is_some());
        item
    }

    /// Takes out everything of `job`, in order.
    pub fn remove_job(&mut self, job: J) -> Vec<T> {
        let Some(line) = self.lines.remove(&job) else { return Vec::new() };
        self.turns.retain(|other| *other != job);
        self.len -= line.len();
        line.into()
    }

    /// Takes out everything that `matches`, such as the work of a lost partition; what stays keeps its order and turn.
    pub fn remove_where(&mut self, mut matches: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for job in &self.turns {
            let Some(line) = self.lines.get_mut(job) else { continue };
            let (out, keep) = std::mem::take(line).into_iter().partition::<VecDeque<T>, _>(&mut matches);
            removed.extend(out);
            *line = keep;
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|job| self.lines.contains_key(job));
        self.len -= removed.len();
        removed
    }

    /// Everything that waits, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.lines.values().flatten()
    }

    /// Items that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_clip_behind_a_film_is_next() {
        let mut queue = Fair::default();
        for chunk in 0..720 {
            queue.push("film", ("film", chunk));
        }
        assert_eq!(queue.pop(), Some(("film", 0)));
        queue.push("clip", ("clip", 0));
        queue.push("clip", ("clip", 1));
        let next: Vec<_> = (0..4).filter_map(|_| queue.pop()).collect();
        assert_eq!(next, [("film", 1), ("clip", 0), ("film", 2), ("clip", 1)]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Retry,
        Pop,
        Cancel(u8),
        Lose(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..5u8).prop_map(Step::Push),
            1 => Just(Step::Retry),
            6 => Just(Step::Pop),
            1 => (0..5u8).prop_map(Step::Cancel),
            1 => (0..4u32).prop_map(Step::Lose),
        ]
    }

    proptest! {
        /// Against the plainest model: one list in order of arrival, and who was served when.
        #[test]
        fn nothing_is_lost_order_holds_and_nobody_waits_longer_than_a_round(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let mut queue = Fair::default();
            let mut model: Vec<(u8, u32)> = Vec::new();
            let mut number = 0;
            let mut last: Option<(u8, u32)> = None;
            // For each job: how many others were served since it last had nothing to wait for.
            let mut waited: HashMap<u8, usize> = HashMap::new();
            for step in steps {
                match step {
                    Step::Push(job) => {
                        queue.push(job, (job, number));
                        model.push((job, number));
                        waited.entry(job).or_insert(0);
                        number += 1;
                    }
                    Step::Retry => if let Some(item) = last.take() {
                        queue.push_front(item.0, item);
                        model.insert(0, item);
                        waited.entry(item.0).or_insert(0);
                    },
                    Step::Pop => {
                        let popped = queue.pop();
                        prop_assert_eq!(popped.is_none(), model.is_empty());
                        if let Some((job, number)) = popped {
                            let first = model.iter().position(|(other, _)| *other == job);
                            prop_assert_eq!(first.map(|index| model.remove(index)), Some((job, number)));
                            waited.remove(&job);
                            for rounds in waited.values_mut() {
                                *rounds += 1;
                                // Five jobs: each other one goes first at most once.
                                prop_assert!(*rounds <= 4, "a job waited for {} others", rounds);
                            }
                            if model.iter().any(|(other, _)| *other == job) {
                                waited.insert(job, 0);
                            }
                            last = Some((job, number));
                        }
                    }
                    Step::Cancel(job) => {
                        let mut gone = queue.remove_job(job);
                        gone.sort_unstable();
                        let mut wanted: Vec<_> = model.extract_if(.., |(other, _)| *other == job).collect();
                        wanted.sort_unstable();
                        prop_assert_eq!(gone, wanted);
                        waited.remove(&job);
                    }
                    Step::Lose(partition) => {
                        let mut gone = queue.remove_where(|(_, number)| number % 4 == partition);
                        gone.sort_unstable();
                        let mut wanted: Vec<_> = model.extract_if(.., |(_, number)| *number % 4 == partition).collect();
                        wanted.sort_unstable();
                        prop_assert_eq!(gone, wanted);
                        waited.retain(|job, _| model.iter().any(|(other, _)| other == job));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.iter().count(), model.len());
            }
        }
    }
}
