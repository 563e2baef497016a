//! Sample files that others have collected, when they are there: real clips play, broken ones do no harm.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{StreamExt, stream};

use crate::client::Api;
use crate::clip;
use crate::measure::measure;
use crate::playback;
use crate::refusals::{Fate, fate};
use crate::server::Server;

/// The folder of samples: named by the environment, or beside the project's folder.
fn samples() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let folder = std::env::var_os("STREAMFORGE_SAMPLES").map_or(beside, PathBuf::from);
    folder.join("video").is_dir().then_some(folder)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn collected_samples_play_or_are_refused_with_a_reason() {
    let Some(samples) = samples() else {
        println!("not run here: collected samples need their folder; STREAMFORGE_SAMPLES=<folder>");
        return;
    };
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let mut server = Server::start(&data).await;
    let api = Api::new(&server.url);
    let mut problems = Vec::new();

    for file in files(&samples.join("hostile")) {
        let name = name_of(&file);
        match fate(&api, &data, &name, std::fs::read(&file).unwrap()).await {
            Ok(Fate::NotTaken(why)) => println!("{name:<60} not taken: {why}"),
            Ok(Fate::Failed(why)) => println!("{name:<60} failed: {why}"),
            Ok(Fate::Ready(job)) => println!("{name:<60} ready, {} frames", job["renditions"][0]["frames"]),
            Err(problem) => problems.push(format!("{name}: {problem}")),
        }
        if !server.is_running() {
            problems.push(format!("{name}: the server died:\n{}", server.log_tail()));
            break;
        }
    }
    let plays = stream::iter(files(&samples.join("video"))).map(|file| play(&api, file)).buffered(2);
    for (name, outcome) in plays.collect::<Vec<_>>().await {
        match outcome {
            Ok(verdict) => println!("{name:<45} {verdict}"),
            Err(problem) => {
                println!("{name:<45} PROBLEM {problem}");
                problems.push(format!("{name}: {problem}"));
            }
        }
    }
    let good = clip::plain(folder.path(), "good.mp4", 640, 360, 4.0).await.unwrap();
    let after = match api.upload(&good).await {
        Ok(upload) => api.ready(&upload.id, Duration::from_secs(60)).await.map(drop),
        Err(problem) => Err(problem),
    };
    problems.extend(after.err().map(|problem| format!("good file afterwards: {problem}")));
    crate::report(&problems);
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every real clip plays with as many pictures as a decoder presents; only one without pictures is refused.
async fn play(api: &Api, file: PathBuf) -> (String, Result<String, String>) {
    let name = name_of(&file);
    let outcome = async {
        let probed = playback::probe(&file.display().to_string()).await?;
        let has_pictures =
            probed["streams"].as_array().into_iter().flatten().any(|stream| stream["codec_type"] == "video");
        let upload = api.upload(&file).await?;
        let job = api.end(&upload.id, Duration::from_secs(400)).await?;
        let wall = upload.since.elapsed().as_secs_f64();
        match (job["state"].as_str(), has_pictures) {
            (Some("failed"), false) => Ok(format!("refused: {}", job["error"])),
            (Some("ready"), true) => {
                let source = measure(&file.display().to_string(), 1, false).await?.pictures().len() as u64;
                let frames = job["renditions"][0]["frames"].as_u64().unwrap_or(0);
                let verdict =
                    format!("ready after {wall:.1} s, {frames} of {source} frames, warnings {}", job["warnings"]);
                if frames == source { Ok(verdict) } else { Err(verdict) }
            }
            _ => Err(format!("ended {}: {}", job["state"], job["error"])),
        }
    };
    (name, outcome.await)
}
