//! Workers and edges: the real code of both, on the doors of this world.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use connectors::{Blobs, Doors};
use pipeline::edge::board::Board;
use pipeline::edge::sweep::Sweeper;
use pipeline::edge::{self, Edge};
use pipeline::ml::listener::{Absent, Listener, Nobody};
use pipeline::ml::viewer::{Blind, Viewer};
use pipeline::runner::{self, Backoff, Runner};
use pipeline::topology;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::broker::Broker;
use super::bucket::{Bucket, SimStore};
use super::check::{Checks, Outside};
use super::consumer::SimLog;
use super::engine::FakeEngine;
use super::life::{Caller, Life, SkewedClock};
use super::tables::{SimCatalog, Tables};
use super::{World, dice};

/// What all members share.
#[derive(Clone)]
pub struct House {
    /// The world.
    pub world: Arc<World>,
    /// The log.
    pub broker: Arc<Broker>,
    /// The catalog.
    pub tables: Arc<Mutex<Tables>>,
    /// The blobs.
    pub bucket: Arc<Bucket>,
    /// What must hold.
    pub checks: Arc<Checks>,
}

/// Nobody listens in this world: each video with sound says so, and each without that it has none.
fn nobody() -> Arc<dyn Listener> {
    Arc::new(Nobody(Absent("no model".to_owned())))
}

/// Nobody looks either: labels are from signals alone.
fn blind() -> Arc<dyn Viewer> {
    Arc::new(Blind(Absent("no model".to_owned())))
}

impl House {
    /// A house with nothing in it.
    pub fn new(world: Arc<World>) -> Self {
        let blank = FakeEngine { world: Arc::clone(&world), life: Life::new("nobody".into()), build: "" };
        let topics = topology::topics(&topology::stages(&blank, &nobody(), &blind()).expect("sound stages"));
        let broker = Broker::new(Arc::clone(&world), &topics);
        let (tables, bucket) = (Arc::new(Mutex::new(Tables::default())), Bucket::new(Arc::clone(&world)));
        let checks = Arc::new(Checks {
            world: Arc::clone(&world),
            broker: Arc::clone(&broker),
            tables: Arc::clone(&tables),
            bucket: Arc::clone(&bucket),
            outside: Mutex::new(Outside::default()),
        });
        Self { world, broker, tables, bucket, checks }
    }

    /// The doors of a process.
    pub fn doors(&self, life: &Arc<Life>, skew_ms: i64) -> Doors {
        let caller = Caller { world: Arc::clone(&self.world), life: Arc::clone(life) };
        let (broker, checks) = (Arc::clone(&self.broker), Arc::clone(&self.checks));
        let store = SimStore { caller: caller.clone(), bucket: Arc::clone(&self.bucket) };
        Doors {
            log: Arc::new(SimLog { caller: caller.clone(), broker, checks }),
            catalog: Arc::new(SimCatalog { caller, tables: Arc::clone(&self.tables) }),
            blobs: Blobs::in_memory_behind(Arc::new(store)),
            clock: Arc::new(SkewedClock { world: Arc::clone(&self.world), skew_ms }),
        }
    }
}

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All stages.
    Worker,
    /// Uploads, the record projection and the sweeper.
    Edge,
}

/// A machine that processes come and go on.
pub struct Member {
    /// Name.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// By how much its clock is wrong, milliseconds.
    pub skew_ms: i64,
    /// Version of its media libraries.
    pub build: &'static str,
    /// Slots of a worker.
    pub slots: usize,
    incarnation: u32,
    /// The process that runs.
    pub process: Option<Process>,
}

/// A process.
pub struct Process {
    /// Its life.
    pub life: Arc<Life>,
    /// The edge, when it is one.
    pub edge: Option<Arc<Edge>>,
    /// Asks it to end.
    pub shutdown: CancellationToken,
    /// What it does.
    pub tasks: JoinSet<()>,
}

impl Member {
    /// A machine on which nothing runs yet.
    pub fn new(name: String, role: Role, skew_ms: i64, build: &'static str, slots: usize) -> Self {
        Self { name, role, skew_ms, build, slots, incarnation: 0, process: None }
    }

    /// Starts a process.
    pub fn start(&mut self, house: &House) {
        self.incarnation += 1;
        let life = Life::new(format!("{}.{}", self.name, self.incarnation));
        let doors = house.doors(&life, self.skew_ms);
        let shutdown = CancellationToken::new();
        let mut tasks = JoinSet::new();
        house.world.say(&life.name, || "starts".into());
        let edge = match self.role {
            Role::Worker => {
                let engine = FakeEngine { world: Arc::clone(&house.world), life: Arc::clone(&life), build: self.build };
                let runner = Runner::new(doors, worker_settings(&life.name, self.slots));
                let (stages, shutdown) =
                    (topology::stages(&engine, &nobody(), &blind()).expect("sound stages"), shutdown.clone());
                tasks.spawn(async move { runner.run(stages, shutdown).await.expect("the runner runs") });
                None
            }
            Role::Edge => {
                let settings = edge::Settings {
                    owner: life.name.clone(),
                    is_alone: false,
                    new_job: dice::new_job,
                    ..edge::Settings::default()
                };
                let sweeper = Sweeper { owner: life.name.clone(), is_alone: false };
                let board = Board::new(doors.clone());
                let edge = Edge::new(settings, doors.clone(), Arc::clone(&board), shutdown.clone());
                let (over, sweeps, sweep_doors) = (shutdown.clone(), shutdown.clone(), doors.clone());
                tasks.spawn(async move { board.follow(over).await });
                tasks.spawn(async move { sweeper.run(&sweep_doors, &sweeps).await });
                tasks.spawn(edge::record(doors, shutdown.clone()));
                Some(edge)
            }
        };
        self.process = Some(Process { life, edge, shutdown, tasks });
    }

    /// The edge that runs here, if it does.
    pub fn edge(&self) -> Option<Arc<Edge>> {
        let process = self.process.as_ref().filter(|process| process.life.is_running())?;
        process.edge.clone()
    }
}

/// Settings of a worker: little is read ahead, so that deliveries pause, and what only samples seldom does.
fn worker_settings(name: &str, slots: usize) -> runner::Settings {
    let mut settings = runner::Settings::new(name);
    let seeded = |backoff: Backoff| Backoff { draw: dice::draw, ..backoff };
    settings.backoff = seeded(settings.backoff);
    settings.door_backoff = seeded(settings.door_backoff);
    settings.slots = slots;
    settings.grace = Duration::from_secs(4);
    settings.read_ahead = 12;
    settings.light_read_ahead = 6;
    settings.heartbeat_interval = Duration::from_secs(120);
    settings.sample_interval = Duration::from_secs(1_800);
    settings.storage_interval = Duration::from_secs(1_800);
    settings
}
