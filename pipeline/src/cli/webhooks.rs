//! `webhooks`: who is told how jobs fare.

use clap::Subcommand;
use reqwest::Method;
use serde_json::{Value, json};

use super::ServerFlag;
use super::client::{Client, id_part};
use super::failure::{Exit, Failure};
use super::show;

/// What can be done with webhooks.
#[derive(Debug, Subcommand)]
pub enum Webhooks {
    /// Have an address told; prints the secret that its messages are signed with, once
    Add {
        /// Where messages go, such as https://host/path
        url: String,
        /// What it wants to hear, such as job.ready,job.failed; everything by default
        #[arg(long, value_delimiter = ',', value_name = "EVENTS")]
        events: Vec<String>,
        /// The secret, `whsec_` and Base64; a new one by default
        #[arg(long, value_name = "SECRET")]
        secret: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// List the addresses, what they are told, and what waits for them
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Send one message now and say what became of it
    Test {
        /// The webhook
        id: String,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Have an address told no more
    Remove {
        /// The webhook
        id: String,
        #[command(flatten)]
        server: ServerFlag,
    },
}

/// Does what is asked.
pub async fn run(command: Webhooks) -> Result<(), Failure> {
    match command {
        Webhooks::Add { url, events, secret, json, server } => {
            let client = Client::new(&server.server)?;
            let wish = json!({ "url": url, "events": events, "secret": secret });
            let added = client.json(client.request(Method::POST, "api/webhooks").json(&wish)).await?;
            if json { show::print_json(&added) } else { show::print(&told(&added)) }
        }
        Webhooks::List { json, server } => {
            let found = Client::new(&server.server)?.get("api/webhooks").await?;
            if json {
                return show::print_json(&found);
            }
            let hooks = found["webhooks"].as_array().map(Vec::as_slice).unwrap_or_default();
            if hooks.is_empty() {
                return show::print("nobody is told; `streamforge webhooks add URL` adds an address");
            }
            show::print(&hooks.iter().map(listed).collect::<String>())
        }
        Webhooks::Test { id, server } => {
            let client = Client::new(&server.server)?;
            let path = format!("api/webhooks/{}/test", id_part(&id)?);
            let tried = client.json(client.request(Method::POST, &path)).await.map_err(unknown)?;
            let url = text(&tried, "url");
            if tried["taken"] == true {
                return show::print(&format!("{url} took the message\n"));
            }
            let what = format!("{url} did not take the message: {}", text(&tried, "why"));
            Err(Failure { exit: Exit::Failed, what, advice: "look at the receiver's log, then try again".to_owned() })
        }
        Webhooks::Remove { id, server } => {
            let client = Client::new(&server.server)?;
            client.ask(Method::DELETE, &format!("api/webhooks/{}", id_part(&id)?)).await.map_err(unknown)?;
            show::print(&format!("{id}  removed\n"))
        }
    }
}

/// What to do about an id that nobody knows.
fn unknown(failure: Failure) -> Failure {
    let is_unknown = failure.what.contains("no such webhook");
    if is_unknown {
        Failure { advice: "`streamforge webhooks list` lists the ids".to_owned(), ..failure }
    } else {
        failure
    }
}

fn text(value: &Value, key: &str) -> String {
    show::plain(value[key].as_str().unwrap_or_default())
}

fn events(hook: &Value) -> String {
    let events = hook["events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    events.map(|event| show::plain(event.trim_start_matches("job."))).collect::<Vec<_>>().join(" ")
}

fn told(hook: &Value) -> String {
    format!(
        "{}  {}\n  told of  {}\n  secret   {}\nKeep the secret: receivers check messages with it, and it is not told again.\n",
        text(hook, "id"),
        text(hook, "url"),
        events(hook),
        text(hook, "secret"),
    )
}

fn listed(hook: &Value) -> String {
    let mut lines = format!("{}  {}\n  told of  {}\n", text(hook, "id"), text(hook, "url"), events(hook));
    if let Some(why) = hook["disabled"].as_str() {
        lines.push_str(&format!("  off      {}\n", show::plain(why)));
    }
    if let Some(waiting) = hook["waiting"].as_u64().filter(|waiting| *waiting > 0) {
        lines.push_str(&format!("  waiting  {waiting}\n"));
    }
    let last = &hook["last"];
    if last.is_object() {
        let why = last["why"].as_str().map(|why| format!(": {}", show::plain(why))).unwrap_or_default();
        lines.push_str(&format!("  last     {} {}{why}\n", text(last, "type"), text(last, "outcome")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_reads_in_lines() {
        let mut hook = json!({
            "id": "01JD", "url": "https://host/x", "events": ["job.ready", "job.failed"], "secret": "whsec_x", "waiting": 2,
            "last": { "type": "job.ready", "outcome": "refused", "why": "it answered 500" }
        });
        assert_eq!(
            listed(&hook),
            "01JD  https://host/x\n  told of  ready failed\n  waiting  2\n  last     job.ready refused: it answered 500\n"
        );
        hook["disabled"] = "its address answered 410 Gone".into();
        assert!(listed(&hook).contains("  off      its address answered 410 Gone\n"));
        assert!(told(&hook).contains("  secret   whsec_x\n"));
    }
}
