//! What appends and commits change, in the form in which the journal keeps it.

use std::collections::BTreeMap;

use redb::WriteTransaction;

use super::disk::{COMMITTED, RECORDS};
use super::view::Place;
use crate::store::Fault;

const RECORD: u8 = 1;
const OFFSET: u8 = 2;
/// Bytes of a change beside a record: kind, topic, partition, offset, length.
const OVERHEAD: usize = 1 + 4 + 4 + 8 + 4;

/// Changes of one transaction, one after the other.
#[derive(Default)]
pub(super) struct Changes(Vec<u8>);

impl Changes {
    /// Makes room for records of these lengths.
    pub(super) fn reserve(&mut self, lengths: impl Iterator<Item = usize>) {
        self.0.reserve(lengths.map(|length| OVERHEAD + length).sum());
    }

    /// A record, stored as `parts` one after the other, has come to `place`.
    pub(super) fn record(&mut self, place: Place, offset: i64, parts: [&[u8]; 2]) {
        self.0.push(RECORD);
        self.place(place, offset);
        self.parts(parts);
    }

    /// `group` has come to `offset`.
    pub(super) fn committed(&mut self, group: &str, place: Place, offset: i64) {
        self.0.push(OFFSET);
        self.place(place, offset);
        self.parts([group.as_bytes(), &[]]);
    }

    /// All of them.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn place(&mut self, place: Place, offset: i64) {
        self.0.extend_from_slice(&place.0.to_le_bytes());
        self.0.extend_from_slice(&place.1.to_le_bytes());
        self.0.extend_from_slice(&offset.to_le_bytes());
    }

    fn parts(&mut self, parts: [&[u8]; 2]) {
        let length = parts[0].len() + parts[1].len();
        // More than this fits into no journal, and what does not fit is not taken from it.
        self.0.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
        self.0.extend_from_slice(parts[0]);
        self.0.extend_from_slice(parts[1]);
    }
}

/// Makes all `changes` in `transaction`; made twice they are the same.
pub(super) fn replay(transaction: &WriteTransaction, changes: &[&[u8]]) -> Result<(), Fault> {
    let mut stored = Vec::new();
    let mut offsets = BTreeMap::new();
    for mut rest in changes.iter().copied() {
        while let Some(kind) = rest.split_off_first() {
            let (topic, partition) = (u32::from_le_bytes(take(&mut rest)?), u32::from_le_bytes(take(&mut rest)?));
            let offset = i64::from_le_bytes(take(&mut rest)?);
            let length = u32::from_le_bytes(take(&mut rest)?) as usize;
            let bytes = rest.split_off(..length).ok_or_else(damaged)?;
            match *kind {
                RECORD => stored.push(((topic, partition, offset), bytes)),
                OFFSET => {
                    let group = std::str::from_utf8(bytes).map_err(Fault::new)?;
                    offsets.insert((group, topic, partition), offset);
                }
                other => {
                    return Err(Fault::new(format!("the journal holds a change of kind {other}, which is unknown")));
                }
            }
        }
    }
    // Neighbours in the tree go in one after the other, so that each of its pages is visited once.
    stored.sort_unstable_by_key(|(key, _)| *key);
    let mut records = transaction.open_table(RECORDS)?;
    for (key, bytes) in stored {
        records.insert(key, bytes)?;
    }
    let mut committed = transaction.open_table(COMMITTED)?;
    for (key, offset) in offsets {
        committed.insert(key, offset)?;
    }
    Ok(())
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Fault> {
    let (taken, left) = rest.split_first_chunk().ok_or_else(damaged)?;
    *rest = left;
    Ok(*taken)
}

fn damaged() -> Fault {
    Fault::new("the journal holds half a change")
}
