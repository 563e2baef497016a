//! How commands end when they do not end well.

use std::process::ExitCode;

use crate::config;
use crate::stage::chain;

/// Why a process ends, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The work failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// The server cannot be reached.
    Unreachable = 3,
}

/// One sentence of what happened and one of what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened; empty when it has been told already.
    pub what: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

impl Failure {
    /// The work failed.
    pub fn failed(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, what: what.into(), advice: advice.into() }
    }

    /// Wrong usage.
    pub fn usage(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, what: what.into(), advice: advice.into() }
    }

    /// The server cannot be reached.
    pub fn unreachable(what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { exit: Exit::Unreachable, what: what.into(), advice: advice.into() }
    }

    /// The same end when everything has been said.
    pub fn told(exit: Exit) -> Self {
        Self { exit, what: String::new(), advice: String::new() }
    }

    /// Tells a person, on standard error.
    pub fn tell(&self) {
        if !self.what.is_empty() {
            eprintln!("error: {}", self.what);
        }
        if !self.advice.is_empty() {
            eprintln!("  try: {}", self.advice);
        }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::usage(chain(&error), error.advice())
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        Self::from(failure.exit as u8)
    }
}
