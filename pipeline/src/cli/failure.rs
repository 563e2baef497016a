//! How commands end when they do not end well.

use std::fmt::{self, Display};
use std::io::IsTerminal;
use std::process::ExitCode;

use miette::{Diagnostic, MietteHandlerOpts, ReportHandler};

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

    /// Tells a person, on standard error: in the width and the colours of a terminal, as two lines elsewhere.
    pub fn tell(&self) {
        if self.what.is_empty() && self.advice.is_empty() {
            return;
        }
        if std::io::stderr().is_terminal() {
            eprintln!("{}", Told(self, &MietteHandlerOpts::new().terminal_links(false).build()));
        } else {
            eprint!("{}", Told(self, &Lines));
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Failure {}

impl Diagnostic for Failure {
    fn help(&self) -> Option<Box<dyn Display + '_>> {
        (!self.advice.is_empty()).then(|| Box::new(&self.advice) as Box<dyn Display>)
    }
}

/// A failure as a handler shows it.
struct Told<'a>(&'a Failure, &'a dyn ReportHandler);

impl Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.debug(self.0, f)
    }
}

/// Two lines, which a script or a log keeps whole.
struct Lines;

impl ReportHandler for Lines {
    fn debug(&self, error: &dyn Diagnostic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = error.to_string();
        if !what.is_empty() {
            writeln!(f, "error: {what}")?;
        }
        match error.help() {
            Some(advice) => writeln!(f, "  try: {advice}"),
            None => Ok(()),
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
