//! Schemas may grow, but every version must read what every other has written.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use schemas::topic::{self, Topic, Version};
use schemas::wire::evolution;
use serde_json::{Value, json};

/// The released schemas of `topic`: name of the file and text.
fn released(topic: &Topic) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("released");
    let stem = format!("{}.v", topic.name.replace('.', "_"));
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mine = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&stem));
    mine.map(|e| (e.file_name().into_string().unwrap(), std::fs::read_to_string(e.path()).unwrap())).collect()
}

/// What is wrong with the schemas of `topic` in the light of those that were released.
fn broken_promises(topic: &Topic, released: &[(String, String)]) -> Vec<String> {
    let mut found = Vec::new();
    for (file, text) in released {
        if let Err(why) = evolution::follows(text, topic.schema().unwrap()) {
            found.push(format!("{}: released {file}: {why}", topic.name));
        }
        // Its id stands for a released version in every log there is.
        match topic.versions.iter().find(|version| version.file == *file) {
            Some(version) if evolution::is_same(text, version.text).unwrap() => {}
            Some(_) => found.push(format!("{}: {file} is released and must not change: add a version", topic.name)),
            None => found.push(format!("{}: {file} is released and must stay readable", topic.name)),
        }
    }
    found
}

#[test]
fn schemas_follow_the_released_ones() {
    for topic in topic::all() {
        let released = released(topic);
        assert!(!released.is_empty(), "{}: nothing to compare with", topic.name);
        assert_eq!(broken_promises(topic, &released), Vec::<String>::new());
    }
}

#[test]
fn an_incompatible_change_is_noticed() {
    let topic = topic::find("job.ended").unwrap();
    let released = released(topic);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut schema: Value = serde_json::from_str(topic.schema().unwrap()).unwrap();
        change(&mut schema);
        let mut versions = topic.versions.clone();
        let text: &'static str = Box::leak(schema.to_string().into_boxed_str());
        versions.push(Version { version: 2, id: 1000, file: "job_ended.v2.avsc".into(), text });
        broken_promises(&Topic { versions, ..topic.clone() }, &released).join("; ")
    };
    let add = |schema: &mut Value, field: Value| schema["fields"].as_array_mut().unwrap().push(field);
    let remove = |schema: &mut Value, name: &str| {
        schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != name);
    };

    assert_eq!(changed(&|_| {}), "");
    assert_eq!(changed(&|s| add(s, json!({ "name": "by", "type": ["null", "string"], "default": null }))), "");
    assert_eq!(changed(&|s| remove(s, "playable_at")), "", "a field with a default may go");

    let why = changed(&|s| add(s, json!({ "name": "by", "type": "string" })));
    assert!(why.contains("the new version cannot read"), "{why}");
    let why = changed(&|s| remove(s, "at"));
    assert!(why.contains("the released version cannot read"), "{why}");
    let why = changed(&|s| s["fields"][2]["type"] = json!("string"));
    assert!(why.contains("cannot read"), "{why}");
    let why = changed(&|s| s["fields"][1]["type"]["symbols"] = json!(["ready", "failed", "lost"]));
    assert!(why.contains("only some values"), "{why}");
}

#[test]
fn a_released_version_must_not_change_nor_go() {
    let topic = topic::find("job.deleted").unwrap();
    let released = released(topic);
    let mut edited = topic.clone();
    let mut schema: Value = serde_json::from_str(topic.schema().unwrap()).unwrap();
    schema["fields"].as_array_mut().unwrap().push(json!({ "name": "by", "type": "string", "default": "" }));
    edited.versions[0].text = Box::leak(schema.to_string().into_boxed_str());
    assert!(broken_promises(&edited, &released).join("; ").contains("must not change"));
    edited.versions[0].file = "job_deleted.v2.avsc".into();
    assert!(broken_promises(&edited, &released).join("; ").contains("must stay readable"));
}
