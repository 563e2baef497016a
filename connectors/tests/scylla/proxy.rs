//! A proxy before the node that breaks connections at chosen requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Length of a frame's header in version 4 of the protocol, and where it says what the frame is and how long.
const HEADER: usize = 9;
const OPCODE: usize = 4;
/// The frame runs a prepared statement.
const EXECUTE: u8 = 0x0A;

/// What becomes of the request at which the connection breaks.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// The node never gets it.
    Lost,
    /// The node runs it, and its answer is not delivered.
    Unanswered,
    /// The node gets it long after the client has seen the connection break.
    Late,
}

/// A proxy before one node.
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<State>,
}

struct State {
    node: String,
    /// Prepared statements to let through before the next cut; below zero: none is planned.
    countdown: AtomicI64,
    how: std::sync::Mutex<Cut>,
    was_cut: AtomicBool,
    /// Requests that hold these bytes never reach the node.
    swallowed: std::sync::OnceLock<&'static str>,
    away: watch::Sender<bool>,
    /// Requests that the node gets long after the client has seen the connection break.
    late: watch::Sender<u32>,
}

impl Proxy {
    pub async fn before(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            node: node.to_owned(),
            countdown: AtomicI64::new(-1),
            how: std::sync::Mutex::new(Cut::Lost),
            was_cut: AtomicBool::new(false),
            swallowed: std::sync::OnceLock::new(),
            away: watch::Sender::new(false),
            late: watch::Sender::new(0),
        });
        let shared = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(Arc::clone(&shared), client));
            }
        });
        Self { address, state }
    }

    /// Breaks the connection at the prepared statement that comes after `skip` others.
    pub fn cut_after(&self, skip: i64, how: Cut) {
        *self.state.how.lock().unwrap() = how;
        self.state.was_cut.store(false, Ordering::SeqCst);
        self.state.countdown.store(skip, Ordering::SeqCst);
    }

    /// Plans no cut any more; answers whether the planned one has come.
    pub fn settle(&self) -> bool {
        self.state.countdown.store(-1, Ordering::SeqCst);
        self.state.was_cut.load(Ordering::SeqCst)
    }

    /// Waits until the node has got every request that was to be late.
    pub async fn quiet(&self) {
        self.state.late.subscribe().wait_for(|late| *late == 0).await.unwrap();
    }

    /// Requests that hold `text` get no answer from now on; the connection stays.
    pub fn swallow(&self, text: &'static str) {
        self.state.swallowed.set(text).unwrap();
    }

    /// Breaks every connection and lets none through, or lets them through again.
    pub fn away(&self, away: bool) {
        self.state.away.send_replace(away);
    }
}

async fn serve(state: Arc<State>, client: TcpStream) {
    let mut away = state.away.subscribe();
    if *away.borrow() {
        return;
    }
    let Ok(node) = TcpStream::connect(&state.node).await else { return };
    let ((from_client, mut to_client), (mut from_node, to_node)) = (client.into_split(), node.into_split());
    let broken = Arc::new(AtomicBool::new(false));
    let silenced = Arc::clone(&broken);
    let answers = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let Ok(length @ 1..) = from_node.read(&mut buffer).await else { return };
            // Answers after the cut are read and dropped, so that the node does its work in peace.
            if !silenced.load(Ordering::SeqCst) && to_client.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    });
    tokio::select! {
        () = requests(&state, from_client, to_node, broken) => {}
        _ = away.wait_for(|away| *away) => {}
    }
    answers.abort();
}

/// Hands requests on, frame by frame, until the connection ends or is to break.
async fn requests(state: &Arc<State>, mut client: OwnedReadHalf, mut node: OwnedWriteHalf, broken: Arc<AtomicBool>) {
    loop {
        let mut frame = vec![0; HEADER];
        if client.read_exact(&mut frame).await.is_err() {
            return;
        }
        let length = u32::from_be_bytes(frame[HEADER - 4..].try_into().unwrap());
        frame.resize(HEADER + usize::try_from(length).unwrap(), 0);
        if client.read_exact(&mut frame[HEADER..]).await.is_err() {
            return;
        }
        let is_swallowed =
            |text: &&str| frame.windows(text.len()).any(|bytes| bytes.eq_ignore_ascii_case(text.as_bytes()));
        if state.swallowed.get().is_some_and(is_swallowed) {
            continue;
        }
        let cut = frame[OPCODE] == EXECUTE && state.countdown.fetch_sub(1, Ordering::SeqCst) == 0;
        if !cut {
            if node.write_all(&frame).await.is_err() {
                return;
            }
            continue;
        }
        broken.store(true, Ordering::SeqCst);
        state.was_cut.store(true, Ordering::SeqCst);
        let how = *state.how.lock().unwrap();
        match how {
            Cut::Lost => {}
            Cut::Unanswered => {
                let _ = node.write_all(&frame).await;
                tokio::time::sleep(Duration::from_millis(150)).await;
            }
            Cut::Late => {
                let state = Arc::clone(state);
                state.late.send_modify(|late| *late += 1);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(700)).await;
                    let _ = node.write_all(&frame).await;
                    tokio::time::sleep(Duration::from_millis(300)).await;
                    state.late.send_modify(|late| *late -= 1);
                });
            }
        }
        return;
    }
}
