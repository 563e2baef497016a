//! kcat: raw records in, raw records out, with everything that lies beside the value.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;
use tokio::process::Command;

use super::place::Place;

/// A record as kcat shows it; bytes that are no UTF-8 are replaced.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Partition and offset.
    pub at: (i64, i64),
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
}

impl Raw {
    /// The header `name`, or nothing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Whether there is a kcat; says so where there is none.
pub async fn is_here(what: &str) -> bool {
    let found = Command::new("kcat").arg("-V").output().await.is_ok_and(|output| output.status.success());
    if !found {
        println!("not run here: {what} needs kcat; ./dev engines fetch clients");
    }
    found
}

/// Appends `value` as one record, as it is.
pub async fn produce(place: &Place, topic: &str, key: &str, value: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(value).unwrap();
    let topic = format!("{}{topic}", place.prefix);
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-b", &place.brokers, "-t", &topic, "-k", key]).arg(file.path());
    let output = kcat.output().await.unwrap();
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
}

/// Everything that lies in `topic`.
pub async fn records(place: &Place, topic: &str) -> Vec<Raw> {
    let topic = format!("{}{topic}", place.prefix);
    let mut kcat = Command::new("kcat");
    kcat.args(["-C", "-b", &place.brokers, "-t", &topic, "-o", "beginning", "-e", "-q", "-J"]);
    let output = kcat.output().await.unwrap();
    assert!(output.status.success(), "kcat: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(raw).collect()
}

fn raw(line: &str) -> Raw {
    let found: Value = serde_json::from_str(line).expect(line);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers: Vec<String> = found["headers"].as_array().into_iter().flatten().map(text).collect();
    Raw {
        at: (found["partition"].as_i64().unwrap(), found["offset"].as_i64().unwrap()),
        key: text(&found["key"]),
        value: text(&found["payload"]),
        headers: headers.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect(),
    }
}
