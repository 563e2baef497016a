//! The read half of a schema registry, asked as Confluent's clients ask.

use pipeline::edge::Settings;
use reqwest::StatusCode;
use schemas::topic;
use serde_json::{Value, json};

use crate::house::House;

/// Status and body of a GET below the registry's address.
async fn get(house: &House, path: &str) -> (StatusCode, Value) {
    let answer = house.get(&format!("/api/registry{path}")).await;
    assert_eq!(answer.headers()["content-type"], "application/vnd.schemaregistry.v1+json", "{path}");
    (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

async fn post(house: &House, path: &str, body: String) -> (StatusCode, Value) {
    let request = house.http.post(house.url(&format!("/api/registry{path}"))).body(body);
    let answer = request.send().await.unwrap();
    (answer.status(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn every_schema_is_found_by_subject_and_by_id() {
    let house = House::new().await;
    let (status, subjects) = get(&house, "/subjects").await;
    assert_eq!(status, 200);
    let wanted: Vec<&str> = topic::all().iter().map(|topic| topic.subject.as_str()).collect();
    assert_eq!(subjects, json!(wanted));
    for topic in topic::all() {
        let numbers: Vec<u32> = topic.versions.iter().map(|version| version.version).collect();
        let of = format!("/subjects/{}/versions", topic.subject);
        assert_eq!(get(&house, &of).await, (StatusCode::OK, json!(numbers)));
        for version in &topic.versions {
            let (_, described) = get(&house, &format!("{of}/{}", version.version)).await;
            assert_eq!(
                described,
                json!({
                    "subject": topic.subject, "version": version.version, "id": version.id, "schema": version.text
                })
            );
            let (_, by_id) = get(&house, &format!("/schemas/ids/{}", version.id)).await;
            assert_eq!(by_id, json!({ "schema": version.text }));
            let (_, used) = get(&house, &format!("/schemas/ids/{}/versions", version.id)).await;
            assert_eq!(used, json!([{ "subject": topic.subject, "version": version.version }]));
        }
        let newest = topic.newest().unwrap();
        let (_, latest) = get(&house, &format!("{of}/latest")).await;
        assert_eq!((&latest["id"], &latest["version"]), (&json!(newest.id), &json!(newest.version)));
    }
    assert_eq!(get(&house, "/schemas/types").await.1, json!(["AVRO"]));
    assert_eq!(get(&house, "/config").await.1, json!({ "compatibilityLevel": "FULL_TRANSITIVE" }));
    assert_eq!(get(&house, "/config/chunk.cut-value").await.1, json!({ "compatibilityLevel": "FULL_TRANSITIVE" }));
    assert_eq!(get(&house, "/mode").await.1, json!({ "mode": "READONLY" }));
    assert_eq!(get(&house, "/").await, (StatusCode::OK, json!({})));
}

#[tokio::test]
async fn what_is_not_there_is_said_in_the_numbers_that_clients_know() {
    let house = House::new().await;
    for (path, status, code) in [
        ("/subjects/nothing/versions", 404, 40401),
        ("/subjects/nothing/versions/1", 404, 40401),
        ("/subjects/chunk.cut-value/versions/99", 404, 40402),
        ("/subjects/chunk.cut-value/versions/first", 422, 42202),
        ("/subjects/chunk.cut-value/versions/0", 422, 42202),
        ("/schemas/ids/9999", 404, 40403),
        ("/schemas/ids/one", 404, 404),
        ("/config/nothing", 404, 40401),
        ("/nowhere", 404, 404),
    ] {
        let (answered, body) = get(&house, path).await;
        assert_eq!((answered.as_u16(), &body["error_code"]), (status, &json!(code)), "{path}: {body}");
        assert!(!body["message"].as_str().unwrap().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn producers_find_their_schema_and_change_none() {
    let house = House::new().await;
    let cut = topic::find("chunk.cut").unwrap().newest().unwrap();
    // Laid out in another way, it is the same.
    let text = serde_json::from_str::<Value>(cut.text).unwrap().to_string();
    let known = json!({ "schema": text }).to_string();
    let (status, found) = post(&house, "/subjects/chunk.cut-value", known.clone()).await;
    assert_eq!((status.as_u16(), &found["id"], &found["version"]), (200, &json!(cut.id), &json!(cut.version)));
    let (status, registered) = post(&house, "/subjects/chunk.cut-value/versions", known.clone()).await;
    assert_eq!((status.as_u16(), registered), (200, json!({ "id": cut.id })));
    let other = json!({ "schema": "{\"type\":\"record\",\"name\":\"X\",\"fields\":[]}" }).to_string();
    for (path, body, status, code) in [
        ("/subjects/chunk.cut-value", other.clone(), 404, 40403),
        ("/subjects/nothing", known.clone(), 404, 40401),
        ("/subjects/chunk.cut-value/versions", other, 422, 42205),
        ("/subjects/nothing/versions", known, 422, 42205),
        ("/subjects/chunk.cut-value", "{".into(), 422, 42201),
        ("/subjects/chunk.cut-value", json!({ "schema": "no schema" }).to_string(), 422, 42201),
    ] {
        let (answered, said) = post(&house, path, body).await;
        assert_eq!((answered.as_u16(), &said["error_code"]), (status, &json!(code)), "{path}: {said}");
    }
    let deleted = house.http.delete(house.url("/api/registry/subjects/chunk.cut-value")).send().await.unwrap();
    assert_eq!(deleted.status(), 422);
    assert_eq!(get(&house, "/subjects/chunk.cut-value/versions").await.1, json!([1]));
}

#[tokio::test]
async fn where_several_share_a_log_subjects_have_the_names_of_the_topics_that_lie_there() {
    let house = House::with(Settings { topic_prefix: "north-".to_owned(), ..Settings::default() }).await;
    let (_, subjects) = get(&house, "/subjects").await;
    let wanted: Vec<String> = topic::all().iter().map(|topic| format!("north-{}", topic.subject)).collect();
    assert_eq!(subjects, json!(wanted));
    // A client that names subjects after topics finds them, and so does one that asks for the subject of the topic file.
    for subject in ["north-upload.received-value", "upload.received-value"] {
        let (status, latest) = get(&house, &format!("/subjects/{subject}/versions/latest")).await;
        assert_eq!((status.as_u16(), &latest["subject"]), (200, &json!("north-upload.received-value")));
    }
    let (_, used) = get(&house, "/schemas/ids/1/subjects").await;
    assert_eq!(used, json!(["north-upload.received-value"]));
    assert_eq!(get(&house, "/subjects/south-upload.received-value/versions").await.0, 404);
}

#[tokio::test]
async fn where_a_registry_of_its_own_is_set_the_edge_tells_no_ids() {
    let house = House::with(Settings { has_registry: true, ..Settings::default() }).await;
    for path in ["/subjects", "/schemas/ids/1", "/subjects/upload.received-value/versions/latest", "/nowhere"] {
        let (status, said) = get(&house, path).await;
        assert_eq!((status.as_u16(), &said["error_code"]), (421, &json!(421)), "{path}");
        assert!(said["message"].as_str().unwrap().contains("setting `registry`"), "{path}: {said}");
    }
    let known = json!({ "schema": topic::find("chunk.cut").unwrap().schema() }).to_string();
    assert_eq!(post(&house, "/subjects/chunk.cut-value/versions", known).await.0, 421);
}
