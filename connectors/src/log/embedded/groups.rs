//! Consumer groups of this process: who owns which partition, and how far each group has come.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tokio::sync::Notify;

use super::view::{Place, Topic};

/// All groups.
#[derive(Default)]
pub(super) struct Groups {
    groups: HashMap<String, Group>,
    last_id: u64,
}

/// Who owns a partition. The epoch grows with each change of hands, so that a member which loses a partition and gets it
/// back cannot commit what it was given the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) member: u64,
    pub(super) epoch: u64,
}

#[derive(Default)]
struct Group {
    members: BTreeMap<u64, Member>,
    owners: BTreeMap<Place, Owner>,
    epoch: u64,
    committed: HashMap<Place, i64>,
}

struct Member {
    topics: Vec<Arc<Topic>>,
    bell: Arc<Notify>,
}

impl Groups {
    /// Adds a member and gives partitions out anew; answers its id.
    pub(super) fn join(&mut self, group: &str, topics: Vec<Arc<Topic>>, bell: Arc<Notify>) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        let group = self.groups.entry(group.to_owned()).or_default();
        group.members.insert(id, Member { topics, bell });
        group.reassign();
        id
    }

    /// Removes a member and gives its partitions to the others.
    pub(super) fn leave(&mut self, group: &str, member: u64) {
        if let Some(group) = self.groups.get_mut(group) {
            group.members.remove(&member);
            group.reassign();
        }
    }

    /// What `member` owns now.
    pub(super) fn owned(&self, group: &str, member: u64) -> BTreeMap<Place, u64> {
        let owners = self.groups.get(group).map(|group| &group.owners);
        let mine = owners.into_iter().flatten().filter(|(_, owner)| owner.member == member);
        mine.map(|(place, owner)| (*place, owner.epoch)).collect()
    }

    /// Whether `owner` is the one that holds `place`.
    pub(super) fn is_owner(&self, group: &str, place: Place, owner: Owner) -> bool {
        self.groups.get(group).is_some_and(|group| group.owners.get(&place) == Some(&owner))
    }

    /// The offset that the group has committed.
    pub(super) fn committed(&self, group: &str, place: Place) -> Option<i64> {
        self.groups.get(group)?.committed.get(&place).copied()
    }

    /// Remembers an offset that has become durable.
    pub(super) fn put_committed(&mut self, group: &str, place: Place, offset: i64) {
        self.groups.entry(group.to_owned()).or_default().committed.insert(place, offset);
    }
}

impl Group {
    fn reassign(&mut self) {
        let current = self.owners.iter().map(|(place, owner)| (*place, owner.member)).collect();
        let wishes = self
            .members
            .iter()
            .map(|(id, member)| (*id, member.topics.iter().flat_map(|topic| topic.places()).collect()))
            .collect();
        let next = assign(&current, &wishes);
        self.epoch += 1;
        self.owners = next
            .into_iter()
            .map(|(place, member)| match self.owners.get(&place) {
                Some(owner) if owner.member == member => (place, *owner),
                _ => (place, Owner { member, epoch: self.epoch }),
            })
            .collect();
        for member in self.members.values() {
            member.bell.notify_one();
        }
    }
}

/// Gives every partition that somebody wishes for to one member that wishes for it. Loads are evened out, and a partition
/// stays where it is unless that would leave its owner with two more than somebody else who wishes for it.
fn assign(current: &BTreeMap<Place, u64>, wishes: &BTreeMap<u64, BTreeSet<Place>>) -> BTreeMap<Place, u64> {
    let mut loads: BTreeMap<u64, usize> = wishes.keys().map(|id| (*id, 0)).collect();
    let mut owners = BTreeMap::new();
    let all: BTreeSet<Place> = wishes.values().flatten().copied().collect();
    let wisher = |id: &u64, place: &Place| wishes.get(id).is_some_and(|places| places.contains(place));
    for place in &all {
        if let Some(id) = current.get(place).filter(|id| wisher(id, place)) {
            owners.insert(*place, *id);
            *loads.entry(*id).or_default() += 1;
        }
    }
    for place in &all {
        if owners.contains_key(place) {
            continue;
        }
        let least = loads.iter().filter(|(id, _)| wisher(id, place)).min_by_key(|(id, load)| (**load, **id));
        if let Some(id) = least.map(|(id, _)| *id) {
            owners.insert(*place, id);
            *loads.entry(id).or_default() += 1;
        }
    }
    loop {
        let step = owners.iter().find_map(|(place, owner)| {
            let load = loads.get(owner).copied().unwrap_or_default();
            let least = loads.iter().filter(|(id, _)| wisher(id, place)).min_by_key(|(id, load)| (**load, **id))?;
            (least.1 + 2 <= load).then_some((*place, *owner, *least.0))
        });
        let Some((place, from, to)) = step else { return owners };
        owners.insert(place, to);
        *loads.entry(from).or_default() -= 1;
        *loads.entry(to).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_partition_has_one_owner_who_wants_it_and_loads_are_even(
            places in prop::collection::btree_set((0u32..3, 0u32..12), 0..20),
            members in prop::collection::btree_set(0u64..6, 1..6),
            before in prop::collection::btree_map((0u32..3, 0u32..12), 0u64..6, 0..20),
        ) {
            let wishes: BTreeMap<u64, BTreeSet<Place>> = members.iter().map(|id| (*id, places.clone())).collect();
            let owners = assign(&before, &wishes);
            prop_assert_eq!(owners.keys().copied().collect::<BTreeSet<_>>(), places);
            prop_assert!(owners.values().all(|id| members.contains(id)));
            let loads: Vec<usize> =
                members.iter().map(|id| owners.values().filter(|owner| *owner == id).count()).collect();
            let (least, most) = (loads.iter().min(), loads.iter().max());
            prop_assert!(most.zip(least).is_none_or(|(most, least)| most - least <= 1));
            prop_assert_eq!(assign(&owners, &wishes), owners, "nothing moves without a reason");
        }

        #[test]
        fn members_with_different_wishes_get_only_what_they_wish(
            wishes in prop::collection::btree_map(
                0u64..6, prop::collection::btree_set((0u32..3, 0u32..6), 0..10), 0..6),
        ) {
            let owners = assign(&BTreeMap::new(), &wishes);
            let all: BTreeSet<Place> = wishes.values().flatten().copied().collect();
            prop_assert_eq!(owners.keys().copied().collect::<BTreeSet<_>>(), all);
            for (place, id) in owners {
                prop_assert!(wishes[&id].contains(&place));
            }
        }
    }
}
