//! A bad network: stands before a server and breaks what it is told to break.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Nothing,
    /// The server is busy and does nothing.
    Busy,
    /// The server does it, and its answer is lost behind a 503.
    Lost,
    /// The request's last byte but a few is another one.
    ChangedRequest,
    /// A byte in the middle of the answer is another one.
    ChangedAnswer,
    /// The answer ends in the middle.
    Cut,
    /// The answer comes in drops.
    Slow,
    /// The connection is reset before an answer.
    Reset,
    /// The server has no room and does nothing.
    Full,
}

/// A request as far as faults depend on it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub target: String,
}

impl Seen {
    /// Whether this asks for bytes of an object.
    pub fn is_read(&self) -> bool {
        self.method == "GET" && !self.target.contains('?')
    }
}

type Plan = Box<dyn FnMut(&Seen) -> Fault + Send>;

struct Inner {
    upstream: String,
    plan: Mutex<Plan>,
    seen: Mutex<Vec<Seen>>,
    /// 0: passes on; 1: hangs up on everybody; 2: takes requests and never answers.
    away: AtomicU8,
}

pub struct Proxy {
    pub address: SocketAddr,
    inner: Arc<Inner>,
    accepting: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Proxy {
    /// Stands before `upstream` (`host:port`) and does to each request what `plan` says.
    pub async fn before(upstream: &str, plan: impl FnMut(&Seen) -> Fault + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner {
            upstream: upstream.to_owned(),
            plan: Mutex::new(Box::new(plan)),
            seen: Mutex::default(),
            away: AtomicU8::new(0),
        });
        let serving = Arc::clone(&inner);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&serving), client));
            }
        });
        Self { address, inner, accepting }
    }

    pub fn hang_up(&self) {
        self.inner.away.store(1, Ordering::SeqCst);
    }

    pub fn fall_silent(&self) {
        self.inner.away.store(2, Ordering::SeqCst);
    }

    pub fn come_back(&self) {
        self.inner.away.store(0, Ordering::SeqCst);
    }

    /// Requests so far that `wanted` picks.
    pub fn count(&self, wanted: impl Fn(&Seen) -> bool) -> usize {
        self.inner.seen.lock().unwrap().iter().filter(|seen| wanted(seen)).count()
    }
}

const BUSY: &str =
    "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>";

const FULL: &str =
    "<?xml version=\"1.0\"?><Error><Code>XMinioStorageFull</Code><Message>There is no room.</Message></Error>";

async fn serve(inner: Arc<Inner>, mut client: TcpStream) -> Option<()> {
    let (head, mut body) = request(&mut client).await?;
    let mut words = head.lines().next()?.split_whitespace();
    let seen = Seen { method: words.next()?.to_owned(), target: words.next()?.to_owned() };
    match inner.away.load(Ordering::SeqCst) {
        0 => {}
        1 => return None,
        _ => tokio::time::sleep(Duration::from_secs(3600)).await,
    }
    inner.seen.lock().unwrap().push(seen.clone());
    let fault = (inner.plan.lock().unwrap())(&seen);
    match fault {
        Fault::Busy => return refuse(&mut client, "503 Slow Down", BUSY).await,
        Fault::Full => return refuse(&mut client, "507 Insufficient Storage", FULL).await,
        Fault::Reset => {
            // Closing without having read everything makes the kernel send a reset; this one is plain enough.
            return None;
        }
        Fault::ChangedRequest if !body.is_empty() => {
            let at = body.len() - 1 - body.len() / 4;
            body[at] ^= 0x10;
        }
        _ => {}
    }
    let mut upstream = TcpStream::connect(&inner.upstream).await.ok()?;
    let head = head.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    upstream.write_all(head.as_bytes()).await.ok()?;
    upstream.write_all(&body).await.ok()?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await.ok()?;
    let end = find(&answer)?;
    let first = answer.windows(2).position(|two| two == b"\r\n")?;
    let has_body = answer.len() > end;
    let mut said = answer[..first].to_vec();
    if !answer[..end].to_ascii_lowercase().windows(18).any(|w| w == b"connection: close\r".as_slice()) {
        said.extend_from_slice(b"\r\nconnection: close");
    }
    said.extend_from_slice(&answer[first..end]);
    let body = &mut answer[end..];
    match fault {
        Fault::Lost => return refuse(&mut client, "503 Slow Down", BUSY).await,
        Fault::ChangedAnswer if has_body => {
            let at = body.len() / 2;
            body[at] ^= 0x10;
        }
        Fault::Cut if has_body => {
            said.extend_from_slice(&body[..body.len() / 2]);
            client.write_all(&said).await.ok()?;
            return Some(());
        }
        Fault::Slow => {
            client.write_all(&said).await.ok()?;
            for drop in body.chunks((body.len() / 8).max(1)) {
                tokio::time::sleep(Duration::from_millis(15)).await;
                client.write_all(drop).await.ok()?;
            }
            return Some(());
        }
        _ => {}
    }
    said.extend_from_slice(body);
    client.write_all(&said).await.ok()?;
    client.shutdown().await.ok()
}

async fn refuse(client: &mut TcpStream, status: &str, body: &str) -> Option<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await.ok()?;
    client.shutdown().await.ok()
}

async fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = find(&bytes) {
            break end;
        }
        if client.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = bytes.split_off(end);
    while body.len() < length.unwrap_or(0) {
        if client.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some((head, body))
}

/// Where the head ends.
fn find(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}
