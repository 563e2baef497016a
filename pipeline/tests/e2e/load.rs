//! Many uploads at once, while somebody asks how the server is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::client::Api;
use crate::clip;
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn ten_uploads_at_once_never_block_a_health_check() {
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let file = clip::plain(folder.path(), "clip.mp4", 640, 360, 6.0).await.unwrap();
    let mut server = Server::start(&folder.path().join("data")).await;
    let api = Api::new(&server.url);

    let done = Arc::new(AtomicBool::new(false));
    let checks = tokio::spawn(health_checks(api.clone(), Arc::clone(&done)));
    let begin = Instant::now();
    let jobs = join_all((0..10).map(|_| async {
        let upload = api.upload(&file).await?;
        let answered = upload.since.elapsed();
        api.ready(&upload.id, Duration::from_secs(180)).await.map(|job| (upload.id, answered, job))
    }))
    .await;
    let took = begin.elapsed();
    done.store(true, Ordering::Relaxed);
    let waits = checks.await.unwrap();

    let mut problems = Vec::new();
    let mut ids = Vec::new();
    let mut slowest_answer = Duration::ZERO;
    for job in jobs {
        match job {
            Ok((id, answered, _)) => {
                ids.push(id);
                slowest_answer = slowest_answer.max(answered);
            }
            Err(problem) => problems.push(problem),
        }
    }
    let accepted = ids.len();
    ids.sort();
    ids.dedup();
    if ids.len() != accepted {
        problems.push(format!("{accepted} uploads got {} ids", ids.len()));
    }
    let mut times: Vec<Duration> = Vec::new();
    for wait in waits {
        match wait {
            Ok(time) if time < Duration::from_secs(1) => times.push(time),
            Ok(time) => problems.push(format!("a health check took {time:?}")),
            Err(problem) => problems.push(format!("health: {problem}")),
        }
    }
    times.sort();
    println!(
        "ten jobs ready after {:.1} s, slowest upload answer {slowest_answer:?}; {} health checks, median {:?}, slowest {:?}",
        took.as_secs_f64(),
        times.len(),
        times.get(times.len() / 2),
        times.last()
    );
    if (times.len() as u128) < took.as_millis() / 400 {
        problems.push(format!("only {} health checks came through in {took:?}", times.len()));
    }
    if !server.is_running() {
        problems.push(format!("the server died:\n{}", server.log_tail()));
    }
    crate::report(&problems);
}

/// Asks every 100 ms until `done`; answers how long each check took.
async fn health_checks(api: Api, done: Arc<AtomicBool>) -> Vec<Result<Duration, String>> {
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    let mut waits = Vec::new();
    while !done.load(Ordering::Relaxed) {
        clock.tick().await;
        let begin = Instant::now();
        let health = api.json("/api/health").await;
        waits.push(health.and_then(|health| match health["status"] == "ok" {
            true => Ok(begin.elapsed()),
            false => Err(format!("not ok: {health}")),
        }));
    }
    waits
}
