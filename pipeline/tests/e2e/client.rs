//! What a user of the HTTP interface does.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

/// A client of one server.
#[derive(Clone)]
pub struct Api {
    http: Client,
    url: String,
}

/// A job that was accepted.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: String,
    /// When the upload began.
    pub since: Instant,
}

impl Api {
    /// A client of the server at `url`.
    pub fn new(url: &str) -> Self {
        let http = Client::builder().timeout(Duration::from_secs(120)).build().expect("build the client");
        Self { http, url: url.to_owned() }
    }

    /// The full address of `path`.
    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.url) }
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Result<Response, String> {
        let sent = self.http.get(self.url(path)).send().await;
        sent.map_err(|error| format!("GET {path}: {error:?}"))
    }

    /// GET that must answer 200 with JSON.
    pub async fn json(&self, path: &str) -> Result<Value, String> {
        let answer = self.get(path).await?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| format!("GET {path}: {error}"))?;
        if status != StatusCode::OK {
            return Err(format!("GET {path}: {status} {text}"));
        }
        serde_json::from_str(&text).map_err(|error| format!("GET {path}: {error}: {text}"))
    }

    /// GET of bytes, all of them or the range `bytes=...`.
    pub async fn bytes(&self, path: &str, range: Option<&str>) -> Result<Vec<u8>, String> {
        let mut request = self.http.get(self.url(path));
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let answer = request.send().await.map_err(|error| format!("GET {path}: {error:?}"))?;
        let wanted = if range.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        if answer.status() != wanted {
            return Err(format!("GET {path} {range:?}: {}", answer.status()));
        }
        answer.bytes().await.map(|bytes| bytes.to_vec()).map_err(|error| format!("GET {path}: {error}"))
    }

    /// Uploads bytes; answers the status and the body as JSON, whatever they are.
    pub async fn post(&self, name: &str, bytes: Vec<u8>) -> Result<(StatusCode, Value), String> {
        let path = format!("/api/upload?name={name}");
        let sent = self
            .http
            .post(self.url(&path))
            .header("content-type", "application/octet-stream")
            .body(bytes)
            .send()
            .await
            .map_err(|error| format!("POST {path}: {error:?}"))?;
        let status = sent.status();
        let text = sent.text().await.map_err(|error| format!("POST {path}: {error}"))?;
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// Uploads a file that must be taken.
    pub async fn upload(&self, file: &Path) -> Result<Upload, String> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes = tokio::fs::read(file).await.map_err(|error| format!("read {}: {error}", file.display()))?;
        let since = Instant::now();
        let (status, body) = self.post(&name, bytes).await?;
        match (status, body["id"].as_str()) {
            (StatusCode::CREATED, Some(id)) => Ok(Upload { id: id.to_owned(), since }),
            _ => Err(format!("upload {name}: {status} {body}")),
        }
    }

    /// Asks for the end of a job.
    pub async fn cancel(&self, id: &str) -> Result<(), String> {
        let path = format!("/api/jobs/{id}/cancel");
        let sent = self.http.post(self.url(&path)).send().await.map_err(|error| format!("POST {path}: {error:?}"))?;
        match sent.status() {
            StatusCode::ACCEPTED => Ok(()),
            status => Err(format!("POST {path}: {status}")),
        }
    }

    /// The job as JSON.
    pub async fn job(&self, id: &str) -> Result<Value, String> {
        self.json(&format!("/api/jobs/{id}")).await
    }

    /// Waits until the job has come to an end; says how far it was otherwise.
    pub async fn end(&self, id: &str, patience: Duration) -> Result<Value, String> {
        let deadline = Instant::now() + patience;
        loop {
            let job = self.job(id).await?;
            if matches!(job["state"].as_str(), Some("ready" | "failed" | "cancelled")) {
                return Ok(job);
            }
            if Instant::now() > deadline {
                let why = self.json(&format!("/api/jobs/{id}/explain")).await.unwrap_or_default();
                return Err(format!("job {id} has no end after {patience:?}: {why} {job}"));
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// Waits until the job is ready; a failure is an error that says why.
    pub async fn ready(&self, id: &str, patience: Duration) -> Result<Value, String> {
        let job = self.end(id, patience).await?;
        match job["state"].as_str() {
            Some("ready") => Ok(job),
            _ => Err(format!("job ended {}: {}", job["state"], job["error"])),
        }
    }
}

/// Files below `folder`, with their sizes; none when it is not there.
pub fn files_below(folder: &Path) -> Vec<(std::path::PathBuf, u64)> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries.flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => found.extend(files_below(&entry.path())),
            Ok(meta) => found.push((entry.path(), meta.len())),
            Err(_) => {}
        }
    }
    found
}

/// Whether a stored file is the upload itself.
pub fn is_source(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("source"))
}

/// Bytes that a job keeps beside its source.
pub fn stored_bytes(data: &Path, id: &str) -> u64 {
    let files = files_below(&data.join("blobs/jobs").join(id));
    files.iter().filter(|(file, _)| !is_source(file)).map(|(_, size)| size).sum()
}
