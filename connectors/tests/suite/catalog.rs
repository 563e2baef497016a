//! What every catalog must do, written against the trait alone. Ids and names are fresh in each check, but listings of all
//! jobs or uploads expect a catalog of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use connectors::Catalog;
use connectors::catalog::{Decision, Error, Swap, UploadIntent, WorkerRow};
use schemas::JobId;
use schemas::event::{ChunkTranscoded, JobEnded, Outcome};
use schemas::job::{Fact, JobRow, State};

pub fn job(number: u64) -> JobId {
    use rand::Rng as _;
    JobId::from_parts(1_700_000_000_000 + number, rand::rng().random())
}

/// A row in the state that `outcome` stands for, or received.
pub fn row(id: JobId, outcome: Option<Outcome>) -> JobRow {
    let end =
        |outcome| JobEnded { job: id, outcome, at: 5, playable_at: None, error: None, warnings: vec!["w".into()] };
    JobRow {
        ended: outcome.map(|outcome| Fact { offset: Some(3), event: end(outcome), timing: None }),
        ..JobRow::new(id)
    }
}

async fn put(catalog: &dyn Catalog, row: &JobRow) {
    let epoch = catalog.job(row.id).await.unwrap().map(|stored| stored.epoch);
    assert_eq!(catalog.swap_job(row, epoch).await.unwrap(), Swap::Won);
}

/// Ids of a whole listing, read in pages of `limit`.
pub async fn listed(catalog: &dyn Catalog, state: Option<State>, limit: usize) -> Vec<JobId> {
    let (mut ids, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = catalog.jobs(state, after.as_deref(), limit).await.unwrap();
        assert!(page.items.len() <= limit);
        ids.extend(page.items.iter().map(|row| row.id));
        match page.next {
            Some(next) => after = Some(next),
            None => return ids,
        }
    }
}

/// The example of the schema, as a chunk of `job` with tables that are worth leaving out.
pub fn chunk(job: JobId, index: u32) -> ChunkTranscoded {
    let mut chunk: ChunkTranscoded = {
        let json =
            serde_json::from_str(include_str!("../../../schemas/examples/chunk.transcoded/v1/video.json")).unwrap();
        schemas::wire::decode(&schemas::wire::encode_json("chunk.transcoded", &json).unwrap()).unwrap()
    };
    (chunk.job, chunk.index) = (job, index);
    chunk.renditions.truncate(1);
    chunk.renditions[0].init = vec![0, 1, 255];
    chunk.renditions[0].samples = vec![7; 5000];
    chunk
}

pub async fn a_row_is_written_only_over_the_epoch_that_was_read(catalog: Arc<dyn Catalog>) {
    let id = job(1);
    assert_eq!(catalog.job(id).await.unwrap(), None);
    let row = JobRow::new(id);
    assert_eq!(catalog.swap_job(&row, Some(1)).await.unwrap(), Swap::Lost(None));
    assert_eq!(catalog.swap_job(&row, None).await.unwrap(), Swap::Won);
    let stored = catalog.job(id).await.unwrap().unwrap();
    assert_eq!(stored.row, row);
    assert_eq!(catalog.swap_job(&row, None).await.unwrap(), Swap::Lost(Some(Box::new(stored.clone()))));
    assert_eq!(catalog.swap_job(&row, Some(stored.epoch)).await.unwrap(), Swap::Won);
    assert_eq!(catalog.job(id).await.unwrap().unwrap().epoch, stored.epoch + 1);
}

pub async fn of_many_writers_over_one_epoch_one_wins(catalog: Arc<dyn Catalog>) {
    let id = job(1);
    put(&*catalog, &JobRow::new(id)).await;
    let start = catalog.job(id).await.unwrap().unwrap().epoch;
    for round in 0..5 {
        let writers: Vec<_> = (0..16)
            .map(|_| {
                let (catalog, row) = (Arc::clone(&catalog), row(id, Some(Outcome::Ready)));
                tokio::spawn(async move { catalog.swap_job(&row, Some(start + round)).await.unwrap() })
            })
            .collect();
        let mut won = 0;
        for writer in writers {
            won += u32::from(writer.await.unwrap() == Swap::Won);
        }
        assert_eq!(won, 1);
    }
}

pub async fn jobs_are_listed_newest_first_by_state_and_in_pages(catalog: Arc<dyn Catalog>) {
    let ids: Vec<JobId> = (0..23).map(job).collect();
    let outcomes = [None, Some(Outcome::Ready), Some(Outcome::Failed), Some(Outcome::Cancelled)];
    for (number, id) in ids.iter().enumerate() {
        put(&*catalog, &row(*id, None)).await;
        put(&*catalog, &row(*id, outcomes[number % 4])).await;
    }
    put(&*catalog, &JobRow { deleted: true, ..JobRow::new(ids[4]) }).await;
    put(&*catalog, &JobRow { deleted: true, ..JobRow::new(ids[9]) }).await;
    let newest = |wanted: &dyn Fn(usize) -> bool| -> Vec<JobId> {
        (0..23).rev().filter(|number| ![4, 9].contains(number) && wanted(*number)).map(|number| ids[number]).collect()
    };
    for limit in [1, 2, 7, 21, 100] {
        assert_eq!(listed(&*catalog, None, limit).await, newest(&|_| true), "pages of {limit}");
        assert_eq!(listed(&*catalog, Some(State::Ready), limit).await, newest(&|number| number % 4 == 1));
        assert_eq!(listed(&*catalog, Some(State::Received), limit).await, newest(&|number| number % 4 == 0));
    }
    assert!(listed(&*catalog, Some(State::Processing), 5).await.is_empty());
    let bad = catalog.jobs(None, Some("../x"), 5).await;
    assert!(matches!(bad, Err(Error::BadCursor(_))), "{bad:?}");
    let tombstone = catalog.job(ids[4]).await.unwrap().unwrap();
    assert!(tombstone.row.deleted, "tombstones can still be read");
}

pub async fn wiping_jobs_touches_nothing_else(catalog: Arc<dyn Catalog>) {
    let id = job(1);
    put(&*catalog, &row(id, Some(Outcome::Ready))).await;
    catalog.put_chunk(&chunk(id, 0)).await.unwrap();
    catalog.count_attempt("w").await.unwrap();
    catalog.decide(id, &decision(Outcome::Ready)).await.unwrap();
    catalog.wipe_jobs().await.unwrap();
    assert_eq!(catalog.job(id).await.unwrap(), None);
    assert!(listed(&*catalog, None, 10).await.is_empty() && listed(&*catalog, Some(State::Ready), 10).await.is_empty());
    assert!(catalog.chunk(id, 0).await.unwrap().is_some() && catalog.decision(id).await.unwrap().is_some());
    assert_eq!(catalog.count_attempt("w").await.unwrap(), 2);
    assert_eq!(catalog.swap_job(&row(id, None), None).await.unwrap(), Swap::Won, "rows can be folded again");
}

fn decision(outcome: Outcome) -> Decision {
    Decision { outcome, at: 1, playable_at: Some(2), error: None, warnings: vec!["w".into()] }
}

pub async fn the_first_decision_holds_for_good(catalog: Arc<dyn Catalog>) {
    let id = job(1);
    assert_eq!(catalog.decision(id).await.unwrap(), None);
    let proposals: Vec<_> = (0..8)
        .map(|number| {
            let catalog = Arc::clone(&catalog);
            let proposal = Decision { at: number, ..decision(Outcome::Failed) };
            tokio::spawn(async move { catalog.decide(id, &proposal).await.unwrap() })
        })
        .collect();
    let mut held = Vec::new();
    for proposal in proposals {
        held.push(proposal.await.unwrap());
    }
    assert!(held.iter().all(|decision| *decision == held[0]));
    assert_eq!(catalog.decide(id, &decision(Outcome::Ready)).await.unwrap(), held[0]);
    assert_eq!(catalog.decision(id).await.unwrap().as_ref(), Some(&held[0]));
}

pub async fn chunks_are_kept_once_and_listed_without_tables(catalog: Arc<dyn Catalog>) {
    let (id, other) = (job(1), job(2));
    for index in [2, 0, 11, 1, 0] {
        catalog.put_chunk(&chunk(id, index)).await.unwrap();
    }
    catalog.put_chunk(&chunk(other, 5)).await.unwrap();
    let (mut indexes, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = catalog.chunks(id, after.as_deref(), 2).await.unwrap();
        for row in &page.items {
            indexes.push(row.chunk.index);
            assert!(row.chunk.renditions[0].samples.is_empty());
            assert_eq!(row.chunk.renditions[0].init, [0, 1, 255]);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(indexes, [0, 1, 2, 11]);
    assert_eq!(catalog.chunk(id, 11).await.unwrap(), Some(chunk(id, 11)));
    assert_eq!(catalog.chunk(id, 3).await.unwrap(), None);
    assert!(matches!(catalog.chunks(id, Some("x"), 2).await, Err(Error::BadCursor(_))));
    catalog.put_upload(&UploadIntent { job: id, owner: "e".into(), touched_at: 1, event: None }).await.unwrap();
    catalog.forget(id).await.unwrap();
    assert!(catalog.chunks(id, None, 9).await.unwrap().items.is_empty());
    assert_eq!(catalog.chunk(id, 0).await.unwrap(), None);
    assert!(catalog.uploads(None, 100).await.unwrap().items.iter().all(|intent| intent.job != id));
    assert_eq!(catalog.chunks(other, None, 9).await.unwrap().items.len(), 1, "another job keeps its own");
}

pub async fn attempts_count_up_and_each_count_is_given_once(catalog: Arc<dyn Catalog>) {
    let work = format!("transcode/{}", job(1));
    let counts: Vec<_> = (0..20)
        .map(|_| {
            let (catalog, work) = (Arc::clone(&catalog), work.clone());
            tokio::spawn(async move { catalog.count_attempt(&work).await.unwrap() })
        })
        .collect();
    let mut seen = BTreeSet::new();
    for count in counts {
        seen.insert(count.await.unwrap());
    }
    assert_eq!(seen, (1..=20).collect());
    catalog.clear_attempts(&work).await.unwrap();
    catalog.clear_attempts("never counted").await.unwrap();
    assert_eq!(catalog.count_attempt(&work).await.unwrap(), 1);
}

pub async fn uploads_are_listed_until_they_are_removed(catalog: Arc<dyn Catalog>) {
    let ids: Vec<JobId> = (0..5).map(job).collect();
    for id in &ids {
        let mut intent = UploadIntent { job: *id, owner: "edge".into(), touched_at: 1, event: None };
        catalog.put_upload(&intent).await.unwrap();
        intent.touched_at = 2;
        catalog.put_upload(&intent).await.unwrap();
    }
    catalog.remove_upload(ids[3]).await.unwrap();
    catalog.remove_upload(ids[3]).await.unwrap();
    let (mut open, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = catalog.uploads(after.as_deref(), 2).await.unwrap();
        assert!(page.items.iter().all(|intent| intent.touched_at == 2));
        open.extend(page.items.iter().map(|intent| intent.job));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(open, [ids[0], ids[1], ids[2], ids[4]]);
}

pub async fn a_lease_has_one_owner_until_it_ends(catalog: Arc<dyn Catalog>) {
    let name = format!("sweep/{}", job(1));
    assert!(catalog.lease(&name, "a", 100, 200).await.unwrap());
    assert!(!catalog.lease(&name, "b", 150, 300).await.unwrap());
    assert!(catalog.lease(&name, "a", 190, 250).await.unwrap(), "its owner renews it");
    assert!(!catalog.lease(&name, "b", 249, 300).await.unwrap());
    assert!(catalog.lease(&name, "b", 251, 300).await.unwrap(), "an ended one is anybody's");
    catalog.release(&name, "a").await.unwrap();
    assert!(!catalog.lease(&name, "a", 260, 400).await.unwrap(), "nobody gives away what is not theirs");
    catalog.release(&name, "b").await.unwrap();
    assert!(catalog.lease(&name, "a", 260, 400).await.unwrap());
}

pub async fn removals_come_due_in_order(catalog: Arc<dyn Catalog>) {
    let ids: Vec<JobId> = (0..4).map(job).collect();
    for (id, due) in ids.iter().zip([400, 100, 300, 200]) {
        catalog.put_removal(*id, due).await.unwrap();
    }
    catalog.put_removal(ids[2], 150).await.unwrap();
    assert!(catalog.due_removals(99, 10).await.unwrap().is_empty());
    assert_eq!(catalog.due_removals(200, 10).await.unwrap(), [ids[1], ids[2], ids[3]]);
    assert_eq!(catalog.due_removals(200, 2).await.unwrap(), [ids[1], ids[2]]);
    catalog.clear_removal(ids[2]).await.unwrap();
    catalog.clear_removal(ids[2]).await.unwrap();
    assert_eq!(catalog.due_removals(1000, 10).await.unwrap(), [ids[1], ids[3], ids[0]]);
}

pub async fn workers_are_known_until_removed(catalog: Arc<dyn Catalog>) {
    let worker = |id: &str, seen_at| WorkerRow {
        id: id.into(),
        version: "1".into(),
        stages: vec![("transcode".into(), 2, 1)],
        load: 0.25,
        current: vec!["chunk 3".into()],
        started_at: 1,
        seen_at,
    };
    for row in [worker("a", 1), worker("b", 1), worker("a", 2)] {
        catalog.put_worker(&row).await.unwrap();
    }
    assert_eq!(catalog.workers().await.unwrap(), [worker("a", 2), worker("b", 1)]);
    catalog.remove_worker("a").await.unwrap();
    assert_eq!(catalog.workers().await.unwrap(), [worker("b", 1)]);
    catalog.check().await.unwrap();
}
