//! The web page and the description.

use pipeline::edge::Settings;
use serde_json::Value;

use crate::house::House;
use crate::video::{Video, row};

/// Whether the page is there to be looked at; `./dev` builds it before the program.
fn is_page_built() -> bool {
    if !pipeline::edge::page::is_built() {
        println!("not run here: the page was not built before the program (./dev test builds it)");
    }
    pipeline::edge::page::is_built()
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    if !is_page_built() {
        return;
    }
    let house = House::with(Settings { public_path: "/video/".to_owned(), ..Settings::default() }).await;
    for (address, ancestors) in [("/", "'none'"), ("/jobs/x", "'none'"), ("/workers", "'none'"), ("/embed/x", "*")] {
        // Behind a proxy that strips its prefix, and behind one that does not.
        for prefix in ["", "/video"] {
            let page = house.get(&format!("{prefix}{address}")).await;
            assert_eq!(page.status(), 200, "{address}");
            let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
            assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
            assert!(policy.ends_with(&format!("frame-ancestors {ancestors}")), "{policy}");
            assert!(!policy.contains("unsafe-eval"));
            assert_eq!(page.headers()["x-content-type-options"], "nosniff");
            let html = page.text().await.unwrap();
            assert!(html.contains("<base href=\"/video/\">"), "{html}");
            for inline in ["<script>", "<style", " onclick", " onload", "javascript:", "http://", "https://"] {
                assert!(!html.contains(inline), "{inline}");
            }
            let named = html.split("\"assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
            let named: Vec<&str> = named.collect();
            assert!(named.len() >= 2, "{html}");
            for name in named {
                let file = house.get(&format!("{prefix}/assets/{name}")).await;
                assert_eq!((file.status().as_u16(), name.len() > 8), (200, true));
                assert!(file.headers()["cache-control"].to_str().unwrap().contains("immutable"));
            }
        }
    }
    assert_eq!(house.get("/assets/app.js").await.status(), 404);
    assert_eq!(house.get("/assets/index.html").await.status(), 404);
}

#[tokio::test]
async fn what_the_page_loads_before_the_player_is_small() {
    if !is_page_built() {
        return;
    }
    let house = House::new().await;
    let html = house.get("/").await.text().await.unwrap();
    let mut bytes = html.len();
    for name in html.split("\"assets/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let asked = house.http.get(house.url(&format!("/assets/{name}"))).header("accept-encoding", "br, gzip");
        let file = asked.send().await.unwrap();
        let is_packed = file.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
        let body = file.bytes().await.unwrap();
        assert!(is_packed || body.len() < 1_000, "{name}");
        bytes += body.len();
    }
    assert!(bytes < 200 << 10, "{bytes} bytes");
    println!("the page loads {bytes} bytes before the player");
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
            ("{webhook}", job.to_string()),
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
