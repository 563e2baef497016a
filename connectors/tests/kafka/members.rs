//! Members that die, stand still, and come back under their own name.
//!
//! The other member is this test binary itself in another process, told by its environment what to join.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use connectors::Log;
use connectors::log::kafka::Settings;
use connectors::log::{Consumer, Delivery, Error, TopicPartition};
use rustix::process::{Pid, Signal, kill_process};

use super::suite::{append, at, fresh, gained, next, record, records, topic};
use super::{brokers, open, shared};

const ROLE: &str = "STREAMFORGE_KAFKA_TEST_MEMBER";
/// The shortest that brokers take.
const SESSION: Duration = Duration::from_secs(6);

fn settings(brokers: &str) -> Settings {
    Settings { session_timeout: SESSION, ..Settings::new(brokers) }
}

/// Joins, says what it has, and commits whenever it gets a line. Without the environment it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_member() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [brokers, group, topic] = role.split(' ').collect::<Vec<_>>()[..] else { panic!("{role}") };
    let log = open(settings(brokers)).await;
    let mut member = log.join(group, &[topic]).await.unwrap();
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || std::io::stdin().lines().for_each(|line| sender.send(line.unwrap()).unwrap()));
    let mut owned: Vec<TopicPartition> = Vec::new();
    loop {
        tokio::select! {
            // An order is carried out before news is heard: as a worker would that finishes just after it woke up.
            biased;
            Some(_) = orders.recv() => {
                let offsets: Vec<_> = owned.iter().map(|at| (at.clone(), 1)).collect();
                match member.commit(&offsets).await {
                    Ok(()) => say("committed"),
                    Err(Error::NotOwner(_)) => say("refused: not the owner"),
                    Err(error) => say(&format!("refused: {error:?}")),
                }
            }
            delivery = member.next() => match delivery.unwrap() {
                Delivery::Gained(more) => {
                    owned.extend(more);
                    say(&format!("owned {}", owned.len()));
                }
                Delivery::Lost(gone) => say(&format!("lost {}", gone.len())),
                Delivery::Records(_) => {}
            },
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\nmember: {line}").and_then(|()| out.flush());
}

struct Other {
    process: Child,
    orders: ChildStdin,
    said: Receiver<String>,
}

impl Other {
    fn join(brokers: &str, group: &str, topic: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["members::other_member", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, format!("{brokers} {group} {topic}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, said) = channel();
        let out = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if let Some(line) = line.strip_prefix("member: ")
                    && sender.send(line.to_owned()).is_err()
                {
                    return;
                }
            }
        });
        let orders = process.stdin.take().unwrap();
        Self { process, orders, said }
    }

    fn commit(&mut self) {
        writeln!(self.orders, "commit").unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// The next thing it says, on a thread that may wait.
    fn hears(&self) -> String {
        self.said.recv_timeout(Duration::from_secs(30)).expect("the other member says something")
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads on until `owned` partitions are ours.
async fn owns(member: &mut dyn Consumer, mut have: usize, owned: usize) {
    while have != owned {
        match next(member).await {
            Delivery::Gained(more) => have += more.len(),
            Delivery::Lost(gone) => have -= gone.len(),
            Delivery::Records(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn partitions_of_a_killed_process_come_within_the_session_timeout() {
    let Some(brokers) = brokers("a killed member") else { return };
    let log = open(settings(&brokers)).await;
    let (topic, group) = (topic(&log, 4).await, fresh("group"));
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *member, 4).await;
    let other = Other::join(&brokers, &group, &topic);
    owns(&mut *member, 4, 2).await;
    assert_eq!(other.hears(), "owned 2");
    other.signal(Signal::KILL);
    let killed = Instant::now();
    owns(&mut *member, 2, 4).await;
    let took = killed.elapsed();
    assert!(took < SESSION + Duration::from_secs(4), "it took {took:?}");
    println!("partitions of a killed member came after {took:?}, its session is {SESSION:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_too_large_to_hold_goes_on_after_its_partition_was_away() {
    let Some(log) = shared("a partition that comes back").await else { return };
    let (topic, group) = (topic(&*log, 2).await, fresh("group"));
    // More than a member holds of one partition while nobody reads.
    const EACH: i64 = 640;
    for partition in 0..2 {
        for _ in 0..EACH / 32 {
            log.append((0..32).map(|_| record(&topic, partition, vec![b'x'; 16 << 10])).collect()).await.unwrap();
        }
    }
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *member, 2).await;
    // Nobody reads the first member while the second one comes and goes: it holds what it can and stops fetching.
    let mut other = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *other, 1).await;
    drop(other);
    let mut read: BTreeMap<TopicPartition, BTreeSet<i64>> = BTreeMap::new();
    let is_whole = |offsets: &BTreeSet<i64>| offsets.len() as i64 == EACH;
    while read.len() < 2 || !read.values().all(is_whole) {
        match next(&mut *member).await {
            Delivery::Records(records) => {
                for record in records {
                    read.entry(record.at).or_default().insert(record.offset);
                }
            }
            // Whoever had it may have done some of it: what counts is what comes now.
            Delivery::Lost(gone) => drop(gone.iter().map(|at| read.remove(at)).collect::<Vec<_>>()),
            Delivery::Gained(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_process_that_stood_still_cannot_commit_what_others_have() {
    let Some(brokers) = brokers("a member that stands still") else { return };
    let log = open(settings(&brokers)).await;
    let (topic, group) = (topic(&log, 2).await, fresh("group"));
    append(&log, &topic, 0, &["a", "b"]).await;
    append(&log, &topic, 1, &["a", "b"]).await;
    let mut zombie = Other::join(&brokers, &group, &topic);
    assert_eq!(zombie.hears(), "owned 2");
    zombie.commit();
    assert_eq!(zombie.hears(), "committed", "while it lives");
    zombie.signal(Signal::STOP);
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *member, 2).await;
    let read = records(&mut *member, 2).await;
    assert!(read.iter().all(|record| record.offset == 1), "from where it had committed");
    member.commit(&[(at(&topic, 0), 2), (at(&topic, 1), 2)]).await.unwrap();
    // It finds the order to commit the moment it wakes up.
    zombie.commit();
    zombie.signal(Signal::CONT);
    let mut heard = zombie.hears();
    while !heard.starts_with("refused") {
        assert_ne!(heard, "committed");
        heard = zombie.hears();
    }
    assert_eq!(heard, "refused: not the owner");
    let progress = log.progress(&group, &[&topic]).await.unwrap();
    assert!(progress.iter().all(|progress| progress.committed == 2), "{progress:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_named_process_comes_back_to_its_partitions_unnoticed() {
    let Some(brokers) = brokers("static membership") else { return };
    let named = |name: &str| Settings { instance: Some(fresh(name)), ..settings(&brokers) };
    let (first, second) = (named("first"), named("second"));
    let one = open(first.clone()).await;
    let two = open(second).await;
    let (topic, group) = (topic(&one, 4).await, fresh("group"));
    let mut member = one.join(&group, &[&topic]).await.unwrap();
    gained(&mut *member, 4).await;
    let mut other = two.join(&group, &[&topic]).await.unwrap();
    let theirs = tokio::join!(gained(&mut *other, 2), owns(&mut *member, 4, 2)).0;
    drop(member);
    one.close(Duration::from_secs(5)).await;
    drop(one);
    let again = open(first).await;
    let mut member = again.join(&group, &[&topic]).await.unwrap();
    let mine = gained(&mut *member, 2).await;
    assert!(mine.is_disjoint(&theirs));
    let waited = tokio::time::timeout(Duration::from_millis(500), other.next()).await;
    assert!(waited.is_err(), "nothing moves: {waited:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_until_members_have_said_goodbye() {
    let Some(brokers) = brokers("closing") else { return };
    // Long sessions: whatever moves does so because somebody said goodbye.
    let patient = Settings { session_timeout: Duration::from_secs(45), ..Settings::new(&brokers) };
    let (one, two) = (open(patient.clone()).await, open(patient).await);
    let (topic, group) = (topic(&one, 2).await, fresh("group"));
    let leaving = one.join(&group, &[&topic]).await.unwrap();
    let mut staying = two.join(&group, &[&topic]).await.unwrap();
    drop(leaving);
    one.close(Duration::from_secs(10)).await;
    gained(&mut *staying, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_name_every_client_and_its_partitions() {
    let Some(log) = shared("statistics").await else { return };
    let (topic, group) = (topic(&*log, 3).await, fresh("group"));
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    gained(&mut *member, 3).await;
    append(&*log, &topic, 0, &["a"]).await;
    let found = async {
        loop {
            let all = log.statistics();
            let of = |role: &str| all.iter().find(|client| client.role == role).cloned();
            if let (Some(member), Some(producer)) = (of(&group), of("producer"))
                && member.assigned == 3
                && producer.sent_bytes > 0
            {
                return (member, producer);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let (member_says, producer_says) = tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
    assert!(member_says.brokers_up >= 1 && producer_says.brokers_up >= 1, "{member_says:?} {producer_says:?}");
    drop(member);
    let gone = async {
        while log.statistics().iter().any(|client| client.role == group) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("who has left says nothing more");
}
