//! `submit`: uploads files, several at a time, each of them resumably.
//!
//! # Layout
//! - here: all of them, and what is told about each
//! - [`files`]: which files are meant; [`send`]: one of them, by tus; [`notes`]: where uploads that were interrupted go on

use std::path::PathBuf;
use std::sync::Arc;

use futures::stream::{self, FuturesUnordered, StreamExt};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::{follow, jobs, show, watch};
use files::Source;
use notes::Notes;

mod files;
mod notes;
mod send;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Files, folders and patterns.
    pub files: Vec<PathBuf>,
    /// Whether jobs are followed to their end.
    pub wait: bool,
    /// Whether one JSON object a line is printed.
    pub json: bool,
    /// How many files are sent at a time.
    pub parallel: usize,
}

/// Uploads what is wished for; with `wait`, follows all of the jobs to the end.
pub async fn run(client: &Client, wish: &Wish) -> Result<(), Failure> {
    let sources = files::find(&wish.files)?;
    let bars = MultiProgress::with_draw_target(match show::has_bars() {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    });
    let notes = Arc::new(Notes::open());
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        done = send_all(client, sources, wish, &bars, &notes) => done,
        _ = interrupted => {
            let _ = bars.clear();
            let advice = "run the same command again: files go on where they were";
            Err(Failure::failed("interrupted; the server keeps what it has got", advice))
        }
    }
}

async fn send_all(
    client: &Client,
    sources: Vec<Source>,
    wish: &Wish,
    bars: &MultiProgress,
    notes: &Arc<Notes>,
) -> Result<(), Failure> {
    // In the order in which they were named, whichever is through first.
    let mut sent = stream::iter(sources)
        .map(|source| async move {
            let name = source.name.clone();
            (name, send::send(client, source, bars, notes).await)
        })
        .buffered(wish.parallel.max(1));
    let (mut accepted, mut is_one_failed) = (Vec::new(), false);
    while let Some((name, sent)) = sent.next().await {
        match sent {
            Ok(job) if wish.wait => accepted.push(job),
            Ok(job) if wish.json => bars.suspend(|| show::print_json_line(&job))?,
            Ok(job) => bars.suspend(|| show::print(&received(client, &job)))?,
            // The next file will not reach the server either.
            Err(failure) if failure.exit == Exit::Unreachable => return Err(failure),
            Err(failure) => {
                is_one_failed = true;
                if wish.json {
                    // A line for every file, so that a script knows what became of each.
                    let error = json!({ "message": failure.what, "advice": failure.advice });
                    let line = json!({ "name": name, "state": "refused", "error": error });
                    bars.suspend(|| show::print_json_line(&line))?;
                }
                let what = format!("{}: {}", show::plain(&name), failure.what);
                bars.suspend(|| Failure { what, ..failure }.tell());
            }
        }
    }
    is_one_failed |= !all_ready(client, accepted, wish.json, bars).await?;
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
