//! From event in to event out, on Kafka: through a stage of the runner, and through a bare client that sends on what it
//! gets. Both are driven by the same bare clients, one event at a time, in turns.

#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "bench/kafka.rs"]
mod kafka;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kafka::{IN, OUT, Outcome};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::BaseProducer;

const HOPS: u64 = 1_000;
const WARM_UP: u64 = 100;
const GOAL: f64 = 1.5;

/// One event in, and the time until one is out.
fn hop(producer: &BaseProducer, into: &str, out: &BaseConsumer, number: u64) -> Outcome<Duration> {
    let (job, value) = kafka::event(number)?;
    let partition = i32::try_from(number % 8)?;
    let begun = Instant::now();
    kafka::send(producer, into, partition, &job.to_string(), &value)?;
    while begun.elapsed() < Duration::from_secs(30) {
        if let Some(message) = out.poll(Duration::from_millis(1)) {
            message?;
            return Ok(begun.elapsed());
        }
        producer_poll(producer);
    }
    Err("nothing came out within 30 s".into())
}

fn producer_poll(producer: &BaseProducer) {
    producer.poll(Duration::ZERO);
}

/// Sends on what comes, and commits it now and then, until `stop`.
fn echo(brokers: &str, group: &str, from: &str, to: &str, stop: &AtomicBool, ready: &AtomicBool) -> Outcome<()> {
    let (member, producer) = (kafka::member(brokers, group, from)?, kafka::producer(brokers, "0")?);
    ready.store(true, Ordering::SeqCst);
    let mut since = Instant::now();
    let mut is_due = false;
    while !stop.load(Ordering::SeqCst) {
        if let Some(message) = member.poll(Duration::from_millis(10)) {
            let message = message?;
            let value = message.payload().unwrap_or_default();
            kafka::send(&producer, to, message.partition(), "key", value)?;
            member.store_offset_from_message(&message).ok();
            is_due = true;
        }
        producer.poll(Duration::ZERO);
        if is_due && since.elapsed() > Duration::from_millis(20) {
            member.commit_consumer_state(CommitMode::Async)?;
            (since, is_due) = (Instant::now(), false);
        }
    }
    Ok(())
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times.get(times.len() * percent / 100).map_or(0.0, Duration::as_secs_f64) * 1e3
}

fn main() -> Outcome<()> {
    let (brokers, prefix) = kafka::place()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let log = runtime.block_on(kafka::door(&brokers, &prefix))?;
    let name = |topic: &str| format!("{prefix}{topic}");
    let (_running, shutdown) = {
        let _inside = runtime.enter();
        kafka::run(Arc::clone(&log), 4)?
    };
    let (stop, ready) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let bare = std::thread::spawn({
        let (brokers, group, from, to) = (brokers.clone(), name("echo"), name("bare.in"), name("bare.out"));
        let (stop, ready) = (Arc::clone(&stop), Arc::clone(&ready));
        move || echo(&brokers, &group, &from, &to, &stop, &ready)
    });
    let producer = kafka::producer(&brokers, "0")?;
    let from_bare = kafka::member(&brokers, &name("reader.bare"), &name("bare.out"))?;
    let from_stage = kafka::member(&brokers, &name("reader.stage"), &name(OUT))?;
    while !ready.load(Ordering::SeqCst) && !bare.is_finished() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut plain, mut staged) = (Vec::new(), Vec::new());
    for number in 0..WARM_UP + HOPS {
        let one = hop(&producer, &name("bare.in"), &from_bare, number)?;
        let other = hop(&producer, &name(IN), &from_stage, number)?;
        if number >= WARM_UP {
            plain.push(one);
            staged.push(other);
        }
    }
    stop.store(true, Ordering::SeqCst);
    bare.join().map_err(|_| "the bare client broke")??;
    shutdown.cancel();
    runtime.block_on(log.close(Duration::from_secs(5)));
    println!("{HOPS} hops of one event each, in turns");
    for percent in [50, 99] {
        let (plain, staged) = (percentile(&mut plain, percent), percentile(&mut staged, percent));
        println!(
            "p{percent}  bare client {plain:>7.2} ms   stage {staged:>7.2} ms   {:.2} x (goal: at most {GOAL})",
            staged / plain
        );
    }
    drop((from_bare, from_stage));
    kafka::clean_up(&brokers, &prefix)
}
