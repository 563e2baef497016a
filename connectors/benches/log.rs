//! How fast the embedded log is, as ratios to what the disk and the database do by themselves in the same run.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use connectors::clock::SystemClock;
use connectors::log::embedded::Embedded;
use connectors::log::{Delivery, From, Log, NewRecord, Retention, Tailed, TopicSpec};
use redb::{Database, TableDefinition};

const RECORD_BYTES: usize = 256;
const PARTITIONS: u32 = 8;
const BATCH: u64 = 256;
const SPAN: Duration = Duration::from_secs(3);
const ROUNDS: usize = 3;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut flushes = Vec::new();
    let (mut plain, mut one, mut few, mut many, mut read) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut handed, mut hops) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let folder = folder.path().join(round.to_string());
        std::fs::create_dir(&folder)?;
        plain.push(plain_redb(&folder)?);
        let log: Arc<dyn Log> = Arc::new(Embedded::open(&folder.join("log.redb"), Arc::new(SystemClock))?);
        let spec = |name: &str| TopicSpec {
            name: name.into(),
            partitions: PARTITIONS,
            retention: Retention::default(),
            min_in_sync: None,
        };
        runtime.block_on(log.ensure_topics(&[spec("bench"), spec("hop")]))?;
        one.push(runtime.block_on(appends(&log, 1))?);
        few.push(runtime.block_on(appends(&log, 16))?);
        many.push(runtime.block_on(appends(&log, 256))?);
        read.push(runtime.block_on(reads(&log))?);
        // A task of the runtime, as a stage is; the thread that blocks on the runtime would be woken twice.
        let measured = hops_in_a_task(&runtime, Arc::clone(&log), folder.clone())?;
        for Hop { flush, handed: by_thread, hop } in measured {
            flushes.push(flush);
            handed.push(by_thread);
            hops.push(hop);
        }
    }
    let flush = percentile(&mut flushes, 50);
    let flush_99 = percentile(&mut flushes, 99);
    let (hop, hop_99) = (percentile(&mut hops, 50), percentile(&mut hops, 99));
    let handed = percentile(&mut handed, 50);
    let plain = median(&mut plain);
    println!("{RECORD_BYTES}-byte records, {PARTITIONS} partitions, medians of {ROUNDS} rounds of {SPAN:?}");
    println!("{:<46} {:>12}   ratio", "", "");
    println!("{:<46} {:>9.2} ms   1", "fsync of a plain file, p50", ms(flush));
    println!(
        "{:<46} {:>9.2} ms   {:.2} x fsync p50",
        "fsync of a plain file, p99",
        ms(flush_99),
        ratio(flush_99, flush)
    );
    println!(
        "{:<46} {:>9.2} ms   {:.2} x fsync p50",
        "the same by another thread, p50",
        ms(handed),
        ratio(handed, flush)
    );
    println!("{:<46} {:>10.0} /s   1", "plain redb, 256 records per transaction", plain);
    for (name, rates, goal) in [
        ("durable appends, 1 writer", &mut one, ""),
        ("durable appends, 16 writers", &mut few, ""),
        ("durable appends, 256 writers", &mut many, " (goal: at least 0.50)"),
    ] {
        let rate = median(rates);
        println!("{name:<46} {rate:>10.0} /s   {:.2} x plain redb{goal}", rate / plain);
    }
    let rate = median(&mut read);
    println!("{:<46} {:>10.0} /s   {:.2} x plain redb writes", "records read", rate, rate / plain);
    println!(
        "{:<46} {:>9.2} ms   {:.2} x fsync p50 (goal: below 1.50)",
        "hop, append to received, p50",
        ms(hop),
        ratio(hop, flush)
    );
    println!("{:<46} {:>9.2} ms   {:.2} x fsync p50", "hop, append to received, p99", ms(hop_99), ratio(hop_99, flush));
    Ok(())
}

fn hops_in_a_task(
    runtime: &tokio::runtime::Runtime,
    log: Arc<dyn Log>,
    folder: std::path::PathBuf,
) -> Outcome<Vec<Hop>> {
    runtime.block_on(async { tokio::spawn(async move { hop_times(&log, &folder).await }).await? })
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn ratio(time: Duration, base: Duration) -> f64 {
    time.as_secs_f64() / base.as_secs_f64()
}

fn percentile(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times.get(times.len() * percent / 100).copied().unwrap_or_default()
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Records per second that `redb` takes from one thread which has 256 of them ready for each transaction.
fn plain_redb(folder: &Path) -> Outcome<f64> {
    const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");
    let database = Database::create(folder.join("plain.redb"))?;
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < SPAN {
        let transaction = database.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS)?;
            for number in count..count + BATCH {
                table.insert(number, [7; RECORD_BYTES].as_slice())?;
            }
        }
        transaction.commit()?;
        count += BATCH;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

fn record(topic: &str, spread: u64) -> NewRecord {
    let value = Bytes::from_static(&[7; RECORD_BYTES]);
    NewRecord { topic: topic.into(), spread, key: Bytes::from_static(b"key"), value, headers: Vec::new() }
}

/// Records per second that `writers` get acknowledged, each waiting for its last one.
async fn appends(log: &Arc<dyn Log>, writers: u64) -> Outcome<f64> {
    let count = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers {
        let (log, count) = (Arc::clone(log), Arc::clone(&count));
        tasks.spawn(async move {
            while begun.elapsed() < SPAN {
                log.append(vec![record("bench", writer)]).await?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, connectors::log::Error>(())
        });
    }
    while let Some(task) = tasks.join_next().await {
        task??;
    }
    Ok(count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}

/// Records per second that one reader gets from the beginning to the end.
async fn reads(log: &Arc<dyn Log>) -> Outcome<f64> {
    let mut tail = log.tail(&["bench"], From::Beginning).await?;
    let begun = Instant::now();
    let mut count = 0;
    while let Tailed::Records(records) = tail.next().await? {
        count += records.len();
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// What one round of the hop takes.
struct Hop {
    /// One flush of a plain file.
    flush: Duration,
    /// The same flush, handed to a thread and answered to a task: what no log on a busy machine can do without.
    handed: Duration,
    /// From the call of append to the moment at which an idle member has the record.
    hop: Duration,
}

/// Measures hops, each beside flushes of a plain file, so that all see the same disk and the same load.
async fn hop_times(log: &Arc<dyn Log>, folder: &Path) -> Outcome<Vec<Hop>> {
    let mut file = File::create(folder.join("plain"))?;
    let (hand, wishes) = std::sync::mpsc::channel::<tokio::sync::oneshot::Sender<std::io::Result<()>>>();
    let mut theirs = File::create(folder.join("handed"))?;
    std::thread::spawn(move || {
        for answer in wishes {
            let _ = answer.send(theirs.write_all(&[7; RECORD_BYTES]).and_then(|()| theirs.sync_all()));
        }
    });
    let mut member = log.join("hop", &["hop"]).await?;
    while !matches!(member.next().await?, Delivery::Gained(_)) {}
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::spawn(async move {
        while let Ok(delivery) = member.next().await {
            if matches!(delivery, Delivery::Records(_)) && sender.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let mut times = Vec::new();
    for number in 0..300 {
        let flushing = Instant::now();
        file.write_all(&[7; RECORD_BYTES])?;
        file.sync_all()?;
        let flush = flushing.elapsed();
        let handing = Instant::now();
        let (answer, done) = tokio::sync::oneshot::channel();
        hand.send(answer)?;
        done.await??;
        let handed = handing.elapsed();
        let begun = Instant::now();
        log.append(vec![record("hop", number)]).await?;
        let arrived = received.recv().await.ok_or("the member is gone")?;
        times.push(Hop { flush, handed, hop: arrived - begun });
    }
    listener.abort();
    Ok(times)
}
