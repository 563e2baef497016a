//! A job's event stream, followed to its end over broken connections.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Client, id_part};
use super::failure::{Exit, Failure};

/// Silence after which a stream counts as broken; the server speaks at least every 2 s while anything runs.
const SILENCE: Duration = Duration::from_secs(30);

/// How often a broken stream is taken up again without a word from the server in between.
const ATTEMPTS: u32 = 8;

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The job.
    pub id: String,
    /// A word of the job's states.
    pub state: String,
    /// From 0 to 1.
    #[serde(default)]
    pub progress: f64,
    /// Whether its beginning can be watched.
    #[serde(default)]
    pub playable: bool,
    /// The stage that works on it.
    #[serde(default)]
    pub stage: Option<String>,
    /// Seconds to the end, when that is known.
    #[serde(default)]
    pub eta_s: Option<f64>,
}

impl Status {
    /// Whether no state follows.
    pub fn is_end(&self) -> bool {
        schemas::job::State::from_word(&self.state).is_some_and(schemas::job::State::is_end)
    }
}

/// Follows job `id` and hands each status to `seen`; answers the job as JSON once it has ended.
pub async fn to_the_end(client: &Client, id: &str, mut seen: impl FnMut(&Status)) -> Result<Value, Failure> {
    let path = format!("api/jobs/{}", id_part(id)?);
    let mut last_id = None;
    let mut broken = 0;
    loop {
        let before = last_id.clone();
        let failure = match once(client, &path, &mut last_id, &mut seen).await {
            Ok(true) => return client.get(&path).await,
            Ok(false) => Failure::unreachable(
                format!("{} stopped talking about job {id}", client.server()),
                "`streamforge watch` takes it up again",
            ),
            Err(failure) if failure.exit == Exit::Unreachable => failure,
            Err(failure) => return Err(failure),
        };
        broken = if last_id == before { broken + 1 } else { 1 };
        if broken > ATTEMPTS {
            return Err(failure);
        }
        tokio::time::sleep(Duration::from_millis(250) * 2_u32.pow(broken.min(4) - 1)).await;
    }
}

/// One connection; true when the end came.
async fn once(
    client: &Client,
    path: &str,
    last_id: &mut Option<String>,
    seen: &mut impl FnMut(&Status),
) -> Result<bool, Failure> {
    let mut request = client
        .request(Method::GET, &format!("{path}/events"))
        .header(ACCEPT, HeaderValue::from_static("text/event-stream"));
    if let Some(id) = last_id.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
        request = request.header("last-event-id", id);
    }
    let asked = tokio::time::timeout(SILENCE, client.send(request)).await;
    let Ok(response) = asked else { return Ok(false) };
    let mut response = response?;
    let mut parser = Parser::default();
    loop {
        let Ok(bytes) = tokio::time::timeout(SILENCE, response.chunk()).await else { return Ok(false) };
        let Some(bytes) = bytes.map_err(|error| client.lost(&error))? else { return Ok(false) };
        for message in parser.feed(&bytes) {
            if message.id.is_some() {
                last_id.clone_from(&message.id);
            }
            let status: Option<Status> = serde_json::from_str(&message.data).ok();
            if let Some(status) = &status {
                seen(status);
            }
            if message.event == "end" || status.is_some_and(|status| status.is_end()) {
                return Ok(true);
            }
        }
    }
}

/// One server-sent event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its kind; `message` when it has none.
    pub event: String,
    /// Its data, lines joined.
    pub data: String,
    /// Its id, for `Last-Event-ID`.
    pub id: Option<String>,
}

/// Longest line that is kept; a longer one is no event of ours.
const LONGEST_LINE: usize = 1 << 20;

/// Reads `text/event-stream` from bytes as they come (HTML standard, section 9.2).
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_return: bool,
    event: String,
    data: Option<String>,
    id: Option<String>,
}

impl Parser {
    /// Takes `bytes` and answers the events that are whole now.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in bytes {
            let is_rest_of_line_end = byte == b'\n' && std::mem::take(&mut self.after_return);
            if is_rest_of_line_end {
                continue;
            }
            self.after_return = byte == b'\r';
            if byte == b'\n' || byte == b'\r' {
                let line = std::mem::take(&mut self.line);
                messages.extend(self.line(&String::from_utf8_lossy(&line)));
            } else if self.line.len() < LONGEST_LINE {
                self.line.push(byte);
            }
        }
        messages
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let data = self.data.take()?;
            let event = if event.is_empty() { "message".to_owned() } else { event };
            return Some(Message { event, data, id: self.id.clone() });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.event = value.to_owned(),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments keep a connection alive; `retry` is ours to decide.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": hello\n\nid: 1\nevent: progress\ndata: {\"a\":1}\n\ndata:x\ndata: y\n\r\n\
                          event: end\r\ndata\r\n\r\nevent: lost\n\nid: 2\rdata: z\r\r";

    fn whole() -> Vec<Message> {
        let message = |event: &str, data: &str, id: Option<&str>| Message {
            event: event.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        };
        vec![
            message("progress", "{\"a\":1}", Some("1")),
            message("message", "x\ny", Some("1")),
            message("end", "", Some("1")),
            message("message", "z", Some("2")),
        ]
    }

    #[test]
    fn fields_comments_and_line_ends_are_read() {
        assert_eq!(Parser::default().feed(STREAM.as_bytes()), whole());
    }

    #[test]
    fn a_status_without_the_optional_parts_is_one() {
        let status: Status = serde_json::from_str(r#"{"id":"x","state":"failed","new":1}"#).unwrap();
        assert!(status.is_end());
        assert!(!Status { state: "processing".into(), ..status }.is_end());
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(cuts in proptest::collection::vec(0..STREAM.len(), 0..12)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let mut parser = Parser::default();
            let mut messages = Vec::new();
            for pair in cuts.windows(2) {
                messages.extend(parser.feed(&STREAM.as_bytes()[pair[0]..pair[1]]));
            }
            prop_assert_eq!(messages, whole());
        }

        #[test]
        fn no_bytes_make_reading_fall_over(bytes: Vec<u8>) {
            Parser::default().feed(&bytes);
        }
    }
}
