//! `submit`: uploads files as they lie on the disk, a few hundred kilobytes at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::stream::{FuturesUnordered, StreamExt};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Method, Url};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::{follow, jobs, show, watch};

/// How much of a file is read at once.
const PIECE: usize = 256 << 10;

/// How long an upload may stand still before it counts as broken.
const STANDSTILL: Duration = Duration::from_secs(120);

/// Uploads `files` one after the other; with `wait`, follows all of their jobs to the end.
pub async fn run(client: &Client, files: &[PathBuf], wait: bool, json: bool) -> Result<(), Failure> {
    let mut opened = Vec::new();
    for path in files {
        opened.push(Source::open(path).await?);
    }
    let bars = MultiProgress::with_draw_target(match show::has_bars() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    });
    let mut accepted = Vec::new();
    let mut is_one_failed = false;
    for source in opened {
        let name = source.name.clone();
        match upload(client, source, &bars).await {
            Ok(job) if wait => accepted.push(job),
            Ok(job) if json => show::print_json_line(&job)?,
            Ok(job) => show::print(&received(client, &job))?,
            // The next file will not reach the server either.
            Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
            Err(failure) => {
                is_one_failed = true;
                if json {
                    // A line for every file, so that a script knows what became of each.
                    let error = json!({ "message": failure.what, "advice": failure.advice });
                    show::print_json_line(&json!({ "name": name, "state": "refused", "error": error }))?;
                }
                let what = format!("{}: {}", show::plain(&name), failure.what);
                Failure { what, ..failure }.tell();
            }
        }
    }
    is_one_failed |= !all_ready(client, accepted, json, &bars).await?;
    if is_one_failed { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

/// Follows `accepted` jobs, all at once, and prints each as it ends; true when all of them are ready.
async fn all_ready(client: &Client, accepted: Vec<Value>, json: bool, bars: &MultiProgress) -> Result<bool, Failure> {
    let mut following: FuturesUnordered<_> = accepted
        .iter()
        .map(|job| async move {
            let bar = bars.add(watch::bar(&text(job, "name")));
            let ended = follow::to_the_end(client, &text(job, "id"), |status| watch::draw(&bar, status)).await;
            bar.finish_and_clear();
            ended
        })
        .collect();
    let mut are_ready = true;
    while let Some(ended) = following.next().await {
        let job = ended?;
        are_ready &= job["state"] == "ready";
        if json {
            show::print_json_line(&job)?;
        } else {
            let told = jobs::ending(client, &job);
            bars.suspend(|| show::print(&told))?;
        }
    }
    Ok(are_ready)
}

fn text(job: &Value, key: &str) -> String {
    job[key].as_str().unwrap_or_default().to_owned()
}

fn received(client: &Client, job: &Value) -> String {
    let id = text(job, "id");
    format!("{id}  received  {}\n  watch it at {}\n", show::plain(&text(job, "name")), jobs::page(client, &id))
}

/// A file to upload.
struct Source {
    name: String,
    path: PathBuf,
    file: tokio::fs::File,
    /// Bytes, when it is a plain file.
    length: Option<u64>,
}

impl Source {
    async fn open(path: &Path) -> Result<Self, Failure> {
        let unreadable = |error: std::io::Error| {
            let what = format!("cannot read {}: {error}", show::plain(&path.display().to_string()));
            Failure::usage(what, "name a video file that can be read")
        };
        let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
        let metadata = file.metadata().await.map_err(unreadable)?;
        if metadata.is_dir() {
            return Err(unreadable(std::io::Error::from(std::io::ErrorKind::IsADirectory)));
        }
        let name = path.file_name().map_or_else(|| "upload".into(), |name| name.to_string_lossy()).into_owned();
        let length = metadata.is_file().then_some(metadata.len());
        Ok(Self { name, path: path.to_owned(), file, length })
    }
}

/// Sends one file; answers the job.
async fn upload(client: &Client, source: Source, bars: &MultiProgress) -> Result<Value, Failure> {
    let bar = bars.add(upload_bar(&source));
    let sent = Arc::new(AtomicU64::new(0));
    let mut address = Url::parse(&client.address("api/upload"))
        .map_err(|error| Failure::usage(format!("cannot name the upload: {error}"), "check --server"))?;
    address.query_pairs_mut().append_pair("name", &source.name);
    let path = address.as_str().trim_start_matches(client.address("").as_str()).to_owned();
    let mut request = client.request(Method::POST, &path).header(CONTENT_TYPE, "application/octet-stream");
    if let Some(length) = source.length {
        request = request.header(CONTENT_LENGTH, length);
    }
    let shown = show::plain(&source.path.display().to_string());
    let body = pieces(source.file, Arc::clone(&sent), bar.clone());
    let request = request.body(reqwest::Body::wrap_stream(body));
    let answer = tokio::select! {
        answer = client.json(request) => answer,
        () = standstill(&sent) => {
            let what = format!("{} took no more of {shown} for {} s", client.server(), STANDSTILL.as_secs());
            Err(Failure::unreachable(what, "check the network and the server, then send it again"))
        }
    };
    bar.finish_and_clear();
    bars.remove(&bar);
    answer
}

fn upload_bar(source: &Source) -> ProgressBar {
    let bar = match source.length {
        Some(length) => ProgressBar::new(length),
        None => ProgressBar::no_length(),
    };
    watch::style(&bar, "{prefix:24!} {bar:24} {decimal_bytes:>9} of {decimal_total_bytes:9} {decimal_bytes_per_sec}");
    bar.set_prefix(show::plain(&source.name));
    bar
}

fn pieces(
    file: tokio::fs::File,
    sent: Arc<AtomicU64>,
    bar: ProgressBar,
) -> impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    futures::stream::try_unfold((file, sent, bar), |(mut file, sent, bar)| async move {
        let mut piece = BytesMut::with_capacity(PIECE);
        let read = file.read_buf(&mut piece).await?;
        // Asked for more means that what was given before is on its way.
        let total = sent.fetch_add(read as u64, Ordering::Relaxed) + read as u64;
        bar.set_position(total);
        Ok((read > 0).then(|| (piece.freeze(), (file, sent, bar))))
    })
}

/// Ends when nothing has moved for [`STANDSTILL`].
async fn standstill(sent: &AtomicU64) {
    let (mut seen, mut since) = (0, Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = sent.load(Ordering::Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > STANDSTILL {
            return;
        }
    }
}
