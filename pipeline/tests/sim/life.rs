//! Processes that stall and die, and their calls through the doors.
//!
//! Everything that a process does to the world goes through a door. A stalled process is one whose calls wait, on the way
//! there and on the way back, until it goes on; a dead one is one whose calls wait for ever.

use std::sync::{Arc, Mutex};

use connectors::Clock;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Door, EPOCH_MS, Fate, World, locked};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// The number of the stall, so that one is not taken for another.
    Stalled(u32),
    Dead,
}

/// One process, from its start to its death.
pub struct Life {
    /// Name with the number of the incarnation.
    pub name: String,
    phase: Mutex<(Phase, u32)>,
    bell: Notify,
}

impl Life {
    /// A process that runs.
    pub fn new(name: String) -> Arc<Self> {
        Arc::new(Self { name, phase: Mutex::new((Phase::Running, 0)), bell: Notify::new() })
    }

    /// Stops everything until [`Life::resume`]; answers the number of the stall.
    pub fn stall(&self) -> u32 {
        let mut phase = locked(&self.phase);
        phase.1 += 1;
        phase.0 = Phase::Stalled(phase.1);
        phase.1
    }

    /// Goes on after stall `number`.
    pub fn resume(&self, number: u32) {
        let mut phase = locked(&self.phase);
        if phase.0 == Phase::Stalled(number) {
            phase.0 = Phase::Running;
            drop(phase);
            self.bell.notify_waiters();
        }
    }

    /// Ends it: nothing that it has begun goes on.
    pub fn kill(&self) {
        locked(&self.phase).0 = Phase::Dead;
    }

    /// Whether it is dead.
    pub fn is_dead(&self) -> bool {
        locked(&self.phase).0 == Phase::Dead
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        locked(&self.phase).0 == Phase::Running
    }

    /// Whether it is in stall `number`.
    pub fn is_in_stall(&self, number: u32) -> bool {
        locked(&self.phase).0 == Phase::Stalled(number)
    }

    /// Waits until the process runs.
    pub async fn gate(&self) {
        loop {
            let woken = self.bell.notified();
            if self.is_running() {
                return;
            }
            woken.await;
        }
    }
}

/// A process at a door.
#[derive(Clone)]
pub struct Caller {
    /// The world.
    pub world: Arc<World>,
    /// The process.
    pub life: Arc<Life>,
}

/// Why a call failed, in words.
pub struct Fault(pub &'static str);

impl Caller {
    /// Does `work` behind `door`; `what` is written into the trace when it is not empty. Only what changes something
    /// can be done and not answered.
    pub async fn call<T: Send>(
        &self,
        door: Door,
        writes: bool,
        what: impl Fn() -> String + Send,
        work: impl FnOnce() -> T + Send,
    ) -> Result<T, Fault> {
        let (world, life) = (&self.world, &self.life);
        life.gate().await;
        sleep(world.lag()).await;
        life.gate().await;
        match (world.fate(door, &what), writes) {
            (Fate::Refused, _) | (Fate::Unanswered, false) => {
                world.fault("a call is refused", &life.name, || format!("refused: {door:?} {}", what()));
                sleep(world.lag()).await;
                life.gate().await;
                Err(Fault("the connection was refused"))
            }
            (Fate::Done, _) => {
                if writes {
                    world.say(&life.name, &what);
                }
                let answer = work();
                sleep(world.lag()).await;
                life.gate().await;
                Ok(answer)
            }
            (Fate::Unanswered, true) => {
                world.fault("an answer is lost", &life.name, || format!("done, answer lost: {door:?} {}", what()));
                let answer = work();
                sleep(world.lag()).await;
                life.gate().await;
                drop(answer);
                Err(Fault("the connection broke before the answer came"))
            }
        }
    }
}

/// The wall clock of one machine, a little wrong.
pub struct SkewedClock {
    /// The world.
    pub world: Arc<World>,
    /// By how much, milliseconds.
    pub skew_ms: i64,
}

impl Clock for SkewedClock {
    fn now_ms(&self) -> i64 {
        EPOCH_MS + self.world.now_ms() as i64 + self.skew_ms
    }
}
