//! Brokers that want to know who is there: passwords, challenges, certificates. And brokers whose name must be proved.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use connectors::Log;
use connectors::log::From;
use connectors::log::kafka::Settings;

use super::broker::Broker;
use super::opening::refusal;
use super::suite::{append, fresh, next, topic};
use super::{open, suite};

const PASSWORD: &str = "correct-horse";

fn run(folder: &Path, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let out = Command::new(words[0]).args(&words[1..]).current_dir(folder).output().unwrap();
    assert!(out.status.success(), "{line}: {}", String::from_utf8_lossy(&out.stderr));
}

/// An authority, and certificates that it has signed for the broker and for a client.
fn certificates(folder: &Path) {
    run(
        folder,
        "openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=test-authority",
    );
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost").unwrap();
    for name in ["broker", "client"] {
        run(
            folder,
            &format!("openssl req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        );
        run(
            folder,
            &format!(
                "openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 2 -extfile names"
            ),
        );
    }
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    std::fs::write(folder.join("broker.pem"), read("broker.key") + &read("broker.crt") + &read("ca.crt")).unwrap();
}

fn with(address: String, properties: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::new(address);
    settings.properties = properties.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    settings
}

/// Everything that a process does with the log works over this login.
async fn works(settings: Settings) {
    let log = open(settings).await;
    let (topic, group) = (topic(&log, 1).await, fresh("group"));
    append(&log, &topic, 0, &["a", "b"]).await;
    let mut member = log.join(&group, &[&topic]).await.unwrap();
    next(&mut *member).await;
    let records = suite::records(&mut *member, 2).await;
    member.commit(&[(records[0].at.clone(), 2)]).await.unwrap();
    assert_eq!(log.progress(&group, &[&topic]).await.unwrap()[0].committed, 2);
    log.tail(&[&topic], From::Beginning).await.unwrap().next().await.unwrap();
    log.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passwords_challenges_and_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let lines = format!(
        "listener.name.open.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n\
         listener.name.both.sasl.enabled.mechanisms=SCRAM-SHA-256\n\
         listener.name.open.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
         user_alice=\"{PASSWORD}\";\n\
         listener.name.open.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         listener.name.both.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
         ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
         listener.name.mutual.ssl.client.auth=required\n",
        path("broker.pem"),
        path("ca.crt"),
    );
    if Command::new("openssl").arg("version").output().is_err() {
        println!("not run here: logins at Kafka need openssl");
        return;
    }
    certificates(folder.path());
    let scram = format!("SCRAM-SHA-256=[name=alice,password={PASSWORD}]");
    let listeners = [("OPEN", "SASL_PLAINTEXT"), ("BOTH", "SASL_SSL"), ("MUTUAL", "SSL")];
    let broker = Broker::with("logins at Kafka", &lines, &listeners, &["--add-scram", &scram]);
    let Some(broker) = broker else { return };
    let broker = Arc::new(broker);
    let (ca, certificate, key) = (path("ca.crt"), path("client.crt"), path("client.key"));

    let plain = |password: &str| {
        with(
            broker.login("open"),
            &[
                ("security.protocol", "sasl_plaintext"),
                ("sasl.mechanism", "PLAIN"),
                ("sasl.username", "alice"),
                ("sasl.password", password),
            ],
        )
    };
    let scram = |password: &str| {
        with(
            broker.login("both"),
            &[
                ("security.protocol", "sasl_ssl"),
                ("sasl.mechanism", "SCRAM-SHA-256"),
                ("sasl.username", "alice"),
                ("sasl.password", password),
                ("ssl.ca.location", &ca),
            ],
        )
    };
    let mutual = with(
        broker.login("mutual"),
        &[
            ("security.protocol", "ssl"),
            ("ssl.ca.location", &ca),
            ("ssl.certificate.location", &certificate),
            ("ssl.key.location", &key),
        ],
    );
    works(plain(PASSWORD)).await;
    works(scram(PASSWORD)).await;
    works(mutual).await;

    for wrong in [plain("wrong-horse"), scram("wrong-horse")] {
        let said = refusal(wrong).await;
        assert!(said.to_lowercase().contains("authentication"), "{said}");
        assert!(!said.contains("wrong-horse"), "{said}");
    }
    // Without the authority nobody proves who the broker is.
    let stranger = with(broker.login("mutual"), &[("security.protocol", "ssl")]);
    let said = refusal(stranger).await.to_lowercase();
    assert!(said.contains("ssl") || said.contains("certificate"), "{said}");
}
