//! `models`: what is listed, brought, checked and removed.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::server::{Reply, Server};
use crate::{assert_exit, assert_failure, output, run, stderr, stdout, streamforge};

/// A model that the table does not know, as it lies on another shelf.
fn shelf() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("of-ours");
    std::fs::create_dir(&folder).unwrap();
    let mut files = Vec::new();
    for (name, bytes) in [("config.json", b"{}".to_vec()), ("model.safetensors", vec![7; 600_000])] {
        let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        files.push(json!({ "name": name, "bytes": bytes.len(), "sha256": sum, "sum": "first_use" }));
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    let inventory = json!({ "model": "of-ours", "revision": "3", "files": files });
    std::fs::write(folder.join("inventory.json"), inventory.to_string()).unwrap();
    home
}

#[test]
fn the_list_says_what_there_is_to_know() {
    let listed = run(&["models", "list"]);
    assert_exit(&listed, 0);
    assert_eq!(
        stdout(&listed),
        "\
MODEL                   HERE       SIZE  LICENCE     PUBLISHED    WHAT IT DOES
whisper-tiny.en         -        153 MB  Apache-2.0  WER 8.44%    English speech to text
whisper-tiny            -        154 MB  Apache-2.0  WER 7.55%    speech to text, many languages
whisper-base.en         -        293 MB  Apache-2.0  WER 4.27%    English speech to text
whisper-base            -        293 MB  Apache-2.0  WER 5.01%    speech to text, many languages
whisper-small.en        -        969 MB  Apache-2.0  WER 3.05%    English speech to text
whisper-small           -        969 MB  Apache-2.0  WER 3.43%    speech to text, many languages
whisper-medium.en       -       3.06 GB  Apache-2.0  WER 4.12%    English speech to text
whisper-medium          -       3.06 GB  Apache-2.0  WER 2.90%    speech to text, many languages
whisper-large           -       6.18 GB  Apache-2.0  WER 3.00%    speech to text, many languages
whisper-large-v2        -       6.18 GB  Apache-2.0  WER 3.00%    speech to text, many languages
whisper-large-v3        -       3.09 GB  Apache-2.0  -            speech to text, many languages
whisper-large-v3-turbo  -       1.62 GB  MIT         -            speech to text, many languages
mobilenet-v2-1.0-224    -       14.3 MB  other       top-1 71.8%  what a picture shows

models lie in ./data/models
published: WER is words wrong on LibriSpeech test-clean, top-1 first labels right on ImageNet,
both as the makers of the model say
"
    );
    let listed = run(&["models", "list", "--json", "--models", "there"]);
    let document: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&document["folder"], document["models"].as_array().unwrap().len()), (&json!("there"), 13));
    let base = &document["models"][2];
    assert_eq!(
        (&base["name"], &base["state"], &base["path"]),
        (&json!("whisper-base.en"), &json!("absent"), &Value::Null)
    );
    assert_eq!(base["published"], json!({ "measure": "word_error", "percent": 4.27, "on": "LibriSpeech test-clean" }));
    assert_eq!(base["files"][3]["bytes"], 290_401_888);
    let unknown = &document["models"][6]["files"][0];
    assert_eq!((&unknown["name"], &unknown["sha256"]), (&json!("config.json"), &Value::Null), "no sum is made up");
}

#[test]
fn a_model_is_brought_listed_checked_and_removed() {
    let (mirror, folder) = (shelf(), tempfile::tempdir().unwrap());
    let mirror = mirror.path().display().to_string();
    let ask = |more: &[&str]| output(&mut streamforge(&folder, &[&["models"], more].concat()));
    let said = ask(&["pull", "of-ours", "--from", &mirror]);
    assert_exit(&said, 0);
    assert_eq!(stdout(&said), "of-ours is in ./data/models/of-ours, 600 kB\n");
    assert_eq!(stderr(&said), "", "piped output has no bars");
    let again = ask(&["pull", "of-ours", "--from", &mirror, "--json"]);
    let document: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!((&document["was_here"], &document["revision"]), (&json!(true), &json!("3")));
    let listed = stdout(&ask(&["list"]));
    let line = listed.lines().find(|line| line.starts_with("of-ours ")).unwrap();
    assert_eq!(line.split_whitespace().collect::<Vec<_>>()[1..4], ["yes", "600", "kB"]);
    let said = ask(&["verify"]);
    assert_exit(&said, 0);
    assert_eq!(stdout(&said), "of-ours is as it should be\n");

    std::fs::write(folder.path().join("data/models/of-ours/config.json"), b"[]").unwrap();
    let said = ask(&["verify", "of-ours"]);
    assert_failure(&said, 1, "not every model is what it should be", "models remove");
    assert!(stdout(&said).starts_with("of-ours is damaged\n  config.json: its SHA-256 is "), "{}", stdout(&said));
    let said = ask(&["verify", "--json"]);
    assert_exit(&said, 1);
    let document: Value = serde_json::from_slice(&said.stdout).unwrap();
    assert_eq!(
        (&document["models"][0]["ok"], &document["models"][0]["files"][1]["fault"]),
        (&json!(false), &Value::Null)
    );

    let said = ask(&["remove", "of-ours"]);
    assert_exit(&said, 0);
    assert_eq!(stdout(&said), "of-ours is removed\n");
    assert_failure(&ask(&["remove", "of-ours"]), 1, "there is no model `of-ours` in ./data/models", "models list");
    assert_failure(&ask(&["verify", "of-ours"]), 1, "there is no model `of-ours`", "models list");
    assert_eq!(stdout(&ask(&["verify"])), "no models are here\n");
}

#[test]
fn the_settings_say_where_models_lie_and_where_they_come_from() {
    let (mirror, folder) = (shelf(), tempfile::tempdir().unwrap());
    let mut pull = streamforge(&folder, &["models", "pull", "of-ours"]);
    let from = format!("file://{}", mirror.path().display());
    pull.env("STREAMFORGE_MODELS_FROM", from).env("STREAMFORGE_MODELS", "elsewhere");
    assert_exit(&output(&mut pull), 0);
    assert!(folder.path().join("elsewhere/of-ours/model.safetensors").exists());
    let said = output(streamforge(&folder, &["models", "list"]).env("STREAMFORGE_MODELS_FROM", "gopher://x"));
    assert_failure(&said, 2, "setting `models_from` from STREAMFORGE_MODELS_FROM is `gopher://x`", "config show");
    assert_failure(
        &run(&["models", "pull", "a", "--from", "s3://u:hunter2@b"]),
        2,
        "`s3://***@b` is no place",
        "http://",
    );
}

#[test]
fn what_cannot_be_brought_ends_with_a_reason() {
    let said = run(&["models", "pull", "whisper-bass.en"]);
    assert_failure(&said, 2, "no model `whisper-bass.en` is known; did you mean `whisper-base.en`?", "models list");
    let nobody = ["models", "pull", "whisper-tiny.en", "--from", "http://127.0.0.1:1"];
    assert_failure(&run(&nobody), 3, "cannot reach http://127.0.0.1:1/whisper-tiny.en/config.json", "--from");
    let server = Server::start(|request| match request.line.as_str() {
        "GET /full/whisper-tiny.en/config.json" => Reply::html(&"x".repeat(1937)),
        _ => Reply::problem(404, "not_found", "no"),
    });
    let (url, folder) = (server.url(), tempfile::tempdir().unwrap());
    let pull = |path: &str| {
        let from = format!("{url}/{path}");
        output(&mut streamforge(&folder, &["models", "pull", "whisper-tiny.en", "--from", &from]))
    };
    assert_failure(&pull("none"), 1, "the server answered 404 not found", "--from");
    assert_failure(&pull("full"), 1, "config.json is not what belongs to whisper-tiny.en: its SHA-256 is ", "--from");
    let left: Vec<_> = std::fs::read_dir(folder.path().join("data/models")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    assert_exit(&run(&["models", "pull", "whisper-tiny.en", "--from", "/nowhere"]), 1);
}

#[test]
fn a_disk_that_fills_while_a_model_comes_is_told_and_given_back() {
    let (mirror, folder) = (shelf(), tempfile::tempdir().unwrap());
    // What a process may write into one file is bounded as a full disk would bound it, with another number.
    let script = "trap '' XFSZ; ulimit -f 100; exec \"$@\"";
    let mut command = std::process::Command::new("bash");
    let binary = env!("CARGO_BIN_EXE_streamforge");
    command.current_dir(folder.path()).args(["-c", script, "bash", binary, "models", "pull", "of-ours", "--from"]);
    let said = command.arg(mirror.path()).output().unwrap();
    assert_failure(&said, 1, "cannot write", "make room");
    assert_eq!(std::fs::read_dir(folder.path().join("data/models")).unwrap().count(), 0);
}
