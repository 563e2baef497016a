//! What listings and epochs of any catalog must do, as a map does it.

use std::collections::BTreeMap;

use connectors::Catalog;
use connectors::catalog::Swap;
use proptest::prelude::*;
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::{JobRow, State};

use super::catalog::{listed, row};

#[derive(Clone, Debug)]
pub enum Step {
    /// Writes a row of one of a few jobs, over the right epoch or a wrong one.
    Put {
        job: usize,
        outcome: u8,
        fresh: bool,
    },
    List {
        state: u8,
        limit: usize,
    },
    Wipe,
}

pub fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0usize..8, 0u8..5, prop::bool::weighted(0.8))
            .prop_map(|(job, outcome, fresh)| Step::Put { job, outcome, fresh }),
        3 => (0u8..6, 1usize..5).prop_map(|(state, limit)| Step::List { state, limit }),
        1 => Just(Step::Wipe),
    ]
}

fn state(number: u8) -> Option<State> {
    [
        None,
        Some(State::Received),
        Some(State::Processing),
        Some(State::Ready),
        Some(State::Failed),
        Some(State::Cancelled),
    ][usize::from(number)]
}

fn shaped(id: JobId, outcome: u8) -> JobRow {
    match outcome {
        0 => row(id, None),
        1 => row(id, Some(Outcome::Ready)),
        2 => row(id, Some(Outcome::Failed)),
        3 => row(id, Some(Outcome::Cancelled)),
        _ => JobRow { deleted: true, ..JobRow::new(id) },
    }
}

/// Does `steps` with rows of `ids` in a catalog and in a map, and compares them.
pub async fn follow(catalog: &dyn Catalog, ids: &[JobId], steps: Vec<Step>) {
    let mut model: BTreeMap<JobId, (u64, JobRow)> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put { job, outcome, fresh } => {
                let row = shaped(ids[job], outcome);
                let epoch = model.get(&row.id).map(|(epoch, _)| *epoch);
                let expected = if fresh { epoch } else { Some(epoch.map_or(3, |epoch| epoch + 1)) };
                match catalog.swap_job(&row, expected).await.unwrap() {
                    Swap::Won => {
                        assert!(fresh);
                        model.insert(row.id, (epoch.map_or(1, |epoch| epoch + 1), row));
                    }
                    Swap::Lost(there) => {
                        assert!(!fresh);
                        assert_eq!(there.map(|there| (there.epoch, there.row)), model.get(&row.id).cloned());
                    }
                }
            }
            Step::List { state: number, limit } => {
                let wanted = state(number);
                let expected: Vec<JobId> = model
                    .values()
                    .rev()
                    .filter(|(_, row)| !row.deleted && wanted.is_none_or(|state| row.state() == state))
                    .map(|(_, row)| row.id)
                    .collect();
                assert_eq!(listed(catalog, wanted, limit).await, expected);
            }
            Step::Wipe => {
                catalog.wipe_jobs().await.unwrap();
                model.clear();
            }
        }
    }
    for id in ids {
        let stored = catalog.job(*id).await.unwrap().map(|stored| (stored.epoch, stored.row));
        assert_eq!(stored, model.get(id).cloned());
    }
}
