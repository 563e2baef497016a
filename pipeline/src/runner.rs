//! The runner owns everything about delivery: polling, slots, attempts, commits, dead letters, cancels and draining.
//!
//! # Layout
//! - [`offsets`], [`fair`], [`backoff`]: pure rules, property-tested
//! - `intake`: one task per stage that owns its consumer; `twins`: the same event more than once;
//!   `pool`: slots and the queue before them
//! - `drive`: the turn of one task; `attempt`: one attempt; `ending`, `sweep_up`: what follows
//! - `watch`: cancelled and deleted jobs; `jobs`: which of them have work here
//! - `progress`, `heartbeat`, [`status`]: what others see

use std::sync::Arc;

use connectors::Doors;
use schemas::JobId;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::metrics;
use crate::stage::{AnyStage, Lane};

mod attempt;
pub mod backoff;
mod door;
mod drive;
mod ending;
pub mod fair;
mod heartbeat;
mod intake;
mod jobs;
pub mod offsets;
mod pool;
mod progress;
mod settings;
mod station;
pub mod status;
mod sweep_up;
mod task;
mod twins;
mod watch;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use settings::Settings;
pub use status::{StageStatus, Status};

use intake::Intake;
use pool::Pool;
use station::Station;

/// The runner cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting that must be at least 1 is 0.
    #[error("the runner's setting `{0}` must be at least 1")]
    Setting(&'static str),
    /// There is nothing to run.
    #[error("no stage was given to run")]
    NoStages,
    /// A part of the runner itself broke; what it had in hand is not committed.
    #[error("a part of the runner broke")]
    Broken(#[source] tokio::task::JoinError),
}

/// What all parts of a running runner share.
struct Shared {
    doors: Doors,
    settings: Settings,
    status: Arc<Status>,
    jobs: jobs::Jobs,
    pools: Vec<Arc<Pool>>,
    progress: progress::Sender,
    /// Fires when the grace period is over.
    hard: CancellationToken,
}

impl Shared {
    /// Nobody wants results of `job` any more: stops what runs, drops what waits.
    /// Stops required work of `job`, as somebody wishes; the rest waits until it is known how the job ends.
    fn end_required(&self, job: JobId, why: jobs::Gone) {
        self.jobs.end_required(job, why);
        for pool in &self.pools {
            for task in pool.remove_where(|task| task.job() == job && task.station.stage.is_required()) {
                tracing::info!(stage = task.station.name(), %job, ?why, "dropped what waited: somebody wishes so");
                task.finish();
            }
        }
    }

    fn end_job(&self, job: JobId, why: jobs::Gone) {
        self.jobs.end(job, why);
        for pool in &self.pools {
            for task in pool.remove_job(job) {
                tracing::info!(stage = task.station.name(), %job, ?why, "dropped what waited: nobody wants the job any more");
                task.finish();
            }
        }
    }
}

/// Runs stages until it is told to stop.
pub struct Runner {
    doors: Doors,
    settings: Settings,
    status: Arc<Status>,
}

impl Runner {
    /// A runner that works through `doors`.
    pub fn new(doors: Doors, settings: Settings) -> Self {
        Self { doors, settings, status: Arc::default() }
    }

    /// How its stages stand, for readiness.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Runs `stages` until `shutdown` fires, then drains: what runs may finish within the grace period, the rest is
    /// handed back uncommitted. The topics must exist or come to exist.
    pub async fn run(&self, stages: Vec<Arc<dyn AnyStage>>, shutdown: CancellationToken) -> Result<(), Error> {
        self.settings.check()?;
        if stages.is_empty() {
            return Err(Error::NoStages);
        }
        let house = House::build(self, stages);
        let shared = Arc::clone(&house.shared);
        // Joined before anything is consumed, so that no cancel falls between.
        let Some(reader) = watch::open(&shared, &shutdown).await else { return Ok(()) };
        let over = CancellationToken::new();
        let stations: Vec<_> = house.stations.iter().map(|(station, _)| Arc::clone(station)).collect();
        let mut aides = JoinSet::new();
        aides.spawn(progress::publish(Arc::clone(&shared.doors.log), house.progress, over.clone()));
        aides.spawn(watch::run(Arc::clone(&shared), reader, over.clone()));
        aides.spawn(heartbeat::beat(Arc::clone(&shared), stations.clone(), over.clone()));
        aides.spawn(heartbeat::sample_lag(Arc::clone(&shared), stations, over.clone()));
        aides.spawn(heartbeat::sample_storage(Arc::clone(&shared), over.clone()));
        let mut workers = JoinSet::new();
        for pool in &shared.pools {
            for _ in 0..pool.slots {
                workers.spawn(serve(Arc::clone(&shared), Arc::clone(pool), Lane::Main));
            }
            for _ in 0..pool.background_slots {
                workers.spawn(serve(Arc::clone(&shared), Arc::clone(pool), Lane::Background));
            }
        }
        let mut intakes = JoinSet::new();
        for (station, finished) in house.stations {
            intakes.spawn(Intake::new(Arc::clone(&shared), station, finished, shutdown.clone()).run());
        }
        let broken = drain(&shared, intakes, &shutdown).await;
        for pool in &shared.pools {
            pool.close();
        }
        while workers.join_next().await.is_some() {}
        over.cancel();
        while aides.join_next().await.is_some() {}
        broken.map_or(Ok(()), |error| Err(Error::Broken(error)))
    }
}

/// Waits for the intakes, which end by themselves after `shutdown`; past the grace period calls their work off.
async fn drain(
    shared: &Shared,
    mut intakes: JoinSet<()>,
    shutdown: &CancellationToken,
) -> Option<tokio::task::JoinError> {
    let mut broken = None;
    let grace = async {
        shutdown.cancelled().await;
        tracing::info!(grace = ?shared.settings.grace, "draining");
        sleep(shared.settings.grace).await;
        tracing::warn!("the grace period is over: handing back what still runs");
        shared.hard.cancel();
    };
    tokio::pin!(grace);
    let mut waiting = true;
    loop {
        tokio::select! {
            biased;
            () = &mut grace, if waiting => waiting = false,
            ended = intakes.join_next() => match ended {
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::error!(%error, "a part of the runner broke: shutting down");
                    shutdown.cancel();
                    broken = Some(error);
                }
                None => break,
            },
        }
    }
    // Every stage may have stopped by itself; the process still lives until it is told to end.
    shutdown.cancelled().await;
    shared.hard.cancel();
    broken
}

/// One slot.
async fn serve(shared: Arc<Shared>, pool: Arc<Pool>, lane: Lane) {
    loop {
        let next = match lane {
            Lane::Background => pool.next_background().await,
            Lane::Express | Lane::Main => pool.next().await,
        };
        let Some((task, _turn)) = next else { return };
        let shared = Arc::clone(&shared);
        // A task of its own: should the runner itself panic here, the slot lives on and the record stays uncommitted.
        let turn = AbortOnDropHandle::new(tokio::spawn(async move { drive::drive(&shared, task).await }));
        if let Err(error) = turn.await {
            tracing::error!(%error, "the runner broke while it worked on an event: the event is left in the log");
        }
    }
}

/// Everything that is built before anything runs.
struct House {
    shared: Arc<Shared>,
    stations: Vec<(Arc<Station>, tokio::sync::mpsc::UnboundedReceiver<task::Finished>)>,
    progress: tokio::sync::mpsc::Receiver<schemas::event::JobProgress>,
}

impl House {
    fn build(runner: &Runner, stages: Vec<Arc<dyn AnyStage>>) -> Self {
        let settings = &runner.settings;
        let shared_slots = Arc::new(Pool::with_background(settings.slots, settings.slots));
        let mut pools: Vec<Arc<Pool>> = Vec::new();
        let stations: Vec<_> = stages
            .into_iter()
            .map(|stage| {
                let pool = match (stage.is_native(), stage.lane()) {
                    (true, Lane::Main | Lane::Background) => Arc::clone(&shared_slots),
                    (true, Lane::Express) => Arc::new(Pool::new(settings.express_slots)),
                    (false, _) => Arc::new(Pool::new(settings.light_slots)),
                };
                if !pools.iter().any(|known| Arc::ptr_eq(known, &pool)) {
                    pools.push(Arc::clone(&pool));
                }
                runner.status.set(stage.name(), StageStatus::Joining);
                metrics::stage_begins(stage.name());
                Station::new(stage, pool)
            })
            .collect();
        let (sender, progress) = progress::channel();
        let shared = Shared {
            doors: runner.doors.clone(),
            settings: settings.clone(),
            status: Arc::clone(&runner.status),
            jobs: jobs::Jobs::default(),
            pools,
            progress: sender,
            hard: CancellationToken::new(),
        };
        Self { shared: Arc::new(shared), stations, progress }
    }
}
