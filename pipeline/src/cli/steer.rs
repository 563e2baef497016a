//! `explain`, `cancel`, `delete`.

use reqwest::Method;
use serde_json::Value;

use super::client::{Client, id_part};
use super::failure::{Exit, Failure};
use super::show;

/// Says why job `id` is not done yet.
pub async fn explain(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let answer = client.get(&format!("api/jobs/{}/explain", id_part(id)?)).await?;
    if json {
        return show::print_json(&answer);
    }
    let state = show::plain(answer["state"].as_str().unwrap_or_default());
    let because = show::plain(answer["because"].as_str().unwrap_or_default());
    let mut text = format!("{}: {because}\n", show::in_colour(&state, &state, show::has_colours()));
    if let Some(advice) = answer["advice"].as_str() {
        text.push_str(&format!("  try: {}\n", show::plain(advice)));
    }
    for held in answer["held"].as_array().into_iter().flatten() {
        text.push_str(&format!("  {}\n", holder(held)));
    }
    for (title, key) in [("waiting for", "waiting_for"), ("so far", "history")] {
        let entries = answer[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if !entries.is_empty() {
            text.push_str(&format!("{title}\n"));
            text.extend(entries.iter().map(|entry| format!("  {}\n", flat(entry))));
        }
    }
    show::print(&text)
}

/// Who has a part of a job, and since when.
fn holder(held: &Value) -> String {
    let text = |key: &str| show::plain(held[key].as_str().unwrap_or_default());
    let since = show::ago(held["since"].as_str().unwrap_or_default(), jiff::Timestamp::now());
    let again = held["attempt"].as_u64().filter(|attempt| *attempt > 1);
    let again = again.map(|attempt| format!(", attempt {attempt}")).unwrap_or_default();
    format!("{} has {} part {}{again}, taken {since}", text("worker"), text("stage"), held["part"])
}

/// An entry as one line: times and words first as they come, whatever their names.
fn flat(entry: &Value) -> String {
    match entry {
        Value::String(text) => show::plain(text),
        Value::Object(fields) => {
            let ordered = ["at", "stage", "what", "event", "state", "message"];
            let place = |key: &str| ordered.iter().position(|known| *known == key).unwrap_or(ordered.len());
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_by_key(|(key, _)| place(key));
            let shown = fields.iter().map(|(key, value)| match value {
                Value::String(text) if place(key) < ordered.len() => show::plain(text),
                value => format!("{}={}", show::plain(key), flat(value)),
            });
            shown.collect::<Vec<_>>().join("  ")
        }
        Value::Array(parts) => parts.iter().map(flat).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// Stops the work on `ids`.
pub async fn cancel(client: &Client, ids: &[String]) -> Result<(), Failure> {
    each(client, ids, Method::POST, "/cancel", "is being cancelled").await
}

/// Removes `ids` and everything of theirs.
pub async fn delete(client: &Client, ids: &[String]) -> Result<(), Failure> {
    each(client, ids, Method::DELETE, "", "is deleted").await
}

async fn each(client: &Client, ids: &[String], method: Method, rest: &str, done: &str) -> Result<(), Failure> {
    for id in ids {
        id_part(id)?;
    }
    let mut is_one_failed = false;
    for id in ids {
        match client.ask(method.clone(), &format!("api/jobs/{id}{rest}")).await {
            Ok(_) => show::print(&format!("{id} {done}"))?,
            Err(failure) if failure.exit == Exit::Unreachable || ids.len() == 1 => return Err(failure),
            Err(failure) => {
                is_one_failed = true;
                Failure { what: format!("{id}: {}", failure.what), ..failure }.tell();
            }
        }
    }
    if is_one_failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn any_entry_reads_as_a_line() {
        let entry = json!({ "stage": "transcode", "at": "10:00", "done": 3, "error": null, "ids": ["a", "b"] });
        assert_eq!(flat(&entry), "10:00  transcode  done=3  ids=a, b");
        assert_eq!(flat(&json!("a\x1bb")), "a\u{fffd}b");
    }
}
