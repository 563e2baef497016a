//! A broker that dies and comes back costs time and nothing else.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use connectors::Log;
use connectors::log::kafka::{Kafka, Settings};
use connectors::log::{Delivery, From, Tailed};

use super::broker::Broker;
use super::open;
use super::suite::{at, fresh, record, topic};

/// Appends numbers until it is told to stop; answers those that were acknowledged.
async fn write(log: Arc<Kafka>, topic: String, writer: u64, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let value = format!("{writer} {number}");
        match log.append(vec![record(&topic, writer, value.clone())]).await {
            Ok(_) => {
                acknowledged.push(value);
                number += 1;
            }
            // As whoever calls the log does: again, with the same record.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_broker_is_killed() {
    let Some(mut broker) = Broker::start("a broker that is killed") else { return };
    let mut settings = Settings::new(broker.address());
    settings.properties.insert("delivery.timeout.ms".into(), "5000".into());
    let log = Arc::new(open(settings).await);
    let (topic, group) = (topic(&*log, 3).await, fresh("group"));
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    let mut tail = log.tail(&[&topic], From::Beginning).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> =
        (0..3).map(|writer| tokio::spawn(write(log.clone(), topic.clone(), writer, stop.clone()))).collect();

    // Reading goes on through everything; neither reader ever ends.
    let (seen, mut seen_by_member) = tokio::sync::mpsc::unbounded_channel();
    let reading = tokio::spawn(async move {
        loop {
            if let Delivery::Records(records) = member.next().await.expect("a member outlives its broker") {
                let last: Vec<_> = records.iter().map(|record| (record.at.clone(), record.offset + 1)).collect();
                for record in records {
                    let _ = seen.send(String::from_utf8(record.value.to_vec()).unwrap());
                }
                // May fail while the broker is away, and is done again with the next.
                let _ = tokio::time::timeout(Duration::from_secs(2), member.commit(&last)).await;
            }
        }
    });
    let (tailed, mut seen_by_tail) = tokio::sync::mpsc::unbounded_channel();
    let tailing = tokio::spawn(async move {
        loop {
            if let Tailed::Records(records) = tail.next().await.expect("a reader outlives its broker") {
                for record in records {
                    let _ = tailed.send(String::from_utf8(record.value.to_vec()).unwrap());
                }
            }
        }
    });

    tokio::time::sleep(Duration::from_secs(2)).await;
    for _ in 0..2 {
        tokio::task::block_in_place(|| broker.kill());
        let begun = Instant::now();
        assert!(log.check().await.is_err(), "a door whose broker is gone is not well");
        assert!(begun.elapsed() < Duration::from_secs(6), "and that is said soon");
        tokio::time::sleep(Duration::from_secs(1)).await;
        tokio::task::block_in_place(|| broker.up());
        let back = async {
            while log.check().await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), back).await.expect("well again");
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut acknowledged = BTreeSet::new();
    for writer in writers {
        acknowledged.extend(tokio::time::timeout(Duration::from_secs(60), writer).await.unwrap().unwrap());
    }
    assert!(acknowledged.len() > 100, "there was traffic: {}", acknowledged.len());
    for seen in [&mut seen_by_member, &mut seen_by_tail] {
        let mut missing = acknowledged.clone();
        let all = async {
            while !missing.is_empty() {
                missing.remove(&seen.recv().await.unwrap());
            }
        };
        let arrived = tokio::time::timeout(Duration::from_secs(60), all).await;
        assert!(arrived.is_ok(), "{} of {} are missing", missing.len(), acknowledged.len());
    }
    reading.abort();
    tailing.abort();
    let ends: i64 = log.progress(&group, &[&topic]).await.unwrap().iter().map(|progress| progress.end).sum();
    println!("{} acknowledged over two kills, {ends} in the log", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_that_no_broker_takes_says_so_in_time_and_works_later() {
    let Some(mut broker) = Broker::start("appending to no broker") else { return };
    let mut settings = Settings::new(broker.address());
    settings.properties.insert("delivery.timeout.ms".into(), "2000".into());
    let log = open(settings).await;
    let topic = topic(&log, 1).await;
    tokio::task::block_in_place(|| broker.kill());
    let begun = Instant::now();
    let refused = log.append(vec![record(&topic, 0, "lost")]).await;
    assert!(refused.is_err() && begun.elapsed() < Duration::from_secs(6), "{refused:?} after {:?}", begun.elapsed());
    tokio::task::block_in_place(|| broker.up());
    let again = async {
        while log.append(vec![record(&topic, 0, "found")]).await.is_err() {}
        log.read(&at(&topic, 0), 0, 10).await.unwrap()
    };
    let read = tokio::time::timeout(Duration::from_secs(60), again).await.unwrap();
    assert_eq!(read.last().unwrap().value.as_ref(), b"found");
}
