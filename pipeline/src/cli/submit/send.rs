//! One file to the server, by tus: a connection that breaks is taken up again where the server is.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use indicatif::{MultiProgress, ProgressBar};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use super::files::Source;
use super::notes::Notes;
use crate::cli::client::{Client, id_part};
use crate::cli::failure::{Exit, Failure};
use crate::cli::{show, watch};

/// How much of a file is read at once.
const PIECE: usize = 256 << 10;
/// How long an upload may stand still before its connection counts as broken.
const STANDSTILL: Duration = Duration::from_secs(30);
/// How long a broken upload is taken up again without a byte more.
const PATIENCE: Duration = Duration::from_secs(120);
/// First and longest pause before it is.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long a short answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// Why an upload stopped.
enum Stop {
    /// It may go on.
    Broken(Failure),
    /// It will not.
    Refused(Failure),
}

/// Sends `source`; answers its job.
pub(super) async fn send(
    client: &Client,
    source: Source,
    bars: &MultiProgress,
    notes: &Notes,
) -> Result<Value, Failure> {
    let bar = bars.add(bar(&source));
    let sent = match source.length {
        Some(length) => resumably(client, &source, length, &bar, notes).await,
        // What is no plain file can be read once only.
        None => at_once(client, source, &bar).await,
    };
    bar.finish_and_clear();
    bars.remove(&bar);
    sent
}

fn bar(source: &Source) -> ProgressBar {
    let bar = watch::undrawn(source.length);
    watch::style(&bar, "{prefix:20!} {bar:16} {decimal_bytes:>9} of {decimal_total_bytes:9} {wide_msg}");
    bar.set_prefix(show::plain(&source.name));
    bar
}

async fn resumably(
    client: &Client,
    source: &Source,
    length: u64,
    bar: &ProgressBar,
    notes: &Notes,
) -> Result<Value, Failure> {
    let server = client.server();
    let (mut address, mut offset) = match begun(client, source, notes).await? {
        Some(found) => found,
        None => (begin(client, source, length, notes).await?, 0),
    };
    let (mut pause, mut moved_at) = (PAUSE.0, Instant::now());
    loop {
        bar.set_position(offset);
        let stop = match append(client, &address, source, offset, length, bar).await {
            Ok(()) => break,
            Err(stop) => stop,
        };
        let failure = match stop {
            Stop::Refused(failure) => {
                if failure.exit == Exit::Failed && failure.what.contains("unsupported_media") {
                    notes.over(&server, source);
                }
                return Err(failure);
            }
            Stop::Broken(failure) => failure,
        };
        // Ask where it is, until somebody answers.
        loop {
            if moved_at.elapsed() > PATIENCE {
                let advice = "run the same command again: it goes on where it was";
                return Err(Failure { advice: advice.to_owned(), ..failure });
            }
            bar.set_message("reconnecting");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
            match ask(client, &address).await {
                Ok(Some(found)) => {
                    if found > offset {
                        (pause, moved_at) = (PAUSE.0, Instant::now());
                    }
                    offset = found;
                    break;
                }
                Ok(None) => {
                    // It expired, or the server has lost everything.
                    address = begin(client, source, length, notes).await?;
                    offset = 0;
                    break;
                }
                Err(_) => {}
            }
        }
    }
    bar.set_position(length);
    notes.over(&server, source);
    let id = address.rsplit('/').next().unwrap_or_default().to_owned();
    client.get(&format!("api/jobs/{}", id_part(&id)?)).await
}

fn tus(client: &Client, method: Method, path: &str) -> RequestBuilder {
    client.request(method, path).header("tus-resumable", "1.0.0")
}

/// The upload that an earlier command has begun, and how far it is.
async fn begun(client: &Client, source: &Source, notes: &Notes) -> Result<Option<(String, u64)>, Failure> {
    let Some(address) = notes.address(&client.server(), source) else { return Ok(None) };
    let found = ask(client, &address).await?;
    Ok(found.map(|offset| (address, offset)))
}

/// Begins an upload; answers its address, relative to the server's.
async fn begin(client: &Client, source: &Source, length: u64, notes: &Notes) -> Result<String, Failure> {
    let request = tus(client, Method::POST, "api/uploads")
        .header("upload-length", length)
        .header("upload-metadata", format!("filename {}", BASE64_STANDARD.encode(&source.name)))
        .timeout(ANSWER);
    let answer = client.send(request).await?;
    let location = header(&answer, "location").unwrap_or_default().to_owned();
    let Some((_, id)) = location.rsplit_once("api/uploads/") else {
        let what = format!("{} does not say where the upload goes", client.server());
        return Err(Failure::failed(what, "check the address in --server, its port and its path"));
    };
    let address = format!("api/uploads/{}", id_part(id)?);
    notes.begun(&client.server(), source, &address);
    Ok(address)
}

/// How far the upload at `address` is; none when there is none any more.
async fn ask(client: &Client, address: &str) -> Result<Option<u64>, Failure> {
    let answer = tus(client, Method::HEAD, address).timeout(ANSWER).send().await;
    let answer = answer.map_err(|error| client.lost(&error))?;
    if matches!(answer.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
        return Ok(None);
    }
    if let Some(offset) = header(&answer, "upload-offset").and_then(|offset| offset.parse().ok()) {
        return Ok(Some(offset));
    }
    let what = format!("{} does not say how far the upload is ({})", client.server(), answer.status().as_u16());
    Err(Failure::unreachable(what, "ask again in a moment"))
}

fn header<'r>(answer: &'r Response, name: &str) -> Option<&'r str> {
    answer.headers().get(name)?.to_str().ok()
}

/// Sends all of the file that comes behind `offset`.
async fn append(
    client: &Client,
    address: &str,
    source: &Source,
    offset: u64,
    length: u64,
    bar: &ProgressBar,
) -> Result<(), Stop> {
    let broken = |error: std::io::Error| {
        let what = format!("cannot read {}: {error}", show::plain(&source.path.display().to_string()));
        Stop::Refused(Failure::failed(what, "name a video file that can be read"))
    };
    let file = Arc::new(source.file.try_clone().map_err(broken)?);
    let moved = Arc::new(AtomicU64::new(0));
    let request = tus(client, Method::PATCH, address)
        .header(CONTENT_TYPE, "application/offset+octet-stream")
        .header("upload-offset", offset)
        .header(CONTENT_LENGTH, length - offset)
        .body(reqwest::Body::wrap_stream(pieces(file, offset, length, Arc::clone(&moved), bar.clone())));
    let answer = tokio::select! {
        answer = request.send() => answer.map_err(|error| Stop::Broken(client.lost(&error)))?,
        () = standstill(&moved) => {
            let what = format!("{} took no more for {} s", client.server(), STANDSTILL.as_secs());
            return Err(Stop::Broken(Failure::unreachable(what, "check the network and the server")));
        }
    };
    let status = answer.status();
    if status.is_success() && header(&answer, "upload-offset") == Some(&length.to_string()) {
        return Ok(());
    }
    let may_pass = status.is_success()
        || matches!(status, StatusCode::CONFLICT | StatusCode::LOCKED | StatusCode::REQUEST_TIMEOUT)
        || matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::TOO_MANY_REQUESTS)
        || (status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE);
    let failure = crate::cli::client::refused(answer).await;
    Err(if may_pass { Stop::Broken(Failure { exit: Exit::Unreachable, ..failure }) } else { Stop::Refused(failure) })
}

/// The bytes of `file` from `offset` to `length`.
fn pieces(
    file: Arc<File>,
    offset: u64,
    length: u64,
    moved: Arc<AtomicU64>,
    bar: ProgressBar,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold(offset, move |at| {
        let (file, moved, bar) = (Arc::clone(&file), Arc::clone(&moved), bar.clone());
        async move {
            // Asked for more means that what was given before is on its way.
            moved.store(at, Ordering::Relaxed);
            bar.set_position(at);
            bar.set_message(format!("{}/s", indicatif::DecimalBytes(bar.per_sec() as u64)));
            if at >= length {
                return Ok(None);
            }
            let wanted = usize::try_from(length - at).unwrap_or(usize::MAX).min(PIECE);
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = BytesMut::zeroed(wanted);
                let count = file.read_at(&mut piece, at)?;
                piece.truncate(count);
                Ok::<_, std::io::Error>(piece.freeze())
            });
            let piece = read.await.map_err(std::io::Error::other)??;
            if piece.is_empty() {
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the file got shorter"));
            }
            let next = at + piece.len() as u64;
            Ok(Some((piece, next)))
        }
    })
}

/// Ends when nothing has moved for [`STANDSTILL`].
async fn standstill(moved: &AtomicU64) {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = moved.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > STANDSTILL {
            return;
        }
    }
}

/// Sends what can be read once only, such as a pipe.
async fn at_once(client: &Client, source: Source, bar: &ProgressBar) -> Result<Value, Failure> {
    let name: String = reqwest::Url::parse_with_params("http://x/", [("name", &source.name)])
        .map(|url| url.query().unwrap_or_default().to_owned())
        .unwrap_or_default();
    let request =
        client.request(Method::POST, &format!("api/upload?{name}")).header(CONTENT_TYPE, "application/octet-stream");
    let file = tokio::fs::File::from_std(source.file);
    let body = futures::stream::try_unfold((file, bar.clone()), |(mut file, bar)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = tokio::io::AsyncReadExt::read_buf(&mut file, &mut piece).await?;
        bar.inc(read as u64);
        Ok::<_, std::io::Error>((read > 0).then(|| (piece.freeze(), (file, bar))))
    });
    client.json(request.body(reqwest::Body::wrap_stream(body))).await
}
