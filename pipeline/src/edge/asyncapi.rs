//! The event contract as an AsyncAPI 3.1 document, made from the topic files and nothing else.

use schemas::topic::{self, Topic};
use serde_json::{Map, Value, json};

/// How AsyncAPI calls Avro schemas as JSON.
const AVRO: &str = "application/vnd.apache.avro+json;version=1.9.0";

/// The document, for topics whose names begin with `prefix`.
pub fn document(prefix: &str) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for topic in topic::all() {
        let name = topic.name.as_str();
        let message = json!({ "$ref": format!("#/components/messages/{name}") });
        channels.insert(
            name.to_owned(),
            json!({
                "address": format!("{prefix}{name}"),
                "description": topic.description,
                "messages": { name: message },
                "bindings": { "kafka": { "topic": format!("{prefix}{name}"), "partitions": topic.partitions, "bindingVersion": "0.5.0" } },
            }),
        );
        for (action, who) in [("send", &topic.producers), ("receive", &topic.consumers)] {
            for one in who {
                operations.insert(
                    format!("{one}.{action}.{name}"),
                    json!({
                        "action": action,
                        "title": format!("{one} {} {name}", if action == "send" { "writes" } else { "reads" }),
                        "channel": { "$ref": format!("#/channels/{name}") },
                        "messages": [{ "$ref": format!("#/channels/{name}/messages/{name}") }],
                    }),
                );
            }
        }
        messages.insert(name.to_owned(), message_of(topic));
    }
    json!({
        "asyncapi": "3.1.0",
        "info": {
            "title": "StreamForge events",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every step of a video is an event on a topic. Values are Avro in the frame of schema registries: a zero byte, the id of the \
                            schema in four bytes, the value. The schemas are served at /api/registry, which Kafka clients take as the address of \
                            a schema registry. Each stage reads by a group of its own, streamforge.<stage>; what it gives up on lies in <stage>.dlq.",
        },
        "defaultContentType": "application/vnd.apache.avro",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

fn message_of(topic: &Topic) -> Value {
    let schema: Value = topic.schema().and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null);
    let retention = topic.retention.max_age_ms.map_or("for good".to_owned(), |ms| format!("{} hours", ms / 3_600_000));
    json!({
        "name": topic.name,
        "summary": topic.description,
        "description": format!("Key: {}. Partition: {}. Kept {retention}. Compatibility: {}.", topic.key, topic.partitioning, topic.compatibility),
        "contentType": "application/vnd.apache.avro",
        "payload": { "schemaFormat": AVRO, "schema": schema },
        "bindings": { "kafka": {
            "key": { "type": "string", "description": topic.key },
            "schemaIdLocation": "payload", "schemaIdPayloadEncoding": "confluent",
            "bindingVersion": "0.5.0",
        } },
        "x-schema-ids": topic.versions.iter().map(|version| version.id).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_told_and_every_reference_leads_somewhere() {
        let document = document("house.");
        assert_eq!(document["channels"].as_object().unwrap().len(), topic::all().len());
        assert_eq!(document["channels"]["chunk.cut"]["address"], "house.chunk.cut");
        let (mut stack, mut references) = (vec![&document], 0);
        while let Some(value) = stack.pop() {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::String(reference)) = fields.get("$ref") {
                        references += 1;
                        assert!(document.pointer(reference.strip_prefix('#').unwrap()).is_some(), "{reference}");
                    }
                    stack.extend(fields.values());
                }
                Value::Array(items) => stack.extend(items),
                _ => {}
            }
        }
        assert!(references > 3 * topic::all().len());
        for message in document["components"]["messages"].as_object().unwrap().values() {
            assert_eq!(message["payload"]["schema"]["type"], "record", "{}", message["name"]);
        }
        let cut = &document["operations"]["transcode.receive.chunk.cut"];
        assert_eq!((&cut["action"], &cut["title"]), (&json!("receive"), &json!("transcode reads chunk.cut")));
    }
}
