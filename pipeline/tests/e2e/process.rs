//! A process of StreamForge as a test sees it: what it says when it serves, and its log.

use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

/// Lines of a log that are told.
const TOLD: usize = 40;

/// What the process says that it does, such as `serves at http://127.0.0.1:8080/`; nothing when it ends before, or is silent for so
/// long. Its standard output must be piped.
pub async fn announced(child: &mut Child, patience: Duration) -> Option<String> {
    let mut lines = BufReader::new(child.stdout.take()?).lines();
    let said = timeout(patience, async {
        while let Ok(Some(line)) = lines.next_line().await {
            if let Some(what) = line.strip_prefix("StreamForge ") {
                return Some(what.to_owned());
            }
        }
        None
    });
    let said = said.await.ok().flatten();
    // The pipe must stay empty, or the process would wait for a reader.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    said
}

/// The address, without a slash at its end, of a process that serves.
pub async fn serves_at(child: &mut Child, patience: Duration) -> Option<String> {
    let said = announced(child, patience).await?;
    said.strip_prefix("serves at ").map(|address| address.trim().trim_end_matches('/').to_owned())
}

/// The last lines of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TOLD)..].join("\n")
}
