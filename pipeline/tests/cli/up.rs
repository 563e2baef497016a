//! `up` as a process: what it says, how it ends, what it refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use super::{assert_failure, run, stderr, streamforge};

/// Longest wait for anything of a process.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Up {
    /// Until it has ended.
    child: Option<Child>,
    pub(super) url: String,
    ops: String,
}

/// Starts `up` on ports of its own and waits until it serves.
pub(super) fn up(folder: &tempfile::TempDir, more: &[&str]) -> Up {
    up_at(folder, "127.0.0.1:0", more)
}

/// The same at an address of the caller's choice.
pub(super) fn up_at(folder: &tempfile::TempDir, listen: &str, more: &[&str]) -> Up {
    let arguments = [&["up", "--listen", listen, "--ops-listen", "127.0.0.1:0", "--data", "data"], more].concat();
    let mut command = streamforge(folder, &arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut said = |before: &str| {
        let line = lines.next().unwrap_or_default();
        line.strip_prefix(before).map(str::to_owned)
    };
    let (url, ops) = (said("StreamForge serves at "), said("Metrics and health at "));
    match (url, ops) {
        (Some(url), Some(ops)) => Up { child: Some(child), url, ops },
        _ => panic!("up did not serve: {}", stderr(&child.wait_with_output().unwrap())),
    }
}

impl Up {
    /// Status and text of `GET path`.
    pub(super) fn get(&self, path: &str) -> (u16, String) {
        get(&self.url, path)
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.as_ref().unwrap().id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub(super) fn ended(mut self) -> Output {
        let began = Instant::now();
        while self.child.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(began.elapsed() < PATIENCE, "up does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Up {
    /// A test that fails leaves no server behind.
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Status and text of `GET url`.
fn get(url: &str, path: &str) -> (u16, String) {
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let mut connection = TcpStream::connect(address).unwrap();
    write!(connection, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    (answer.split_whitespace().nth(1).unwrap().parse().unwrap(), answer)
}

#[test]
fn up_serves_where_it_says_and_drains_on_sigterm_and_on_ctrl_c() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let folder = tempfile::tempdir().unwrap();
        let up = up(&folder, &[]);
        assert!(!up.url.ends_with(":0/") && up.url.ends_with('/'), "the real port is printed: {}", up.url);
        assert_eq!(get(&up.url, "/api/health").0, 200);
        assert_eq!(get(&up.url, "/").0, 200);
        assert_eq!(get(&up.ops, "/healthz").0, 200);
        let began = Instant::now();
        while get(&up.ops, "/readyz").0 != 200 {
            assert!(began.elapsed() < PATIENCE, "it does not get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(get(&up.ops, "/metrics").1.contains("streamforge_stages_stopped{stage=\"transcode\"} 0"));
        up.signal(signal);
        let output = up.ended();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        for line in stderr(&output).lines() {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
        }
        assert!(stderr(&output).contains("serving"));
    }
}

#[test]
fn log_lines_are_text_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    let up = up(&folder, &["--log-format", "text"]);
    up.signal(rustix::process::Signal::TERM);
    let said = stderr(&up.ended());
    let line = said.lines().find(|line| line.contains("serving")).unwrap();
    assert!(line.contains(" INFO ") && !line.contains('\x1b'), "{line}");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let first = up(&folder, &[]);
    let asked = ["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data", "data"];
    let second = streamforge(&folder, &asked).output().unwrap();
    assert_failure(&second, 1, "is in use by another process", "--data");
    let asked = ["doctor", "--listen", first.url.trim_start_matches("http://").trim_end_matches('/'), "--data", "data"];
    let doctor = streamforge(&folder, &[&asked[..], &["--ops-listen", "127.0.0.1:0"]].concat()).output().unwrap();
    assert_eq!(doctor.status.code(), Some(0), "{}", super::stdout(&doctor));
    assert!(super::stdout(&doctor).contains("catalog is well, says the server that runs here"));
    first.signal(rustix::process::Signal::TERM);
    assert_eq!(first.ended().status.code(), Some(0));
}

#[test]
fn a_taken_port_is_told_before_anything_is_made() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let refused = streamforge(&folder, &["up", "--listen", &address]).output().unwrap();
    assert_failure(&refused, 1, &format!("{address} is in use by another process"), "--listen");
    let asked = ["up", "--listen", "127.0.0.1:0", "--ops-listen", &address];
    let refused = streamforge(&folder, &asked).output().unwrap();
    assert_failure(&refused, 1, &format!("{address} is in use by another process"), "--ops-listen");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_log_filter_that_is_none_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let refused = streamforge(&folder, &["up"]).env("RUST_LOG", "info,=,x=y=z").output().unwrap();
    assert_failure(&refused, 2, "RUST_LOG is no log filter", "info");
}

#[test]
fn a_data_folder_that_cannot_be_made_is_told() {
    let output = run(&["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data", "/proc/nowhere"]);
    assert_failure(&output, 1, "cannot open the doors", "doctor");
}
