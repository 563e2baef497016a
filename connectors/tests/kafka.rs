//! The log on Apache Kafka: the suite of all logs, and what only a broker with many clients can show.
//!
//! Runs against the broker that `STREAMFORGE_TEST_KAFKA` names. Tests that kill a broker or need logins start one of their
//! own from the jars in `STREAMFORGE_TEST_KAFKA_HOME`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use connectors::clock::SystemClock;
use connectors::log::Prefixed;
use connectors::log::kafka::{self, Kafka, Settings};

#[path = "suite/log.rs"]
#[allow(dead_code)]
mod suite;

#[path = "kafka/broker.rs"]
mod broker;
#[path = "kafka/leftovers.rs"]
mod leftovers;
#[path = "kafka/logins.rs"]
mod logins;
#[path = "kafka/members.rs"]
mod members;
#[path = "kafka/opening.rs"]
mod opening;
#[path = "kafka/outage.rs"]
mod outage;
#[path = "suite/ports.rs"]
mod ports;
#[path = "kafka/topics.rs"]
mod topics;

/// The address of the shared broker; says so where there is none.
fn brokers(what: &str) -> Option<String> {
    let found = std::env::var("STREAMFORGE_TEST_KAFKA").ok();
    if found.is_none() {
        println!("not run here: {what} needs Kafka; ./dev engines up");
    }
    found
}

/// The log on the shared broker.
async fn shared(what: &str) -> Option<Arc<Kafka>> {
    let brokers = brokers(what)?;
    leftovers::sweep(&brokers).await;
    // A broker that wants more than an address gets it as everywhere.
    let properties = kafka::properties(std::env::vars()).unwrap();
    Some(Arc::new(open(Settings { properties, ..Settings::new(brokers) }).await))
}

async fn open(settings: Settings) -> Kafka {
    kafka::open(settings, Arc::new(SystemClock)).await.unwrap()
}

macro_rules! suite {
    ([$($check:ident),* $(,)?]) => {
        mod conformance {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $check() {
                let Some(log) = shared("the suite of the log").await else { return };
                // As a deployment that shares its cluster with others sees it.
                suite::$check(Arc::new(Prefixed::new(log, "suite-"))).await;
            })*
        }
    };
}

suite::every_check!(suite, {});
