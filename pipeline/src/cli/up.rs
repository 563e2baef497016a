//! `up`: every role in one process, from bound addresses to the last drained piece of work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use connectors::clock::SystemClock;
use connectors::{Blobs, Clock, Doors, embedded};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::failure::{Exit, Failure, chain};
use super::machine;
use super::show;
use crate::config::Config;
use crate::edge::board::Board;
use crate::edge::{self, ops};
use crate::media::child::ChildEngine;
use crate::metrics;
use crate::runner::{self, Runner};
use crate::stage::AnyStage;
use crate::topology;

/// How long roles may take to end beyond the grace period of running work.
const SETTLE: Duration = Duration::from_secs(10);

/// Opens the doors that `config` names.
pub fn open_doors(config: &Config) -> Result<Doors, Failure> {
    try_doors(config).map_err(|error| {
        let advice = match &error {
            embedded::Error::InUse(_) => "stop the other process, or name another folder with --data",
            embedded::Error::Blobs(_) => "see that the folder of `blobs` can be written",
            _ => "`streamforge doctor` checks the folder of `data` and its disk",
        };
        Failure::failed(format!("cannot open the doors: {}", chain(&error)), advice)
    })
}

/// Opens the doors that `config` names, or says why not.
pub fn try_doors(config: &Config) -> Result<Doors, embedded::Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let doors = embedded::open(&config.data, clock)?;
    if config.blobs == config.data.join("blobs") {
        return Ok(doors);
    }
    let blobs = Blobs::in_folder(&config.blobs).map_err(embedded::Error::Blobs)?;
    Ok(Doors { blobs, ..doors })
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

/// The wish to stop, as signals bring it.
pub struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// Listens from now on; no signal that comes later is lost.
    pub fn on_signals() -> Result<Self, Failure> {
        let listen = |kind| {
            signal(kind).map_err(|error| {
                Failure::failed(format!("cannot listen for signals: {error}"), "raise the limit of open files")
            })
        };
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for Ctrl-C or SIGTERM; answers which one came.
    pub async fn asked(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Waits for a second Ctrl-C, of somebody who cannot wait.
    pub async fn insisted(&mut self) {
        self.interrupt.recv().await;
    }
}

/// The addresses, taken before anything else: a port in use is told before doors are opened.
pub struct Addresses {
    edge: TcpListener,
    ops: TcpListener,
}

impl Addresses {
    /// Takes what `config` names; port 0 takes any free one.
    pub async fn take(config: &Config) -> Result<Self, Failure> {
        Ok(Self { edge: take("listen", config.listen).await?, ops: take("ops_listen", config.ops_listen).await? })
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
                format!("name an address of this machine with --{flag}"),
            ),
        };
        Failure::failed(what, advice)
    })
}

/// The roles of one process while they run.
pub struct Roles {
    config: Config,
    edge: SocketAddr,
    ops: SocketAddr,
    /// What takes work in and does it; ends at `shutdown`.
    working: JoinSet<(&'static str, Result<(), Failure>)>,
    shutdown: CancellationToken,
    /// What goes on until the work has ended: folding its last events, telling operators. Ends at `over`.
    attending: JoinSet<(&'static str, Result<(), Failure>)>,
    over: CancellationToken,
}

impl Roles {
    /// Starts every role on `doors`.
    pub async fn start(config: Config, addresses: Addresses, doors: Doors) -> Result<Self, Failure> {
        let metrics = metrics::install()
            .map_err(|error| Failure::failed(format!("cannot {}", chain(&error)), "start a fresh process"))?;
        let engine = ChildEngine::of_this_program().map_err(|error| {
            Failure::failed(format!("cannot find this program: {error}"), "start it again by its full path")
        })?;
        let stages = topology::stages(&engine).map_err(|error| {
            let what = format!("the stages do not fit together: {error}");
            Failure::failed(what, "this is a fault of the build: please report it")
        })?;
        doors.log.ensure_topics(&topology::topics(&stages)).await.map_err(|error| {
            let what = format!("cannot make the topics: {}", chain(&error));
            Failure::failed(what, "use the data folder with the release that made it, or name another with --data")
        })?;
        let local = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Failure::failed(format!("cannot listen: {error}"), "start again"))
        };
        let (edge, ops) = (local(&addresses.edge)?, local(&addresses.ops)?);
        let (shutdown, over) = (CancellationToken::new(), CancellationToken::new());
        let mut roles = Self { config, edge, ops, working: JoinSet::new(), shutdown, attending: JoinSet::new(), over };
        roles.start_record(doors.clone());
        let status = roles.start_runner(doors.clone(), stages);
        roles.start_edge(doors.clone(), addresses.edge);
        roles.start_ops(doors, addresses.ops, metrics, status);
        Ok(roles)
    }

    fn start_record(&mut self, doors: Doors) {
        let over = self.over.clone();
        self.attending.spawn(async move {
            edge::record(doors, over).await;
            ("record", Ok(()))
        });
    }

    fn start_runner(&mut self, doors: Doors, stages: Vec<Arc<dyn AnyStage>>) -> Arc<runner::Status> {
        let settings = runner::Settings {
            slots: self.config.slots,
            grace: self.config.grace,
            ..runner::Settings::new(worker_name())
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

    fn start_edge(&mut self, doors: Doors, listener: TcpListener) {
        let settings = edge::Settings {
            max_upload_bytes: self.config.max_upload_bytes,
            public_path: self.config.public_path.clone(),
            grace: self.config.grace,
            ..edge::Settings::default()
        };
        let board = Board::new(doors.clone());
        let shutdown = self.shutdown.clone();
        self.working.spawn(async move {
            edge::serve(listener, settings, doors, board, shutdown).await;
            ("edge", Ok(()))
        });
    }

    fn start_ops(
        &mut self,
        doors: Doors,
        listener: TcpListener,
        metrics: metrics::Handle,
        status: Arc<runner::Status>,
    ) {
        let data = self.config.data.clone();
        let ops = ops::Ops {
            metrics: Box::new(move || {
                machine::sample(&data);
                metrics.render()
            }),
            needs: ops::Needs::Everything,
            hindrance: Box::new(move || status.not_ready()),
            draining: self.shutdown.clone(),
        };
        let over = self.over.clone();
        self.attending.spawn(async move {
            ops::serve(listener, ops, doors, over).await;
            ("ops address", Ok(()))
        });
    }

    /// Says where it serves, for people and for programs that wait for the line.
    pub fn announce(&self) -> Result<(), Failure> {
        let (edge, ops) = (url(self.edge), url(self.ops));
        tracing::info!(edge, ops, data = %self.config.data.display(), slots = self.config.slots, "serving");
        show::print(&format!("StreamForge serves at {edge}\nMetrics and health at {ops}\n"))
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
        let (grace, over) = (self.config.grace, self.over);
        let all = async {
            let worked = ended(&mut self.working).await;
            over.cancel();
            worked.and(ended(&mut self.attending).await)
        };
        tokio::time::timeout(grace + SETTLE, all).await.unwrap_or_else(|_| {
            let advice = "start it again: what was not finished is done again, nothing is lost";
            Err(Failure::failed("not every role ended in time", advice))
        })
    }
}

/// Waits for all of `roles`; the first that failed is what is told.
async fn ended(roles: &mut JoinSet<(&'static str, Result<(), Failure>)>) -> Result<(), Failure> {
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

/// Ends the process at once, for somebody who has asked twice. What was not finished is done again later.
pub fn abandon() -> ! {
    eprintln!("error: ended before everything was drained");
    eprintln!("  try: start it again: nothing is lost, and what was not finished is done again");
    std::process::exit(Exit::Failed as i32)
}
