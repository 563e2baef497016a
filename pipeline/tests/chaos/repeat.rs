//! Every event comes three times: a copy machine beside the log, as a broken producer or a network that answers late would be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use connectors::Log;
use connectors::log::{Error, From, NewRecord, Record, Tailed};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Header of a copy, so that copies are not copied and can be told apart afterwards.
pub const COPY: &str = "chaos-copy";

/// Whether `record` was made here.
pub fn is_copy(record: &Record) -> bool {
    record.headers.iter().any(|(name, _)| name == COPY)
}

/// The copy machine; dropped, it is gone.
pub struct Repeater {
    running: JoinHandle<()>,
}

impl Drop for Repeater {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Repeater {
    /// A machine for all `topics` of `log`: every event that is appended while it lives comes twice more. Counts in `copies`.
    pub fn new(log: Arc<dyn Log>, topics: Vec<String>, copies: Arc<AtomicU64>) -> Self {
        let running = tokio::spawn(async move {
            loop {
                // The broker may be out of reach for a while.
                if copy(&*log, &topics, &copies).await.is_err() {
                    sleep(Duration::from_millis(500)).await;
                }
            }
        });
        Self { running }
    }
}

async fn copy(log: &dyn Log, topics: &[String], copies: &AtomicU64) -> Result<(), Error> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut reader = log.tail(&names, From::End).await?;
    loop {
        let Tailed::Records(records) = reader.next().await? else { continue };
        let twice = records.iter().filter(|record| !is_copy(record)).flat_map(|record| [again(record), again(record)]);
        let twice: Vec<NewRecord> = twice.collect();
        let count = twice.len() as u64;
        if count > 0 {
            log.append(twice).await?;
            copies.fetch_add(count, Ordering::SeqCst);
        }
    }
}

fn again(record: &Record) -> NewRecord {
    let mut headers = record.headers.clone();
    headers.push((COPY.to_owned(), Bytes::from_static(b"1")));
    record.again(headers)
}
