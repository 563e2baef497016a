//! The life of the process: parse, load the settings, open the doors, run the roles, drain, exit code.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pipeline::cli::failure::Failure;
use pipeline::cli::{self, Cli, Command};

/// How long threads that are stuck in a system call may keep the process from ending.
const PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match live(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.into()
        }
    }
}

fn live(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::failed(format!("cannot start threads: {error}"), "raise the limit of processes (`ulimit -u`)")
    })?;
    let lived = runtime.block_on(cli::run(command));
    runtime.shutdown_timeout(PATIENCE);
    lived
}
