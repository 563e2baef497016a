//! A schema registry in this process: what Confluent's API says about a handful of requests, and faults at will.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What it has, and how it behaves.
#[derive(Default)]
pub struct State {
    /// Schemas by id.
    pub schemas: BTreeMap<u32, String>,
    /// Ids by subject, in order of version.
    pub subjects: BTreeMap<String, Vec<u32>>,
    /// The number that the next schema gets, and what is added for the one after it.
    pub next: (u32, u32),
    /// It closes every connection without a word.
    pub is_away: bool,
    /// What the header `authorization` must say.
    pub login: Option<&'static str>,
    /// A subject that takes nothing.
    pub closed: Option<&'static str>,
    /// It answers everything with a page for people.
    pub is_a_page: bool,
    /// Requests so far: method and path.
    pub requests: Vec<String>,
}

impl State {
    /// The id of a schema, given to it now if it has none.
    pub fn register(&mut self, subject: &str, schema: &str) -> u32 {
        let known = self.schemas.iter().find(|(_, known)| *known == schema).map(|(id, _)| *id);
        let id = known.unwrap_or_else(|| {
            let (id, step) = self.next;
            self.next.0 += step;
            self.schemas.insert(id, schema.to_owned());
            id
        });
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        id
    }
}

pub struct Fake {
    /// `host:port`.
    pub at: String,
    state: Arc<Mutex<State>>,
    _serving: AbortOnDropHandle<()>,
}

impl Fake {
    /// A registry that begins to count at `first`, so far apart.
    pub async fn start(first: u32, step: u32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State { next: (first, step), ..State::default() }));
        let served = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection, Arc::clone(&served)));
            }
        });
        Self { at, state, _serving: AbortOnDropHandle::new(serving) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Requests for the schema of `id` so far.
    pub fn asked_for(&self, id: u32) -> usize {
        let path = format!("GET /schemas/ids/{id}?");
        self.state().requests.iter().filter(|request| request.starts_with(&path)).count()
    }
}

/// One request a connection.
async fn serve(connection: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    let mut connection = BufReader::new(connection);
    let mut line = String::new();
    connection.read_line(&mut line).await.ok()?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut login) = (0, None);
    loop {
        let mut header = String::new();
        connection.read_line(&mut header).await.ok()?;
        let Some((name, value)) = header.trim_end().split_once(": ") else { break };
        match name.to_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            "authorization" => login = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.ok()?;
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(format!("{method} {path}"));
        if state.is_away {
            return None;
        }
        if state.is_a_page {
            (200, "<html>It works!</html>".to_owned())
        } else if state.login.is_some_and(|wanted| login.as_deref() != Some(wanted)) {
            (401, "Unauthorized".to_owned())
        } else {
            let asked = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let (status, body) = answer(&mut state, &method, &path, &asked);
            (status, body.to_string())
        }
    };
    let (status, body) = answer;
    let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all(format!("{head}{body}").as_bytes()).await.ok()
}

fn answer(state: &mut State, method: &str, path: &str, asked: &Value) -> (u16, Value) {
    let none = |code: u32, message: &str| ((code / 100) as u16, json!({ "error_code": code, "message": message }));
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let schema = asked["schema"].as_str().unwrap_or_default();
    match (method, parts.as_slice()) {
        ("GET", ["subjects"]) => (200, state.subjects.keys().cloned().collect()),
        ("POST", ["subjects", subject, "versions"]) if state.closed == Some(*subject) => {
            let message = "Schema being registered is incompatible with an earlier schema";
            (409, json!({ "error_code": 409, "message": message }))
        }
        ("POST", ["subjects", subject, "versions"]) => (200, json!({ "id": state.register(subject, schema) })),
        ("POST", ["subjects", subject]) => {
            let ids = state.subjects.get(*subject).cloned().unwrap_or_default();
            match ids.iter().position(|id| state.schemas[id] == schema) {
                Some(at) => (200, json!({ "subject": subject, "version": at + 1, "id": ids[at], "schema": schema })),
                None => none(40403, "Schema not found"),
            }
        }
        ("GET", ["schemas", "ids", id]) => match id.parse().ok().and_then(|id: u32| state.schemas.get(&id)) {
            Some(schema) => (200, json!({ "schema": schema })),
            None => none(40403, "Schema not found"),
        },
        _ => (404, json!({ "error_code": 404, "message": "HTTP 404 Not Found" })),
    }
}
