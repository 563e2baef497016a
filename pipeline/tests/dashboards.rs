//! What analysts see: dashboards and alerts say something about every running system.
//!
//! The files are checked by themselves ([`files`]), the alerts by `promtool`, and the query of every panel by a real
//! Prometheus that watches a running `streamforge up` ([`live`]).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "dashboards/files.rs"]
mod files;
#[path = "dashboards/live.rs"]
mod live;
#[path = "../../connectors/tests/suite/ports.rs"]
mod ports;
#[path = "dashboards/prometheus.rs"]
mod prometheus;

use std::path::{Path, PathBuf};

/// The folder `grafana`.
fn grafana() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("grafana")
}

/// A panel's query.
#[derive(Clone, Debug)]
struct Query {
    /// Dashboard and panel, for people.
    place: String,
    /// PromQL, with Grafana's variables.
    expr: String,
}

/// Every query of every dashboard.
fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in dashboard["panels"].as_array().unwrap() {
            let place = format!("{name}: {}", panel["title"].as_str().unwrap_or("a panel without a title"));
            for target in panel["targets"].as_array().unwrap_or_else(|| panic!("{place} asks nothing")) {
                queries.push(Query { place: place.clone(), expr: target["expr"].as_str().unwrap().to_owned() });
            }
        }
    }
    queries
}

/// Every dashboard by the name of its file.
fn dashboards() -> Vec<(String, serde_json::Value)> {
    let mut found: Vec<_> = std::fs::read_dir(grafana().join("dashboards"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).unwrap();
            (name, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
        })
        .collect();
    found.sort_by(|a: &(String, _), b| a.0.cmp(&b.0));
    found
}
