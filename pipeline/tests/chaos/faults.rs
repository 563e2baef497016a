//! What goes wrong, and when: a deck of all faults that a seed shuffles.

use std::fmt;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use tokio::time::sleep;

use super::dice::Dice;
use super::fleet::Process;
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

impl House {
    /// Lets `strike` happen and what it has hit come back; answers what was hit, nothing when all of that has trouble already.
    pub async fn suffer(&self, strike: Strike) -> Result<Option<String>, String> {
        match strike.fault {
            Fault::KillWorker | Fault::KillEdge => {
                let all = if strike.fault == Fault::KillEdge { &self.edges } else { &self.workers };
                let Some(mut process) = choose(all, strike.target) else { return Ok(None) };
                self.say(&format!("{} is killed", process.name));
                process.kill().await;
                sleep(strike.lasts).await;
                process.start().await?;
                Ok(Some(process.name.clone()))
            }
            Fault::Freeze => {
                let Some(process) = choose(&self.workers, strike.target) else { return Ok(None) };
                self.say(&format!("{} stands still", process.name));
                process.freeze();
                sleep(SESSION + Duration::from_secs(2) + strike.lasts).await;
                process.thaw();
                self.say(&format!("{} goes on", process.name));
                Ok(Some(process.name.clone()))
            }
            Fault::KillKafka => {
                // What copies events is a client in this very process, which must outlive the brokers.
                let Ok(_quiet) = self.repeating.try_lock() else { return Ok(None) };
                self.kill_engine("kafka", strike.lasts).await
            }
            Fault::KillCassandra => self.kill_engine("cassandra", strike.lasts).await,
            Fault::KillS3 => self.kill_engine("seaweedfs", strike.lasts).await,
            Fault::Cut => {
                let Ok(_once) = self.cutting.try_lock() else { return Ok(None) };
                self.say("the network between w2 and Kafka is cut");
                self.relay.cut();
                sleep(Duration::from_secs(30)).await;
                self.relay.mend();
                self.say("the network between w2 and Kafka is mended");
                Ok(Some("w2".to_owned()))
            }
            Fault::Repeat => {
                let Ok(_once) = self.repeating.try_lock() else { return Ok(None) };
                self.say("every event comes three times");
                let repeater = self.repeater();
                sleep(Duration::from_secs(15)).await;
                drop(repeater);
                Ok(Some("the log".to_owned()))
            }
            Fault::Fill => {
                let Ok(_once) = self.filling.try_lock() else { return Ok(None) };
                self.say("the blob store is full");
                self.fill(true);
                sleep(Duration::from_secs(5) + strike.lasts).await;
                self.fill(false);
                self.say("the blob store has room again");
                Ok(Some("the blob store".to_owned()))
            }
        }
    }

    async fn kill_engine(&self, name: &'static str, lasts: Duration) -> Result<Option<String>, String> {
        let Some((_, busy)) = self.engine_locks.iter().find(|(known, _)| *known == name) else { return Ok(None) };
        let Ok(_once) = busy.try_lock() else { return Ok(None) };
        self.say(&format!("{name} is killed"));
        self.engines.kill(name).await?;
        sleep(lasts).await;
        self.engines.again(name).await?;
        self.say(&format!("{name} answers again"));
        Ok(Some(name.to_owned()))
    }
}
