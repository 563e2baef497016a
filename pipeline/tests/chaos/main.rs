//! Two minutes of faults on real engines: nothing is lost, nothing is published twice. `./dev chaos` does it for longer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "chaos.rs"]
mod chaos;

use std::path::PathBuf;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_nothing_is_lost_and_nothing_is_published_twice() {
    if ["KAFKA", "CQL", "S3"].iter().any(|name| std::env::var_os(format!("STREAMFORGE_TEST_{name}")).is_none()) {
        println!("not run here: faults on real engines need Kafka, Cassandra and SeaweedFS; ./dev engines up");
        return;
    }
    let options = chaos::Options {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_streamforge")),
        lasts: Duration::from_secs(120),
        seed: 1,
    };
    let report = chaos::run(options).await.unwrap();
    println!("{report}");
    assert!(report.problems.is_empty(), "{}", report.problems.join("\n"));
    assert!(report.offers.len() > 20 && report.suffered.len() > 8, "hardly anything happened");
}
