//! The same against a registry that others have built.

use std::sync::Arc;

use connectors::clock::SystemClock;
use connectors::log::registered::{Registered, enroll};
use connectors::log::registry::{Address, Client};
use connectors::log::{Log, Retention, TopicSpec};
use schemas::event::UploadReceived;
use schemas::{Event, topic, wire};
use serde_json::{Value, json};

use super::foreign::{extended, extended_body};
use super::server::Apicurio;
use super::{QUICK, append, body, framed, lying, upload};

/// Registers `schema` as a producer of its own does; answers its id.
async fn register(registry: &str, subject: &str, schema: &str) -> u32 {
    let request = reqwest::Client::new().post(format!("{registry}/subjects/{subject}/versions"));
    let body = json!({ "schema": schema, "schemaType": "AVRO" });
    let answer: Value = request.json(&body).send().await.unwrap().error_for_status().unwrap().json().await.unwrap();
    answer["id"].as_u64().unwrap() as u32
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_registry_gives_ids_keeps_schemas_and_explains_those_of_others() {
    let Some(registry) = Apicurio::start("a log with a real registry").await else { return };
    let address = Address::parse(&registry.address()).unwrap();
    // Its ids begin at 1 as ours do, and go to others first.
    register(&registry.address(), "others", r#"{"type":"record","name":"Other","fields":[]}"#).await;
    let raw = connectors::in_memory(Arc::new(SystemClock)).unwrap().log;
    let open = async || Registered::at(Arc::clone(&raw), enroll(&address, "north-").await.unwrap(), QUICK);
    let log = open().await;
    let spec = TopicSpec {
        name: UploadReceived::TOPIC.to_owned(),
        partitions: 1,
        retention: Retention::default(),
        min_in_sync: None,
    };
    log.ensure_topics(&[spec]).await.unwrap();
    let ours = wire::encode(&upload(1)).unwrap();
    append(&log, UploadReceived::TOPIC, 0, [ours.clone().into()]).await;

    let subject = "north-upload.received-value";
    let found = reqwest::get(format!("{}/subjects/{subject}/versions/latest", registry.address())).await.unwrap();
    let found: Value = found.json().await.unwrap();
    let id = found["id"].as_u64().unwrap() as u32;
    assert_ne!(id, 1, "or this test would show nothing");
    let text: Value = serde_json::from_str(found["schema"].as_str().unwrap()).unwrap();
    let known: Value = serde_json::from_str(topic::find(UploadReceived::TOPIC).unwrap().schema().unwrap()).unwrap();
    assert_eq!(text, known);
    assert_eq!(lying(&*raw, UploadReceived::TOPIC, 0).await, [framed(id, body(&ours))]);

    let theirs = register(&registry.address(), subject, &extended(UploadReceived::TOPIC)).await;
    let second = wire::encode(&upload(2)).unwrap();
    append(&*raw, UploadReceived::TOPIC, 0, [framed(theirs, &extended_body(&second, "spring"))]).await;
    append(&*raw, UploadReceived::TOPIC, 0, [framed(1_000_000, b"body")]).await;
    // Another process is given the same ids.
    for log in [log, open().await] {
        let read = lying(&log, UploadReceived::TOPIC, 0).await;
        assert_eq!(read, [ours.clone().into(), second.clone().into(), framed(1_000_000, b"body")]);
    }
    assert_eq!(Client::new(&address).unwrap().lacking("north-").await, Ok(Vec::new()));
}
