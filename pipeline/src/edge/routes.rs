//! Which address does what; `operate`: those for who operates.
//!
//! Every address takes every method and answers 405 with `Allow` itself; what no address takes is 404. So each error is
//! a problem document, and none is left to a default.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::BoxStream;
use headers::{ContentLength, HeaderMap, HeaderMapExt, HeaderValue};
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use hyper_util::service::TowerToHyperService;
use schemas::JobId;
use tokio::time::Instant;
use warp::filters::BoxedFilter;
use warp::http::header::{LOCATION, ORIGIN, X_CONTENT_TYPE_OPTIONS};
use warp::http::uri::PathAndQuery;
use warp::http::{Method, Request, StatusCode, Uri};
use warp::reply::Response;
use warp::{Filter, Rejection};

use super::health::Health;
use super::page::Document;
use super::problem::Problem;
use super::upload::body::Body;
use super::{Edge, Settings};
use super::{cors, page, registry};
use crate::metrics;

mod operate;

type Answer = Result<Response, Problem>;

/// The pattern of the address that answered, for metrics.
#[derive(Clone, Copy)]
struct Route(&'static str);

/// All addresses of `edge`, as a service for connections.
pub fn service(
    edge: Arc<Edge>,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send + 'static {
    let routes = TowerToHyperService::new(warp::service(routes(Arc::clone(&edge))));
    service_fn(move |request: Request<Incoming>| {
        let (routes, edge) = (routes.clone(), Arc::clone(&edge));
        // Boxed: the future of all routes together is large, and lives as long as the request.
        Box::pin(async move { Ok(answer(&routes, &edge.settings, request).await) })
            as Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>
    })
}

async fn answer<S>(routes: &S, settings: &Settings, mut request: Request<Incoming>) -> Response
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
{
    let began = Instant::now();
    let method = request.method().clone();
    let (prefix, origins) = (settings.prefix(), &settings.upload_origins);
    let origin = request.headers().get(ORIGIN).cloned();
    if !prefix.is_empty() && request.uri().path() == prefix {
        return redirect(&format!("{prefix}/"));
    }
    if let Some(uri) = below(prefix, request.uri()) {
        *request.uri_mut() = uri;
    }
    let path = request.uri().path().to_owned();
    let mut response = if method == Method::OPTIONS {
        cors::options(&path, settings.max_upload_bytes)
    } else if cors::is_foreign_change(&method, &path, request.headers(), origins) {
        let detail = "pages of other sites may not change anything here";
        Problem::new(StatusCode::FORBIDDEN, "cross_site", detail).response()
    } else {
        match routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    cors::mark(&method, &path, origin.as_ref(), origins, response.headers_mut());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let route = response.extensions_mut().remove::<Route>().map_or("other", |route| route.0);
    let status = response.status().as_u16();
    metrics::edge_request(route, name_of(&method), status, began.elapsed());
    if method != Method::HEAD
        && let Some(ContentLength(length)) = response.headers().typed_get()
    {
        metrics::edge_sent(route, length);
    }
    tracing::debug!(%method, path, status, took_ms = began.elapsed().as_millis() as u64, "answered");
    response
}

/// Methods of any name must not become labels of any name.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The address without `prefix`, when it has it: a proxy may strip it or not.
fn below(prefix: &str, uri: &Uri) -> Option<Uri> {
    let rest = uri.path().strip_prefix(prefix).filter(|rest| !prefix.is_empty() && rest.starts_with('/'))?;
    let text = match uri.query() {
        Some(query) => format!("{rest}?{query}"),
        None => rest.to_owned(),
    };
    Some(Uri::from(text.parse::<PathAndQuery>().ok()?))
}

fn redirect(to: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

fn routes(edge: Arc<Edge>) -> impl Filter<Extract = (Response,), Error = Infallible> + Clone {
    let streams = stream_routes(&edge);
    let jobs = job_routes(&edge);
    let uploads = upload_routes(&edge);
    let operate = operate::routes(&edge);
    let registry = registry_route(&edge);
    let rest = other_routes(&edge);
    streams
        .or(jobs)
        .unify()
        .or(uploads)
        .unify()
        .or(operate)
        .unify()
        .or(registry)
        .unify()
        .or(rest)
        .unify()
        .recover(unknown)
        .unify()
}

async fn unknown(rejection: Rejection) -> Result<Response, Infallible> {
    let problem = if rejection.is_not_found() {
        Problem::not_found("there is nothing at this address")
    } else {
        tracing::debug!(?rejection, "a request was refused");
        Problem::bad_request("bad_request", "the request cannot be read")
    };
    Ok(problem.response())
}

/// The parts of a request that handlers look at.
fn asked(edge: &Arc<Edge>) -> BoxedFilter<(Arc<Edge>, Method, HeaderMap, String)> {
    let edge = Arc::clone(edge);
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();
    warp::any()
        .map(move || Arc::clone(&edge))
        .and(warp::method())
        .and(warp::header::headers_cloned())
        .and(query)
        .boxed()
}

fn stream_routes(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let named = warp::path!("api" / "stream" / String / String).and(asked(edge)).then(
        |job: String, name: String, edge: Arc<Edge>, method: Method, headers: HeaderMap, query: String| async move {
            let answer = async {
                reads(&method)?;
                edge.play(parse(&job)?, &name, &query, &method, &headers).await
            };
            at("/api/stream/{id}/{quality}", answer.await)
        },
    );
    let below =
        warp::path!("api" / "stream" / String / String / String).and(asked(edge)).then(
            |job: String,
             track: String,
             file: String,
             edge: Arc<Edge>,
             method: Method,
             headers: HeaderMap,
             _: String| async move {
                let answer = async {
                    reads(&method)?;
                    edge.play_track(parse(&job)?, &track, &file, &method, &headers).await
                };
                at("/api/stream/{id}/{track}/{file}", answer.await)
            },
        );
    named.or(below).unify().boxed()
}

fn job_routes(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let list = warp::path!("api" / "jobs").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, query: String| async move {
            let answer = async {
                reads(&method)?;
                edge.list(&query).await
            };
            at("/api/jobs", answer.await)
        },
    );
    let one = warp::path!("api" / "jobs" / String).and(asked(edge)).then(
        |job: String, edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                match method {
                    Method::GET | Method::HEAD => edge.job(parse(&job)?).await,
                    Method::DELETE => edge.delete(parse(&job)?).await,
                    _ => Err(Problem::method("GET, HEAD, DELETE")),
                }
            };
            at("/api/jobs/{id}", answer.await)
        },
    );
    let socket = warp::path!("api" / "jobs" / String / "ws").and(warp::ws()).and(asked(edge)).then(
        |job: String, upgrade: warp::ws::Ws, edge: Arc<Edge>, _: Method, _: HeaderMap, _: String| async move {
            let answer = async { edge.job_socket(parse(&job)?, upgrade).await };
            at("/api/jobs/{id}/ws", answer.await)
        },
    );
    let part = warp::path!("api" / "jobs" / String / String).and(asked(edge)).then(
        |job: String, part: String, edge: Arc<Edge>, method: Method, headers: HeaderMap, query: String| async move {
            let (route, answer) = job_part(&edge, (&job, &part, &query), &method, &headers).await;
            at(route, answer)
        },
    );
    list.or(one).unify().or(socket).unify().or(part).unify().boxed()
}

/// What is asked of a job: its id, the part, and the query.
type JobPart<'a> = (&'a str, &'a str, &'a str);

async fn job_part(
    edge: &Edge,
    (job, part, query): JobPart<'_>,
    method: &Method,
    headers: &HeaderMap,
) -> (&'static str, Answer) {
    let read = || reads(method).and_then(|()| parse(job));
    macro_rules! reading {
        ($route:literal, $job:ident => $answer:expr) => {
            (
                $route,
                match read() {
                    Ok($job) => $answer.await,
                    Err(problem) => Err(problem),
                },
            )
        };
    }
    match part {
        "status" => reading!("/api/jobs/{id}/status", job => edge.status(job)),
        "events" => reading!("/api/jobs/{id}/events", job => edge.job_events(job, headers)),
        "explain" => reading!("/api/jobs/{id}/explain", job => edge.explain(job)),
        "timeline" => reading!("/api/jobs/{id}/timeline", job => edge.timeline(job)),
        "ledger" => reading!("/api/jobs/{id}/ledger", job => edge.ledger(job)),
        "quality" => reading!("/api/jobs/{id}/quality", job => edge.quality(job)),
        "quality.csv" => reading!("/api/jobs/{id}/quality.csv", job => edge.quality_table(job, query)),
        "ws" => {
            let detail = "this address speaks WebSocket: ask for an upgrade";
            let problem = Problem::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", detail);
            ("/api/jobs/{id}/ws", Err(problem.with(warp::http::header::UPGRADE, "websocket")))
        }
        "cancel" if *method == Method::POST => match parse(job) {
            Ok(job) => ("/api/jobs/{id}/cancel", edge.cancel(job).await),
            Err(problem) => ("/api/jobs/{id}/cancel", Err(problem)),
        },
        "cancel" => ("/api/jobs/{id}/cancel", Err(Problem::method("POST"))),
        _ => ("other", Err(Problem::not_found("there is nothing at this address"))),
    }
}

fn upload_routes(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let begun = warp::path!("api" / "uploads").and(asked(edge)).and(warp::body::stream().map(boxed_body)).then(
        |edge: Arc<Edge>, method: Method, headers: HeaderMap, _: String, body| async move {
            at("/api/uploads", edge.uploads(method, headers, body).await)
        },
    );
    let one = warp::path!("api" / "uploads" / String).and(asked(edge)).and(warp::body::stream().map(boxed_body)).then(
        |id: String, edge: Arc<Edge>, method: Method, headers: HeaderMap, _: String, body| async move {
            let answer = match parse(&id) {
                Ok(id) => edge.upload_at(id, method, headers, body).await,
                Err(problem) => {
                    drop(Body::read(body));
                    Err(problem)
                }
            };
            at("/api/uploads/{id}", answer)
        },
    );
    let whole = warp::path!("api" / "upload").and(asked(edge)).and(warp::body::stream().map(boxed_body)).then(
        |edge: Arc<Edge>, method: Method, headers: HeaderMap, query: String, body| async move {
            let answer = match method {
                Method::POST => edge.upload(headers, query, body).await,
                _ => {
                    // Read away, so that whoever sends a body hears why it is not wanted.
                    drop(Body::read(body));
                    Err(Problem::method("POST"))
                }
            };
            at("/api/upload", answer)
        },
    );
    begun.or(one).unify().or(whole).unify().boxed()
}

fn registry_route(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let edge = Arc::clone(edge);
    let edge = warp::any().map(move || Arc::clone(&edge));
    warp::path!("api" / "registry" / ..)
        .and(edge)
        .and(warp::path::tail())
        .and(warp::method())
        .and(warp::body::stream().map(boxed_body))
        .then(|edge: Arc<Edge>, path: warp::path::Tail, method: Method, body| async move {
            let answer = match &edge.settings {
                settings if settings.has_registry => registry::elsewhere(),
                settings => registry::answer(&settings.topic_prefix, &method, path.as_str(), body).await,
            };
            at("/api/registry", Ok(answer))
        })
        .boxed()
}

fn boxed_body(
    stream: impl futures::Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> BoxStream<'static, Result<Bytes, String>> {
    let piece = |piece: Result<_, warp::Error>| match piece {
        Ok(mut piece) => {
            let length = Buf::remaining(&piece);
            Ok(Buf::copy_to_bytes(&mut piece, length))
        }
        Err(error) => Err(crate::stage::chain(&error)),
    };
    stream.map(piece).boxed()
}

fn other_routes(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let events = warp::path!("api" / "events").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, headers: HeaderMap, _: String| async move {
            at("/api/events", reads(&method).map(|()| edge.all_events(&headers)))
        },
    );
    let health = warp::path!("api" / "health").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let answer = async {
                reads(&method)?;
                let health = Health::of(&edge.doors).await;
                Ok(health.answer(health.is_good()))
            };
            at("/api/health", answer.await)
        },
    );
    let openapi = warp::path!("api" / "openapi.json").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            at("/api/openapi.json", reads(&method).map(|()| page::openapi(edge.settings.prefix())))
        },
    );
    let asyncapi = warp::path!("api" / "asyncapi.json").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            at("/api/asyncapi.json", reads(&method).map(|()| page::asyncapi(&edge.settings.topic_prefix)))
        },
    );
    let docs = warp::path!("api" / "docs").and(asked(edge)).then(
        |edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            let settings = &edge.settings;
            at("/api/docs", reads(&method).map(|()| page::docs(settings.prefix(), &settings.topic_prefix)))
        },
    );
    let described = openapi.or(asyncapi).unify().or(docs).unify();
    events.or(health).unify().or(described).unify().or(page_routes(edge)).unify().boxed()
}

/// The page, at each address that it shows of itself, and its files.
fn page_routes(edge: &Arc<Edge>) -> BoxedFilter<(Response,)> {
    let job = warp::path!("jobs" / String).map(|_| Document::Index);
    let index = warp::path::end().or(warp::path!("workers")).unify().map(|| Document::Index);
    let embed = warp::path!("embed" / String).map(|_| Document::Embed);
    let document = index.or(job).unify().or(embed).unify().and(asked(edge)).then(
        |document: Document, edge: Arc<Edge>, method: Method, _: HeaderMap, _: String| async move {
            at("/", reads(&method).map(|()| page::document(document, edge.settings.prefix())))
        },
    );
    let asset = warp::path!("assets" / String).and(asked(edge)).then(
        |name: String, _: Arc<Edge>, method: Method, headers: HeaderMap, _: String| async move {
            let found = || page::asset(&name, &headers).ok_or_else(|| Problem::not_found("the page has no such file"));
            at("/assets/{name}", reads(&method).and_then(|()| found()))
        },
    );
    document.or(asset).unify().boxed()
}

/// The answer, marked with the route that gave it.
fn at(route: &'static str, answer: Answer) -> Response {
    let mut response = answer.unwrap_or_else(Problem::response);
    response.extensions_mut().insert(Route(route));
    response
}

/// Refuses what does more than read.
fn reads(method: &Method) -> Result<(), Problem> {
    if matches!(*method, Method::GET | Method::HEAD) { Ok(()) } else { Err(Problem::method("GET, HEAD")) }
}

/// What is no id is no job.
fn parse(job: &str) -> Result<JobId, Problem> {
    job.parse().map_err(|_| Problem::not_found("there is no such job"))
}
