//! `up`, `edge`, `work`: the roles of one process, from bound addresses to the last drained piece of work.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use connectors::clock::SystemClock;
use connectors::log::TopicSpec;
use connectors::open::{CatalogAt, LogAt};
use connectors::{Doors, Log, open};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clients::Clients;
use super::failure::Failure;
use super::{machine, show};
use crate::config::Config;
use crate::edge::board::Board;
use crate::edge::watched::Watched;
use crate::edge::{self, KnownStage, ops};
use crate::media::child::ChildEngine;
use crate::metrics;
use crate::ml::listener::Listener;
use crate::ml::viewer::Viewer;
use crate::runner::{self, Runner};
use crate::stage::{AnyStage, Stage, chain};
use crate::stages::caption::Caption;
use crate::stages::classify::Classify;
use crate::topology;

/// How long roles may take to end beyond the grace period of running work.
const SETTLE: Duration = Duration::from_secs(10);

/// How long making the topics may take.
const TOPICS_PATIENCE: Duration = Duration::from_secs(30);

/// What is written like a stage and is none: the watched folder.
const WATCH: &str = "watch";

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Up,
    /// HTTP, the record projection, the sweeper.
    Edge,
    /// These stages; `all` stands for every one.
    Work(Vec<String>),
}

impl Role {
    /// Whether it takes files from the watched folder.
    fn watches(&self) -> bool {
        match self {
            Self::Up => true,
            Self::Edge => false,
            Self::Work(names) => names.iter().any(|name| name == WATCH),
        }
    }

    fn serves_http(&self) -> bool {
        !matches!(self, Self::Work(_))
    }

    /// Refuses doors that this role cannot share with the other processes that it needs.
    pub fn check_doors(&self, config: &Config) -> Result<(), Failure> {
        let role = match self {
            Self::Up => return Ok(()),
            Self::Edge => "edge",
            Self::Work(_) => "work",
        };
        // Not wrong usage: the command is right, the deployment is not.
        config.check_shared(role).map_err(|error| Failure::failed(chain(&error), error.advice()))
    }
}

/// The stages of this program, and those that this process runs.
pub struct Stages {
    all: Vec<Arc<dyn AnyStage>>,
    here: Vec<Arc<dyn AnyStage>>,
    listener: Arc<dyn Listener>,
    viewer: Arc<dyn Viewer>,
}

impl Stages {
    /// What `role` runs with `listener` for captions and `viewer` for labels; a stage that nobody knows is wrong usage.
    pub fn of(role: &Role, listener: Arc<dyn Listener>, viewer: Arc<dyn Viewer>) -> Result<Self, Failure> {
        let engine = ChildEngine::of_this_program().map_err(|error| {
            Failure::failed(format!("cannot find this program: {error}"), "start it again by its full path")
        })?;
        let all = topology::stages(&engine, &listener, &viewer).map_err(|error| {
            let what = format!("the stages do not fit together: {error}");
            Failure::failed(what, "this is a fault of the build: please report it")
        })?;
        let here = match role {
            Role::Up => all.clone(),
            Role::Edge => Vec::new(),
            Role::Work(names) => {
                let names: Vec<String> = names.iter().filter(|name| *name != WATCH).cloned().collect();
                if names.is_empty() { Vec::new() } else { select(&all, &names)? }
            }
        };
        Ok(Self { all, here, listener, viewer })
    }

    /// The topics of all stages, also of those that run elsewhere.
    pub fn topics(&self) -> Vec<TopicSpec> {
        topology::topics(&self.all)
    }
}

fn select(all: &[Arc<dyn AnyStage>], names: &[String]) -> Result<Vec<Arc<dyn AnyStage>>, Failure> {
    topology::select(all.to_vec(), names).map_err(|error| {
        let names: Vec<_> = all.iter().map(|stage| stage.name()).collect();
        Failure::usage(error.to_string(), format!("write --stages {},{WATCH}, or --stages all", names.join(",")))
    })
}

/// Opens the doors that `config` names, all at once.
pub async fn open_doors(config: &Config) -> Result<Doors, Failure> {
    open::open(&config.doors(), Arc::new(SystemClock)).await.map_err(|errors| {
        let mut told: Vec<String> = Vec::new();
        for error in &errors {
            // Log and catalog of one folder are in use by the same process.
            let why = chain(&error.why);
            if !told.iter().any(|said| said.ends_with(&why)) {
                told.push(chain(error));
            }
        }
        let advice = errors.first().map(open::Error::advice).unwrap_or_default();
        Failure::failed(format!("cannot open the doors: {}", told.join("; ")), advice)
    })
}

/// The address under which `listen` is reached from this machine.
pub fn url(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        ip if ip.is_unspecified() && ip.is_ipv6() => "[::1]".to_owned(),
        ip if ip.is_unspecified() => "127.0.0.1".to_owned(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
        ip => ip.to_string(),
    };
    format!("http://{host}:{}/", listen.port())
}

/// The addresses, taken before anything else: a port in use is told before doors are opened.
pub struct Addresses {
    edge: Option<TcpListener>,
    ops: TcpListener,
}

impl Addresses {
    /// Takes what `config` names and `role` needs; port 0 takes any free one.
    pub async fn take(config: &Config, role: &Role) -> Result<Self, Failure> {
        let edge = if role.serves_http() { Some(take("listen", config.listen).await?) } else { None };
        Ok(Self { edge, ops: take("ops_listen", config.ops_listen).await? })
    }
}

async fn take(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let flag = key.replace('_', "-");
        let (what, advice) = match error.kind() {
            std::io::ErrorKind::AddrInUse => (
                format!("{address} is in use by another process"),
                format!("stop it, or name another address with --{flag}; port 0 takes any free one"),
            ),
            _ => (
                format!("cannot listen on {address}: {error}"),
                format!("name an address of this machine with --{flag}, and a port above 1023 unless you are root"),
            ),
        };
        Failure::failed(what, advice)
    })
}

/// What one role ends with.
type Ended = (&'static str, Result<(), Failure>);

/// The roles of one process while they run.
pub struct Roles {
    config: Config,
    /// Where the edge listens, if there is one.
    edge: Option<SocketAddr>,
    ops: SocketAddr,
    stages: Vec<&'static str>,
    /// What takes work in and does it; ends at `shutdown`.
    working: JoinSet<Ended>,
    shutdown: CancellationToken,
    /// What goes on until the work has ended: folding its last events, telling operators. Ends at `over`.
    attending: JoinSet<Ended>,
    over: CancellationToken,
    /// Told goodbye at the very end.
    log: Arc<dyn Log>,
}

impl Roles {
    /// Starts what `role` means on `doors`.
    pub async fn start(
        role: &Role,
        config: Config,
        addresses: Addresses,
        doors: Doors,
        stages: Stages,
    ) -> Result<Self, Failure> {
        let metrics = metrics::install()
            .map_err(|error| Failure::failed(format!("cannot {}", chain(&error)), "start a fresh process"))?;
        make_topics(&doors, &stages).await?;
        let local = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Failure::failed(format!("cannot listen: {error}"), "start again"))
        };
        let mut roles = Self {
            config,
            edge: addresses.edge.as_ref().map(local).transpose()?,
            ops: local(&addresses.ops)?,
            stages: stages.here.iter().map(|stage| stage.name()).collect(),
            working: JoinSet::new(),
            shutdown: CancellationToken::new(),
            attending: JoinSet::new(),
            over: CancellationToken::new(),
            log: Arc::clone(&doors.log),
        };
        if role.watches() {
            roles.start_watching(role, &doors)?;
        }
        let mut hindrance: Box<dyn Fn() -> Option<String> + Send + Sync> = Box::new(|| None);
        if !stages.here.is_empty() {
            if stages.here.iter().any(|stage| stage.name() == Caption::<ChildEngine>::NAME) {
                roles.look_at(stages.listener);
            }
            if stages.here.iter().any(|stage| stage.name() == Classify::<ChildEngine>::NAME) {
                roles.look_for(stages.viewer);
            }
            let status = roles.start_runner(doors.clone(), stages.here);
            hindrance = Box::new(move || status.not_ready());
        }
        if let Some(listener) = addresses.edge {
            roles.start_record(doors.clone());
            let known = stages.all.iter().map(|stage| KnownStage::of(stage.as_ref())).collect();
            roles.start_edge(doors.clone(), listener, known);
        }
        let (data, log, clients) = (roles.config.data.clone(), Arc::clone(&doors.log), Clients::default());
        let ops = ops::Ops {
            metrics: Box::new(move || {
                machine::sample(&data);
                clients.sample(&log.statistics());
                metrics.render()
            }),
            // An edge can play with the blob store alone; work needs every door.
            needs: if *role == Role::Edge { ops::Needs::Blobs } else { ops::Needs::Everything },
            hindrance,
            draining: roles.shutdown.clone(),
        };
        roles.start_ops(doors, addresses.ops, ops);
        Ok(roles)
    }

    /// Says at the start whether there will be captions, and why not.
    fn look_at(&mut self, listener: Arc<dyn Listener>) {
        let over = self.over.clone();
        self.attending.spawn(async move {
            match listener.model().await {
                Ok(model) => tracing::info!(model = model.name, version = model.version, "captions: by this model"),
                Err(why) => tracing::warn!("captions: unavailable ({why})"),
            }
            over.cancelled().await;
            ("captions", Ok(()))
        });
    }

    /// Says at the start whether an image model will give labels, and why not.
    fn look_for(&mut self, viewer: Arc<dyn Viewer>) {
        let over = self.over.clone();
        self.attending.spawn(async move {
            match viewer.model().await {
                Ok(model) => tracing::info!(model = model.name, version = model.version, "labels: also by this model"),
                Err(why) => tracing::info!("labels: from signals alone ({why})"),
            }
            over.cancelled().await;
            ("labels", Ok(()))
        });
    }

    fn start_record(&mut self, doors: Doors) {
        let over = self.over.clone();
        self.attending.spawn(async move {
            edge::record(doors, over).await;
            ("record", Ok(()))
        });
    }

    fn start_runner(&mut self, doors: Doors, stages: Vec<Arc<dyn AnyStage>>) -> Arc<runner::Status> {
        let defaults = runner::Settings::new(worker_name());
        let settings = runner::Settings {
            slots: self.config.slots,
            grace: self.config.grace,
            // Two signs of life may be lost before anybody worries.
            heartbeat_interval: defaults.heartbeat_interval.min(self.config.session_timeout / 3),
            ..defaults
        };
        let runner = Runner::new(doors, settings);
        let status = runner.status();
        let shutdown = self.shutdown.clone();
        self.working.spawn(async move {
            let ran = runner.run(stages, shutdown).await;
            ("runner", ran.map_err(|error| Failure::failed(chain(&error), "look at the log lines above")))
        });
        status
    }

    /// Takes files from the watched folder, if there is one.
    fn start_watching(&mut self, role: &Role, doors: &Doors) -> Result<(), Failure> {
        let advice = "name a folder that can be read with --watch";
        let Some(folder) = self.config.watch.clone() else {
            // Asked for by name, and nothing to do.
            return match role {
                Role::Work(_) => Err(Failure::usage("no folder is named that could be watched", advice)),
                Role::Up | Role::Edge => Ok(()),
            };
        };
        let board = Board::new(doors.clone());
        let edge = edge::Edge::new(self.edge_settings(Vec::new()), doors.clone(), board, self.shutdown.clone());
        let watched = Watched::open(edge, &folder, self.config.watch_after).map_err(|error| {
            let folder = show::plain(&folder.display().to_string());
            Failure::usage(format!("cannot watch {folder}: {error}"), advice)
        })?;
        self.stages.push(WATCH);
        let shutdown = self.shutdown.clone();
        self.working.spawn(async move {
            watched.run(shutdown).await;
            ("watched folder", Ok(()))
        });
        Ok(())
    }

    fn start_edge(&mut self, doors: Doors, listener: TcpListener, stages: Vec<KnownStage>) {
        let settings = self.edge_settings(stages);
        let board = Board::new(doors.clone());
        let shutdown = self.shutdown.clone();
        self.working.spawn(async move {
            edge::serve(listener, settings, doors, board, shutdown).await;
            ("edge", Ok(()))
        });
    }

    fn edge_settings(&self, stages: Vec<KnownStage>) -> edge::Settings {
        let doors_wanted = self.config.doors();
        edge::Settings {
            max_upload_bytes: self.config.max_upload_bytes,
            public_path: self.config.public_path.clone(),
            upload_expiry: self.config.upload_expiry,
            upload_origins: self.config.upload_origins.clone(),
            grace: self.config.grace,
            is_alone: doors_wanted.is_one_process(),
            keeps_sources: !self.stages.is_empty(),
            topic_prefix: doors_wanted.topic_prefix().to_owned(),
            has_registry: doors_wanted.registry().is_some(),
            stages,
            worker_timeout: self.config.session_timeout,
            ..edge::Settings::default()
        }
    }

    fn start_ops(&mut self, doors: Doors, listener: TcpListener, ops: ops::Ops) {
        let over = self.over.clone();
        self.attending.spawn(async move {
            ops::serve(listener, ops, doors, over).await;
            ("ops address", Ok(()))
        });
    }

    /// Says where it serves and what it does, for people and for programs that wait for the lines.
    pub fn announce(&self) -> Result<(), Failure> {
        if self.config.log != LogAt::Embedded && self.config.catalog == CatalogAt::Embedded {
            tracing::warn!(
                "the log can be shared and the catalog cannot: no other process may work on these topics; set `catalog` to \
                 scylla://… before there is one"
            );
        }
        let doors = self.config.doors();
        let (log, catalog, blobs) = (doors.log_at(), doors.catalog_at(), doors.blobs_at());
        let (ops, slots, stages) = (url(self.ops), self.config.slots, self.stages.join(","));
        let what = match self.edge.map(url) {
            Some(edge) => {
                tracing::info!(edge, ops, stages, slots, log, catalog, blobs, "serving");
                format!("StreamForge serves at {edge}")
            }
            None => {
                tracing::info!(ops, stages, slots, log, catalog, blobs, "working");
                format!("StreamForge works on {stages}")
            }
        };
        show::print(&format!("{what}\nMetrics and health at {ops}\n"))
    }

    /// Waits until a role ends although nobody asked it to.
    pub async fn broken(&mut self) -> Failure {
        let ended = tokio::select! {
            Some(ended) = self.working.join_next() => ended,
            Some(ended) = self.attending.join_next() => ended,
        };
        let what = match ended {
            Ok((_, Err(failure))) => return failure,
            Ok((role, Ok(()))) => format!("the {role} ended by itself"),
            Err(error) => format!("a role broke: {error}"),
        };
        Failure::failed(what, "look at the log lines above, then start it again: nothing is lost")
    }

    /// Asks all roles to end and waits for them: running work within the grace period, the rest at once.
    pub async fn drain(mut self) -> Result<(), Failure> {
        self.shutdown.cancel();
        let (grace, over, log) = (self.config.grace, self.over, self.log);
        let all = async {
            let worked = ended(&mut self.working).await;
            over.cancel();
            let attended = ended(&mut self.attending).await;
            // Members that say so hand their partitions over at once.
            log.close(SETTLE / 2).await;
            worked.and(attended)
        };
        tokio::time::timeout(grace + SETTLE, all).await.unwrap_or_else(|_| {
            let advice = "start it again: what was not finished is done again, nothing is lost";
            Err(Failure::failed("not every role ended in time", advice))
        })
    }
}

/// Makes the topics of all stages, also of those that run elsewhere: whoever comes first makes them.
async fn make_topics(doors: &Doors, stages: &Stages) -> Result<(), Failure> {
    let topics = stages.topics();
    within(TOPICS_PATIENCE, doors.log.ensure_topics(&topics)).await.map_err(|why| {
        let advice =
            "use the data folder or the Kafka cluster with the release that made it; `streamforge doctor` says more";
        Failure::failed(format!("cannot make the topics: {why}"), advice)
    })
}

async fn within<E: std::error::Error>(
    patience: Duration,
    call: impl Future<Output = Result<(), E>>,
) -> Result<(), String> {
    match tokio::time::timeout(patience, call).await {
        Ok(result) => result.map_err(|error| chain(&error)),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    }
}

/// Waits for all of `roles`; the first that failed is what is told.
async fn ended(roles: &mut JoinSet<Ended>) -> Result<(), Failure> {
    let mut outcome = Ok(());
    while let Some(ended) = roles.join_next().await {
        let ended = match ended {
            Ok((_, ended)) => ended,
            Err(error) => Err(Failure::failed(format!("a role broke: {error}"), "look at the log lines above")),
        };
        outcome = outcome.and(ended);
    }
    outcome
}

/// A name that no other worker has, at no time.
fn worker_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}
