//! The web page and the description.

use serde_json::Value;

use crate::house::House;
use crate::video::{Video, row};

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    let house = House::new().await;
    let page = house.get("/").await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(page.headers()["x-content-type-options"], "nosniff");
    let html = page.text().await.unwrap();
    for inline in ["<script>", "<style", " onclick", " onload", "javascript:", "style=\"", "http://", "https://"] {
        assert!(!html.contains(inline), "{inline}");
    }
    for file in ["app.js", "style.css", "icon.svg"] {
        assert!(html.contains(&format!("\"{file}\"")));
        assert_eq!(house.get(&format!("/{file}")).await.status(), 200);
    }
    let script = house.get("/app.js").await.text().await.unwrap();
    assert!(!script.contains("innerHTML") && !script.contains("\"/api"), "no markup from data, no absolute addresses");
}

#[tokio::test]
async fn every_described_address_answers_as_described() {
    let house = House::new().await;
    let description = house.json("/api/openapi.json").await;
    assert_eq!(description["openapi"], "3.1.0");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let job = schemas::JobId::from_parts(1_700_000_000_000, 4);
    row(&house.doors, job).await;
    Video::make(&house.doors, job, 2).await.publish(&house.doors).await;
    let mut operations = 0;
    // Deleting comes last, or there would be nothing left to ask for.
    let mut paths: Vec<(&String, &Value)> = description["paths"].as_object().unwrap().iter().collect();
    paths.sort_by_key(|(_, item)| item.get("delete").is_some());
    for (path, item) in paths {
        let named = [
            ("{id}", job.to_string()),
            ("{quality}", "360p".into()),
            ("{track}", "360p".into()),
            ("{n}", "0".into()),
            ("{file}", "0".into()),
            ("{letter}", "probe:0:0".into()),
        ];
        let address = named.iter().fold(path.clone(), |path, (name, value)| path.replace(name, value));
        assert!(!address.contains('{'), "{address}");
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            let request = house.http.request(method.to_uppercase().parse().unwrap(), house.url(&address));
            let answer = request.send().await.unwrap();
            let status = answer.status().as_str().to_owned();
            assert!(operation["responses"].get(&status).is_some(), "{method} {address} answered {status}");
            assert_ne!(answer.status(), 405, "{method} {address}");
            let kind = answer.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
            let text = if kind.as_deref() == Some("text/event-stream") {
                String::new()
            } else {
                answer.text().await.unwrap_or_default()
            };
            assert!(!text.contains("nothing at this address"), "{method} {address}");
            operations += 1;
        }
    }
    assert!(operations >= 20, "{operations}");
}

#[tokio::test]
async fn the_description_refers_to_nothing_that_is_not_in_it() {
    let house = House::new().await;
    let description = house.json("/api/openapi.json").await;
    let mut stack = vec![&description];
    let mut ids = Vec::new();
    while let Some(value) = stack.pop() {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(description.pointer(pointer).is_some(), "{reference}");
                }
                if let Some(Value::String(id)) = fields.get("operationId") {
                    ids.push(id.clone());
                }
                stack.extend(fields.values());
            }
            Value::Array(items) => stack.extend(items),
            _ => {}
        }
    }
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all, "operation ids are unique");
}
