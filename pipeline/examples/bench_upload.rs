//! How long an upload's answer takes after its last byte.

#[allow(dead_code, reason = "other benchmarks use the rest")]
#[path = "bench/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use server::{Outcome, Server, mp4_head, word};

/// Uploads that count.
const UPLOADS: usize = 40;
/// Bytes of each.
const BYTES: u32 = 50_000_000;
/// Longest answer at the 95th percentile.
const GOAL: Duration = Duration::from_millis(200);

/// Uploads once; answers how long the answer took after the last byte, and the address of the job.
fn upload(address: &str) -> Outcome<(Duration, String)> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_nodelay(true)?;
    connection.set_read_timeout(Some(Duration::from_secs(60)))?;
    let head = mp4_head(BYTES - 32);
    write!(
        connection,
        "POST /api/upload?name=bench.mp4 HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/octet-stream\r\n\
         content-length: {BYTES}\r\nconnection: close\r\n\r\n"
    )?;
    connection.write_all(&head)?;
    let piece = vec![7_u8; 256 << 10];
    let mut left = BYTES as usize - head.len();
    while left > 0 {
        let length = left.min(piece.len());
        connection.write_all(&piece[..length])?;
        left -= length;
    }
    let sent = Instant::now();
    let mut reader = BufReader::new(connection);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let took = sent.elapsed();
    if !line.contains(" 201") {
        return Err(format!("the upload was refused: {line}").into());
    }
    let mut rest = String::new();
    reader.read_to_string(&mut rest)?;
    let location = rest.lines().find_map(|line| line.to_lowercase().starts_with("location:").then(|| line[9..].trim()));
    Ok((took, location.ok_or("the answer names no job")?.to_owned()))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let server = Server::start()?;
    let client = reqwest::Client::new();
    let mut times = Vec::new();
    for round in 0..=UPLOADS {
        let (took, job) = upload(server.address())?;
        client.delete(format!("{}{job}", server.url)).send().await?.error_for_status()?;
        // The first one opens files and grows buffers.
        if round > 0 {
            times.push(took);
        }
    }
    times.sort();
    let at = |share: usize| times[(times.len() * share).div_ceil(100).clamp(1, times.len()) - 1].as_secs_f64() * 1e3;
    println!(
        "{UPLOADS} uploads of {:.0} MB, answer after the last byte: p50 {:.1} ms, p95 {:.1} ms, longest {:.1} ms; goal {} ms: {}",
        f64::from(BYTES) / 1e6,
        at(50),
        at(95),
        at(100),
        GOAL.as_millis(),
        word(at(95) < GOAL.as_secs_f64() * 1e3)
    );
    Ok(())
}
