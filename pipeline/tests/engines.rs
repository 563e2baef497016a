//! The script that runs engines: two sets of them do not know each other, a crash is survived, and nothing is taken that is
//! not what its sum says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// A set of engines with nothing but Prometheus, which starts at once; dropped, it ends.
struct Set(tempfile::TempDir);

impl Set {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn ask(&self, action: &str, names: &[&str]) -> Output {
        let data = self.0.path().join("engines");
        let command = ["engines", action, "--data", data.to_str().unwrap()];
        Command::new(root().join("dev")).args(command).args(names).output().unwrap()
    }

    /// What an action says when it succeeds.
    fn must(&self, action: &str, names: &[&str]) -> String {
        let output = self.ask(action, names);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "engines {action} {names:?}: {said}");
        said
    }

    /// Address, process and health of Prometheus.
    fn status(&self) -> (String, String, String) {
        let table = text(&self.ask("status", &[]).stdout);
        let row = table.lines().find(|line| line.starts_with("prometheus")).unwrap().to_owned();
        let words: Vec<&str> = row.split_whitespace().collect();
        (words[1].to_owned(), words[2].to_owned(), (*words.last().unwrap()).to_owned())
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        self.ask("down", &[]);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether engines can run here, which `./dev test` finds out.
fn can_run() -> bool {
    let can = std::env::var_os("STREAMFORGE_TEST_PROMETHEUS").is_some()
        && std::env::var_os("STREAMFORGE_TEST_JAVA").is_some();
    if !can {
        println!("not run here: the script of the engines needs what it fetches; ./dev engines up");
    }
    can
}

#[test]
fn two_sets_of_engines_do_not_know_each_other_and_survive_a_crash() {
    if !can_run() {
        return;
    }
    let (one, other) = (Set::new(), Set::new());
    one.must("up", &["prometheus", "--free-ports"]);
    other.must("up", &["prometheus", "--free-ports"]);
    let (address, process, health) = one.status();
    assert_eq!(health, "well");
    assert_ne!(address, other.status().0);
    assert!(!one.ask("status", &[]).status.success(), "not all engines run, and status says so");

    one.must("up", &["prometheus"]);
    assert_eq!(one.status().1, process, "what runs is left alone");
    assert!(one.must("kill", &["prometheus"]).contains("prometheus stopped"));
    assert_eq!(one.status().2, "stopped");
    assert_eq!(other.status().2, "well");
    one.must("up", &["prometheus"]);
    let again = one.status();
    assert_eq!((again.0, again.2), (address, "well".to_owned()), "it comes back where it was");
    assert_ne!(again.1, process);
    one.must("down", &[]);
    assert_eq!(one.status().2, "stopped");
    one.must("down", &[]);

    let refused = one.ask("env", &["pipeline"]);
    assert_eq!(refused.status.code(), Some(1), "the pipeline needs engines that run");
    assert!(text(&refused.stderr).contains("./dev engines up"), "{}", text(&refused.stderr));
}

#[test]
fn what_is_not_what_its_sum_says_is_not_taken() {
    if !can_run() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mirror, cache) = (folder.path().join("mirror"), folder.path().join("cache"));
    let list = std::fs::read_to_string(root().join("connectors/engines/kafka/jars.sha256")).unwrap();
    for line in list.lines() {
        let file = mirror.join(line.split_whitespace().nth(1).unwrap());
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "not what was asked for").unwrap();
    }
    let output = Command::new(root().join("dev"))
        .args(["engines", "up", "kafka", "--free-ports", "--data"])
        .arg(folder.path().join("engines"))
        .env("STREAMFORGE_ENGINES_CACHE", &cache)
        .env("STREAMFORGE_MAVEN", format!("file://{}", mirror.display()))
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is not what connectors/engines/kafka/jars.sha256 names"), "{said}");
    assert!(!cache.join("kafka-4.4.0").exists(), "nothing of it is kept");
}

#[test]
fn wrong_usage_is_told_apart() {
    for (command, word) in [(&["engines", "up", "oracle"][..], "oracle"), (&["engines", "dance"][..], "dance")] {
        let output = Command::new(root().join("dev")).args(command).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        assert!(text(&output.stderr).contains(word), "{}", text(&output.stderr));
    }
}
