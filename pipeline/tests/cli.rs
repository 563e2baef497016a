//! The command line as its users meet it: the built binary, its exit codes and what it prints.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "cli/doors.rs"]
mod doors;
#[path = "cli/models.rs"]
mod models;
#[path = "../../connectors/tests/suite/ports.rs"]
mod ports;
#[path = "cli/server.rs"]
mod server;
#[path = "cli/submit.rs"]
mod submit;
#[path = "cli/up.rs"]
mod up;

use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use server::{Reply, Server};

/// The binary in an empty folder, with nothing of this machine's settings.
fn streamforge(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_streamforge"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("STREAMFORGE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder.path()).args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command.env("XDG_STATE_HOME", folder.path().join("state"));
    command
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn run(arguments: &[&str]) -> Output {
    output(&mut streamforge(&tempfile::tempdir().unwrap(), arguments))
}

fn ask(server: &Server, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    output(streamforge(&folder, arguments).env("STREAMFORGE_SERVER", server.url()))
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

/// One line of what happened, one of what to do.
#[track_caller]
fn assert_failure(output: &Output, code: i32, what: &str, advice: &str) {
    assert_exit(output, code);
    let said = stderr(output);
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("error: ") && lines[0].contains(what), "{said}");
    assert!(lines[1].starts_with("  try: ") && lines[1].contains(advice), "{said}");
}

const ID: &str = "01JD0000000000000000000000";

fn job(state: &str) -> Value {
    json!({ "id": ID, "name": "holiday.mov", "state": state, "progress": if state == "ready" { 1.0 } else { 0.42 },
            "playable": true, "received_at": "2026-11-23T10:00:00Z", "source": { "bytes": 1_874_097 },
            "stages": [], "renditions": [], "error": null })
}

fn status(state: &str, progress: f64) -> String {
    json!({ "id": ID, "state": state, "progress": progress, "playable": false, "stage": "transcode", "eta_s": 3.0 })
        .to_string()
}

#[test]
fn help_and_version_are_no_failures() {
    let help = run(&["--help"]);
    assert_exit(&help, 0);
    for command in
        ["up", "submit", "jobs", "watch", "explain", "cancel", "delete", "models", "doctor", "config", "completions"]
    {
        assert!(stdout(&help).contains(&format!("\n  {command} ")), "{command} is missing in\n{}", stdout(&help));
    }
    assert!(!stdout(&help).contains("media-child"));
    let version = run(&["--version"]);
    assert_exit(&version, 0);
    assert_eq!(stdout(&version), format!("streamforge {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_ends_with_two() {
    for arguments in
        [&[][..], &["upp"], &["submit"], &["watch"], &["jobs", "--limit", "0"], &["jobs", "--state", "odd"]]
    {
        assert_exit(&run(arguments), 2);
    }
    assert_failure(&run(&["watch", "../../etc"]), 2, "is no id of a job", "streamforge jobs");
    assert_failure(&run(&["jobs", "--server", "ftp://x"]), 2, "`ftp://x` is no address", "--server http://");
    assert_failure(&run(&["submit", "nothing.mp4"]), 2, "cannot read nothing.mp4", "can be read");
    assert_failure(&run(&["submit", "."]), 2, "there is no video in .", "name a folder with");
}

#[test]
fn single_roles_refuse_doors_that_belong_to_one_process() {
    assert_failure(&run(&["edge"]), 1, "`edge` shares its log with other processes", "set `log` to kafka://");
    let half = ["work", "--stages", "transcode,probe", "--log", "kafka://127.0.0.1:1"];
    assert_failure(&run(&half), 1, "`work` shares its catalog with other processes", "scylla://");
}

#[test]
fn an_unknown_stage_names_the_nearest_known_one() {
    let asked = ["work", "--stages", "probe,trancode"];
    assert_failure(&run(&asked), 2, "no stage `trancode`; did you mean `transcode`?", "--stages all");
}

#[test]
fn an_unreachable_server_ends_with_three() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for arguments in [&["jobs"][..], &["jobs", ID], &["explain", ID], &["cancel", ID], &["delete", ID], &["workers"]] {
        let output = run(&[arguments, &["--server", &address]].concat());
        assert_failure(&output, 3, &format!("cannot reach {address}"), "streamforge up");
    }
}

#[test]
fn config_show_says_each_value_and_where_it_comes_from() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("streamforge.toml"), "max_upload_bytes = \"2GiB\"\nslots = 3\n").unwrap();
    let shown = output(
        streamforge(&folder, &["config", "show", "--listen", "127.0.0.1:1"])
            .env("STREAMFORGE_SLOTS", "2")
            .env("STREAMFORGE_SLOT", "2"),
    );
    assert_exit(&shown, 0);
    let text = stdout(&shown);
    let line = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
    let words = |key: &str| line(key).split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words("listen "), ["listen", "127.0.0.1:1", "--listen"]);
    assert_eq!(words("slots "), ["slots", "2", "STREAMFORGE_SLOTS"]);
    assert_eq!(words("max_upload_bytes "), ["max_upload_bytes", "2GiB", "streamforge.toml"]);
    assert_eq!(words("grace_s "), ["grace_s", "20", "default"]);
    assert!(text.contains("# STREAMFORGE_SLOT is in the environment"), "{text}");

    let shown = output(&mut streamforge(&folder, &["config", "show", "--json"]));
    let document: Value = serde_json::from_slice(&shown.stdout).unwrap();
    let slots = document["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "slots").unwrap();
    assert_eq!(slots["value"], "3");
    assert_eq!(slots["origin"], json!({ "kind": "file", "name": "streamforge.toml" }));
}

#[test]
fn a_wrong_settings_file_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("streamforge.toml"), "lisen = \"127.0.0.1:1\"\n").unwrap();
    for arguments in [&["up"][..], &["config", "show"], &["doctor"]] {
        let output = output(&mut streamforge(&folder, arguments));
        assert_failure(&output, 2, "unknown setting `lisen`", "the settings are listen");
        assert!(stderr(&output).contains("did you mean `listen`?"));
    }
    assert_failure(&run(&["config", "show", "--config", "no.toml"]), 2, "no.toml", "--config");
}

#[test]
fn passwords_stay_hidden() {
    let output = run(&["config", "show", "--log", "kafka://user:hunter2@host:9092"]);
    assert_exit(&output, 2);
    assert!(!format!("{}{}", stdout(&output), stderr(&output)).contains("hunter2"));
    let folder = tempfile::tempdir().unwrap();
    for more in [&[][..], &["--json"]] {
        let asked = [&["config", "show", "--catalog", "scylla://user:hunter2@host/videos"], more].concat();
        let mut command = streamforge(&folder, &asked);
        let shown = command.env("STREAMFORGE_KAFKA_SASL_PASSWORD", "hunter2").output().unwrap();
        assert_exit(&shown, 0);
        let text = stdout(&shown);
        assert!(text.contains("scylla://***@host/videos") && text.contains("kafka.sasl.password"), "{text}");
        assert!(!text.contains("hunter2") && !stderr(&shown).contains("hunter2"), "{text}");
    }
}

#[test]
fn completions_are_made_for_every_shell() {
    for (shell, mark) in
        [("bash", "_streamforge"), ("zsh", "#compdef streamforge"), ("fish", "complete -c streamforge")]
    {
        let output = run(&["completions", shell]);
        assert_exit(&output, 0);
        assert!(stdout(&output).contains(mark), "{shell}");
    }
}

#[test]
fn the_doctor_finds_a_taken_port_and_says_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let asked = ["doctor", "--json", "--listen", &address, "--ops-listen", "127.0.0.1:0", "--max-upload-bytes", "1 kB"];
    let found = output(&mut streamforge(&folder, &asked));
    assert_exit(&found, 1);
    let document: Value = serde_json::from_slice(&found.stdout).unwrap();
    let findings = document["findings"].as_array().unwrap();
    let bad: Vec<_> = findings.iter().filter(|finding| finding["health"] == "fail").collect();
    assert_eq!(bad.len(), 1, "{document}");
    assert_eq!(bad[0]["check"], "listen");
    assert!(bad[0]["fix"].as_str().unwrap().contains("ss -ltnp"));

    let asked = ["doctor", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--max-upload-bytes", "1 kB"];
    let found = output(&mut streamforge(&folder, &asked));
    assert_exit(&found, 0);
    assert!(!stdout(&found).contains('\x1b'), "piped output has no colours");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the doctor leaves nothing behind");
}

/// A server whose event stream breaks once, then ends with `end`.
fn breaking(end: &'static str) -> Server {
    let mut asked = 0;
    Server::start(move |request| match request.line.as_str() {
        line if line.contains(" /api/uploads") => submit::taken(request),
        line if line == format!("GET /api/jobs/{ID}/events") => {
            asked += 1;
            match asked {
                1 => Reply::events(&format!("id: 7\nevent: progress\ndata: {}\n\n", status("processing", 0.25))),
                _ => Reply::events(&format!(
                    "id: 8\nevent: progress\ndata: {}\n\nevent: end\ndata: {}\n\n",
                    status("processing", 0.75),
                    status(end, if end == "ready" { 1.0 } else { 0.75 })
                )),
            }
        }
        line if line == format!("GET /api/jobs/{ID}") => {
            let mut job = job(end);
            if end == "failed" {
                job["error"] = json!({ "code": "unsupported_media", "stage": "probe", "message": "no video track" });
            }
            Reply::json(200, &job)
        }
        _ => Reply::json(404, &json!({})),
    })
}

#[test]
fn waiting_outlives_a_broken_stream_and_ends_with_the_job() {
    let server = breaking("ready");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.mp4"), b"x").unwrap();
    let said = output(&mut streamforge(&folder, &["submit", "a.mp4", "--wait", "--server", &server.url()]));
    assert_exit(&said, 0);
    assert!(stdout(&said).starts_with(&format!("{ID}  ready  holiday.mov\n")), "{}", stdout(&said));
    let again: Vec<_> = server.requests().into_iter().filter(|request| request.line.ends_with("/events")).collect();
    assert_eq!(again.len(), 2);
    assert_eq!(again[1].header("last-event-id"), Some("7"), "the stream is taken up where it broke");
}

#[test]
fn waiting_fails_when_the_job_fails() {
    for end in ["failed", "cancelled"] {
        let server = breaking(end);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.mp4"), b"x").unwrap();
        let said =
            output(&mut streamforge(&folder, &["submit", "a.mp4", "--wait", "--json", "--server", &server.url()]));
        assert_exit(&said, 1);
        let document: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(document["state"], end);
        let said = ask(&server, &["watch", ID]);
        assert_exit(&said, 1);
        assert_eq!(end == "failed", stdout(&said).contains("unsupported_media in probe: no video track"));
    }
}

#[test]
fn watch_prints_a_line_for_each_news() {
    let said = ask(&breaking("ready"), &["watch", ID]);
    assert_exit(&said, 0);
    let text = stdout(&said);
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [" 25% processing transcode", " 75% processing transcode", "100% ready transcode"],
        "{text}"
    );
    let said = ask(&breaking("ready"), &["watch", ID, "--json"]);
    let states: Vec<Value> = stdout(&said).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.last().unwrap()["state"], "ready");
}

#[test]
fn jobs_are_listed_over_pages() {
    let server = Server::start(|request| match request.line.as_str() {
        "GET /api/jobs?limit=100&state=ready" => {
            Reply::json(200, &json!({ "jobs": vec![job("ready"); 100], "next": "a b" }))
        }
        "GET /api/jobs?limit=20&state=ready&after=a%20b" => {
            Reply::json(200, &json!({ "jobs": vec![job("ready"); 20], "next": "c" }))
        }
        _ => Reply::json(404, &json!({})),
    });
    let said = ask(&server, &["jobs", "--state", "ready", "--limit", "120"]);
    assert_exit(&said, 0);
    assert_eq!(stdout(&said).lines().count(), 121);
    assert!(stdout(&said).lines().all(|line| line.chars().count() <= 80), "{}", stdout(&said));
    let said = ask(&server, &["jobs", "--state", "ready", "--limit", "120", "--json"]);
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!((document["jobs"].as_array().unwrap().len(), &document["next"]), (120, &json!("c")));
}

#[test]
fn one_job_is_shown_explained_cancelled_and_deleted() {
    let server = Server::start(|request| match request.line.as_str() {
        line if line == format!("GET /api/jobs/{ID}") => Reply::json(200, &job("processing")),
        line if line == format!("GET /api/jobs/{ID}/explain") => Reply::json(
            200,
            &json!({
            "id": ID, "state": "processing", "because": "transcode works on 3 of 12 chunks",
            "waiting_for": ["transcode"], "history": [{ "at": "2026-11-23T10:00:00Z", "what": "upload received" }] }),
        ),
        line if line == format!("POST /api/jobs/{ID}/cancel") => Reply::json(202, &json!({})),
        line if line == format!("DELETE /api/jobs/{ID}") => Reply::empty(202),
        _ => Reply::problem(404, "not_found", "no job of this id"),
    });
    let said = ask(&server, &["jobs", ID]);
    assert_exit(&said, 0);
    assert!(
        stdout(&said).contains("state     processing 42%") && stdout(&said).contains("1.87 MB"),
        "{}",
        stdout(&said)
    );
    let document: Value = serde_json::from_slice(&ask(&server, &["jobs", ID, "--json"]).stdout).unwrap();
    assert_eq!(document, job("processing"));
    let said = ask(&server, &["explain", ID]);
    assert!(stdout(&said).starts_with("processing: transcode works on 3 of 12 chunks\n"), "{}", stdout(&said));
    assert!(stdout(&said).contains("  2026-11-23T10:00:00Z  upload received\n"), "{}", stdout(&said));
    assert_eq!(stdout(&ask(&server, &["cancel", ID])), format!("{ID} is being cancelled\n"));
    assert_eq!(stdout(&ask(&server, &["delete", ID])), format!("{ID} is deleted\n"));
    assert_failure(&ask(&server, &["explain", "NOSUCH"]), 1, "no job of this id (404, not_found)", "streamforge jobs");
}

#[test]
fn operators_replay_and_decide_about_dead_letters() {
    let letter =
        |id: &str| json!({ "id": id, "at": "2026-11-23T10:00:00Z", "reason": "damaged", "message": "decode: no" });
    let server = Server::start(move |request| match request.line.as_str() {
        "POST /api/replay" => Reply::json(
            202,
            &json!({ "count": 3, "jobs": 2, "skipped": { "ended": 1, "deleted": 0, "unreadable": 0 } }),
        ),
        "GET /api/dlq?limit=100" => Reply::json(200, &json!({ "letters": [letter("split:0:1")], "total": 4 })),
        "GET /api/dlq?limit=1000&stage=split" => {
            Reply::json(200, &json!({ "letters": [letter("split:0:1"), letter("split:0:2")], "total": 2 }))
        }
        "GET /api/dlq/split:0:1" => Reply::json(200, &json!({ "id": "split:0:1", "event": { "job": ID } })),
        "POST /api/dlq/split:0:1/retry" => Reply::json(202, &json!({ "note": "the job has failed" })),
        "DELETE /api/dlq/split:0:1" => Reply::json(202, &json!({})),
        _ => Reply::problem(404, "not_found", "no such letter"),
    });
    let said = ask(&server, &["replay", "--stage", "split", "--job", ID, "--since", "2026-11-23T10:00:00Z"]);
    assert_exit(&said, 0);
    assert!(stdout(&said).starts_with("split runs again on 3 events of 2 jobs\n  1 left out"), "{}", stdout(&said));
    let asked: Value = serde_json::from_slice(&server.requests()[0].body).unwrap();
    let wish = json!({ "stage": "split", "job": ID, "since": "2026-11-23T10:00:00Z", "dry_run": false });
    assert_eq!(asked, wish);
    assert_failure(&ask(&server, &["replay", "--stage", "split", "--since", "soon"]), 2, "`soon` is no time", "2h");

    let said = ask(&server, &["dlq", "list"]);
    assert!(stdout(&said).contains("split:0:1") && stdout(&said).contains("1 of 4"), "{}", stdout(&said));
    assert!(stdout(&ask(&server, &["dlq", "show", "split:0:1"])).contains(ID));
    let said = ask(&server, &["dlq", "retry", "split:0:1"]);
    assert_eq!(stdout(&said), "split:0:1 retried\n  the job has failed\n");
    let said = ask(&server, &["dlq", "drop", "--stage", "split"]);
    assert_failure(&said, 1, "split:0:2: the server refused: no such letter", "streamforge");
    assert_eq!(stdout(&said), "split:0:1 dropped\n");
    assert_eq!(stdout(&ask(&server, &["dlq", "drop", "--id", "split:0:1"])), "split:0:1 dropped\n");
    assert_exit(&ask(&server, &["dlq", "drop"]), 2);
}

#[test]
fn workers_are_a_table() {
    let server = Server::start(|_| {
        let worker = json!({ "id": "host-1-aa", "version": "0.1.0", "state": "gone", "load": 0.0, "current": [],
                             "seen_at": "2026-11-23T10:00:00Z", "stages": [{ "name": "probe", "slots": 1, "busy": 0 }] });
        Reply::json(200, &json!({ "workers": [worker] }))
    });
    let said = ask(&server, &["workers"]);
    assert_exit(&said, 0);
    assert!(stdout(&said).contains("host-1-aa  gone") && stdout(&said).contains("probe:0/1"), "{}", stdout(&said));
}

#[test]
fn a_server_that_is_not_streamforge_is_told() {
    let server = Server::start(|_| Reply::html("<html>It works!</html>"));
    assert_failure(&ask(&server, &["jobs"]), 1, "does not answer like StreamForge", "--server");
}
