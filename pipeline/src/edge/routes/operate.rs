//! Addresses for who operates: workers, dead letters, replay.

use std::sync::Arc;

use headers::HeaderMap;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reply::Response;

use super::{asked, at, boxed_body, reads};
use crate::edge::problem::Problem;
use crate::edge::{Edge, body, query};

/// All of them.
pub(super) fn routes(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let workers = warp::path!("api" / "workers").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                reads(&method)?;
                edge.workers().await
            };
            at("/api/workers", answer.await)
        },
    );
    let replay = warp::path!("api" / "replay").and(asked(edge)).and(warp::body::stream().map(boxed_body)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String, stream| async move {
            let answer = async {
                if method != Method::POST {
                    return Err(Problem::method("POST"));
                }
                edge.replay(body::json(stream).await?).await
            };
            at("/api/replay", answer.await)
        },
    );
    workers.or(replay).unify().or(letters(edge)).unify().or(webhooks(edge)).unify().boxed()
}

fn webhooks(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let all = warp::path!("api" / "webhooks").and(asked(edge)).and(warp::body::stream().map(boxed_body)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String, stream| async move {
            let answer = async {
                match method {
                    Method::GET | Method::HEAD => edge.webhooks().await,
                    Method::POST => edge.add_webhook(body::json(stream).await?).await,
                    _ => Err(Problem::method("GET, HEAD, POST")),
                }
            };
            at("/api/webhooks", answer.await)
        },
    );
    let one = warp::path!("api" / "webhooks" / String).and(asked(edge)).then(
        |id: String, edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                match method {
                    Method::DELETE => edge.remove_webhook(&id).await,
                    _ => Err(Problem::method("DELETE")),
                }
            };
            at("/api/webhooks/{webhook}", answer.await)
        },
    );
    let test = warp::path!("api" / "webhooks" / String / "test").and(asked(edge)).then(
        |id: String, edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                match method {
                    Method::POST => edge.test_webhook(&id).await,
                    _ => Err(Problem::method("POST")),
                }
            };
            at("/api/webhooks/{webhook}/test", answer.await)
        },
    );
    all.or(one).unify().or(test).unify().boxed()
}

fn letters(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let list = warp::path!("api" / "dlq").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, query: String| async move {
            let answer = async {
                reads(&method)?;
                edge.dead_letters(&query).await
            };
            at("/api/dlq", answer.await)
        },
    );
    let one = warp::path!("api" / "dlq" / String).and(asked(edge)).then(
        |id: String, edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                let id = query::decode(&id);
                match method {
                    Method::GET | Method::HEAD => edge.dead_letter(&id).await,
                    Method::DELETE => edge.drop_dead_letter(&id).await,
                    _ => Err(Problem::method("GET, HEAD, DELETE")),
                }
            };
            at("/api/dlq/{letter}", answer.await)
        },
    );
    let retry = warp::path!("api" / "dlq" / String / "retry").and(asked(edge)).then(
        |id: String, edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                match method {
                    Method::POST => edge.retry_dead_letter(&query::decode(&id)).await,
                    _ => Err(Problem::method("POST")),
                }
            };
            at("/api/dlq/{letter}/retry", answer.await)
        },
    );
    list.or(one).unify().or(retry).unify().boxed()
}
