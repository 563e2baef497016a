//! A stage's membership in its group: one task that never stops polling, whatever the work does.
//!
//! It alone owns the consumer. Work that is over reports here; commits are batched and contiguous.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use connectors::log::{Consumer, Delivery, Error, Record, TopicPartition};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::attempt::panic_text;
use super::door::chain;
use super::drive::bury_unreadable;
use super::offsets::Offsets;
use super::station::Station;
use super::status::StageStatus;
use super::task::{Assignment, Finished, Stops, Task};
use crate::header::replay;
use crate::metrics;
use crate::stage::Work;

pub(super) struct Intake {
    shared: Arc<Shared>,
    station: Arc<Station>,
    finished: mpsc::UnboundedReceiver<Finished>,
    shutdown: CancellationToken,
    offsets: Offsets,
    owned: BTreeMap<TopicPartition, Arc<Assignment>>,
    /// Records in hand before deliveries pause.
    read_ahead: usize,
    paused: bool,
    /// The stage takes no more work here.
    closed: bool,
    commit_at: Option<Instant>,
    commit_failures: u32,
    /// When to poll again after the log failed; nothing: now.
    poll_at: Option<Instant>,
    poll_failures: u32,
}

impl Intake {
    pub fn new(
        shared: Arc<Shared>,
        station: Arc<Station>,
        finished: mpsc::UnboundedReceiver<Finished>,
        shutdown: CancellationToken,
    ) -> Self {
        let settings = &shared.settings;
        let read_ahead = if station.stage.is_native() {
            settings.read_ahead
        } else {
            settings.read_ahead.min(settings.light_read_ahead)
        };
        Self {
            shared,
            station,
            finished,
            shutdown,
            offsets: Offsets::default(),
            owned: BTreeMap::new(),
            read_ahead,
            paused: false,
            closed: false,
            commit_at: None,
            commit_failures: 0,
            poll_at: None,
            poll_failures: 0,
        }
    }

    /// Consumes until the stage is closed and its work is over.
    pub async fn run(mut self) {
        let name = self.station.name();
        while let Some(mut consumer) = self.join().await {
            self.shared.status.set(name, StageStatus::Consuming);
            let rejoin = self.consume(consumer.as_mut()).await;
            if !rejoin {
                self.last_commit(consumer.as_mut()).await;
                drop(consumer);
                break;
            }
            drop(consumer);
            self.lose_all();
            self.shared.status.set(name, StageStatus::Joining);
        }
        self.shared.status.set(name, StageStatus::Drained);
        tracing::info!(stage = name, "left the group");
    }

    /// Joins the group, however long that takes; nothing when it shall not any more.
    async fn join(&mut self) -> Option<Box<dyn Consumer>> {
        let (group, input) = (self.station.group(), [self.station.stage.input()]);
        let mut failures = 0;
        loop {
            let joined = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => None,
                () = self.station.closing.cancelled() => None,
                joined = self.shared.doors.log.join(&group, &input) => Some(joined),
            };
            match joined {
                None => {
                    self.station.closing.cancel();
                    return None;
                }
                Some(Ok(consumer)) => {
                    tracing::info!(stage = self.station.name(), group, "joined the group");
                    return Some(consumer);
                }
                Some(Err(error)) => {
                    failures += 1;
                    metrics::door_failed("join a group");
                    tracing::warn!(group, failures, error = chain(&error), "cannot join the group: trying again");
                    tokio::select! {
                        biased;
                        () = sleep(self.shared.settings.door_backoff.wait(failures)) => {}
                        () = self.shutdown.cancelled() => {}
                        () = self.station.closing.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Polls until the stage is drained (false) or has to join anew (true).
    async fn consume(&mut self, consumer: &mut dyn Consumer) -> bool {
        loop {
            tokio::select! {
                // A commit that is due and work that is over come before more work.
                biased;
                () = self.shutdown.cancelled(), if !self.closed => self.close(consumer),
                () = self.station.closing.cancelled(), if !self.closed => self.close(consumer),
                () = self.station.in_flight.wait(), if self.closed => return false,
                () = sleep_until(self.commit_at.unwrap_or_else(Instant::now)), if self.commit_at.is_some() => {
                    self.commit(consumer).await;
                }
                () = sleep_until(self.poll_at.unwrap_or_else(Instant::now)), if self.poll_at.is_some() => {
                    self.poll_at = None;
                }
                Some(finished) = self.finished.recv() => self.note(finished, consumer),
                delivery = consumer.next(), if self.poll_at.is_none() => match delivery {
                    Ok(delivery) => {
                        self.poll_failures = 0;
                        self.deliver(delivery, consumer);
                    }
                    Err(Error::Closed) if !self.closed => {
                        tracing::warn!(stage = self.station.name(), "the log closed the membership: joining anew");
                        self.back_off_poll();
                        return true;
                    }
                    Err(error) => {
                        tracing::warn!(stage = self.station.name(), error = chain(&error), "cannot read: trying again");
                        self.back_off_poll();
                    }
                },
            }
            metrics::queue_depth(self.station.name(), self.offsets.open());
        }
    }

    fn back_off_poll(&mut self) {
        self.poll_failures += 1;
        metrics::door_failed("read a group's records");
        self.poll_at = Some(Instant::now() + self.shared.settings.door_backoff.wait(self.poll_failures));
    }

    /// Takes no more work. What runs goes on; what waits goes back to the group by never being committed.
    fn close(&mut self, consumer: &mut dyn Consumer) {
        self.closed = true;
        self.station.closing.cancel();
        consumer.pause(&self.partitions());
        let waiting = self.station.pool.remove_where(|task| Arc::ptr_eq(&task.station, &self.station));
        tracing::info!(
            stage = self.station.name(),
            waiting = waiting.len(),
            running = self.station.in_flight.len(),
            "takes no more work"
        );
        self.station.in_flight.close();
    }

    fn partitions(&self) -> Vec<TopicPartition> {
        self.owned.keys().cloned().collect()
    }

    fn deliver(&mut self, delivery: Delivery, consumer: &mut dyn Consumer) {
        let stage = self.station.name();
        match delivery {
            Delivery::Gained(partitions) => {
                tracing::info!(stage, ?partitions, "gained partitions");
                metrics::rebalanced(stage, "gained");
                if self.paused || self.closed {
                    consumer.pause(&partitions);
                }
                for at in partitions {
                    // Gained twice without a loss between: the older one counts no more.
                    self.lose(&at);
                    let assignment = Assignment { at: at.clone(), lost: CancellationToken::new() };
                    self.owned.insert(at, Arc::new(assignment));
                }
            }
            Delivery::Lost(partitions) => {
                tracing::info!(stage, ?partitions, "lost partitions");
                metrics::rebalanced(stage, "lost");
                for at in &partitions {
                    self.lose(at);
                }
                self.flow(consumer);
            }
            Delivery::Records(records) => {
                // A closed stage hands them back by leaving them uncommitted.
                if !self.closed {
                    for record in records {
                        self.take(record);
                    }
                    self.flow(consumer);
                }
            }
        }
    }

    fn take(&mut self, record: Record) {
        let Some(assignment) = self.owned.get(&record.at).map(Arc::clone) else {
            tracing::warn!(stage = self.station.name(), at = ?record.at, "a record of a partition that is not ours");
            return;
        };
        if !self.offsets.delivered(&record.at, record.offset) {
            return;
        }
        if replay::is_for_others(&record.headers, self.station.name()) {
            self.station.finished(Finished { assignment, offset: record.offset });
            return;
        }
        match self.open(&record) {
            Ok(work) => {
                let hold = self.shared.jobs.hold(work.job, self.station.stage.is_required());
                let stops = Stops::new(&assignment, &self.shared.hard, Some(hold));
                let (station, work) = (Arc::clone(&self.station), Arc::new(work));
                self.station.admit(Task {
                    station,
                    assignment,
                    record,
                    work,
                    stops,
                    failures: 0,
                    outages: 0,
                    lead: None,
                });
            }
            Err(error) => {
                let (shared, station) = (Arc::clone(&self.shared), Arc::clone(&self.station));
                self.station.in_flight.spawn(bury_unreadable(shared, station, assignment, record, error));
            }
        }
    }

    /// Decodes a record. A wall against panics: this task polls for the whole stage, so a record that breaks it would
    /// break every worker in turn.
    fn open(&self, record: &Record) -> Result<Work, String> {
        let stage = Arc::clone(&self.station.stage);
        match catch_unwind(AssertUnwindSafe(|| stage.open(&record.value))) {
            Ok(opened) => opened.map_err(|error| error.to_string()),
            Err(payload) => Err(panic_text(payload.as_ref())),
        }
    }

    /// Stops deliveries when enough is in hand, lets them go on when half of it is done.
    fn flow(&mut self, consumer: &mut dyn Consumer) {
        let open = self.offsets.open();
        if !self.paused && open >= self.read_ahead {
            self.paused = true;
            consumer.pause(&self.partitions());
        } else if self.paused && open <= self.read_ahead / 2 && !self.closed {
            self.paused = false;
            consumer.resume(&self.partitions());
        }
    }

    fn note(&mut self, first: Finished, consumer: &mut dyn Consumer) {
        let mut next = Some(first);
        while let Some(Finished { assignment, offset }) = next {
            // Its partition may be somebody else's by now, or ours again under another assignment.
            if !assignment.lost.is_cancelled() {
                self.offsets.finished(&assignment.at, offset);
            }
            next = self.finished.try_recv().ok();
        }
        if self.commit_at.is_none() {
            self.commit_at = Some(Instant::now() + self.shared.settings.commit_interval);
        }
        self.flow(consumer);
    }

    fn lose(&mut self, at: &TopicPartition) {
        let Some(assignment) = self.owned.remove(at) else { return };
        assignment.lost.cancel();
        self.offsets.lost(at);
        let waiting = self.station.pool.remove_where(|task| Arc::ptr_eq(&task.assignment, &assignment));
        if !waiting.is_empty() {
            tracing::info!(stage = self.station.name(), ?at, waiting = waiting.len(), "dropped what waited");
        }
    }

    fn lose_all(&mut self) {
        for at in self.partitions() {
            self.lose(&at);
        }
        self.paused = false;
        self.commit_at = None;
    }

    /// Commits what is due; answers whether nothing is left to try again.
    async fn commit(&mut self, consumer: &mut dyn Consumer) -> bool {
        self.commit_at = None;
        let due = self.offsets.due();
        if due.is_empty() {
            return true;
        }
        let result = timeout(self.shared.settings.settle, consumer.commit(&due)).await;
        let error = match result {
            Ok(Ok(())) => {
                self.commit_failures = 0;
                self.offsets.committed(&due);
                return true;
            }
            Ok(Err(Error::NotOwner(at))) => {
                tracing::warn!(stage = self.station.name(), ?at, "commit refused: the partition is not ours any more");
                self.lose(&at);
                // The others of this batch are still ours.
                self.commit_at = Some(Instant::now());
                return false;
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => "the log does not answer".to_owned(),
        };
        self.commit_failures += 1;
        metrics::door_failed("commit offsets");
        tracing::warn!(stage = self.station.name(), error, "cannot commit: trying again");
        self.commit_at = Some(Instant::now() + self.shared.settings.door_backoff.wait(self.commit_failures));
        false
    }

    /// Commits what is contiguous at the end, as long as the log lets us within a moment.
    async fn last_commit(&mut self, consumer: &mut dyn Consumer) {
        while let Ok(Finished { assignment, offset }) = self.finished.try_recv() {
            if !assignment.lost.is_cancelled() {
                self.offsets.finished(&assignment.at, offset);
            }
        }
        let patience = self.shared.settings.settle;
        let tried = timeout(patience, async {
            while !self.commit(consumer).await {
                sleep_until(self.commit_at.unwrap_or_else(Instant::now)).await;
            }
        });
        if tried.await.is_err() {
            tracing::warn!(stage = self.station.name(), "the last commit failed: finished work may be done again");
        }
    }
}
