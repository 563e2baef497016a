//! Which id of the registry is which of ours.

use std::collections::{BTreeSet, HashMap};

use schemas::wire;

/// Ids here, and ids in the log of a deployment with a registry.
///
/// Both directions are one to one over all ids, those that nobody gave included: whatever is read and written again lies
/// there byte for byte as it was.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    inward: HashMap<i32, i32>,
    outward: HashMap<i32, i32>,
    ours: BTreeSet<i32>,
}

impl Ids {
    /// Ids by what was registered: ours, and what the registry calls it.
    pub(super) fn new(pairs: &[(i32, i32)]) -> Self {
        let mut ids = Self::default();
        for (built_in, registered) in pairs {
            ids.pair(*built_in, *registered);
            ids.ours.insert(*registered);
        }
        let built_in: BTreeSet<i32> = pairs.iter().map(|(built_in, _)| *built_in).collect();
        // Others' schemas may have the numbers of ours: they must not be taken for them. What stands in for them takes the
        // numbers that ours do not need here.
        let others = built_in.difference(&ids.ours).copied().collect::<Vec<_>>();
        let free = ids.ours.difference(&built_in).copied().collect::<Vec<_>>();
        for (other, free) in others.into_iter().zip(free) {
            ids.pair(wire::standing_in(other), other);
            ids.pair(free, wire::standing_in(other));
        }
        ids
    }

    fn pair(&mut self, here: i32, there: i32) {
        self.inward.insert(there, here);
        self.outward.insert(here, there);
    }

    /// Whether the registry has given `there` to a schema of ours.
    pub(super) fn is_ours(&self, there: i32) -> bool {
        self.ours.contains(&there)
    }

    /// What the log's `there` is here.
    pub(super) fn inward(&self, there: i32) -> i32 {
        self.inward.get(&there).copied().unwrap_or(there)
    }

    /// What our `here` is in the log.
    pub(super) fn outward(&self, here: i32) -> i32 {
        self.outward.get(&here).copied().unwrap_or(here)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ours_are_translated_and_others_of_the_same_number_are_told_apart() {
        let ids = Ids::new(&[(1, 7), (2, 1), (3, 9)]);
        assert_eq!([7, 1, 9].map(|there| ids.inward(there)), [1, 2, 3]);
        assert_eq!([1, 2, 3].map(|here| ids.outward(here)), [7, 1, 9]);
        assert_eq!((ids.inward(25_443), ids.outward(25_443)), (25_443, 25_443), "nobody's");
        for other in [2, 3] {
            assert!(![1, 2, 3].contains(&ids.inward(other)), "the registry's {other} is none of ours");
            assert_eq!(ids.inward(other) & i32::MAX, other, "and its number can be said");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_written_as_it_was(
            registered in btree_set(1i32..40, 1..14),
            any: i32,
            small in 0i32..40,
        ) {
            // In no order of theirs.
            let pairs: Vec<(i32, i32)> = (1..).zip(registered.into_iter().rev()).collect();
            let ids = Ids::new(&pairs);
            for id in [any, small, wire::standing_in(small)] {
                prop_assert_eq!(ids.outward(ids.inward(id)), id);
                prop_assert_eq!(ids.inward(ids.outward(id)), id);
                let is_taken_for_ours = pairs.iter().any(|(built_in, _)| *built_in == ids.inward(id));
                prop_assert_eq!(is_taken_for_ours, ids.is_ours(id));
            }
        }
    }
}
