//! The files of a bigger deployment: a compose loader reads `docker-compose.yml`, and what it read is what we promise.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The oldest Go that the loader can be built with: 1.24.
const LEAST_GO: u32 = 24;

/// The loader of Docker Compose as a program; nothing where it cannot be built.
fn loader() -> Option<&'static PathBuf> {
    static LOADER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = LOADER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deployment/compose");
        // No other toolchain than the one that is here.
        let go =
            |args: &[&str]| Command::new("go").args(args).env("GOTOOLCHAIN", "local").current_dir(&source).output();
        let version = go(&["env", "GOVERSION"]).ok()?;
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        let minor = version.trim().strip_prefix("go1.")?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
        if LEAST_GO > minor || !go(&["mod", "download"]).ok()?.status.success() {
            return None;
        }
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compose");
        let built = go(&["build", "-o", &program.to_string_lossy(), "."]).unwrap();
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        Some(program)
    });
    if built.is_none() {
        println!("not run here: reading docker-compose.yml needs Go 1.{LEAST_GO} and, once, a network");
    }
    built.as_ref()
}

/// Loads a compose file; what the loader dislikes is an error.
fn load(file: &Path) -> Option<Result<Value, String>> {
    let output = Command::new(loader()?).arg(file).output().unwrap();
    Some(if output.status.success() {
        Ok(serde_json::from_slice(&output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    })
}

/// What is wrong with a service.
fn faults(name: &str, service: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |is_so: bool, what: &str| {
        if !is_so {
            faults.push(format!("{name}: {what}"));
        }
    };
    let image = service["image"].as_str().unwrap_or_default();
    let tag = image.rsplit('/').next().and_then(|last| last.split_once(':')).map_or("", |(_, tag)| tag);
    want(tag.chars().any(|c| c.is_ascii_digit()), "its image has no version");
    let limits = &service["deploy"]["resources"]["limits"];
    want(limits["memory"].is_string() && limits["cpus"].is_number(), "nothing limits its memory and processor time");
    let health = &service["healthcheck"];
    want(health["test"].is_array() || health["disable"] == true, "nobody asks for its health");
    want(service["security_opt"][0] == "no-new-privileges:true", "it may gain privileges");
    want(service["privileged"].is_null() && service["network_mode"].is_null(), "it shares the machine");
    let networks = service["networks"].as_object().map_or(0, serde_json::Map::len);
    want(networks > 0 && service["networks"]["default"].is_null(), "it is on no network of its own");
    for port in service["ports"].as_array().into_iter().flatten() {
        want(port["host_ip"] == "127.0.0.1", "it is published beyond this machine");
    }
    for volume in service["volumes"].as_array().into_iter().flatten() {
        let source = volume["source"].as_str().unwrap_or_default();
        let is_socket = source == "/var/run/docker.sock";
        if volume["type"] == "bind" {
            want(is_socket || Path::new(source).exists(), &format!("{source} is not there"));
            want(volume["read_only"] == true, &format!("it may write to {source}"));
            want(!is_socket || name == "docker-socket", "it sees the Docker socket");
        }
    }
    // The image of ScyllaDB sets up its machine as root; it is the only one.
    if name != "scylla" {
        let user = service["user"].as_str().unwrap_or("0");
        want(!user.starts_with('0') && !user.starts_with("root"), "it runs as root");
        want(service["cap_drop"][0] == "ALL", "it keeps capabilities");
        // The start script of Kafka's image writes its configuration beside the program.
        want(name == "kafka" || service["read_only"] == true, "it may write to its own files");
    }
    faults
}

#[test]
fn the_compose_file_is_what_a_deployment_needs() {
    let Some(loaded) = load(&root().join("docker-compose.yml")) else { return };
    let project = loaded.unwrap();
    let services = project["services"].as_object().unwrap();
    let all: Vec<String> = services.iter().flat_map(|(name, service)| faults(name, service)).collect();
    assert!(all.is_empty(), "{all:#?}");
    let wanted = ["kafka", "scylla", "s3", "registry", "edge", "worker", "balancer"];
    let watching = ["prometheus", "grafana", "loki", "collector"];
    for name in wanted {
        assert!(services[name]["profiles"].is_null(), "{name} always runs");
    }
    for name in watching {
        assert_eq!(services[name]["profiles"][0], "observe", "{name} runs when it is asked for");
    }
    assert_eq!(services["edge"]["deploy"]["replicas"], 2);
    for name in ["edge", "worker"] {
        assert!(
            services[name]["container_name"].is_null() && services[name]["ports"].is_null(),
            "{name} can be scaled"
        );
        let grace = services[name]["stop_grace_period"].as_str().unwrap();
        assert_eq!(grace, "35s", "{name}: running work has 20 s, and 10 s more to settle");
        for door in ["kafka", "scylla", "registry"] {
            assert_eq!(services[name]["depends_on"][door]["condition"], "service_healthy", "{name} waits for {door}");
        }
    }
    assert_eq!(project["networks"]["back"]["internal"], true, "nothing but the pipeline reaches the doors");
}

#[test]
fn the_settings_in_the_compose_file_are_settings() {
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    let image = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let words = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').map(str::to_owned);
        words.filter(|word| word.starts_with("STREAMFORGE_")).collect::<std::collections::BTreeSet<_>>()
    };
    let mut found = words(&text);
    found.extend(words(&image));
    // Those are of the compose file itself.
    let own = ["STREAMFORGE_S3_KEY", "STREAMFORGE_S3_SECRET", "STREAMFORGE_PORT"];
    let stray: Vec<_> =
        found.iter().filter(|name| !own.contains(&name.as_str()) && pipeline::config::key::is_stray(name)).collect();
    assert!(found.len() > 8, "{found:?}");
    assert!(stray.is_empty(), "no such settings: {stray:?}");
}

#[test]
fn a_broken_compose_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("docker-compose.yml");
    let text = std::fs::read_to_string(root().join("docker-compose.yml")).unwrap();
    for (from, to) in [("networks: [front, watch]", "networks: [nowhere]"), ("replicas: 2", "replicas: many")] {
        assert!(text.contains(from));
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let Some(loaded) = load(&file) else { return };
        assert!(loaded.is_err(), "{to} is taken");
    }
    let open = serde_json::json!({ "image": "haproxy:latest", "user": "root", "ports": [{ "host_ip": "0.0.0.0" }] });
    let found = faults("balancer", &open).join("; ");
    for word in ["no version", "limits", "health", "privileges", "beyond this machine", "as root"] {
        assert!(found.contains(word), "{word} is missing: {found}");
    }
}

#[test]
fn the_image_runs_as_nobody_special_and_tells_its_health() {
    let text = std::fs::read_to_string(root().join("Dockerfile")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let stages: Vec<&&str> = lines.iter().filter(|line| line.starts_with("FROM ")).collect();
    assert_eq!(stages.len(), 2, "a stage that builds and one that runs");
    assert!(stages.iter().all(|stage| stage.contains(':') && !stage.contains("latest")), "{stages:?}");
    assert!(stages.iter().all(|stage| stage.contains("bookworm")), "FFmpeg is linked against that of one system");
    let runtime = &text[text.rfind("FROM ").unwrap()..];
    for word in ["\nUSER 10001", "\nHEALTHCHECK ", "\nENTRYPOINT ", "\nSTOPSIGNAL SIGTERM"] {
        assert!(runtime.contains(word), "no {word:?}");
    }
}

#[test]
fn the_balancer_takes_its_configuration() {
    let program = ["haproxy", "/usr/sbin/haproxy"]
        .into_iter()
        .find(|name| Command::new(name).arg("-v").output().is_ok_and(|output| output.status.success()));
    let Some(program) = program else {
        println!("not run here: reading haproxy.cfg needs the Debian package haproxy");
        return;
    };
    let output = Command::new(program)
        .args(["-c", "-f"])
        .arg(root().join("connectors/engines/haproxy/haproxy.cfg"))
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !said.contains("WARNING"), "{said}");
}
