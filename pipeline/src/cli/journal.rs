//! Log lines, to standard error: readable on a terminal, JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

use super::failure::Failure;
use super::show;
use crate::config::LogFormat;

/// Environment variable that says which lines are wanted, such as `info,pipeline::runner=debug`.
const VARIABLE: &str = "RUST_LOG";

/// What is wanted when nobody says. Clients that try again tell of each attempt, several times a second while a service is
/// away; what comes of it is told by whoever asked them.
const DEFAULT: &str = "info,object_store=warn,scylla=warn,scylla::cluster=off";

/// Starts log lines for this process; info and worse unless `RUST_LOG` says otherwise.
pub fn start(format: LogFormat) -> Result<(), Failure> {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let filter = if wanted.trim().is_empty() { DEFAULT } else { &wanted };
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let advice = "write it like `info` or `info,pipeline::runner=debug`";
        Failure::usage(format!("{VARIABLE} is no log filter: {error}"), advice)
    })?;
    let is_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let is_json = match format {
        LogFormat::Auto => !is_terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    let started = if is_json {
        lines
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .with_span_events(FmtSpan::NONE)
            .try_init()
    } else {
        lines.with_ansi(is_terminal && show::is_colour_wanted()).with_target(false).try_init()
    };
    started.map_err(|error| Failure::failed(format!("cannot start log lines: {error}"), "start a fresh process"))
}
