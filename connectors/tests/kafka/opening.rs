//! What is wrong is said at the start, within ten seconds and in words.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::clock::SystemClock;
use connectors::log::kafka::{self, Settings};

use super::broker::Broker;

/// Why the log cannot be opened: the whole chain.
pub async fn refusal(settings: Settings) -> String {
    let begun = Instant::now();
    let error = kafka::open(settings, Arc::new(SystemClock)).await.map(drop).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(10), "it took {:?}", begun.elapsed());
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_at_the_address() {
    let [port] = crate::ports::free();
    let address = format!("127.0.0.1:{port}");
    let said = refusal(Settings::new(&address)).await;
    assert!(said.contains(&address) && said.contains("Connection refused"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_does_not_exist() {
    let said = refusal(Settings::new("no.such.host.invalid:9092")).await;
    assert!(said.contains("no.such.host.invalid:9092") && said.contains("resolve"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_name_an_address_where_nobody_is() {
    let [nobody] = crate::ports::free();
    // The last of two lines counts.
    let lines = format!("advertised.listeners=PLAINTEXT://127.0.0.1:{nobody}");
    let Some(broker) = Broker::with("an advertised address that is wrong", &lines, &[], &[]) else { return };
    // Connections are taken before the broker knows enough to answer.
    let begun = Instant::now();
    loop {
        let said = refusal(Settings::new(broker.address())).await;
        if said.contains(&format!("at 127.0.0.1:{nobody}: ")) && said.contains("refused") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_value_of_a_refused_property_is_nobodys_business() {
    for (name, value) in [
        // As Java clients have it, and librdkafka does not.
        ("sasl.jaas.config", "PlainLoginModule required username=\"me\" password=\"hunter2\";"),
        ("sasl.pasword", "hunter2"),
        ("ssl.keystore.passwort", "hunter2"),
        ("sasl.oauthbearer.method", "hunter2"),
        ("ssl.private.key", "hunter2"),
    ] {
        let mut settings = Settings::new("127.0.0.1:1");
        settings.properties.insert(name.into(), value.into());
        let error = kafka::open(settings.clone(), Arc::new(SystemClock)).await.map(drop).unwrap_err();
        let said = format!("{} {error:?}", refusal(settings).await);
        assert!(said.contains(name) && !said.contains("hunter2"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_property_that_does_not_exist_or_is_not_the_users() {
    for (name, value, word) in [
        ("no.such.thing", "1", "No such configuration property"),
        ("linger.ms", "soon", "linger.ms"),
        ("enable.auto.commit", "true", "cannot be set for Kafka"),
        ("fetch.wait.max.ms", "-7", "fetch.wait.max.ms"),
    ] {
        let mut settings = Settings::new("127.0.0.1:1");
        settings.properties.insert(name.into(), value.into());
        let begun = Instant::now();
        let said = refusal(settings).await;
        assert!(said.contains(name) && said.contains(word), "{said}");
        assert!(begun.elapsed() < Duration::from_secs(1), "a property is tried before any broker");
    }
}
