//! What a scrape of the metrics says about the clients of the log: their statistics, summed up by role.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use connectors::log::ClientStatistics;

use crate::metrics::{self, KafkaClient};

/// What was told last time.
#[derive(Default)]
pub struct Clients(Mutex<Told>);

#[derive(Default)]
struct Told {
    /// By client: totals since it began, in the order of [`totals`].
    totals: BTreeMap<u64, [u64; 5]>,
    /// Roles that have had a client.
    roles: BTreeMap<String, KafkaClient>,
}

/// Bytes sent and received, failures, connections that ended, rebalances.
fn totals(one: &ClientStatistics) -> [u64; 5] {
    [one.sent_bytes, one.received_bytes, one.request_errors, one.disconnects, one.rebalances]
}

impl Clients {
    /// Tells the metrics how the clients stand.
    pub fn sample(&self, clients: &[ClientStatistics]) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (role, now) in told.next(clients) {
            metrics::kafka_client(role, *now);
        }
    }
}

impl Told {
    /// The roles as they stand now, those without a client any more included.
    fn next(&mut self, clients: &[ClientStatistics]) -> &BTreeMap<String, KafkaClient> {
        for role in self.roles.values_mut() {
            *role = KafkaClient::default();
        }
        let (mut seen, mut named) = (BTreeMap::new(), BTreeSet::new());
        for one in clients {
            let (total, before) = (totals(one), self.totals.get(&one.id).copied().unwrap_or_default());
            seen.insert(one.id, total);
            let is_first = named.insert(one.role.as_str());
            let role = self.roles.entry(one.role.clone()).or_default();
            let more = |index: usize| total[index].saturating_sub(before[index]);
            role.brokers = if is_first { one.brokers_up } else { role.brokers.min(one.brokers_up) };
            role.latency_p50 = role.latency_p50.max(Duration::from_micros(one.rtt_p50_us));
            role.latency_p99 = role.latency_p99.max(Duration::from_micros(one.rtt_p99_us));
            role.waiting += one.waiting_records;
            role.waiting_bytes += one.waiting_bytes;
            role.partitions += one.assigned;
            role.sent += more(0);
            role.received += more(1);
            role.failures += more(2);
            role.disconnects += more(3);
            role.rebalances += more(4);
        }
        self.totals = seen;
        &self.roles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(id: u64, role: &str, sent_bytes: u64, brokers_up: u64) -> ClientStatistics {
        ClientStatistics {
            id,
            role: role.to_owned(),
            sent_bytes,
            brokers_up,
            assigned: 2,
            ..ClientStatistics::default()
        }
    }

    #[test]
    fn clients_of_one_role_add_up_and_their_totals_outlive_them() {
        let mut told = Told::default();
        let of = |told: &mut Told, clients: &[ClientStatistics], role: &str| {
            let now = told.next(clients)[role];
            (now.sent, now.brokers, now.partitions)
        };
        let producer = client(0, "producer", 100, 3);
        let two = [producer.clone(), client(1, "tail", 10, 3), client(2, "tail", 5, 1)];
        assert_eq!(of(&mut told, &two, "tail"), (15, 1, 4));
        // One goes and another comes: what it sent is new, although it is less than what the role has sent before.
        let other = [producer.clone(), client(2, "tail", 6, 2), client(3, "tail", 7, 3)];
        assert_eq!(of(&mut told, &other, "tail"), (8, 2, 4));
        assert_eq!(of(&mut told, &other, "producer"), (0, 3, 2));
        assert_eq!(of(&mut told, &[producer], "tail"), (0, 0, 0), "nobody is left");
    }
}
