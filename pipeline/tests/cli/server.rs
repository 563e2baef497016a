//! A server that answers as a test says and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method, path and query, such as `GET /api/jobs`.
    pub line: String,
    headers: Vec<(String, String)>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Request {
    /// The value of header `name`, in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub struct Reply {
    status: u16,
    kind: &'static str,
    body: String,
    headers: String,
}

impl Reply {
    /// JSON.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, kind: "application/json", body: body.to_string(), headers: String::new() }
    }

    /// A refusal.
    pub fn problem(status: u16, code: &str, detail: &str) -> Self {
        let body = serde_json::json!({ "status": status, "code": code, "detail": detail, "title": "No" });
        Self { status, kind: "application/problem+json", body: body.to_string(), headers: String::new() }
    }

    /// An event stream that breaks off where `body` ends.
    pub fn events(body: &str) -> Self {
        Self { status: 200, kind: "text/event-stream", body: body.to_owned(), headers: String::new() }
    }

    /// A page.
    pub fn html(body: &str) -> Self {
        Self { status: 200, kind: "text/html", body: body.to_owned(), headers: String::new() }
    }

    /// What an S3 server says when it refuses.
    pub fn xml(status: u16, body: &str) -> Self {
        Self { status, kind: "application/xml", body: body.to_owned(), headers: String::new() }
    }

    /// The same with one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// Nothing but a status.
    pub fn empty(status: u16) -> Self {
        Self { status, kind: "text/plain", body: String::new(), headers: String::new() }
    }
}

/// The server; it ends with the test's process.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts one that answers by `answer`, one request after the other.
    pub fn start(mut answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read(&mut connection) else { continue };
                let reply = answer(&request);
                seen.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 {} Said\r\ncontent-type: {}\r\nconnection: close\r\n{}\r\n",
                    reply.status, reply.kind, reply.headers
                );
                let _ = connection.write_all(format!("{head}{}", reply.body).as_bytes());
            }
        });
        Self { address, requests }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Everything that it was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

fn read(connection: &mut TcpStream) -> Option<Request> {
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let line = line.rsplit_once(' ')?.0.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").map_or(Ok(0), |(_, value)| value.parse());
    let mut body = vec![0; length.ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Request { line, headers, body })
}
