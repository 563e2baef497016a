//! A server of files that can do what servers do: know ranges or not, break off, lie, send elsewhere.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What was asked.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path.
    pub path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The value of header `name`, in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// How much of the body is sent before the connection breaks.
    sent: usize,
}

impl Answer {
    /// An answer with a body.
    pub fn new(status: u16, body: &[u8]) -> Self {
        Self { status, headers: Vec::new(), body: body.to_vec(), sent: body.len() }
    }

    /// With one more header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Breaks off after `sent` bytes of the body.
    pub fn cut(mut self, sent: usize) -> Self {
        self.sent = sent.min(self.sent);
        self
    }

    /// `body` as a server that knows ranges and conditions gives it.
    pub fn ranged(request: &Request, body: &[u8], etag: &str) -> Self {
        let is_same = request.header("if-range").is_none_or(|condition| condition == etag);
        let first =
            request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        let answer = match first {
            Some(first) if is_same && first < body.len() => Self::new(206, &body[first..])
                .with("content-range", format!("bytes {first}-{}/{}", body.len() - 1, body.len())),
            Some(_) if is_same => Self::new(416, b"").with("content-range", format!("bytes */{}", body.len())),
            _ => Self::new(200, body),
        };
        answer.with("etag", etag)
    }
}

/// The server; it ends with the test's process.
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts one that answers by `answer`, which is told how many requests came before; one after the other.
    pub fn start(mut answer: impl FnMut(&Request, usize) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let Some(request) = read(&mut connection) else { continue };
                let before = seen.lock().unwrap().len();
                let answer = answer(&request, before);
                seen.lock().unwrap().push(request);
                let mut head = format!(
                    "HTTP/1.1 {} Said\r\ncontent-length: {}\r\nconnection: close\r\n",
                    answer.status,
                    answer.body.len()
                );
                answer.headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
                // A reader that has had enough goes away.
                let _ = connection.write_all(format!("{head}\r\n").as_bytes());
                let _ = connection.write_all(&answer.body[..answer.sent]);
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
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    Some(Request { path, headers })
}
