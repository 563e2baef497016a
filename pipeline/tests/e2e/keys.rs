//! The blobs that a manifest names, and those beside them.

use std::collections::BTreeSet;

use serde_json::Value;

/// Every string that stands under `key` in the JSON `manifest`; none where it is no JSON.
pub fn named(manifest: &[u8]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(&serde_json::from_slice(manifest).unwrap_or_default(), &mut found);
    found
}

/// Whether the blob `rest` of a job says something of its quality: what its encoders said, or a report with its figures.
pub fn is_about_quality(rest: &str) -> bool {
    let name = rest.rsplit('/').next().unwrap_or(rest);
    name == "quality.json" || name.starts_with("frames-") || name.starts_with("quality-")
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, field)| match field.as_str() {
            Some(key) if name == "key" => drop(found.insert(key.to_owned())),
            _ => collect(field, found),
        }),
        _ => {}
    }
}
