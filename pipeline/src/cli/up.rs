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
use super::show;
use crate::config::Config;
use crate::media::child::ChildEngine;
use crate::runner::{self, Runner};
use crate::topology;

/// How long roles may take to end beyond the grace period of running work.
const SETTLE: Duration = Duration::from_secs(10);

/// Opens the doors that `config` names.
pub fn open_doors(config: &Config) -> Result<Doors, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let doors = embedded::open(&config.data, clock).map_err(|error| {
        let advice = match &error {
            embedded::Error::InUse(_) => "stop the other process, or name another folder with --data",
            embedded::Error::Blobs(_) => "see that the folder `blobs` in `data` can be written",
            _ => "`streamforge doctor` checks the folder of `data` and its disk",
        };
        Failure::failed(format!("cannot open the doors: {}", chain(&error)), advice)
    })?;
    if config.blobs == config.data.join("blobs") {
        return Ok(doors);
    }
    let blobs = Blobs::in_folder(&config.blobs).map_err(|error| {
        let what = format!("cannot open the blob store in {}: {}", config.blobs.display(), chain(&error));
        Failure::failed(what, "see that the folder of `blobs` can be written")
    })?;
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
    running: JoinSet<(&'static str, Result<(), Failure>)>,
    shutdown: CancellationToken,
    config: Config,
    edge: SocketAddr,
    ops: SocketAddr,
}

impl Roles {
    /// Starts every role on `doors`.
    pub async fn start(config: Config, addresses: Addresses, doors: Doors) -> Result<Self, Failure> {
        let engine = ChildEngine::of_this_program().map_err(|error| {
            Failure::failed(format!("cannot find this program's own file: {error}"), "start it by its full path")
        })?;
        let stages = topology::stages(&engine).map_err(broken_build)?;
        doors.log.ensure_topics(&topology::topics(&stages)).await.map_err(|error| {
            let what = format!("cannot make the topics: {}", chain(&error));
            Failure::failed(what, "use the data folder with the release that made it, or name another with --data")
        })?;
        let local = |listener: &TcpListener| {
            listener.local_addr().map_err(|error| Failure::failed(format!("cannot listen: {error}"), "start again"))
        };
        let (edge, ops) = (local(&addresses.edge)?, local(&addresses.ops)?);
        let mut roles = Self { running: JoinSet::new(), shutdown: CancellationToken::new(), config, edge, ops };
        roles.start_runner(doors.clone(), stages);
        Ok(roles)
    }

    fn start_runner(&mut self, doors: Doors, stages: Vec<Arc<dyn crate::stage::AnyStage>>) {
        let settings = runner::Settings {
            slots: self.config.slots,
            grace: self.config.grace,
            ..runner::Settings::new(worker_name())
        };
        let runner = Runner::new(doors, settings);
        let shutdown = self.shutdown.clone();
        self.running.spawn(async move {
            let ran = runner.run(stages, shutdown).await;
            ("runner", ran.map_err(|error| Failure::failed(chain(&error), "look at the log lines above")))
        });
    }

    /// Says where it serves, for people and for programs that wait for the line.
    pub fn announce(&self) -> Result<(), Failure> {
        show::print(&format!("StreamForge serves at {}\nMetrics and health at {}\n", url(self.edge), url(self.ops)))
    }

    /// Waits until a role ends although nobody asked it to.
    pub async fn broken(&mut self) -> Failure {
        match self.running.join_next().await {
            Some(Ok((_, Err(failure)))) => failure,
            Some(Ok((role, Ok(())))) => Failure::failed(format!("the {role} ended by itself"), "look at the log lines"),
            Some(Err(error)) => Failure::failed(format!("a role broke: {error}"), "look at the log lines above"),
            None => Failure::failed("there is no role to run", "look at the log lines above"),
        }
    }

    /// Asks all roles to end and waits for them: running work within the grace period, the rest at once.
    pub async fn drain(mut self) -> Result<(), Failure> {
        self.shutdown.cancel();
        let mut outcome = Ok(());
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                match ended {
                    Ok((_, Ok(()))) => {}
                    Ok((_, Err(failure))) => outcome = Err(failure),
                    Err(error) => {
                        outcome = Err(Failure::failed(format!("a role broke: {error}"), "look at the log lines"))
                    }
                }
            }
        };
        if tokio::time::timeout(self.config.grace + SETTLE, all).await.is_err() {
            return Err(Failure::failed(
                "not every role ended in time",
                "nothing is lost: what was not finished is done again after the next start",
            ));
        }
        outcome
    }
}

fn broken_build(error: topology::Error) -> Failure {
    Failure::failed(format!("the stages do not fit together: {error}"), "this is a fault of the build: report it")
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
