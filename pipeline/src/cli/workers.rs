//! `workers`: who works, and on what.

use serde_json::Value;

use super::client::Client;
use super::failure::Failure;
use super::show;

/// Prints the workers.
pub async fn run(client: &Client, json: bool) -> Result<(), Failure> {
    let found = client.get("api/workers").await?;
    if json {
        return show::print_json(&found);
    }
    let workers = found["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
    if workers.is_empty() {
        return show::print("no workers; `streamforge work --stages all` starts one");
    }
    show::print(&table(workers, jiff::Timestamp::now(), show::has_colours()))
}

/// Per worker a line, and one for each piece of work in its hands.
fn table(workers: &[Value], now: jiff::Timestamp, colours: bool) -> String {
    let widest = workers.iter().filter_map(|worker| worker["id"].as_str()).map(|id| id.chars().count()).max();
    let width = widest.unwrap_or(0).clamp(6, 36);
    let line = |id: &str, state: &str, load: &str, seen: &str, version: &str, stages: &str| {
        let shown = show::in_colour(&show::fitted(state, 5), if state == "alive" { "ok" } else { "fail" }, colours);
        let id = show::fitted(id, width);
        format!(
            "{}\n",
            format!("{id}  {shown}  {load:>4}  {}  {}  {stages}", show::fitted(seen, 7), show::fitted(version, 7))
                .trim_end()
        )
    };
    let mut text = line("WORKER", "STATE", "LOAD", "SEEN", "VERSION", "STAGES").replace('\x1b', "");
    for worker in workers {
        let of = |key: &str| worker[key].as_str().map(show::plain).unwrap_or_default();
        let stages: Vec<String> = worker["stages"].as_array().into_iter().flatten().map(stage).collect();
        let load = show::percent(worker["load"].as_f64().unwrap_or(0.0));
        let seen = show::ago(worker["seen_at"].as_str().unwrap_or_default(), now);
        text.push_str(&line(&of("id"), &of("state"), load.trim_start(), &seen, &of("version"), &stages.join(" ")));
        for current in worker["current"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            text.push_str(&format!("  {}\n", show::plain(current)));
        }
    }
    text
}

/// A stage with its busy slots and all of them.
fn stage(stage: &Value) -> String {
    let name = show::plain(stage["name"].as_str().unwrap_or_default());
    let count = |key: &str| stage[key].as_u64().unwrap_or(0);
    format!("{name}:{}/{}", count("busy"), count("slots"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_worker_says_what_it_does() {
        let workers = json!([
            { "id": "host-1-aa", "version": "0.1.0", "state": "alive", "load": 0.5, "seen_at": "2026-11-23T09:59:58Z",
              "stages": [{ "name": "transcode", "slots": 2, "busy": 1 }], "current": ["transcode 3/9 of 01JD\u{1b}"] },
            { "id": "host-2-bb", "version": "0.1.0", "state": "gone", "load": 0.0, "seen_at": "2026-11-23T09:00:00Z",
              "stages": [{ "name": "probe", "slots": 1, "busy": 0 }], "current": [] }
        ]);
        let text = table(workers.as_array().unwrap(), "2026-11-23T10:00:00Z".parse().unwrap(), false);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert!(lines[1].starts_with("host-1-aa  alive   50%") && lines[1].ends_with("transcode:1/2"), "{text}");
        assert_eq!(lines[2], "  transcode 3/9 of 01JD\u{fffd}");
        assert!(lines[3].contains("gone") && lines[3].contains("60m ago") || lines[3].contains("1h ago"), "{text}");
    }
}
