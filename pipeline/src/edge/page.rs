//! The web page, and the description of everything else.
//!
//! The page is built from `pipeline/page` and packed into the program. A program that was built without it says so in its place.

use headers::{HeaderMap, HeaderValue};
use serde_json::Value;
use warp::http::StatusCode;
use warp::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY,
};
use warp::reply::Response;

/// A file of the page.
struct File {
    name: &'static str,
    bytes: &'static [u8],
    /// The same, compressed with gzip.
    packed: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/page.rs"));

const UNBUILT: &str = include_str!("page/unbuilt.html");

/// What the HTML says of where it lies; replaced by where a proxy shows it.
const BASE: &str = "<base href=\"/\">";

/// Nothing runs in the page but its own scripts, and nothing is sent anywhere else. Styles may be inline because the parts of the
/// player bring their own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                      media-src 'self' blob:; img-src 'self' data: blob:; worker-src 'self' blob:; manifest-src 'self'; \
                      font-src 'self'; form-action 'self'; base-uri 'self'; frame-ancestors ";

/// Descriptions are text and nothing else.
const DOCS_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A document of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Document {
    /// The page itself, whatever it shows.
    Index,
    /// The player alone, for pages of others.
    Embed,
}

/// Whether the page was built before the program.
pub fn is_built() -> bool {
    !FILES.is_empty()
}

/// `document`, as seen below `prefix`.
pub fn document(document: Document, prefix: &str) -> Response {
    let (name, ancestors) = match document {
        Document::Index => ("index.html", "'none'"),
        Document::Embed => ("embed.html", "*"),
    };
    let html = find(name).map_or(UNBUILT, |file| std::str::from_utf8(file.bytes).unwrap_or(UNBUILT));
    let html = html.replacen(BASE, &format!("<base href=\"{prefix}/\">"), 1);
    let mut response = text_response(html, "text/html; charset=utf-8");
    if !is_built() && document == Document::Embed {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&format!("{POLICY}{ancestors}")) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// The file `name` of the page, which never changes: its name says what is in it.
pub fn asset(name: &str, asked: &HeaderMap) -> Option<Response> {
    let file = find(name).filter(|file| !file.name.ends_with(".html"))?;
    let is_packed = file.packed.len() < file.bytes.len() && takes_gzip(asked);
    let mut response = Response::new(if is_packed { file.packed } else { file.bytes }.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind(name)));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    if is_packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}

fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let accepted = asked.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

fn kind(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json" | "map") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

/// The OpenAPI description, as seen below `prefix`.
pub fn openapi(prefix: &str) -> Response {
    text_response(described(prefix).to_string(), "application/json")
}

/// The AsyncAPI description, for topics whose names begin with `topic_prefix`.
pub fn asyncapi(topic_prefix: &str) -> Response {
    text_response(super::asyncapi::document(topic_prefix).to_string(), "application/json")
}

/// Both descriptions, to be read.
pub fn docs(prefix: &str, topic_prefix: &str) -> Response {
    let html = super::docs::page(&described(prefix), &super::asyncapi::document(topic_prefix), prefix);
    let mut response = text_response(html, "text/html; charset=utf-8");
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn described(prefix: &str) -> Value {
    serde_json::to_value(super::openapi::document(prefix)).unwrap_or_default()
}

fn text_response(text: String, kind: &'static str) -> Response {
    let mut response = Response::new(text.into());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
