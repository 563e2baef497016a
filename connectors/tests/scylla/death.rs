//! A node that is killed and started again has everything that it acknowledged; and it knows who may use it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connectors::Catalog;
use connectors::catalog::scylla::{Settings, open};
use connectors::catalog::{Decision, Error, Swap};
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::State;

use crate::catalog::{chunk, job, listed, row};
use crate::node::Node;

fn settings(node: &Node, password: Option<&str>) -> Settings {
    let mut settings = Settings::new(vec![node.address()], "videos");
    settings.user = password.map(|_| "cassandra".to_owned());
    settings.password = password.map(str::to_owned);
    settings
}

/// Opens with the right password; the node makes its first user a moment after it takes connections.
async fn enter(node: &Node) -> connectors::catalog::scylla::Scylla {
    let started = Instant::now();
    loop {
        match open(settings(node, Some("cassandra"))).await {
            Ok(catalog) => return catalog,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// What one writer was told is there.
#[derive(Default)]
struct Acknowledged {
    rows: Vec<(JobId, u64)>,
    decisions: Vec<(JobId, Decision)>,
    counts: u32,
}

async fn write_on(catalog: Arc<dyn Catalog>, writer: u64, over: Arc<AtomicBool>) -> Acknowledged {
    let mut done = Acknowledged::default();
    let work = format!("work {writer}");
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        number += 1;
        let id = job(writer * 1_000_000 + number);
        if let Ok(Swap::Won) = catalog.swap_job(&row(id, Some(Outcome::Ready)), None).await {
            done.rows.push((id, 1));
        }
        let proposal =
            Decision { outcome: Outcome::Ready, at: 7, playable_at: None, error: None, warnings: Vec::new() };
        if let Ok(held) = catalog.decide(id, &proposal).await {
            done.decisions.push((id, held));
        }
        if let Ok(count) = catalog.count_attempt(&work).await {
            assert_eq!(count, done.counts + 1, "no count is lost or doubled by a death");
            done.counts = count;
        }
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_keeps_what_it_acknowledged_and_passwords_are_asked_for() {
    let Some(mut node) = Node::start() else { return };
    let catalog: Arc<dyn Catalog> = Arc::new(enter(&node).await);
    for (password, said) in [(None, "want a user"), (Some("wrong"), "refuse user `cassandra`")] {
        match open(settings(&node, password)).await {
            Err(Error::Setup(text)) => assert!(text.contains(said) && !text.contains("wrong password:"), "{text}"),
            other => panic!("{:?}", other.err()),
        }
    }
    let kept = job(1);
    catalog.put_chunk(&chunk(kept, 4)).await.unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..4).map(|writer| tokio::spawn(write_on(Arc::clone(&catalog), writer, Arc::clone(&over)))).collect();
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        node.kill();
        node.restart();
        let back = Instant::now();
        while catalog.check().await.is_err() {
            assert!(back.elapsed() < Duration::from_secs(60), "the catalog does not come back");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("back {:?} after the node took connections", back.elapsed());
    }
    over.store(true, Ordering::SeqCst);
    let mut rows = Vec::new();
    for (writer, task) in writers.into_iter().enumerate() {
        let done = task.await.unwrap();
        println!(
            "writer {writer}: {} rows, {} decisions, {} counts",
            done.rows.len(),
            done.decisions.len(),
            done.counts
        );
        assert!(done.rows.len() > 5, "too little was written");
        for (id, epoch) in &done.rows {
            assert_eq!(catalog.job(*id).await.unwrap().map(|found| found.epoch), Some(*epoch));
        }
        for (id, held) in done.decisions {
            assert_eq!(catalog.decision(id).await.unwrap(), Some(held));
        }
        assert_eq!(catalog.count_attempt(&format!("work {writer}")).await.unwrap(), done.counts + 1);
        rows.extend(done.rows);
    }
    assert_eq!(catalog.chunk(kept, 4).await.unwrap(), Some(chunk(kept, 4)));
    let all = listed(&*catalog, Some(State::Ready), 200).await;
    assert!(rows.iter().all(|(id, _)| all.contains(id)), "every acknowledged row is listed");
}
