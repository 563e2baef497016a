//! `/api/openapi.json`: the HTTP contract, OpenAPI 3.1.
//!
//! What an answer looks like follows from the type that is answered, whose comments are its descriptions. Which addresses there
//! are and what they may answer is told by tables beside this file; tests ask each of them and hold every answer against it.
//!
//! # Layout
//! - [`call`]: one request and what it may be answered
//! - [`uploads`], [`jobs`], [`playback`], [`operate`]: the tables

use utoipa::ToSchema;
use utoipa::openapi::path::HttpMethod;
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::Response;
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{
    Components, Content, Info, License, OpenApi, OpenApiBuilder, PathItem, Paths, Ref, Server, path,
};

use super::problem::Details;
use super::webhooks::News;
use call::PARAMETERS;

mod call;
mod jobs;
mod operate;
mod playback;
mod uploads;

const ABOUT: &str = "Upload videos, see how they fare, and play them. Times are RFC 3339 in UTC, durations seconds, sizes bytes. \
                     A field without a value is `null`. Errors are problem details by RFC 9457 with a stable `code`.";

/// Groups of requests, in the order in which they are read.
const TAGS: [(&str, &str); 5] = [
    ("uploads", "Bring videos in"),
    ("jobs", "What becomes of them"),
    ("playback", "Watch them"),
    ("pictures", "Pictures and captions beside them"),
    ("operate", "For who operates"),
];

/// What answers a request that cannot be served, by status.
const PROBLEMS: [(u16, &str); 15] = [
    (400, "The request cannot be understood"),
    (403, "Pages of other sites may not change anything here"),
    (404, "There is no such thing"),
    (408, "The bytes came too slowly: go on at the offset that was reached"),
    (409, "Not now: not there yet, with `Retry-After`, or the state of things stands against it"),
    (410, "It is over: begin again"),
    (412, "A condition of the request does not hold"),
    (413, "It is larger than it may be"),
    (415, "This can be no video, or no body of the kind that is wanted"),
    (416, "None of the ranges lies in the file"),
    (423, "Another client is at it right now"),
    (426, "This address speaks WebSocket"),
    (460, "The bytes have another checksum"),
    (503, "A store behind the edge does not answer: try again, see `Retry-After`"),
    (507, "There is no room for it now"),
];

/// The description, as seen below `prefix`.
pub fn document(prefix: &str) -> OpenApi {
    let calls = [uploads::calls(), jobs::calls(), playback::calls(), operate::calls()].into_iter().flatten();
    let mut components = Components::new();
    for (name, parameter) in PARAMETERS {
        components.parameters.insert(name.to_owned(), parameter.described(name).into());
    }
    for (status, what) in PROBLEMS {
        let content = Content::new(Some(Ref::from_schema_name(Details::name())));
        let mut response = Response::new(what);
        response.content.insert("application/problem+json".to_owned(), content.into());
        components.responses.insert(format!("P{status}"), response.into());
    }
    // Those that no operation answers with.
    let mut schemas = Vec::new();
    call::name::<Details>(&mut schemas);
    call::name::<News>(&mut schemas);
    let mut paths = Paths::new();
    for call in calls {
        let (path, method, operation) = call.described(&mut schemas);
        paths.add_path_operation(path, vec![method], operation);
    }
    components.schemas.extend(schemas);
    let mut info = Info::new("StreamForge", env!("CARGO_PKG_VERSION"));
    info.description = Some(ABOUT.to_owned());
    let mut license = License::new(env!("CARGO_PKG_LICENSE"));
    license.identifier = Some(license.name.clone());
    info.license = Some(license);
    let tags = TAGS.map(|(name, what)| {
        let mut tag = Tag::new(name);
        tag.description = Some(what.to_owned());
        tag
    });
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([Server::new(if prefix.is_empty() { "/" } else { prefix })]))
        .tags(Some(tags))
        .paths(paths)
        .webhooks(Some(told()))
        .components(Some(components))
        .build()
}

/// What webhooks are sent.
fn told() -> Paths {
    let mut body = RequestBody::new();
    body.content.insert("application/json".to_owned(), Content::new(Some(Ref::from_schema_name(News::name()))).into());
    let operation = path::OperationBuilder::new()
        .operation_id(Some("jobChanged"))
        .summary(Some("A job was received, is processed, is ready, failed, was cancelled or deleted"))
        .description(Some(
            "Signed by the Standard Webhooks specification, tried for a day with growing pauses, perhaps more than once and not \
             always in order: `webhook-id` is the same for the same news. Answer 2xx to take it, 410 to hear nothing more.",
        ))
        .request_body(Some(body))
        .response("2XX", Response::new("Taken"))
        .response("410", Response::new("Nobody wants messages here any more"));
    Paths::builder().path("job", PathItem::new(HttpMethod::Post, operation)).build()
}
