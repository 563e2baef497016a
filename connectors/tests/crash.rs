//! A process that appends is killed at 200 random moments; what it has acknowledged is there once, in order.
//!
//! The killed process is this test binary itself, told by its environment to append until it dies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::clock::SystemClock;
use connectors::log::embedded::Embedded;
use connectors::log::{Delivery, Log, NewRecord, Retention, TopicPartition, TopicSpec};
use rand::Rng;

const KILLS: u32 = 200;
const PARTITIONS: u32 = 3;
const WRITERS: u64 = 6;
const FOLDER: &str = "STREAMFORGE_CRASH_TEST_FOLDER";
const ROUND: &str = "STREAMFORGE_CRASH_TEST_ROUND";

fn open(folder: &Path) -> Embedded {
    Embedded::open(&folder.join("log.redb"), Arc::new(SystemClock)).unwrap()
}

fn say(line: String) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n{line}").and_then(|()| out.flush());
}

/// Appends and acknowledges until it is killed. Without the environment of the test below it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn victim() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else { return };
    let log = Arc::new(open(Path::new(&folder)));
    let spec =
        TopicSpec { name: "t".into(), partitions: PARTITIONS, retention: Retention::default(), min_in_sync: None };
    log.ensure_topics(&[spec]).await.unwrap();
    say("open".into());
    for writer in 0..WRITERS {
        let (log, round) = (Arc::clone(&log), round.clone());
        tokio::spawn(async move {
            for number in 0u64.. {
                // Several records at once now and then: they come whole or not at all.
                let records = (0..1 + number % 3).map(|part| NewRecord {
                    topic: "t".into(),
                    spread: writer,
                    key: "k".into(),
                    value: format!("{round} {writer} {number} {part}").into(),
                    headers: Vec::new(),
                });
                let placed = log.append(records.collect()).await.unwrap();
                for (part, (at, offset)) in placed.into_iter().enumerate() {
                    say(format!("ack {} {offset} {round} {writer} {number} {part}", at.partition));
                }
            }
        });
    }
    let mut member = log.join("g", &["t"]).await.unwrap();
    loop {
        let Delivery::Records(records) = member.next().await.unwrap() else { continue };
        let mut ends = BTreeMap::new();
        for record in records {
            ends.insert(record.at, record.offset + 1);
        }
        let offsets: Vec<_> = ends.into_iter().collect();
        member.commit(&offsets).await.unwrap();
        for (at, offset) in offsets {
            say(format!("commit {} {offset}", at.partition));
        }
    }
}

#[derive(Default)]
struct Acknowledged {
    records: BTreeMap<(u32, i64), String>,
    commits: BTreeMap<u32, i64>,
}

/// Runs the victim, kills it after `life`, and returns what it has said in whole lines.
fn live_and_die(folder: &Path, round: u32, life: Duration, heard: &mut Acknowledged) {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(victim.stdout.take().unwrap());
    let listener = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in out.split(b'\n').map_while(Result::ok) {
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
        // The last line may be torn.
        lines.pop();
        lines
    });
    std::thread::sleep(life);
    victim.kill().unwrap();
    victim.wait().unwrap();
    for line in listener.join().unwrap() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["ack", partition, offset, value] => {
                let place = (partition.parse().unwrap(), offset.parse().unwrap());
                let twice = heard.records.insert(place, value.to_owned());
                assert_eq!(twice, None, "offset {place:?} was acknowledged twice");
            }
            ["commit", partition, offset] => {
                heard.commits.insert(partition.parse().unwrap(), offset.parse().unwrap());
            }
            _ => {}
        }
    }
}

#[tokio::test]
async fn acknowledged_records_survive_kills() {
    let begun = Instant::now();
    let folder = tempfile::tempdir().unwrap();
    let mut random = rand::rng();
    let mut heard = Acknowledged::default();
    let mut acknowledged = 0;
    let mut checked: BTreeMap<u32, i64> = BTreeMap::new();
    let mut stored: BTreeMap<(u32, i64), String> = BTreeMap::new();
    for round in 0..KILLS {
        let life = Duration::from_micros(random.random_range(0..100_000));
        live_and_die(folder.path(), round, life, &mut heard);
        let log = open(folder.path());
        let spec =
            TopicSpec { name: "t".into(), partitions: PARTITIONS, retention: Retention::default(), min_in_sync: None };
        log.ensure_topics(&[spec]).await.unwrap();
        for partition in 0..PARTITIONS {
            let at = TopicPartition { topic: "t".into(), partition };
            let next = checked.entry(partition).or_default();
            for record in log.read(&at, *next, usize::MAX).await.unwrap() {
                assert_eq!(record.offset, *next, "offsets have no gaps");
                *next += 1;
                stored.insert((partition, record.offset), String::from_utf8(record.value.to_vec()).unwrap());
            }
        }
        for (place, value) in std::mem::take(&mut heard.records) {
            assert_eq!(stored.get(&place), Some(&value), "round {round}: acknowledged at {place:?}");
            acknowledged += 1;
        }
        for progress in log.progress("g", &["t"]).await.unwrap() {
            let promised = heard.commits.get(&progress.at.partition).copied().unwrap_or_default();
            assert!(progress.committed >= promised, "round {round}: {progress:?} but {promised} was committed");
        }
    }
    // Each writer's records lie in the order in which it sent them, none twice, and no append is there in part.
    let mut last: BTreeMap<(u32, u64), (u64, u64)> = BTreeMap::new();
    for value in stored.values() {
        let words: Vec<u64> = value.split(' ').map(|word| word.parse().unwrap()).collect();
        let [round, writer, number, part] = words[..] else { panic!("`{value}` was never sent") };
        let key = (u32::try_from(round).unwrap(), writer);
        let expected = match last.get(&key) {
            None => (0, 0),
            Some((number, part)) if *part < number % 3 => (*number, part + 1),
            Some((number, _)) => (number + 1, 0),
        };
        assert_eq!((number, part), expected, "after {:?} of {key:?}", last.get(&key));
        last.insert(key, (number, part));
    }
    assert!(last.values().all(|(number, part)| *part == number % 3), "appends are whole");
    println!(
        "{KILLS} kills in {:.1} s: {acknowledged} records acknowledged, {} stored",
        begun.elapsed().as_secs_f64(),
        stored.len()
    );
    assert!(acknowledged > 1000, "too little was written to show anything: {acknowledged}");
}
