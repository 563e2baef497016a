//! How a process that serves is told to end.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::failure::{Exit, Failure};

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

/// Ends the process at once, for somebody who has asked twice. What was not finished is done again later.
pub fn abandon() -> ! {
    eprintln!("error: ended before everything was drained");
    eprintln!("  try: start it again: nothing is lost, and what was not finished is done again");
    std::process::exit(Exit::Failed as i32)
}
