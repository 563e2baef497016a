//! `dlq`: what stages gave up on, and what to do about it.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::{ServerFlag, show};

/// Most letters that are asked for at once.
const MOST: usize = 1000;

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what nobody has handled, newest first
    List {
        /// Only of this stage
        #[arg(long)]
        stage: Option<String>,
        /// How many to list at most
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Show one with its event
    Show {
        /// Which, such as transcode:0:12
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Put events back to where they came from, for the stage that gave up
    Retry(Which),
    /// Mark as handled: nobody wants them any more
    Drop(Which),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct Which {
    /// Which, such as transcode:0:12
    #[arg(value_name = "ID", required_unless_present_any = ["ids", "stage"])]
    named: Vec<String>,
    /// Which; the same as without the flag
    #[arg(long = "id", value_name = "ID", value_delimiter = ',')]
    ids: Vec<String>,
    /// All of this stage
    #[arg(long, conflicts_with_all = ["named", "ids"])]
    stage: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlag,
}

/// Does what is asked.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::List { stage, limit, json, server } => {
            list(&Client::new(&server.server)?, stage.as_deref(), limit as usize, json).await
        }
        Command::Show { id, json, server } => one(&Client::new(&server.server)?, &id, json).await,
        Command::Retry(which) => each(which, Method::POST, "/retry", "retried").await,
        Command::Drop(which) => each(which, Method::DELETE, "", "dropped").await,
    }
}

async fn letters(client: &Client, stage: Option<&str>, limit: usize) -> Result<Value, Failure> {
    let mut path = format!("api/dlq?limit={limit}");
    if let Some(stage) = stage {
        path.push_str(&format!("&stage={}", part(stage)?));
    }
    client.get(&path).await
}

/// A name as a part of an address; whatever else is written names nothing.
fn part(text: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.".contains(&byte);
    if !text.is_empty() && text.len() <= 128 && text.bytes().all(plain) {
        return Ok(text);
    }
    let what = format!("`{}` names no dead letter and no stage", show::plain(text));
    Err(Failure::usage(what, "`streamforge dlq list` lists them, like transcode:0:12"))
}

async fn list(client: &Client, stage: Option<&str>, limit: usize, as_json: bool) -> Result<(), Failure> {
    let found = letters(client, stage, limit).await?;
    if as_json {
        return show::print_json(&found);
    }
    let listed = found["letters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if listed.is_empty() {
        return show::print("no dead letters");
    }
    let mut text = table(listed, jiff::Timestamp::now());
    let total = found["total"].as_u64().unwrap_or(0);
    if total > listed.len() as u64 {
        text.push_str(&format!("{} of {total}; --limit shows more\n", listed.len()));
    }
    show::print(&text)
}

fn table(letters: &[Value], now: jiff::Timestamp) -> String {
    let line = |id: &str, at: &str, reason: &str, message: &str| {
        let line =
            format!("{}  {}  {}  {message}", show::fitted(id, 18), show::fitted(at, 7), show::fitted(reason, 18));
        format!("{}\n", line.trim_end())
    };
    let mut text = line("ID", "AT", "REASON", "MESSAGE");
    for letter in letters {
        let of = |key: &str| letter[key].as_str().map(show::plain).unwrap_or_default();
        text.push_str(&line(&of("id"), &show::ago(&of("at"), now), &of("reason"), &of("message")));
    }
    text
}

async fn one(client: &Client, id: &str, as_json: bool) -> Result<(), Failure> {
    let letter = client.get(&format!("api/dlq/{}", part(id)?)).await?;
    if as_json {
        return show::print_json(&letter);
    }
    let mut text = String::new();
    for key in [
        "id",
        "stage",
        "at",
        "reason",
        "message",
        "attempts",
        "topic",
        "partition",
        "offset",
        "key",
        "job",
        "bytes",
        "handled",
        "undecodable",
    ] {
        let said = match &letter[key] {
            Value::Null => continue,
            Value::String(text) => show::plain(text),
            other => other.to_string(),
        };
        text.push_str(&format!("{key:12}{said}\n"));
    }
    if let Some(hex) = letter["hex"].as_str() {
        text.push_str(&format!("{:12}{}\n", "hex", show::plain(hex)));
    } else if let Ok(event) = serde_json::to_string_pretty(&letter["event"]) {
        text.extend(event.lines().map(|line| format!("{}\n", show::plain(line))));
    }
    show::print(&text)
}

async fn each(which: Which, method: Method, rest: &str, done: &str) -> Result<(), Failure> {
    let client = Client::new(&which.server.server)?;
    let mut ids: Vec<String> = which.named.into_iter().chain(which.ids).collect();
    if let Some(stage) = &which.stage {
        let found = letters(&client, Some(stage), MOST).await?;
        let found = found["letters"].as_array().into_iter().flatten();
        ids.extend(found.filter_map(|letter| letter["id"].as_str().map(str::to_owned)));
    }
    for id in &ids {
        part(id)?;
    }
    if ids.is_empty() && !which.json {
        return show::print("no dead letters");
    }
    let (mut answers, mut is_one_failed) = (Vec::new(), false);
    for id in &ids {
        let request = client.request(method.clone(), &format!("api/dlq/{id}{rest}"));
        match client.json(request).await {
            Ok(answer) => {
                if !which.json {
                    let mut text = format!("{id} {done}\n");
                    text.extend(answer["note"].as_str().map(|note| format!("  {}\n", show::plain(note))));
                    show::print(&text)?;
                }
                answers.push(answer);
            }
            Err(failure) if failure.exit == Exit::Unreachable || ids.len() == 1 => return Err(failure),
            Err(failure) => {
                is_one_failed = true;
                Failure { what: format!("{id}: {}", failure.what), ..failure }.tell();
            }
        }
    }
    if which.json {
        show::print_json(&json!({ "letters": answers }))?;
    }
    if is_one_failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_a_line() {
        let letter = json!({ "id": "transcode:0:12", "at": "2026-11-23T09:58:00Z", "reason": "damaged\u{1b}[31m",
                             "message": "decode: no", "attempts": 3 });
        let text = table(&[letter], "2026-11-23T10:00:00Z".parse().unwrap());
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains("transcode:0:12") && text.contains("decode: no") && !text.contains('\x1b'), "{text}");
    }

    #[test]
    fn what_names_no_letter_is_wrong_usage() {
        assert!(part("transcode:0:12").is_ok());
        for text in ["", "../jobs", "a b", "a?b", "ä"] {
            assert_eq!(part(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
