//! What goes wrong, and when: a deck of all faults that a seed shuffles.

use std::fmt;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::dice::Dice;
use super::fleet::Process;
use super::report::Suffered;
use super::{House, SESSION};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of a worker.
    KillWorker,
    /// SIGKILL of an edge.
    KillEdge,
    /// SIGSTOP of a worker for longer than its session, then SIGCONT: a zombie.
    Freeze,
    /// SIGKILL of Kafka, and a restart.
    KillKafka,
    /// SIGKILL of Cassandra, and a restart.
    KillCassandra,
    /// SIGKILL of the S3 server, and a restart.
    KillS3,
    /// The network between one worker and Kafka is cut for 30 s.
    Cut,
    /// Every event is delivered three times.
    Repeat,
    /// The blob store is full.
    Fill,
}

impl Fault {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::KillWorker,
        Self::KillEdge,
        Self::Freeze,
        Self::KillKafka,
        Self::KillCassandra,
        Self::KillS3,
        Self::Cut,
        Self::Repeat,
        Self::Fill,
    ];
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillWorker => "SIGKILL of a worker",
            Self::KillEdge => "SIGKILL of an edge",
            Self::Freeze => "worker stopped beyond its session",
            Self::KillKafka => "SIGKILL of Kafka",
            Self::KillCassandra => "SIGKILL of Cassandra",
            Self::KillS3 => "SIGKILL of the S3 server",
            Self::Cut => "network cut from Kafka for 30 s",
            Self::Repeat => "every event three times",
            Self::Fill => "blob store full",
        })
    }
}

/// One fault as it is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Strike {
    /// Its kind.
    pub fault: Fault,
    /// Which process it hits, where there are several.
    pub target: usize,
    /// Pause since the strike before.
    pub after: Duration,
    /// How long it lasts, where that is not part of its kind.
    pub lasts: Duration,
}

/// Strikes without end; all kinds come before one comes again.
pub struct Deck {
    dice: Dice,
    cards: Vec<Fault>,
}

impl Deck {
    /// The deck of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(seed), cards: Vec::new() }
    }

    /// The next strike.
    pub fn draw(&mut self) -> Strike {
        if self.cards.is_empty() {
            self.cards = Fault::ALL.to_vec();
        }
        let fault = self.cards.swap_remove(self.dice.index(self.cards.len()));
        let (after, target, lasts) =
            (self.dice.within(9_000..14_000), self.dice.index(6), self.dice.within(500..4_000));
        Strike { fault, target, after: Duration::from_millis(after), lasts: Duration::from_millis(lasts) }
    }
}

/// The process of `all` that `target` means, or another one that nothing happens to right now.
fn choose(all: &[Mutex<Process>], target: usize) -> Option<MutexGuard<'_, Process>> {
    (0..all.len()).find_map(|step| all[(target + step) % all.len()].try_lock().ok())
}

/// What is there once and may have trouble.
pub const NAMES: [&str; 6] = ["kafka", "cassandra", "seaweedfs", "wire", "events", "room"];

impl House {
    /// Lets `strike` happen and what it has hit come back; nothing when all of that has trouble already.
    pub async fn suffer(&self, strike: Strike) -> Result<Option<Suffered>, String> {
        let suffered = Suffered { fault: strike.fault, began: Instant::now() };
        let happened = match strike.fault {
            Fault::KillWorker => self.kill_one(&self.workers, strike).await?,
            Fault::KillEdge => self.kill_one(&self.edges, strike).await?,
            Fault::Freeze => self.freeze_one(strike).await,
            Fault::KillKafka => {
                // What copies events is a client in this very process, which must outlive the brokers.
                let quiet = self.busy["events"].try_lock();
                quiet.is_ok() && self.kill_engine("kafka", strike.lasts).await?
            }
            Fault::KillCassandra => self.kill_engine("cassandra", self.catalog_away + strike.lasts).await?,
            Fault::KillS3 => self.kill_engine("seaweedfs", strike.lasts).await?,
            Fault::Cut => self.cut().await,
            Fault::Repeat => self.repeat().await,
            Fault::Fill => self.fill_up(strike.lasts).await,
        };
        Ok(happened.then_some(suffered))
    }

    async fn kill_one(&self, all: &[Mutex<Process>], strike: Strike) -> Result<bool, String> {
        let Some(mut process) = choose(all, strike.target) else { return Ok(false) };
        self.say(&format!("{} is killed", process.name));
        process.kill().await;
        sleep(strike.lasts).await;
        process.start(|| self.are_doors_open()).await?;
        Ok(true)
    }

    async fn freeze_one(&self, strike: Strike) -> bool {
        let Some(process) = choose(&self.workers, strike.target) else { return false };
        self.say(&format!("{} stands still", process.name));
        process.freeze();
        sleep(SESSION + Duration::from_secs(2) + strike.lasts).await;
        process.thaw();
        self.say(&format!("{} goes on", process.name));
        true
    }

    /// Whether every engine answers, and has room.
    pub fn are_doors_open(&self) -> bool {
        let doors = self.busy.iter().filter(|(name, _)| !matches!(**name, "wire" | "events"));
        doors.into_iter().all(|(_, busy)| busy.try_lock().is_ok())
    }

    async fn kill_engine(&self, name: &'static str, lasts: Duration) -> Result<bool, String> {
        let Ok(_once) = self.busy[name].try_lock() else { return Ok(false) };
        self.say(&format!("{name} is killed"));
        self.engines.kill(name).await?;
        sleep(lasts).await;
        self.engines.again(name).await?;
        self.say(&format!("{name} answers again"));
        Ok(true)
    }

    async fn cut(&self) -> bool {
        let Ok(_once) = self.busy["wire"].try_lock() else { return false };
        self.say("the network between w2 and Kafka is cut");
        self.relay.cut();
        sleep(Duration::from_secs(30)).await;
        self.relay.mend();
        self.say("the network between w2 and Kafka is mended");
        true
    }

    async fn repeat(&self) -> bool {
        let Ok(_once) = self.busy["events"].try_lock() else { return false };
        self.say("every event comes three times");
        let repeater = self.repeater();
        sleep(Duration::from_secs(15)).await;
        drop(repeater);
        true
    }

    async fn fill_up(&self, lasts: Duration) -> bool {
        let Ok(_once) = self.busy["room"].try_lock() else { return false };
        self.say("the blob store is full");
        self.fill(true);
        sleep(Duration::from_secs(5) + lasts).await;
        self.fill(false);
        self.say("the blob store has room again");
        true
    }
}
