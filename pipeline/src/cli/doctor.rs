//! `doctor`: checks this machine and these settings; each finding says how to mend it.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use connectors::clock::SystemClock;
use connectors::open::{self, BlobsAt, LogAt};
use serde::Serialize;
use serde_json::{Value, json};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::{roles, show};
use crate::config::{Config, size};
use crate::media::library;
use crate::ml::child;
use crate::stage::chain;

mod topics;

/// A moment that any sane clock has passed: 2026-01-01.
const BUILT_AFTER_S: u64 = 1_767_225_600;

/// A moment that no sane clock has reached: 2100-01-01.
const FAR_FUTURE_S: u64 = 4_102_444_800;

/// Memory that transcoding 1080p on two cores may take.
const MEMORY: u64 = 1_300_000_000;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Ok,
    /// It works, not for ever.
    Warn,
    /// It cannot work.
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was checked.
    pub check: &'static str,
    /// How it is.
    pub health: Health,
    /// What was found.
    pub found: String,
    /// How to mend it; empty when nothing has to be.
    pub fix: String,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, health: Health::Ok, found: found.into(), fix: String::new() }
    }

    fn warn(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, health: Health::Warn, found: found.into(), fix: fix.into() }
    }

    fn fail(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, health: Health::Fail, found: found.into(), fix: fix.into() }
    }
}

/// Checks everything and prints what was found; a failing check is a failure.
pub async fn run(config: Config, as_json: bool) -> Result<(), Failure> {
    let running = running_health(config.listen).await;
    let mut findings = vec![settings(&config), clock(&config.data), memory(), open_files(), slots(&config)];
    findings.extend(libraries());
    if config.doors().is_one_process() || matches!(config.blobs, BlobsAt::Folder(_)) {
        findings.push(data_folder(&config.data));
    }
    if let BlobsAt::Folder(blobs) = &config.blobs {
        findings.push(disk(blobs, config.max_upload_bytes));
    }
    findings.extend(doors(&config, running.as_ref()).await);
    findings.extend(registry(&config).await);
    findings.push(port("listen", config.listen, running.is_some()));
    findings.push(port("ops_listen", config.ops_listen, running.is_some()));
    let worst = findings.iter().map(|finding| finding.health).max().unwrap_or(Health::Ok);
    if as_json {
        show::print_json(&json!({ "health": worst, "findings": findings }))?;
    } else {
        show::print(&report(&findings, show::has_colours()))?;
    }
    if worst == Health::Fail { Err(Failure::told(Exit::Failed)) } else { Ok(()) }
}

fn report(findings: &[Finding], colours: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let word = match finding.health {
            Health::Ok => "ok",
            Health::Warn => "warn",
            Health::Fail => "fail",
        };
        let word = show::in_colour(&format!("{word:4}"), word, colours);
        text.push_str(&format!("{word}  {:11} {}\n", finding.check, show::plain(&finding.found)));
        if !finding.fix.is_empty() {
            text.push_str(&format!("      {:11} to mend it: {}\n", "", show::plain(&finding.fix)));
        }
    }
    text
}

fn settings(config: &Config) -> Finding {
    if config.stray_variables.is_empty() {
        return Finding::ok("settings", "every setting is understood");
    }
    let found = format!("{} in the environment is no setting", config.stray_variables.join(", "));
    Finding::warn("settings", found, "unset it, or look for the right name in `streamforge config show`")
}

/// A wrong clock stamps jobs wrongly; one that differs from the file system's expires the wrong things.
fn clock(data: &Path) -> Finding {
    let now = SystemTime::now();
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let shown = jiff::Timestamp::try_from(now).map(|now| format!("{now:.0}")).unwrap_or_default();
    if !(BUILT_AFTER_S..FAR_FUTURE_S).contains(&seconds) {
        return Finding::fail("clock", format!("it is said to be {shown}"), "set the clock, best with NTP");
    }
    let folder = if data.is_dir() { data.to_path_buf() } else { std::env::temp_dir() };
    let Ok(stamped) = stamp(&folder) else { return Finding::ok("clock", shown) };
    let apart = now.duration_since(stamped).unwrap_or_else(|error| error.duration());
    if apart > Duration::from_secs(5) {
        let found = format!("the file system of {} is {} s apart", folder.display(), apart.as_secs());
        return Finding::warn("clock", found, "let both machines take their time from NTP");
    }
    Finding::ok("clock", shown)
}

/// When the file system says that a new file in `folder` was made.
fn stamp(folder: &Path) -> std::io::Result<SystemTime> {
    let probe = Probe::make(folder)?;
    std::fs::metadata(&probe.path)?.modified()
}

/// A file that is gone again in a moment.
struct Probe {
    path: PathBuf,
}

impl Probe {
    fn make(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(format!(".doctor-{}-{:08x}", std::process::id(), rand::random::<u32>()));
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path)?;
        let probe = Self { path };
        file.write_all(b"is this folder writable?")?;
        file.sync_all()?;
        Ok(probe)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // It is as good as gone: its name says what it is.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn data_folder(data: &Path) -> Finding {
    let shown = data.display();
    let Some(there) = nearest_folder(data) else {
        return Finding::fail("data", format!("{shown} cannot be made"), "name another folder with --data");
    };
    let start = Instant::now();
    match Probe::make(&there) {
        Err(error) => {
            let fix = "give this user the right to write there, or name another folder with --data";
            Finding::fail("data", format!("cannot write in {}: {error}", there.display()), fix)
        }
        Ok(_) if start.elapsed() > Duration::from_millis(100) => {
            let found = format!("{shown} takes {} ms to make a write durable", start.elapsed().as_millis());
            Finding::warn("data", found, "every event waits for that: put the folder on a local disk or SSD")
        }
        Ok(_) if there == data => Finding::ok("data", format!("{shown} can be written")),
        Ok(_) => Finding::ok("data", format!("{shown} is not there yet and can be made")),
    }
}

/// `folder` or the closest one above it that exists.
fn nearest_folder(folder: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(folder).ok()?;
    let there = absolute.ancestors().find(|folder| folder.exists())?;
    if there == absolute { Some(folder.to_path_buf()) } else { there.is_dir().then(|| there.to_path_buf()) }
}

fn disk(blobs: &Path, max_upload_bytes: u64) -> Finding {
    let Some(folder) = nearest_folder(blobs) else {
        return Finding::fail("disk", format!("{} cannot be made", blobs.display()), "name another folder");
    };
    let Ok(space) = rustix::fs::statvfs(&folder) else {
        return Finding::warn("disk", "free space cannot be read", "see that the folder's disk is mounted");
    };
    let free = space.f_bavail * space.f_frsize;
    let found = format!("{} free for {}", size::shown(free), blobs.display());
    // The upload itself, and renditions of up to three times its size.
    let one = max_upload_bytes.saturating_mul(4);
    let fix = format!("free some: the largest upload and its renditions take up to {}", size::shown(one));
    match free {
        free if free < max_upload_bytes => Finding::fail("disk", found, fix),
        free if free < one => Finding::warn("disk", found, fix),
        _ => Finding::ok("disk", found),
    }
}

fn memory() -> Finding {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let Some(kilobytes) = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()) else {
        return Finding::ok("memory", "cannot be read on this system");
    };
    let free = kilobytes * 1024;
    let found = format!("{} available", size::shown(free));
    if free < MEMORY {
        let fix = format!("1080p needs about {}: stop something, or set `slots` to 1", size::shown(MEMORY));
        return Finding::warn("memory", found, fix);
    }
    Finding::ok("memory", found)
}

fn open_files() -> Finding {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit {
        Some(limit) if limit < 1024 => Finding::warn(
            "open files",
            format!("at most {limit}"),
            "raise it with `ulimit -n 4096`: each viewer takes one",
        ),
        Some(limit) => Finding::ok("open files", format!("at most {limit}")),
        None => Finding::ok("open files", "as many as needed"),
    }
}

fn slots(config: &Config) -> Finding {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let found = format!("{} on {cores} cores", config.slots);
    if config.slots > cores * 2 {
        return Finding::warn("slots", found, "leave `slots` out: more than one per core only costs memory");
    }
    Finding::ok("slots", found)
}

/// What the server at `listen` says about itself, if one runs there.
async fn running_health(listen: SocketAddr) -> Option<Value> {
    if listen.port() == 0 {
        return None;
    }
    let client = Client::new(&roles::url(listen)).ok()?;
    let request = client.request(reqwest::Method::GET, "api/health").timeout(Duration::from_secs(3));
    let answer: Value = request.send().await.ok()?.json().await.ok()?;
    answer["doors"].is_object().then_some(answer)
}

/// A running server is asked; else each door is opened.
async fn doors(config: &Config, running: Option<&Value>) -> Vec<Finding> {
    if let Some(health) = running {
        let mut found = door_findings(&health["doors"], "says the server that runs here");
        found.extend(topics::on_the_brokers(&config.doors()).await);
        return found;
    }
    // The registry is looked at by itself, and schemas are registered by the first start.
    let wanted = config.doors().without_registry();
    // What is not there yet is made on the first start, not by the doctor.
    let on_first_start = |check, at: String| Finding::ok(check, format!("{at}; it is made on the first start"));
    let log = async {
        if !open::is_log_made(&wanted) {
            return vec![on_first_start("log", wanted.log_at())];
        }
        match open::log(&wanted, Arc::new(SystemClock)).await {
            Ok(log) => {
                let found = checked("log", wanted.log_at(), log.check().await);
                let topics = if wanted.log == LogAt::Embedded { None } else { topics::compared(&*log).await };
                [found].into_iter().chain(topics).collect()
            }
            Err(error) => vec![closed("log", &error)],
        }
    };
    let catalog = async {
        match open::is_catalog_made(&wanted).await {
            Ok(true) => {}
            Ok(false) => return on_first_start("catalog", wanted.catalog_at()),
            Err(error) => return closed("catalog", &error),
        }
        match open::catalog(&wanted).await {
            Ok(catalog) => checked("catalog", wanted.catalog_at(), catalog.check().await),
            Err(error) => closed("catalog", &error),
        }
    };
    let blobs = async {
        if matches!(&wanted.blobs, BlobsAt::Folder(folder) if !folder.is_dir()) {
            return on_first_start("blobs", wanted.blobs_at());
        }
        match open::blobs_alone(&wanted).await {
            Ok(blobs) => checked("blobs", wanted.blobs_at(), blobs.check().await),
            Err(error) => closed("blobs", &error),
        }
    };
    let (log, catalog, blobs) = tokio::join!(log, catalog, blobs);
    log.into_iter().chain([catalog, blobs]).collect()
}

/// A registry of one's own, where one is set.
async fn registry(config: &Config) -> Option<Finding> {
    const CHECK: &str = "registry";
    let is_set = config.settings.iter().any(|setting| setting.key == CHECK && setting.value != "built-in");
    let Some(asked) = open::registry(&config.doors()).await else {
        let found = "it is set, and the log is embedded, where ids are built in";
        return is_set.then(|| Finding::warn(CHECK, found, "leave `registry` out, or set `log` to kafka://host:9092"));
    };
    Some(match asked {
        Ok((at, lacking)) if lacking.is_empty() => Finding::ok(CHECK, format!("{at} answers")),
        Ok((at, lacking)) => {
            let found = format!("{at} answers, and lacks our newest schema under {}", lacking.join(", "));
            Finding::warn(CHECK, found, "nothing before an upgrade: the next start registers it, or says why it cannot")
        }
        Err(trouble) => Finding::fail(CHECK, trouble.to_string(), trouble.advice()),
    })
}

fn checked<E: std::error::Error>(check: &'static str, at: String, answer: Result<(), E>) -> Finding {
    match answer {
        Ok(()) => Finding::ok(check, format!("{at} answers")),
        Err(error) => Finding::fail(check, format!("{at}: {}", chain(&error)), "look at the service's own log"),
    }
}

fn closed(check: &'static str, error: &open::Error) -> Finding {
    if matches!(error.why, open::Why::InUse(_)) {
        let fix = "nothing, if that is a StreamForge on another address: name it with --listen and it is asked";
        return Finding::warn(check, chain(&error.why), fix);
    }
    Finding::fail(check, chain(error), error.advice())
}

fn door_findings(doors: &Value, by: &str) -> Vec<Finding> {
    let checked = doors.as_object().into_iter().flatten().map(|(name, health)| {
        let said = health.as_str().map_or_else(|| health.to_string(), str::to_owned);
        let is_well = said == "ok" || health["status"] == "ok" || *health == true;
        if is_well {
            Finding::ok("doors", format!("{name} is well, {by}"))
        } else {
            Finding::fail("doors", format!("{name}: {said}, {by}"), "look at the server's log")
        }
    });
    checked.collect()
}

fn port(check: &'static str, address: SocketAddr, is_ours: bool) -> Finding {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Finding::ok(check, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && is_ours => {
            Finding::ok(check, format!("{address} is in use by a running StreamForge"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let fix = format!("stop what listens there (`ss -ltnp`), or set `{check}` to another port");
            Finding::fail(check, format!("{address} is in use by something else"), fix)
        }
        Err(error) => {
            let fix = format!("set `{check}` to an address of this machine and a port above 1023");
            Finding::fail(check, format!("{address} cannot be listened on: {error}"), fix)
        }
    }
}

fn libraries() -> Vec<Finding> {
    let versions: Vec<_> = library::versions().iter().map(|(name, version)| format!("{name} {version}")).collect();
    let lacking = library::lacking();
    let media = if lacking.is_empty() {
        Finding::ok("libraries", versions.join(", "))
    } else {
        let found = format!("{} lack {}", versions.join(", "), lacking.join(", "));
        Finding::fail("libraries", found, "install FFmpeg 5.1 or later built with libx264 and zimg, as Debian has it")
    };
    vec![Finding::ok("streamforge", env!("CARGO_PKG_VERSION")), media, models(child::program())]
}

/// What models compute on. A build without is a choice, not a fault; one that does not run is.
fn models(program: Option<PathBuf>) -> Finding {
    let Some(program) = program else {
        return Finding::ok(
            "models",
            "none: this build has no libtorch, so there are no captions (`./dev build` makes one that has)",
        );
    };
    match child::about(&program) {
        Ok(about) => Finding::ok("models", about),
        Err(error) => {
            Finding::fail("models", error.to_string(), "run `./dev build`, or set LIBTORCH to a libtorch 2.13.0")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_is_checked_where_it_would_be_made() {
        let place = tempfile::tempdir().unwrap();
        let finding = data_folder(&place.path().join("a/b/c"));
        assert_eq!((finding.health, finding.found.contains("can be made")), (Health::Ok, true), "{finding:?}");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "the doctor leaves nothing behind");
    }

    #[test]
    fn a_file_in_the_way_of_the_data_folder_is_found() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("data");
        std::fs::write(&file, "x").unwrap();
        let finding = data_folder(&file);
        assert_eq!(finding.health, Health::Fail, "{finding:?}");
        assert!(finding.fix.contains("--data"), "{finding:?}");
    }

    #[test]
    fn a_port_in_use_says_how_to_find_by_whom() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let taken = port("listen", address, false);
        assert_eq!((taken.health, taken.fix.contains("ss -ltnp")), (Health::Fail, true), "{taken:?}");
        assert_eq!(port("listen", address, true).health, Health::Ok);
        drop(listener);
        assert_eq!(port("listen", address, false).health, Health::Ok);
    }

    #[test]
    fn a_failing_door_of_a_running_server_is_told() {
        let findings = door_findings(&json!({ "log": "ok", "blobs": "disk full" }), "it says");
        let bad: Vec<_> = findings.iter().filter(|finding| finding.health == Health::Fail).collect();
        assert_eq!(bad.len(), 1);
        assert!(bad[0].found.contains("disk full"), "{bad:?}");
        assert_eq!(door_findings(&json!({ "log": { "status": "ok" } }), "it says")[0].health, Health::Ok);
    }

    #[test]
    fn what_models_run_on_is_told() {
        let without = models(None);
        assert!(without.health == Health::Ok && without.found.starts_with("none: "), "{without:?}");
        let broken = models(Some("/bin/false".into()));
        assert!(broken.health == Health::Fail && broken.fix.contains("LIBTORCH"), "{broken:?}");
    }

    #[test]
    fn a_report_puts_the_fix_below_its_finding() {
        let text = report(&[Finding::fail("disk", "full", "free some")], false);
        assert_eq!(text, "fail  disk        full\n                  to mend it: free some\n");
    }
}
