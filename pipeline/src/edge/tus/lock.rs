//! One client at a time appends to an upload, through whichever edge.
//!
//! The lock is a lease in the catalog that is short and renewed while bytes flow, so that an edge that dies keeps nobody
//! waiting for longer than a client tries. It says who may write, and is given back whenever a client falls silent: whoever
//! comes back over a new connection need not wait until the old one is known to be dead.

use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use schemas::JobId;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use warp::http::StatusCode;
use warp::http::header::RETRY_AFTER;

use crate::edge::Edge;
use crate::edge::problem::Problem;
use crate::stage::chain;

/// How long a lease holds without being renewed.
const HOLDS: Duration = Duration::from_secs(6);
/// How often it is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How long somebody else's lease is waited for: one who leaves takes a moment to put things down.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The right to append. Given back when dropped.
pub(super) struct Lock {
    lease: Arc<Lease>,
    /// Ends the renewing.
    over: CancellationToken,
    /// Somebody else may have it by now.
    lost: CancellationToken,
    tasks: TaskTracker,
}

struct Lease {
    doors: Doors,
    name: String,
    owner: String,
}

impl Lease {
    async fn take(&self) -> Result<bool, connectors::catalog::Error> {
        let now_ms = self.doors.clock.now_ms();
        let until_ms = now_ms.saturating_add(i64::try_from(HOLDS.as_millis()).unwrap_or(i64::MAX));
        self.doors.catalog.lease(&self.name, &self.owner, now_ms, until_ms).await
    }
}

impl Edge {
    /// Takes the lock of the upload `id`, or says that somebody else has it.
    pub(super) async fn lock(&self, id: JobId) -> Result<Lock, Problem> {
        // Where no other process receives uploads, what an earlier one held is free.
        let name = match self.settings.is_alone {
            true => format!("upload {id} at {}", self.settings.owner),
            false => format!("upload {id}"),
        };
        let owner = format!("{}/{:016x}", self.settings.owner, rand::random::<u64>());
        let lease = Arc::new(Lease { doors: self.doors.clone(), name, owner });
        let until = Instant::now() + PATIENCE;
        while !lease.take().await? {
            if Instant::now() >= until {
                let detail = "another client sends to this upload right now; try again when it has stopped";
                return Err(Problem::new(StatusCode::LOCKED, "locked", detail).with(RETRY_AFTER, "2"));
            }
            sleep(LOOK_EVERY).await;
        }
        let (over, lost) = (CancellationToken::new(), CancellationToken::new());
        self.tasks.spawn(renew(Arc::clone(&lease), over.clone(), lost.clone()));
        Ok(Lock { lease, over, lost, tasks: self.tasks.clone() })
    }
}

impl Lock {
    /// Comes when somebody else may append by now.
    pub(super) fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Whether it is still held, so that what was written may be acknowledged.
    pub(super) fn is_held(&self) -> bool {
        !self.lost.is_cancelled()
    }

    /// Gives it back, and waits until it is.
    pub(super) async fn release(self) {
        self.over.cancel();
        self.lease.release().await;
    }
}

impl Lease {
    async fn release(&self) {
        if let Err(error) = self.doors.catalog.release(&self.name, &self.owner).await {
            tracing::debug!(lease = self.name, error = chain(&error), "a lease is left to its end");
        }
    }
}

/// Renews `lease` until it is over or lost. A catalog that does not answer is asked again for as long as the lease holds.
async fn renew(lease: Arc<Lease>, over: CancellationToken, lost: CancellationToken) {
    let mut held_until = Instant::now() + HOLDS;
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            () = sleep(RENEW_EVERY) => {}
        }
        let began = Instant::now();
        let renewed = tokio::select! {
            () = over.cancelled() => return,
            renewed = tokio::time::timeout_at(held_until, lease.take()) => renewed,
        };
        match renewed {
            Ok(Ok(true)) => held_until = began + HOLDS,
            Ok(Err(_)) if Instant::now() < held_until => {}
            _ => return lost.cancel(),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.over.is_cancelled() {
            return;
        }
        self.over.cancel();
        let lease = Arc::clone(&self.lease);
        self.tasks.spawn(async move { lease.release().await });
    }
}
