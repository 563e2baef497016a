//! The life of the process: parse, load the settings, open the doors, run the roles, drain, exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use pipeline::cli::captioner::Captioner;
use pipeline::cli::failure::Failure;
use pipeline::cli::roles::{self, Addresses, Role, Roles, Stages};
use pipeline::cli::spectator::Spectator;
use pipeline::cli::stop::{self, Stop};
use pipeline::cli::{self, Cli, Command, SettingFlags, journal};
use pipeline::config::Config;
use pipeline::media;
use pipeline::shelf::Shelf;

/// How long threads that are stuck in a system call may keep the process from ending.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let lived = match Cli::from_command_line().command {
        // Before any thread is started: the child locks itself in.
        Command::MediaChild { request } => return ExitCode::from(media::worker::main(&request)),
        Command::Up(settings) => run(&Role::Up, settings),
        Command::Edge(settings) => run(&Role::Edge, settings),
        Command::Work { stages, settings } => run(&Role::Work(stages), settings),
        command => block_on(cli::run(command)),
    };
    match lived {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.into()
        }
    }
}

fn run(role: &Role, settings: SettingFlags) -> Result<(), Failure> {
    let config = settings.load()?;
    let captioner = Captioner::new(Shelf::new(&config.models), &config.caption_model);
    let spectator = Spectator::new(Shelf::new(&config.models), &config.image_model);
    let stages = Stages::of(role, Arc::new(captioner), Arc::new(spectator))?;
    config.check_spelling()?;
    role.check_doors(&config)?;
    block_on(serve(role, config, stages))
}

fn block_on(life: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::failed(format!("cannot start threads: {error}"), "raise the limit of processes (`ulimit -u`)")
    })?;
    let lived = runtime.block_on(life);
    runtime.shutdown_timeout(PATIENCE);
    lived
}

async fn serve(role: &Role, config: Config, stages: Stages) -> Result<(), Failure> {
    journal::start(config.log_format)?;
    let mut stop = Stop::on_signals()?;
    let addresses = Addresses::take(&config, role).await?;
    let started = async {
        let doors = roles::open_doors(&config).await?;
        Roles::start(role, config.clone(), addresses, doors, stages).await
    };
    let mut roles = tokio::select! {
        started = started => started?,
        // Nothing has begun that could be drained.
        _ = stop.asked() => return Ok(()),
    };
    roles.announce()?;
    let broken = tokio::select! {
        signal = stop.asked() => {
            tracing::info!(signal, "draining; Ctrl-C once more ends at once");
            Ok(())
        }
        failure = roles.broken() => Err(failure),
    };
    let drained = tokio::select! {
        drained = roles.drain() => drained,
        () = stop.insisted() => stop::abandon(),
    };
    broken.and(drained)
}
