//! Walks all topic files: every schema, every example, and whether the Rust structs say the same.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use schemas::event::{
    CancelRequested, CaptionsWritten, ChunkCut, ChunkTranscoded, JobDeleted, JobEnded, JobProgress, RenditionAssessed,
    RenditionStitched, SourceClassified, SourceIllustrated, SourceProbed, UploadReceived,
};
use schemas::topic::{self, Topic};
use schemas::{Event, wire};
use serde_json::{Map, Value, json};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn examples(topic: &Topic) -> Vec<(String, Value)> {
    let read = |path: &String| {
        let text = std::fs::read_to_string(folder("examples").join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        (path.clone(), serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}")))
    };
    topic.examples.iter().map(read).collect()
}

/// All records of a schema, nested ones too, in the order in which they are defined.
fn records(schema: &Value) -> Vec<&Map<String, Value>> {
    match schema {
        Value::Array(variants) => variants.iter().flat_map(records).collect(),
        Value::Object(object) => match object["type"].as_str() {
            Some("record") => {
                let nested = fields(object).iter().flat_map(|field| records(&field["type"]));
                std::iter::once(object).chain(nested).collect()
            }
            Some("array") => records(&object["items"]),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn fields(record: &Map<String, Value>) -> &Vec<Value> {
    record["fields"].as_array().unwrap()
}

fn name_of(named: &Value) -> &str {
    named["name"].as_str().unwrap()
}

/// Compares a value as Rust spells it with its schema.
struct Comparison<'a> {
    schema: &'a Value,
    /// Where they differ.
    differences: Vec<String>,
    /// Fields that were there to compare, as `Record.field`.
    seen: BTreeSet<String>,
}

impl<'a> Comparison<'a> {
    fn new(schema: &'a Value) -> Self {
        Self { schema, differences: Vec::new(), seen: BTreeSet::new() }
    }

    fn value(&mut self, schema: &Value, value: &Value, at: &str) {
        match schema {
            Value::String(name) => self.named(name, value, at),
            Value::Array(_) if value.is_null() => {}
            Value::Array(variants) => {
                assert_eq!(variants[0], "null", "{at}: the only unions are optional fields");
                self.value(&variants[1], value, at);
            }
            Value::Object(object) => match (object["type"].as_str().unwrap(), value) {
                ("record", Value::Object(value)) => self.record(object, value, at),
                ("array", Value::Array(items)) => {
                    items.iter().for_each(|item| self.value(&object["items"], item, &format!("{at}[]")));
                }
                ("enum", _) if object["symbols"].as_array().unwrap().contains(value) => {}
                (kind @ ("record" | "array" | "enum"), _) => self.differ(format!("{at}: {value} is no {kind}")),
                (plain, _) => self.named(plain, value, at),
            },
            _ => self.differ(format!("{at}: the schema cannot be read")),
        }
    }

    fn named(&mut self, name: &str, value: &Value, at: &str) {
        if let Some(record) = records(self.schema).into_iter().find(|record| record["name"] == name) {
            return self.value(&Value::Object(record.clone()), value, at);
        }
        let fits = match name {
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "int" | "long" => value.is_i64(),
            "double" => value.is_f64(),
            "bytes" => value.is_array(),
            _ => false,
        };
        if !fits {
            self.differ(format!("{at}: {value} is no {name}"));
        }
    }

    fn record(&mut self, schema: &Map<String, Value>, value: &Map<String, Value>, at: &str) {
        let declared: BTreeSet<&str> = fields(schema).iter().map(name_of).collect();
        let written: BTreeSet<&str> = value.keys().map(String::as_str).collect();
        for name in written.symmetric_difference(&declared) {
            self.differ(format!("{at}.{name}: only one of struct and schema has it"));
        }
        for field in fields(schema) {
            let Some(inner) = value.get(name_of(field)) else { continue };
            if !inner.is_null() {
                self.seen.insert(format!("{}.{}", schema["name"].as_str().unwrap(), name_of(field)));
            }
            self.value(&field["type"], inner, &format!("{at}.{}", name_of(field)));
        }
    }

    fn differ(&mut self, difference: String) {
        self.differences.push(difference);
    }
}

/// Whether `newer` says everything that `older` does.
fn says_all(newer: &Value, older: &Value) -> bool {
    match (newer, older) {
        (Value::Object(newer), Value::Object(older)) => {
            older.iter().all(|(name, older)| newer.get(name).is_some_and(|newer| says_all(newer, older)))
        }
        (Value::Array(newer), Value::Array(older)) => {
            newer.len() == older.len() && newer.iter().zip(older).all(|(newer, older)| says_all(newer, older))
        }
        _ => newer == older,
    }
}

fn agree<E: Event>() {
    let topic = topic::find(E::TOPIC).unwrap();
    let schema: Value = serde_json::from_str(topic.schema().unwrap()).unwrap();
    let mut comparison = Comparison::new(&schema);
    for (path, example) in examples(topic) {
        let value = wire::encode_json(E::TOPIC, &example).unwrap_or_else(|error| panic!("{path}: {error}"));
        let event: E = wire::decode(&value).unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(wire::encode(&event).unwrap(), value, "{path}: decoded and encoded again it is other bytes");
        let spelled = serde_json::to_value(&event).unwrap();
        let untyped = wire::decode_json(E::TOPIC, &value).unwrap();
        assert_eq!(untyped, spelled, "{path}: without a type it reads otherwise");
        // Fields that came later have their defaults in older examples.
        let newest = format!("/v{}/", topic.newest().unwrap().version);
        let agrees = if path.contains(&newest) { spelled == example } else { says_all(&spelled, &example) };
        assert!(agrees, "{path}: the struct spells it otherwise: {spelled} and not {example}");
        assert_eq!(event.job().to_string(), example["job"], "{path}: the event belongs to another job");
        comparison.value(&schema, &spelled, &path);
    }
    assert_eq!(comparison.differences, Vec::<String>::new());
    for record in records(&schema) {
        for field in fields(record) {
            let name = format!("{}.{}", record["name"].as_str().unwrap(), name_of(field));
            assert!(comparison.seen.contains(&name), "{}: no example shows `{name}`", E::TOPIC);
        }
    }
}

#[test]
fn structs_schemas_and_examples_agree() {
    agree::<UploadReceived>();
    agree::<SourceProbed>();
    agree::<ChunkCut>();
    agree::<ChunkTranscoded>();
    agree::<RenditionStitched>();
    agree::<SourceIllustrated>();
    agree::<CaptionsWritten>();
    agree::<SourceClassified>();
    agree::<RenditionAssessed>();
    agree::<CancelRequested>();
    agree::<JobEnded>();
    agree::<JobDeleted>();
    agree::<JobProgress>();
    assert_eq!(topic::all().len(), 13, "a topic without a line above is not compared with its struct");
}

#[test]
fn a_struct_that_lacks_a_field_or_has_one_too_many_is_noticed() {
    let schema: Value = serde_json::from_str(topic::find("job.deleted").unwrap().schema().unwrap()).unwrap();
    let compare = |value: Value| {
        let mut comparison = Comparison::new(&schema);
        comparison.value(&schema, &value, "e");
        comparison.differences.join("; ")
    };
    assert_eq!(compare(json!({ "job": "x", "at": 1 })), "");
    assert!(compare(json!({ "job": "x" })).contains("e.at: only one"));
    assert!(compare(json!({ "job": "x", "at": 1, "by": "me" })).contains("e.by: only one"));
    assert!(compare(json!({ "job": "x", "at": "now" })).contains("is no long"));
    assert!(compare(json!({ "job": null, "at": 1 })).contains("is no string"));
}

#[test]
fn every_schema_explains_itself() {
    let explained = |object: &Map<String, Value>| object["doc"].as_str().is_some_and(|doc| doc.len() > 4);
    for topic in topic::all() {
        assert!(topic.description.len() > 40, "{}: say what it is for", topic.name);
        assert!(!topic.producers.is_empty() && !topic.consumers.is_empty(), "{}: who writes, who reads?", topic.name);
        for version in &topic.versions {
            let schema: Value = serde_json::from_str(version.text).unwrap();
            assert_eq!(schema["namespace"], "streamforge", "{}", version.file);
            for record in records(&schema) {
                assert!(explained(record), "{}: {} has no doc", version.file, record["name"]);
                for field in fields(record) {
                    assert!(explained(field.as_object().unwrap()), "{}: {} has no doc", version.file, field["name"]);
                    if field["type"].is_array() {
                        assert_eq!(field.get("default"), Some(&Value::Null), "{}: {}", version.file, field["name"]);
                    }
                }
            }
        }
    }
}

#[test]
fn no_file_is_left_out() {
    let listed = |folder_name: &str, suffix: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(folder(folder_name)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter_map(|name| name.strip_suffix(suffix).map(str::to_owned)).collect()
    };
    let mut topics: BTreeSet<String> = topic::all().iter().map(|topic| topic.name.clone()).collect();
    topics.insert("stage.dlq".into());
    assert_eq!(listed("topics", ".yaml"), topics);
    let versions = topic::all().iter().flat_map(|topic| &topic.versions);
    assert_eq!(listed("avro", ""), versions.map(|version| version.file.clone()).collect());
    for topic in topic::all() {
        for version in &topic.versions {
            let below = format!("{}/v{}", topic.name, version.version);
            let on_disk = listed(&format!("examples/{below}"), "");
            let named = topic.examples.iter().filter_map(|path| path.strip_prefix(&format!("{below}/")));
            assert_eq!(on_disk, named.map(str::to_owned).collect(), "{}", topic.name);
        }
    }
}

#[test]
fn what_rows_are_folded_from_is_kept_for_good() {
    for name in schemas::job::JobEvent::TOPICS {
        let retention = topic::find(name).unwrap().retention;
        assert_eq!((retention.max_age_ms, retention.max_bytes), (None, None), "{name}");
    }
}
