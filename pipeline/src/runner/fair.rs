//! Which work starts next: one piece of each job in turn.
//!
//! Pure. A ten-second clip that arrives behind a two-hour film waits for a free slot, not for the film. Within a job
//! the lowest key goes first, such as the first chunk, because that is what a viewer needs first; equal keys go in
//! order of arrival.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

/// A queue that serves its jobs round-robin. `J` names a job, `K` orders its work, `T` is a piece of it.
#[derive(Debug)]
pub struct Fair<J, K, T> {
    lines: HashMap<J, BTreeMap<(K, u64), T>>,
    /// Jobs that have a line, the next to be served first.
    turns: VecDeque<J>,
    /// Pieces that ever arrived.
    arrivals: u64,
    len: usize,
}

impl<J, K, T> Default for Fair<J, K, T> {
    fn default() -> Self {
        Self { lines: HashMap::new(), turns: VecDeque::new(), arrivals: 0, len: 0 }
    }
}

impl<J: Copy + Eq + Hash, K: Ord, T> Fair<J, K, T> {
    /// Adds `item` to the line of `job` at the place of `key`. A new job gets the last turn.
    pub fn push(&mut self, job: J, key: K, item: T) {
        let line = self.lines.entry(job).or_insert_with(|| {
            self.turns.push_back(job);
            BTreeMap::new()
        });
        line.insert((key, self.arrivals), item);
        self.arrivals += 1;
        self.len += 1;
    }

    /// Takes the first item of the job whose turn it is.
    pub fn pop(&mut self) -> Option<T> {
        let job = self.turns.pop_front()?;
        let line = self.lines.get_mut(&job)?;
        let (_, item) = line.pop_first()?;
        if line.is_empty() {
            self.lines.remove(&job);
        } else {
            self.turns.push_back(job);
        }
        self.len -= 1;
        Some(item)
    }

    /// Takes out everything of `job`, in order.
    pub fn remove_job(&mut self, job: J) -> Vec<T> {
        let Some(line) = self.lines.remove(&job) else { return Vec::new() };
        self.turns.retain(|other| *other != job);
        self.len -= line.len();
        line.into_values().collect()
    }

    /// Takes out everything that `matches`, such as the work of a lost partition; what stays keeps its place and turn.
    pub fn remove_where(&mut self, mut matches: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for job in &self.turns {
            let Some(line) = self.lines.get_mut(job) else { continue };
            let (out, keep) =
                std::mem::take(line).into_iter().partition::<BTreeMap<_, _>, _>(|(_, item)| matches(item));
            removed.extend(out.into_values());
            *line = keep;
        }
        self.lines.retain(|_, line| !line.is_empty());
        self.turns.retain(|job| self.lines.contains_key(job));
        self.len -= removed.len();
        removed
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
            queue.push("film", chunk, ("film", chunk));
        }
        assert_eq!(queue.pop(), Some(("film", 0)));
        queue.push("clip", 0, ("clip", 0));
        queue.push("clip", 1, ("clip", 1));
        let next: Vec<_> = (0..4).filter_map(|_| queue.pop()).collect();
        assert_eq!(next, [("film", 1), ("clip", 0), ("film", 2), ("clip", 1)]);
    }

    #[test]
    fn chunks_that_arrive_partition_by_partition_go_in_the_order_of_the_video() {
        let mut queue = Fair::default();
        for chunk in [0, 3, 6, 1, 4, 7, 2, 5] {
            queue.push("film", chunk, chunk);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8, u8),
        Pop,
        Cancel(u8),
        Lose(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            8 => (0..5u8, 0..4u8).prop_map(|(job, key)| Step::Push(job, key)),
            6 => Just(Step::Pop),
            1 => (0..5u8).prop_map(Step::Cancel),
            1 => (0..4u32).prop_map(Step::Lose),
        ]
    }

    /// Job, key, number of arrival.
    type Item = (u8, u8, u32);

    proptest! {
        /// Against the plainest model: one list in order of arrival, and who was served when.
        #[test]
        fn nothing_is_lost_order_holds_and_nobody_waits_longer_than_a_round(
            steps in prop::collection::vec(step(), 0..200)
        ) {
            let mut queue = Fair::default();
            let mut model: Vec<Item> = Vec::new();
            let mut number = 0;
            // For each job that waits: how many others were served since it began to.
            let mut waited: HashMap<u8, usize> = HashMap::new();
            for step in steps {
                match step {
                    Step::Push(job, key) => {
                        queue.push(job, key, (job, key, number));
                        model.push((job, key, number));
                        waited.entry(job).or_insert(0);
                        number += 1;
                    }
                    Step::Pop => {
                        let popped: Option<Item> = queue.pop();
                        prop_assert_eq!(popped.is_none(), model.is_empty());
                        if let Some(item) = popped {
                            let first = model.iter().filter(|other| other.0 == item.0).min().copied();
                            prop_assert_eq!(first, Some(item), "the lowest key of the job, then the oldest");
                            model.retain(|other| *other != item);
                            waited.remove(&item.0);
                            for rounds in waited.values_mut() {
                                *rounds += 1;
                                // Five jobs: each other one goes first at most once.
                                prop_assert!(*rounds <= 4, "a job waited for {} others", rounds);
                            }
                            if model.iter().any(|other| other.0 == item.0) {
                                waited.insert(item.0, 0);
                            }
                        }
                    }
                    Step::Cancel(job) => {
                        let mut wanted: Vec<Item> = model.extract_if(.., |item| item.0 == job).collect();
                        wanted.sort_unstable();
                        prop_assert_eq!(queue.remove_job(job), wanted);
                        waited.remove(&job);
                    }
                    Step::Lose(partition) => {
                        let mut gone = queue.remove_where(|(_, _, number)| number % 4 == partition);
                        gone.sort_unstable();
                        let mut wanted: Vec<Item> = model.extract_if(.., |(_, _, number)| *number % 4 == partition).collect();
                        wanted.sort_unstable();
                        prop_assert_eq!(gone, wanted);
                        waited.retain(|job, _| model.iter().any(|item| item.0 == *job));
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
            }
        }
    }
}
