//! How the runner behaves.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::backoff::Backoff;

/// Settings of a runner.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Name of this worker process, unique among all.
    pub worker: Arc<str>,
    /// Slots that all native stages of the main and the background lane share: one per core.
    pub slots: usize,
    /// Slots of each native stage of the express lane, beside the shared ones.
    pub express_slots: usize,
    /// Slots of each stage without native code.
    pub light_slots: usize,
    /// How long work may go on after shutdown begins.
    pub grace: Duration,
    /// How long a stage may take to react to being called off.
    pub settle: Duration,
    /// Attempts at one event that may fail.
    pub max_attempts: u32,
    /// Attempts at one event that may begin without ever ending, because the process died.
    ///
    /// Far more than `max_attempts`: media runs in a process of its own, whose crash is an ordinary failed attempt; what
    /// is left are restarts and power cuts, which take innocent work with them.
    pub max_crashes: u32,
    /// How old an event may grow that only a worker of another version can do.
    pub version_patience: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Waits while a door is away.
    pub door_backoff: Backoff,
    /// How long work waits to hear what the catalog knows about it. Work goes on without a catalog that is away.
    pub catalog_patience: Duration,
    /// Events of a native stage in hand before deliveries pause. Large, so that a clip behind a film is seen.
    pub read_ahead: usize,
    /// The same for stages without native code.
    pub light_read_ahead: usize,
    /// How long finished work is collected before it is committed.
    pub commit_interval: Duration,
    /// Least time between two progress events of one unit that only say that work goes on.
    pub progress_interval: Duration,
    /// Time between two signs of life.
    pub heartbeat_interval: Duration,
    /// Time between two samples of lag.
    pub sample_interval: Duration,
    /// Time between two samples of the bytes stored.
    pub storage_interval: Duration,
    /// How far back cancels are read at the start.
    pub cancel_lookback: Duration,
}

impl Settings {
    /// The defaults for a worker named `worker` on this machine.
    pub fn new(worker: impl Into<Arc<str>>) -> Self {
        Self {
            worker: worker.into(),
            slots: std::thread::available_parallelism().map_or(1, usize::from),
            express_slots: 1,
            light_slots: 4,
            grace: Duration::from_secs(20),
            settle: Duration::from_secs(5),
            max_attempts: 3,
            max_crashes: 32,
            version_patience: Duration::from_secs(3600),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(30)),
            door_backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            catalog_patience: Duration::from_secs(2),
            read_ahead: 4096,
            light_read_ahead: 256,
            commit_interval: Duration::from_millis(20),
            progress_interval: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(3),
            sample_interval: Duration::from_secs(5),
            storage_interval: Duration::from_secs(60),
            cancel_lookback: Duration::from_secs(600),
        }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let least = [
            ("slots", self.slots),
            ("express_slots", self.express_slots),
            ("light_slots", self.light_slots),
            ("max_attempts", self.max_attempts as usize),
            ("max_crashes", self.max_crashes as usize),
            ("read_ahead", self.read_ahead),
            ("light_read_ahead", self.light_read_ahead),
        ];
        match least.into_iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(Error::Setting(name)),
            None => Ok(()),
        }
    }
}
