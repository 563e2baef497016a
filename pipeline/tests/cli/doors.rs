//! Doors that do not open, as a process: each is told with what is wrong, within ten seconds, and the process ends with 1. And
//! the doctor, who says the same and changes nothing.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use connectors::blobs::s3::{Keys, Settings, make_bucket};
use serde_json::Value;

use super::server::{Reply, Server};
use super::{assert_exit, stderr, stdout, streamforge, up::up};

/// An address where nobody listens.
fn nobody() -> String {
    let [port] = super::ports::free();
    format!("127.0.0.1:{port}")
}

/// Ends with 1 within ten seconds; answers the line that says what is wrong and the one that says what to do.
fn refused(command: &mut Command) -> (String, String) {
    let began = Instant::now();
    let output = command.output().unwrap();
    let took = began.elapsed();
    assert_exit(&output, 1);
    assert!(took < Duration::from_secs(10), "it took {took:?}: {}", stderr(&output));
    let said = stderr(&output);
    let lines: Vec<&str> = said.lines().collect();
    let [.., what, advice] = lines[..] else { panic!("{said}") };
    assert!(what.starts_with("error: ") && advice.starts_with("  try: "), "{said}");
    // The client libraries' own words may come before it; secrets come nowhere.
    assert!(!said.contains("hunter2") && !stdout(&output).contains("hunter2"), "{said}");
    (what.to_owned(), advice.to_owned())
}

/// What the doctor finds, by what was checked: health, what was found, how to mend it.
fn findings(output: &Output) -> impl Fn(&str) -> (String, String, String) {
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    move |check: &str| {
        let found = document["findings"].as_array().unwrap().iter().find(|found| found["check"] == check);
        let found = found.unwrap_or_else(|| panic!("{check} is not in {document}"));
        let of = |key: &str| found[key].as_str().unwrap().to_owned();
        (of("health"), of("found"), of("fix"))
    }
}

const PORTS: [&str; 4] = ["--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"];

fn role<'a>(role: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    let ports = if role[0] == "work" { &PORTS[2..] } else { &PORTS[..] };
    [role, ports, more].concat()
}

#[test]
fn each_service_that_is_not_there_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, node, server) = (nobody(), nobody(), nobody());
    let (log, catalog) = (format!("kafka://{broker}"), format!("scylla://{node}/videos"));
    let (odd_log, odd_catalog) = ("kafka://no.such.host.invalid:9092", "scylla://no.such.host.invalid:9042/videos");
    let s3 = |command: &mut Command| {
        command
            .env("AWS_ENDPOINT_URL", format!("http://{server}"))
            .env("AWS_ACCESS_KEY_ID", "me")
            .env("AWS_SECRET_ACCESS_KEY", "hunter2")
            .env("STREAMFORGE_KAFKA_SASL_PASSWORD", "hunter2");
    };
    let up_with = |more: &[&str]| {
        let mut command = streamforge(&folder, &role(&["up"], more));
        s3(&mut command);
        refused(&mut command)
    };
    for (more, words) in [
        (["--log", &log], ["open the log", "no broker answers at", &broker]),
        (["--log", odd_log], ["open the log", "no.such.host.invalid:9092", "resolve"]),
        (["--catalog", &catalog], ["open the catalog", &node, "refused"]),
        (["--catalog", odd_catalog], ["open the catalog", "no.such.host.invalid", "address"]),
        (["--blobs", "s3://videos/here"], ["open the blob store", &server, "does not answer"]),
    ] {
        let (what, advice) = up_with(&more);
        assert!(words.iter().all(|word| what.contains(word)), "{what}");
        assert!(advice.len() > "  try: ".len(), "{advice}");
    }
    // Roles of a bigger deployment, with everything wrong at once: all is told, and it takes no longer.
    let all = ["--log", &log, "--catalog", &catalog, "--blobs", "s3://videos/here"];
    for asked in [&["edge"][..], &["work", "--stages", "transcode"]] {
        let mut command = streamforge(&folder, &role(asked, &all));
        s3(&mut command);
        let (what, _) = refused(&mut command);
        assert!([&broker, &node, &server].iter().all(|address| what.contains(*address)), "{what}");
    }
    // A property that does not exist is told, and its value is nobody's business.
    let mut command = streamforge(&folder, &role(&["up"], &["--log", &log]));
    let login = "PlainLoginModule required username=\"me\" password=\"hunter2\";";
    let (what, _) = refused(command.env("STREAMFORGE_KAFKA_SASL_JAAS_CONFIG", login));
    assert!(what.contains("sasl.jaas.config"), "{what}");

    let mut doctor = streamforge(&folder, &role(&["doctor", "--json"], &all));
    s3(&mut doctor);
    let output = doctor.output().unwrap();
    assert_exit(&output, 1);
    let found = findings(&output);
    for (check, address) in [("log", &broker), ("catalog", &node), ("blobs", &server)] {
        let (health, said, fix) = found(check);
        assert!(health == "fail" && said.contains(address) && !fix.is_empty(), "{check}: {said}; {fix}");
    }
    assert!(!stdout(&output).contains("hunter2") && !stderr(&output).contains("hunter2"));
}

#[test]
fn the_doctor_makes_nothing_in_a_folder_that_is_there_already() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let output = streamforge(&folder, &role(&["doctor", "--json"], &["--data", "data"])).output().unwrap();
    assert_exit(&output, 0);
    assert!(findings(&output)("catalog").1.contains("made on the first start"));
    assert_eq!(std::fs::read_dir(folder.path().join("data")).unwrap().count(), 0);
}

#[test]
fn a_bucket_that_cannot_be_used_is_told_by_every_command() {
    let Ok(endpoint) = std::env::var("STREAMFORGE_TEST_S3") else {
        println!("not run here: wrong keys and buckets need SeaweedFS; ./dev engines up");
        return;
    };
    let key = |name: &str| std::env::var(name).unwrap_or_else(|_| "streamforge".to_owned());
    let (id, secret) = (key("STREAMFORGE_TEST_S3_KEY"), key("STREAMFORGE_TEST_S3_SECRET"));
    let keys = Keys { id: id.clone(), secret: secret.clone(), token: None };
    let there = "s3://streamforge-tests/doctor";
    let settings = Settings { endpoint: Some(endpoint.clone()), keys: Some(keys), ..Settings::parse(there).unwrap() };
    tokio::runtime::Runtime::new().unwrap().block_on(make_bucket(&settings)).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let with = |command: &mut Command, id: &str, secret: &str| {
        command
            .env("AWS_ENDPOINT_URL", &endpoint)
            .env("AWS_ACCESS_KEY_ID", id)
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .env_remove("AWS_SESSION_TOKEN");
    };
    for (bucket, id, secret, words, advice) in [
        (there, "nobody", secret.as_str(), "access key id", "AWS_ACCESS_KEY_ID"),
        (there, &id, "hunter2", "secret access key", "AWS_SECRET_ACCESS_KEY"),
        ("s3://no-such-bucket-here/x", &id, &secret, "there is no bucket `no-such-bucket-here`", "make the bucket"),
    ] {
        let asked = ["--blobs", bucket, "--data", "data"];
        let mut command = streamforge(&folder, &role(&["up"], &asked));
        with(&mut command, id, secret);
        let (what, todo) = refused(&mut command);
        assert!(what.contains(words) && todo.contains(advice), "{what}\n{todo}");
        let mut doctor = streamforge(&folder, &role(&["doctor", "--json"], &asked));
        with(&mut doctor, id, secret);
        let output = doctor.output().unwrap();
        assert_exit(&output, 1);
        let (health, found, fix) = findings(&output)("blobs");
        assert!(health == "fail" && found.contains(words) && fix.contains(advice), "{found}\n{fix}");
        assert!(!stdout(&output).contains("hunter2"));
    }
    let fresh = tempfile::tempdir().unwrap();
    let mut doctor = streamforge(&fresh, &role(&["doctor", "--json"], &["--blobs", there, "--data", "data"]));
    with(&mut doctor, &id, &secret);
    let output = doctor.output().unwrap();
    assert_exit(&output, 0);
    assert_eq!(findings(&output)("blobs").0, "ok");
    assert_eq!(std::fs::read_dir(fresh.path()).unwrap().count(), 0, "the doctor leaves nothing behind");
}

/// Small S3 servers have no regions, so one that answers as the large one does.
#[test]
fn a_bucket_of_another_region_is_told_with_its_region() {
    let server = Server::start(|_| {
        Reply::xml(
            400,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>AuthorizationHeaderMalformed</Code><Message>The \
             authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'</Message>\
             <Region>eu-central-1</Region></Error>",
        )
    });
    let folder = tempfile::tempdir().unwrap();
    for name in ["up", "doctor"] {
        let mut command = streamforge(&folder, &role(&[name], &["--blobs", "s3://videos", "--data", "data"]));
        command
            .env("AWS_ENDPOINT_URL", server.url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "somebody")
            .env("AWS_SECRET_ACCESS_KEY", "hunter2");
        let output = command.output().unwrap();
        assert_exit(&output, 1);
        let said = format!("{}{}", stdout(&output), stderr(&output));
        assert!(said.contains("eu-central-1") && said.contains("AWS_REGION=eu-central-1"), "{name}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn the_doctor_compares_topics_and_makes_none() {
    let Ok(brokers) = std::env::var("STREAMFORGE_TEST_KAFKA") else {
        println!("not run here: how topics differ needs kafka; ./dev engines up");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let prefix = format!("doctor-{:08x}-", rand::random::<u32>());
    let settings = format!("log = \"kafka://{brokers}\"\ntopic_prefix = \"{prefix}\"\ndata = \"data\"\n");
    std::fs::write(folder.path().join("streamforge.toml"), settings).unwrap();
    let doctor = |copies: Option<&str>| {
        let mut command = streamforge(&folder, &role(&["doctor", "--json"], &[]));
        let output = command.envs(copies.map(|copies| ("STREAMFORGE_KAFKA_REPLICATION_FACTOR", copies))).output();
        let output = output.unwrap();
        assert_exit(&output, 0);
        findings(&output)("topics")
    };
    for _ in 0..2 {
        let (health, found, _) = doctor(None);
        assert!(health == "ok" && found.contains("made on the first start"), "{found}");
    }
    let up = up(&folder, &[]);
    up.signal(rustix::process::Signal::TERM);
    assert_exit(&up.ended(), 0);
    assert_eq!(doctor(None).0, "ok");
    let (health, found, fix) = doctor(Some("3"));
    assert!(health == "warn" && found.contains("replication.factor is 1, 3 is wanted"), "{found}");
    assert!(fix.contains("STREAMFORGE_KAFKA_"), "{fix}");
}

#[test]
fn the_doctor_makes_no_keyspace() {
    let Ok(node) = std::env::var("STREAMFORGE_TEST_CQL") else {
        println!("not run here: a catalog that is not there yet needs cassandra; ./dev engines up");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let catalog = format!("scylla://{node}/doctor_{:016x}", rand::random::<u64>());
    for _ in 0..2 {
        let asked = role(&["doctor", "--json"], &["--catalog", &catalog, "--data", "data"]);
        let output = streamforge(&folder, &asked).output().unwrap();
        assert_exit(&output, 0);
        let (health, found, _) = findings(&output)("catalog");
        assert!(health == "ok" && found.contains("made on the first start"), "{found}");
    }
}
