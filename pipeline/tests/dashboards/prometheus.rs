//! A real Prometheus, and `promtool`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::process::{Child, Command as AsyncCommand};

/// What is not there, said once.
fn missing(program: &str) {
    println!("not run here: dashboards and alerts need {program}; ./dev engines up prometheus");
}

/// A program from the environment or from the path.
fn program(variable: &str, name: &str) -> Option<String> {
    let program = std::env::var(variable).unwrap_or_else(|_| name.to_owned());
    let works = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if works.is_ok_and(|status| status.success()) {
        return Some(program);
    }
    missing(name);
    None
}

/// Runs `promtool` in a folder; what it dislikes fails the test.
pub fn promtool() -> Option<impl Fn(&Path, &[&str])> {
    let program = program("STREAMFORGE_TEST_PROMTOOL", "promtool")?;
    Some(move |folder: &Path, args: &[&str]| {
        let output = Command::new(&program).args(args).current_dir(folder).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "promtool {args:?}:\n{}", String::from_utf8_lossy(&said));
    })
}

/// A Prometheus that scrapes one address every second; dropped, it dies.
pub struct Prometheus {
    _child: Child,
    url: String,
    http: reqwest::Client,
}

impl Prometheus {
    /// Starts one on `folder` that watches `target`, with our alerts.
    pub async fn start(folder: &Path, target: &str) -> Option<Self> {
        let program = program("STREAMFORGE_TEST_PROMETHEUS", "prometheus")?;
        let alerts = crate::grafana().join("alerts.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: ['{}']\nscrape_configs:\n  \
             - job_name: streamforge\n    static_configs: [{{ targets: ['{target}'] }}]\n",
            alerts.display()
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let [port] = crate::ports::free();
        let log = std::fs::File::create(folder.join("prometheus.log")).unwrap();
        let child = AsyncCommand::new(program)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=prometheus")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build().unwrap();
        let prometheus = Self { _child: child, url: format!("http://127.0.0.1:{port}"), http };
        let until = Instant::now() + Duration::from_secs(60);
        while !prometheus.is_ready().await {
            let log = std::fs::read_to_string(folder.join("prometheus.log")).unwrap_or_default();
            assert!(Instant::now() < until, "prometheus does not get ready:\n{log}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Some(prometheus)
    }

    async fn is_ready(&self) -> bool {
        let asked = self.http.get(format!("{}/-/ready", self.url)).send().await;
        asked.is_ok_and(|answer| answer.status().is_success())
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let pairs: Vec<String> = query.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let asked = self.http.get(format!("{}{path}?{}", self.url, pairs.join("&"))).send().await;
        let text = asked.unwrap().text().await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text}"))
    }

    /// The values that an expression has now, as text; an expression that cannot be evaluated is an error.
    pub async fn ask(&self, expr: &str) -> Result<Vec<String>, String> {
        let answer = self.get("/api/v1/query", &[("query", expr)]).await;
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let samples = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        Ok(samples.iter().filter_map(|sample| Some(sample["value"][1].as_str()?.to_owned())).collect())
    }

    /// Names of the alerts that fire or are about to.
    pub async fn alerts(&self) -> Vec<String> {
        let answer = self.get("/api/v1/alerts", &[]).await;
        let alerts = answer["data"]["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().filter_map(|alert| Some(alert["labels"]["alertname"].as_str()?.to_owned())).collect()
    }

    /// Rules that could not be evaluated, and why.
    pub async fn broken_rules(&self) -> Vec<String> {
        let answer = self.get("/api/v1/rules", &[]).await;
        let groups = answer["data"]["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
        rules.filter(|rule| rule["health"] != "ok").map(|rule| rule.to_string()).collect()
    }
}

/// A value for a query string.
fn escaped(value: &str) -> String {
    value
        .bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
