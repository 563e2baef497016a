//! `submit`: against a server that answers as it is told, and against a real one that dies in between.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::server::{Reply, Request, Server};
use super::up::{Up, up, up_at};
use super::{ID, assert_exit, assert_failure, job, output, stderr, stdout, streamforge};

/// Longest wait for anything of a process.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes every upload, as a server does whose jobs all have the same id.
pub(super) fn taken(request: &Request) -> Reply {
    match request.line.as_str() {
        "POST /api/uploads" => Reply::empty(201).with("location", &format!("/api/uploads/{ID}")),
        line if line == format!("PATCH /api/uploads/{ID}") => {
            let offset: usize = request.header("upload-offset").unwrap().parse().unwrap();
            Reply::empty(204).with("upload-offset", &(offset + request.body.len()).to_string())
        }
        line if line == format!("GET /api/jobs/{ID}") => Reply::json(200, &job("received")),
        _ => Reply::json(404, &json!({})),
    }
}

#[test]
fn submit_sends_the_file_and_says_where_to_watch() {
    let server = Server::start(taken);
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    std::fs::write(folder.path().join("a b.mp4"), &bytes).unwrap();
    let url = server.url();
    let submit = |more: &[&str]| {
        let arguments = [&["submit", "a b.mp4", "--server", &url], more].concat();
        output(&mut streamforge(&folder, &arguments))
    };
    let said = submit(&[]);
    assert_exit(&said, 0);
    assert_eq!(stdout(&said), format!("{ID}  received  holiday.mov\n  watch it at {}/jobs/{ID}\n", server.url()));
    assert_eq!(stderr(&said), "", "piped output has no bars");
    let document: Value = serde_json::from_slice(&submit(&["--json"]).stdout).unwrap();
    assert_eq!(document, job("received"));
    let requests = server.requests();
    assert_eq!(requests[0].header("upload-length"), Some("3000000"));
    assert_eq!(requests[0].header("upload-metadata"), Some("filename YSBiLm1wNA=="));
    assert_eq!((requests[1].body.len(), requests[1].body == bytes), (3_000_000, true));
    assert_eq!(requests[1].header("content-type"), Some("application/offset+octet-stream"));
}

#[test]
fn submit_tells_each_refusal_and_goes_on_with_the_others() {
    let server = Server::start(|request| match request.header("upload-length") {
        Some("5") => Reply::problem(413, "too_large", "the body is over the limit of 500 MB"),
        _ => taken(request),
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("large.mp4"), b"large").unwrap();
    std::fs::write(folder.path().join("good.mp4"), b"x").unwrap();
    let asked = ["submit", "large.mp4", "good.mp4", "--server", &server.url()];
    let said = output(&mut streamforge(&folder, &asked));
    let what = "large.mp4: the server refused: the body is over the limit of 500 MB (413, too_large)";
    assert_failure(&said, 1, what, "smaller");
    assert!(stdout(&said).contains("received"));
    let lines = output(&mut streamforge(&folder, &[&asked[..], &["--json"]].concat()));
    let told: Vec<Value> = stdout(&lines).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&told[0]["state"], &told[1]["state"]), (&json!("refused"), &json!("received")));
}

#[test]
fn a_folder_is_sent_in_order_several_files_at_a_time() {
    let server = Server::start(taken);
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("clips")).unwrap();
    for name in ["b.mp4", "a.mov", "c.txt"] {
        let bytes: &[u8] = if name == "c.txt" { b"no video" } else { b"\0\0\0\x18ftypisom\0\0\x02\0isommp42" };
        std::fs::write(folder.path().join("clips").join(name), bytes).unwrap();
    }
    let said = output(&mut streamforge(&folder, &["submit", "clips", "--parallel", "2", "--server", &server.url()]));
    assert_exit(&said, 0);
    assert_eq!(stdout(&said).matches("received").count(), 2);
    let pattern = output(&mut streamforge(&folder, &["submit", "clips/*.mov", "--server", &server.url()]));
    assert_exit(&pattern, 0);
    assert_eq!(stdout(&pattern).matches("received").count(), 1);
    let none = output(&mut streamforge(&folder, &["submit", "clips/*.avi", "--server", &server.url()]));
    assert_failure(&none, 2, "no file is called like `clips/*.avi`", "name a video file");
}

/// A file that begins like a video, of so many megabytes.
fn large(folder: &Path, megabytes: usize) -> (String, Vec<u8>) {
    let mut bytes = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42".to_vec();
    bytes.extend((bytes.len()..megabytes << 20).map(|n| (n * 31 % 251) as u8));
    std::fs::write(folder.join("large.mp4"), &bytes).unwrap();
    (Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(), bytes)
}

/// The address of the one upload that is noted, once some of it has come.
fn under_way(folder: &Path, up: &Up) -> String {
    let began = Instant::now();
    loop {
        let notes = std::fs::read(folder.join("state/streamforge/uploads.json")).unwrap_or_default();
        let notes: Value = serde_json::from_slice(&notes).unwrap_or_default();
        let address = notes.as_object().and_then(|notes| notes.values().next()?["address"].as_str());
        if let Some(address) = address {
            let (_, text) = up.get(&format!("/{address}"));
            if text.contains("\"state\":\"complete\"") || !text.contains("\"offset\":0,") {
                return address.to_owned();
            }
        }
        assert!(began.elapsed() < PATIENCE, "the upload does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn offset(up: &Up, address: &str) -> u64 {
    let (_, text) = up.get(&format!("/{address}"));
    let shown: Value = serde_json::from_str(text.rsplit("\r\n\r\n").next().unwrap()).unwrap();
    shown["offset"].as_u64().unwrap()
}

#[test]
fn submit_goes_on_after_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    let (hash, bytes) = large(folder.path(), 300);
    let up = up(&folder, &[]);
    let submit = ["submit", "large.mp4", "--json", "--server", &up.url];
    let first = streamforge(&folder, &submit).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let address = under_way(folder.path(), &up);
    let pid = rustix::process::Pid::from_raw(first.id().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    let ended = first.wait_with_output().unwrap();
    assert_failure(&ended, 1, "interrupted", "run the same command again");
    std::thread::sleep(Duration::from_millis(300));
    let kept = offset(&up, &address);
    assert!(kept > 0 && kept < bytes.len() as u64, "{kept}");
    let second = output(&mut streamforge(&folder, &submit));
    assert_exit(&second, 0);
    let job: Value = serde_json::from_slice(&second.stdout).unwrap();
    assert_eq!(job["source"]["sha256"], hash);
    assert_eq!(address.rsplit('/').next(), job["id"].as_str(), "it is the upload that was begun");
    let notes = std::fs::read_to_string(folder.path().join("state/streamforge/uploads.json")).unwrap();
    assert_eq!(notes.trim(), "{}", "what is over is forgotten");
}

#[test]
fn submit_outlives_a_server_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let (hash, _) = large(folder.path(), 300);
    let killed = up(&folder, &[]);
    let submit = ["submit", "large.mp4", "--json", "--server", &killed.url];
    let sending = streamforge(&folder, &submit).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let address = under_way(folder.path(), &killed);
    killed.signal(Signal::KILL);
    let url = killed.url.clone();
    drop(killed);
    let second = up_at(&folder, url.trim_start_matches("http://").trim_end_matches('/'), &[]);
    let done = sending.wait_with_output().unwrap();
    assert_exit(&done, 0);
    let job: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((job["source"]["sha256"].as_str(), job["id"].as_str()), (Some(&*hash), address.rsplit('/').next()));
    drop(second);
}
