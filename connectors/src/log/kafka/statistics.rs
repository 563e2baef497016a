//! What librdkafka says about its clients every few seconds, cut down to what an operator asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rdkafka::Statistics;

use crate::log::ClientStatistics;
use crate::store::locked;

/// The newest statistics of all clients.
#[derive(Default)]
pub(super) struct Board {
    clients: Mutex<BTreeMap<u64, ClientStatistics>>,
    last: AtomicU64,
}

impl Board {
    pub(super) fn all(&self) -> Vec<ClientStatistics> {
        locked(&self.clients).values().cloned().collect()
    }
}

/// One client's place on the board; dropping it takes the client off.
pub(super) struct Ticker {
    board: Arc<Board>,
    id: u64,
    role: String,
}

impl Ticker {
    pub(super) fn new(board: &Arc<Board>, role: &str) -> Self {
        let id = board.last.fetch_add(1, Ordering::Relaxed);
        Self { board: Arc::clone(board), id, role: role.to_owned() }
    }

    pub(super) fn put(&self, statistics: &Statistics) {
        locked(&self.board.clients).insert(self.id, condense(self.id, &self.role, statistics));
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        locked(&self.board.clients).remove(&self.id);
    }
}

fn condense(id: u64, role: &str, all: &Statistics) -> ClientStatistics {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    // Those that were configured are connections to find the others, and the group's is one of these again.
    let brokers: Vec<_> = all.brokers.values().filter(|broker| broker.source == "learned").collect();
    let slowest = |of: fn(&rdkafka::statistics::Window) -> i64| {
        brokers.iter().filter_map(|broker| broker.rtt.as_ref()).map(of).max().map_or(0, count)
    };
    let partitions = || all.topics.values().flat_map(|topic| topic.partitions.values());
    let read_ahead: i64 = partitions().map(|partition| partition.fetchq_cnt).sum();
    let read_ahead_bytes: u64 = partitions().map(|partition| partition.fetchq_size).sum();
    ClientStatistics {
        id,
        role: role.to_owned(),
        brokers_up: brokers.iter().filter(|broker| broker.state == "UP").count() as u64,
        brokers_known: brokers.len() as u64,
        rtt_p50_us: slowest(|rtt| rtt.p50),
        rtt_p99_us: slowest(|rtt| rtt.p99),
        waiting_records: all.msg_cnt + count(read_ahead),
        waiting_bytes: all.msg_size + read_ahead_bytes,
        sent_bytes: count(all.tx_bytes),
        received_bytes: count(all.rx_bytes),
        request_errors: brokers.iter().map(|broker| broker.txerrs + broker.rxerrs + broker.req_timeouts).sum(),
        disconnects: brokers.iter().filter_map(|broker| broker.disconnects).map(count).sum(),
        rebalances: all.cgrp.as_ref().map_or(0, |group| count(group.rebalance_cnt)),
        assigned: all.cgrp.as_ref().map_or(0, |group| count(i64::from(group.assignment_size))),
    }
}
