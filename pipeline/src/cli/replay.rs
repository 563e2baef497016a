//! `replay`: runs a stage again from the log.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::client::{Client, id_part};
use super::failure::Failure;
use super::show;

/// Long logs take their time to read.
const PATIENCE: Duration = Duration::from_secs(600);

/// What to replay.
#[derive(Clone, Debug)]
pub struct Wish {
    /// The stage.
    pub stage: String,
    /// Only this job.
    pub job: Option<String>,
    /// Only events since then: a time, or how long ago.
    pub since: Option<String>,
    /// Count only.
    pub dry_run: bool,
}

/// Asks the server to run a stage again.
pub async fn run(client: &Client, wish: &Wish, as_json: bool) -> Result<(), Failure> {
    let job = wish.job.as_deref().map(id_part).transpose()?;
    let since = wish.since.as_deref().map(|text| since(text, jiff::Timestamp::now())).transpose()?;
    let body = json!({ "stage": wish.stage, "job": job, "since": since, "dry_run": wish.dry_run });
    let request = client.request(Method::POST, "api/replay").json(&body).timeout(PATIENCE);
    let answer = client.json(request).await?;
    if as_json {
        return show::print_json(&answer);
    }
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let (events, jobs) = (number(&answer["count"]), number(&answer["jobs"]));
    let verb = if wish.dry_run { "would run again on" } else { "runs again on" };
    let mut text = format!("{} {verb} {events} events of {jobs} jobs\n", show::plain(&wish.stage));
    let skipped = &answer["skipped"];
    for (key, why) in [
        ("ended", "belong to jobs whose end leaves this stage nothing to do"),
        ("deleted", "belong to deleted jobs"),
        ("unreadable", "cannot be read"),
    ] {
        if number(&skipped[key]) > 0 {
            text.push_str(&format!("  {} left out: they {why}\n", number(&skipped[key])));
        }
    }
    show::print(&text)
}

/// A moment as RFC 3339, from one or from how long ago it was: `90s`, `30m`, `2h`, `7d`.
fn since(text: &str, now: jiff::Timestamp) -> Result<String, Failure> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.to_string());
    }
    let wrong = || {
        let what = format!("`{}` is no time", show::plain(text));
        Failure::usage(what, "write --since 2026-11-23T10:00:00Z, or how long ago: 90s, 30m, 2h, 7d")
    };
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    let count: i64 = text[..text.len() - unit.len_utf8()].parse().ok().filter(|count| *count >= 0).ok_or_else(wrong)?;
    let ago = count.checked_mul(seconds).ok_or_else(wrong)?;
    let time = now.checked_sub(jiff::SignedDuration::from_secs(ago)).map_err(|_| wrong())?;
    Ok(time.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        for (text, time) in [
            ("2026-11-23T09:00:00+01:00", "2026-11-23T08:00:00Z"),
            ("90s", "2026-11-23T09:58:30Z"),
            ("2h", "2026-11-23T08:00:00Z"),
            ("1d", "2026-11-22T10:00:00Z"),
        ] {
            assert_eq!(since(text, now).unwrap(), time, "{text}");
        }
        for text in ["", "h", "-1h", "yesterday", "1w", "99999999999999999d", "2h ", "ä"] {
            assert_eq!(since(text, now).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
