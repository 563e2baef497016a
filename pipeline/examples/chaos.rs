//! Throws faults at the whole house on real engines for as long as it is told to. `./dev chaos`

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "it is a test")]

#[path = "../tests/chaos/chaos.rs"]
mod chaos;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const USAGE: &str = "usage: ./dev chaos [--minutes N] [--seed S]";

fn wish() -> Option<chaos::Options> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let (mut minutes, mut seed) = (5.0, now % 100_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next()?;
        match argument.as_str() {
            "--minutes" => minutes = value.parse().ok().filter(|minutes: &f64| (0.1..=1440.0).contains(minutes))?,
            "--seed" => seed = value.parse().ok()?,
            _ => return None,
        }
    }
    let binary = PathBuf::from(std::env::var_os("STREAMFORGE_BINARY")?);
    Some(chaos::Options { binary, lasts: Duration::from_secs_f64(minutes * 60.0), seed })
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = wish() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {}, {:.1} minutes", options.seed, options.lasts.as_secs_f64() / 60.0);
    match chaos::run(options).await {
        Ok(report) => {
            println!("{report}");
            if report.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
