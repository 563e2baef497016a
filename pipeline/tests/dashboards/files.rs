//! The files of dashboards and alerts, without anything that runs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{dashboards, grafana, prometheus, queries};

/// Names of metrics as `metrics.rs` spells them.
fn known_metrics() -> BTreeSet<String> {
    let source = include_str!("../../src/metrics.rs");
    let constants = source.lines().filter(|line| line.starts_with("pub const "));
    constants.filter_map(|line| Some(line.split('"').nth(1)?.to_owned())).collect()
}

/// Names of our metrics in an expression, histograms by their own name.
fn named(expr: &str) -> BTreeSet<String> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("streamforge_"));
    let plain = |word: &str| {
        let tails = ["_bucket", "_sum", "_count"];
        tails.iter().find_map(|tail| word.strip_suffix(tail)).unwrap_or(word).to_owned()
    };
    ours.map(plain).collect()
}

#[test]
fn every_metric_is_shown_and_nothing_is_shown_that_is_not_measured() {
    let alerts = std::fs::read_to_string(grafana().join("alerts.yml")).unwrap();
    let known = known_metrics();
    assert!(known.len() > 25, "{known:?}");
    let shown: BTreeSet<String> = queries().iter().flat_map(|query| named(&query.expr)).collect();
    let unknown: Vec<_> = shown.iter().chain(&named(&alerts)).filter(|name| !known.contains(*name)).cloned().collect();
    assert!(unknown.is_empty(), "nobody measures {unknown:?}");
    let unseen: Vec<_> = known.difference(&shown).collect();
    assert!(unseen.is_empty(), "no panel shows {unseen:?}");
}

#[test]
fn every_panel_says_what_it_shows_and_in_which_unit() {
    let mut uids = BTreeMap::new();
    for (name, dashboard) in dashboards() {
        let uid = dashboard["uid"].as_str().unwrap().to_owned();
        assert_eq!(uids.insert(uid, name.clone()), None, "{name}: two dashboards of one uid");
        let mut ids = BTreeSet::new();
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {title}: its id is another panel's");
            assert!(!panel["description"].as_str().unwrap_or_default().is_empty(), "{name}: {title}: no description");
            let defaults = &panel["fieldConfig"]["defaults"];
            let is_heatmap = panel["type"] == "heatmap";
            assert!(is_heatmap || defaults["unit"].is_string(), "{name}: {title}: no unit");
            assert_eq!(panel["datasource"]["uid"], "prometheus", "{name}: {title}");
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{name}: {title}: it is wider than the page");
            for x in place("x")..place("x") + place("w") {
                for y in place("y")..place("y") + place("h") {
                    assert!(taken.insert((x, y)), "{name}: {title}: it lies on another panel");
                }
            }
        }
    }
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    let Some(promtool) = prometheus::promtool() else { return };
    let folder = grafana();
    promtool(&folder, &["check", "rules", "alerts.yml"]);
    promtool(&folder, &["check", "config", "prometheus.yml"]);
    promtool(&folder, &["test", "rules", "tests/alerts.yml"]);
}

#[test]
fn every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let alerts = std::fs::read_to_string(grafana().join("alerts.yml")).unwrap();
    let cases = std::fs::read_to_string(grafana().join("tests/alerts.yml")).unwrap();
    let names: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() > 8, "{names:?}");
    for name in names {
        let own: Vec<&str> =
            cases.split("  - name: \"").filter(|case| case.starts_with(&format!("{name}: "))).collect();
        assert!(own.iter().any(|case| case.contains(&format!("alertname=\"{name}\""))), "{name} never fires in a test");
        assert!(own.iter().any(|case| !case.contains("labels:")), "no test shows what {name} is not about");
    }
}
