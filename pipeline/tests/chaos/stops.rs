//! Cancelling and deleting on real engines: how long until nothing works on the job any more and no byte of it is left.

use std::path::Path;
use std::time::{Duration, Instant};

use connectors::Blobs;
use serde_json::Value;
use tokio::time::sleep;

use super::House;
use super::uploads::draw;

/// Longest time for anything here; what is normal stands in the report.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing may happen until that counts as the end.
const QUIET: Duration = Duration::from_secs(1);

impl House {
    /// Takes both in turn, asked of another edge than the one that got the film; answers how long each took.
    pub async fn stops(&self, folder: &Path, blobs: &Blobs) -> Result<Vec<(&'static str, Duration)>, String> {
        // Long enough that every worker is busy for a while.
        let film = draw(&folder.join("film.mp4"), "1280x720", 24, 90, false).await?;
        let mut took = Vec::new();
        for what in ["cancel", "delete"] {
            let job = self.started(film.clone()).await?;
            let url = format!("{}/api/jobs/{job}", self.addresses[1]);
            let request = match what {
                "cancel" => self.http.post(format!("{url}/cancel")),
                _ => self.http.delete(&url),
            };
            let asked = Instant::now();
            let answer = request.send().await.map_err(|error| format!("{what} {job}: {error}"))?;
            if answer.status().as_u16() != 202 {
                return Err(format!("{what} {job}: {}", answer.status()));
            }
            took.push((what, self.at_rest(&job, blobs).await?.saturating_duration_since(asked)));
        }
        Ok(took)
    }

    /// Uploads the film; answers its job when every slot that can is at work.
    async fn started(&self, film: Vec<u8>) -> Result<String, String> {
        let request = self.http.post(format!("{}/api/upload?name=film.mp4", self.addresses[0]));
        let answer = request.body(film).send().await.map_err(|error| format!("upload the film: {error}"))?;
        let view: Value = answer.json().await.map_err(|error| format!("upload the film: {error}"))?;
        let job = view["id"].as_str().ok_or_else(|| format!("upload the film: {view}"))?.to_owned();
        let until = Instant::now() + PATIENCE;
        while self.media_processes().await.len() < self.workers.len() {
            if Instant::now() > until {
                return Err("not every worker is at work on the film".to_owned());
            }
            sleep(Duration::from_millis(50)).await;
        }
        Ok(job)
    }

    /// When the last work on `job` was seen and its last byte.
    async fn at_rest(&self, job: &str, blobs: &Blobs) -> Result<Instant, String> {
        let until = Instant::now() + PATIENCE;
        let (mut last, mut before) = (Instant::now(), Vec::new());
        loop {
            let now = self.media_processes().await;
            let left = blobs.list(&format!("jobs/{job}/")).await.map_err(|error| error.to_string())?;
            let is_working = now.iter().any(|one| !before.contains(one));
            if is_working || !left.is_empty() {
                last = Instant::now();
            }
            before = now;
            if last.elapsed() > QUIET {
                return Ok(last);
            }
            if Instant::now() > until {
                let left: Vec<_> = left.into_iter().map(|blob| blob.key).collect();
                return Err(format!(
                    "nobody wants {job} any more, and it goes on: working {is_working}, left {left:?}"
                ));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The media processes of all workers, each with the processor time that it has had.
    async fn media_processes(&self) -> Vec<(u32, u64)> {
        let mut groups = Vec::new();
        for worker in &self.workers {
            groups.extend(worker.lock().await.id());
        }
        let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let of_worker = |id: u32| {
            let (group, time) = usage(id)?;
            (groups.contains(&group) && !groups.contains(&id)).then_some((id, time))
        };
        ids.filter_map(of_worker).collect()
    }
}

/// Process group and processor time of process `id`, see proc_pid_stat(5).
fn usage(id: u32) -> Option<(u32, u64)> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // What comes before the last bracket is a name that may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((u32::try_from(number(2)?).ok()?, number(11)? + number(12)?))
}
