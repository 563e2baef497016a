//! Events per second through a stage that does nothing, on Kafka, and through a bare loop that consumes and produces. Both
//! begin with the same events in the log and end when the last one that they make is acknowledged and read.

#[allow(dead_code, reason = "the other benchmark uses the rest")]
#[path = "bench/kafka.rs"]
mod kafka;

use std::time::{Duration, Instant};

use kafka::{IN, OUT, Outcome};
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::producer::Producer;

const EVENTS: u64 = 50_000;
const GOAL: f64 = 0.5;
/// Events under way at once in the stage.
const SLOTS: [usize; 2] = [4, 512];

/// Puts the events of one run into `topic`.
fn fill(brokers: &str, topic: &str) -> Outcome<()> {
    let producer = kafka::producer(brokers, "5")?;
    for number in 0..EVENTS {
        let (job, value) = kafka::event(number)?;
        kafka::send(&producer, topic, i32::try_from(number % 8)?, &job.to_string(), &value)?;
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

/// Waits until so many records have come.
fn drain(from: &BaseConsumer, count: u64) -> Outcome<()> {
    let begun = Instant::now();
    let mut seen = 0;
    while seen < count {
        if let Some(message) = from.poll(Duration::from_millis(100)) {
            message?;
            seen += 1;
        }
        if begun.elapsed() > Duration::from_secs(300) {
            return Err(format!("{seen} of {count} came out within 300 s").into());
        }
    }
    Ok(())
}

/// Consumes and produces; commits what is acknowledged.
fn bare(brokers: &str, group: &str, from: &str, to: &str) -> Outcome<()> {
    let (member, producer) = (kafka::member(brokers, group, from)?, kafka::producer(brokers, "5")?);
    for number in 1..=EVENTS {
        let message = loop {
            if let Some(message) = member.poll(Duration::from_millis(100)) {
                break message?;
            }
        };
        kafka::send(&producer, to, message.partition(), "key", message.payload().unwrap_or_default())?;
        if number % 5_000 == 0 {
            producer.flush(Duration::from_secs(60))?;
            member.commit_consumer_state(CommitMode::Async).ok();
        }
    }
    Ok(producer.flush(Duration::from_secs(60))?)
}

fn main() -> Outcome<()> {
    let (brokers, prefix) = kafka::place()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut rates = Vec::new();
    let log = runtime.block_on(kafka::door(&brokers, &prefix))?;
    let name = |topic: &str| format!("{prefix}{topic}");
    fill(&brokers, &name("bare.in"))?;
    let reader = kafka::member(&brokers, &name("reader.bare"), &name("bare.out"))?;
    let begun = Instant::now();
    bare(&brokers, &name("bare"), &name("bare.in"), &name("bare.out"))?;
    drain(&reader, EVENTS)?;
    let plain = EVENTS as f64 / begun.elapsed().as_secs_f64();
    drop((reader, log));
    kafka::clean_up(&brokers, &prefix)?;
    for slots in SLOTS {
        let prefix = format!("{prefix}{slots}-");
        let log = runtime.block_on(kafka::door(&brokers, &prefix))?;
        fill(&brokers, &format!("{prefix}{IN}"))?;
        let reader = kafka::member(&brokers, &format!("{prefix}reader"), &format!("{prefix}{OUT}"))?;
        let begun = Instant::now();
        let (running, shutdown) = {
            let _inside = runtime.enter();
            kafka::run(log.clone(), slots)?
        };
        drain(&reader, EVENTS)?;
        rates.push((slots, EVENTS as f64 / begun.elapsed().as_secs_f64()));
        shutdown.cancel();
        runtime.block_on(running)?;
        runtime.block_on(log.close(Duration::from_secs(5)));
        drop(reader);
        kafka::clean_up(&brokers, &prefix)?;
    }
    println!("{EVENTS} events, from the first one read to the last one written and read again, group included");
    println!("bare loop               {plain:>9.0} /s   1");
    for (slots, rate) in rates {
        println!("stage, {slots:>3} at once     {rate:>9.0} /s   {:.2} x (goal: at least {GOAL})", rate / plain);
    }
    Ok(())
}
