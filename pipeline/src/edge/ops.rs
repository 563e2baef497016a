//! The ops address: metrics, liveness and readiness. It answers until the very end of the process.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use hyper::body::Incoming;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use warp::http::header::CONTENT_TYPE;
use warp::http::{Method, Request, StatusCode};
use warp::reply::{Reply, Response};

use super::accept::{Limits, accept};
use super::health::Health;
use super::jobs::fresh;
use super::problem::Problem;
use crate::metrics;

/// Which doors a process needs to do its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// An edge can play with the blob store alone.
    Blobs,
    /// A worker needs all of them.
    Everything,
}

/// What the ops address tells.
pub struct Ops {
    /// All metrics in the Prometheus text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// What readiness depends on.
    pub needs: Needs,
    /// What keeps the process from its role although the doors are open, in one sentence.
    pub hindrance: Box<dyn Fn() -> Option<String> + Send + Sync>,
    /// Fires when the process begins to drain: from then on it is not ready.
    pub draining: CancellationToken,
}

/// How often the doors are asked for the metrics.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Serves the ops address until `shutdown`, and keeps asking the doors how they are.
pub async fn serve(listener: TcpListener, ops: Ops, doors: Doors, shutdown: CancellationToken) {
    let ops = Arc::new(ops);
    let (heard, known) = watch::channel(Health::unknown());
    let asking = ask_doors(doors.clone(), heard, shutdown.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (ops, doors, known) = (Arc::clone(&ops), doors.clone(), known.clone());
        async move { Ok::<_, Infallible>(answer(&ops, &doors, &known, request.method(), request.uri().path()).await) }
    });
    // Whoever reads metrics asks again soon enough.
    let limits = Limits { grace: Duration::from_secs(1), connections: 256, ..Limits::default() };
    tokio::join!(accept(listener, service, limits, shutdown), asking);
}

/// Says as metrics and to `heard` which doors answer, until `shutdown`.
async fn ask_doors(doors: Doors, heard: watch::Sender<Health>, shutdown: CancellationToken) {
    loop {
        let health = tokio::select! {
            () = shutdown.cancelled() => return,
            health = Health::of(&doors) => health,
        };
        for (door, trouble) in [("log", &health.log), ("catalog", &health.catalog), ("blobs", &health.blobs)] {
            metrics::door(door, trouble.is_none());
        }
        heard.send_replace(health);
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(ASK_EVERY) => {}
        }
    }
}

async fn answer(ops: &Ops, doors: &Doors, known: &watch::Receiver<Health>, method: &Method, path: &str) -> Response {
    if !matches!(path, "/metrics" | "/healthz" | "/readyz") {
        return Problem::not_found("this address knows /metrics, /healthz and /readyz").response();
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Problem::method("GET, HEAD").response();
    }
    match path {
        "/metrics" => {
            let kind = "text/plain; version=0.0.4; charset=utf-8";
            fresh(warp::reply::with_header((ops.metrics)(), CONTENT_TYPE, kind))
        }
        // Whoever answers is alive.
        "/healthz" => fresh("ok\n"),
        _ if ops.draining.is_cancelled() => {
            fresh(warp::reply::with_status("draining\n", StatusCode::SERVICE_UNAVAILABLE).into_response())
        }
        _ => {
            if let Some(hindrance) = (ops.hindrance)() {
                let said = format!("{hindrance}\n");
                return fresh(warp::reply::with_status(said, StatusCode::SERVICE_UNAVAILABLE).into_response());
            }
            match ops.needs {
                Needs::Blobs => {
                    // Doors that it can do without must not keep whoever shares out requests waiting.
                    let health = known.borrow().clone();
                    let health = health.with_blobs_of(doors).await;
                    health.answer(health.blobs.is_none())
                }
                Needs::Everything => {
                    let health = Health::of(doors).await;
                    health.answer(health.is_good())
                }
            }
        }
    }
}
