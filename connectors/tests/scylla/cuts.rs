//! Connections that break in the middle of a write: nothing is lost, nothing happens twice.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::Catalog;
use connectors::catalog::scylla::{Scylla, Settings, open};
use connectors::catalog::{Decision, Swap};
use schemas::JobId;
use schemas::event::Outcome;

use crate::catalog::{job, listed, row};
use crate::in_own_keyspace;
use crate::keyspace::Open;
use crate::proxy::{Cut, Proxy};

const CUTS: [Cut; 3] = [Cut::Lost, Cut::Unanswered, Cut::Late];
/// Prepared statements of the longest call, so that each of them is cut once.
const LONGEST_CALL: i64 = 9;

async fn through(proxy: &Proxy, space: &Open) -> Arc<Scylla> {
    Arc::new(open(Settings { nodes: vec![proxy.address.to_string()], ..space.settings() }).await.unwrap())
}

/// Calls until it answers, as everybody who uses a door does.
async fn insist<T, F: Future<Output = Result<T, connectors::catalog::Error>>>(mut call: impl FnMut() -> F) -> T {
    let started = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Folds `mark` into the row of `id`, as an edge folds an event; answers how often it was told that it had won.
async fn fold(catalog: &dyn Catalog, id: JobId, mark: &str) -> u32 {
    let mut won = 0;
    loop {
        let found = insist(|| catalog.job(id)).await;
        let mut row = found.as_ref().map_or_else(|| row(id, Some(Outcome::Ready)), |found| found.row.clone());
        let said = &mut row.ended.as_mut().unwrap().event.warnings;
        if said.iter().any(|word| word == mark) {
            return won;
        }
        said.push(mark.to_owned());
        if let Ok(Swap::Won) = catalog.swap_job(&row, found.map(|found| found.epoch)).await {
            won += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_is_written_once_wherever_the_connection_breaks() {
    in_own_keyspace(|space| async move {
        let proxy = Proxy::before(&space.node).await;
        let (catalog, beside) = (through(&proxy, &space).await, space.catalog().await);
        let (mut cuts, mut told) = (0, 0);
        let id = job(1);
        let mut marks = BTreeSet::new();
        for how in CUTS {
            for skip in 0..LONGEST_CALL {
                let mark = format!("{how:?} {skip}");
                proxy.cut_after(skip, how);
                let other = format!("beside {mark}");
                // Another process writes the same row over a whole connection.
                let (won, _) = tokio::join!(fold(&*catalog, id, &mark), fold(&*beside, id, &other));
                told += won;
                cuts += u32::from(proxy.settle());
                marks.extend([mark, other]);
            }
        }
        let there = beside.job(id).await.unwrap().unwrap();
        let mut said = there.row.ended.as_ref().unwrap().event.warnings.clone();
        said.remove(0);
        let each: BTreeSet<String> = said.iter().cloned().collect();
        assert_eq!(each, marks, "no write is lost");
        assert_eq!((said.len(), there.epoch), (marks.len(), marks.len() as u64), "and none is there twice");
        // A call asks three times at least; how much oftener depends on whom it meets.
        assert!(cuts >= 9, "only {cuts} connections were cut");
        assert!(told > 15, "hardly any broken call found out that it had won: {told}");
        assert_eq!(listed(&*beside, Some(schemas::job::State::Ready), 5).await, [id]);
        assert_eq!(listed(&*beside, None, 5).await, [id]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_rows_are_listed_wherever_the_connection_breaks() {
    in_own_keyspace(|space| async move {
        let proxy = Proxy::before(&space.node).await;
        let catalog = through(&proxy, &space).await;
        let mut ids = Vec::new();
        for how in CUTS {
            for skip in 0..LONGEST_CALL {
                // A day of its own, so that the index of days is written as well.
                let id = JobId::from_parts(1_700_000_000_000 + ids.len() as u64 * 86_400_000, rand::random());
                proxy.cut_after(skip, how);
                assert!(fold(&*catalog, id, "here").await <= 1);
                proxy.settle();
                ids.push(id);
            }
        }
        ids.reverse();
        let beside = space.catalog().await;
        assert_eq!(listed(&*beside, None, 10).await, ids);
        assert_eq!(listed(&*beside, Some(schemas::job::State::Ready), 10).await, ids);
        for id in ids {
            assert_eq!(beside.job(id).await.unwrap().unwrap().epoch, 1);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_is_made_once_wherever_the_connection_breaks() {
    in_own_keyspace(|space| async move {
        let proxy = Proxy::before(&space.node).await;
        let catalog = through(&proxy, &space).await;
        let mut expected = 0;
        for how in CUTS {
            for skip in 0..4 {
                proxy.cut_after(skip, how);
                expected += 1;
                // A call that ends without an answer is made again; the second is the same count.
                assert_eq!(insist(|| catalog.count_attempt("work")).await, expected, "{how:?} after {skip}");
                proxy.settle();
            }
        }
        // A caller that gives up waiting and calls again counts once, too.
        for _ in 0..10 {
            let _ = tokio::time::timeout(Duration::from_millis(2), catalog.count_attempt("dropped")).await;
        }
        let counted = catalog.count_attempt("dropped").await.unwrap();
        assert!((1..=11).contains(&counted));
        assert_eq!(space.catalog().await.count_attempt("dropped").await.unwrap(), counted + 1);
        // A count that arrives after the attempts are forgotten would count again.
        proxy.quiet().await;
        insist(|| catalog.clear_attempts("work")).await;
        assert_eq!(catalog.count_attempt("work").await.unwrap(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_decision_and_one_owner_wherever_the_connection_breaks() {
    in_own_keyspace(|space| async move {
        let proxy = Proxy::before(&space.node).await;
        let (catalog, beside) = (through(&proxy, &space).await, space.catalog().await);
        let proposal =
            |at| Decision { outcome: Outcome::Failed, at, playable_at: None, error: None, warnings: Vec::new() };
        for how in CUTS {
            for skip in 0..4 {
                let id = job(1);
                proxy.cut_after(skip, how);
                let (mine, theirs) = (proposal(1), proposal(2));
                let (held, also) =
                    tokio::join!(insist(|| catalog.decide(id, &mine)), insist(|| beside.decide(id, &theirs)));
                assert_eq!(held, also, "{how:?} after {skip}");
                assert_eq!(beside.decision(id).await.unwrap(), Some(held));
                let name = id.to_string();
                let (a, b) = tokio::join!(
                    insist(|| catalog.lease(&name, "a", 0, 100)),
                    insist(|| beside.lease(&name, "b", 0, 100))
                );
                assert_eq!(u32::from(a) + u32::from(b), 1, "{how:?} after {skip}");
                insist(|| catalog.release(&name, "a")).await;
                insist(|| beside.release(&name, "b")).await;
                assert!(insist(|| beside.lease(&name, "c", 0, 100)).await);
                proxy.settle();
            }
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_node_is_away_every_call_ends_and_afterwards_all_goes_on() {
    in_own_keyspace(|space| async move {
        let proxy = Proxy::before(&space.node).await;
        let catalog = through(&proxy, &space).await;
        let id = job(1);
        assert_eq!(catalog.swap_job(&row(id, None), None).await.unwrap(), Swap::Won);
        proxy.away(true);
        let started = Instant::now();
        let calls = async {
            assert!(catalog.job(id).await.is_err());
            assert!(catalog.swap_job(&row(id, Some(Outcome::Ready)), Some(1)).await.is_err());
            assert!(catalog.jobs(None, None, 5).await.is_err());
            assert!(catalog.count_attempt("w").await.is_err());
            assert!(catalog.lease("l", "a", 0, 1).await.is_err());
            assert!(catalog.put_chunk(&crate::catalog::chunk(id, 0)).await.is_err());
            let error = catalog.check().await.unwrap_err();
            assert!(!format!("{error:?}").is_empty());
        };
        calls.await;
        assert!(started.elapsed() < Duration::from_secs(30), "seven calls took {:?}", started.elapsed());
        proxy.away(false);
        let back = Instant::now();
        insist(|| catalog.check()).await;
        assert!(back.elapsed() < Duration::from_secs(15), "the driver was back after {:?}", back.elapsed());
        assert_eq!(catalog.swap_job(&row(id, Some(Outcome::Ready)), Some(1)).await.unwrap(), Swap::Won);
    })
    .await;
}
