//! Confluent's and Amazon's clients in Python, as anybody may run them: `connectors/tests/clients/confluent.py`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tokio::process::Command;

use super::place::Place;
use super::server::Server;

/// Topics that a video with sound leaves records in.
const WRITTEN: [&str; 7] = [
    "upload.received",
    "source.probed",
    "chunk.cut",
    "chunk.transcoded",
    "rendition.stitched",
    "job.ended",
    "job.progress",
];

/// A producer puts `video` into the bucket and announces it; when it is ready, a consumer decodes every record of every
/// topic. Both ask `registry`; `more` are arguments of the script. Answers the job; nothing, and says so, where there is no
/// Python for it.
pub async fn writes_and_reads(
    place: &Place,
    server: &Server,
    registry: &str,
    more: &[&str],
    video: &[u8],
) -> Option<String> {
    let Ok(python) = std::env::var("STREAMFORGE_TEST_PYTHON") else {
        println!("not run here: Confluent's clients need Python packages; ./dev engines fetch clients");
        return None;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("from python.mp4");
    std::fs::write(&file, video).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("connectors/tests/clients/confluent.py");
    let output = Command::new(python)
        .arg(script)
        .args(["--brokers", &place.brokers, "--topic-prefix", &place.prefix, "--registry", registry])
        .args(["--s3", place.store.endpoint.as_deref().unwrap(), "--bucket", &place.store.bucket])
        .args(["--prefix", &place.store.prefix, "--server", &server.url, "--video"])
        .arg(&file)
        .args(more)
        .envs(place.variables())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}{}", server.log_tail());
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect(line)).collect();

    let (ended, topics) = lines.split_first().expect("it says what became of the video");
    assert_eq!(ended["state"], "ready", "{ended}");
    let job = ended["job"].as_str().unwrap().to_owned();
    let (_, row) = server.get(&format!("/api/jobs/{job}")).await;
    assert_eq!((&row["name"], &row["state"]), (&"from python.mp4".into(), &"ready".into()), "{row}");

    let mut read = BTreeMap::new();
    for line in topics {
        let topic = line["topic"].as_str().unwrap().strip_prefix(&place.prefix).expect("a topic of ours");
        if line["there"] != false {
            assert_eq!(line["decoded"], line["records"], "every record of {topic} decodes: {line}");
            read.insert(topic.to_owned(), line["records"].as_u64().unwrap());
        }
    }
    assert!(read.len() >= 13, "every topic with a schema is read: {read:?}");
    for topic in WRITTEN {
        assert!(read.get(topic).is_some_and(|records| *records > 0), "{topic} has records: {read:?}");
    }
    Some(job)
}
