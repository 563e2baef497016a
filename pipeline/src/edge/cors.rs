//! Who may ask from another origin: players may, for what is played. Everything that changes a job stays with its own page.

use headers::{HeaderMap, HeaderValue};
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderName,
};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

/// Where everything lies that a player needs.
const PLAYED: &str = "/api/stream/";

/// Lets a page that isolates itself embed what it plays.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Answers `OPTIONS`, which is a browser's question before a request from another origin.
pub fn options(path: &str) -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = if path.starts_with(PLAYED) { "GET, HEAD, OPTIONS" } else { "GET, HEAD, POST, DELETE, OPTIONS" };
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    if path.starts_with(PLAYED) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(
                "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since",
            ),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}

/// Whether a browser sends this request for the page of another site, which must not change anything here.
///
/// Forms of other pages are sent without a question before; browsers say where they come from, programs say nothing.
pub fn is_foreign_change(method: &Method, headers: &HeaderMap) -> bool {
    let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    is_change && headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

/// Marks an answer to a request for `path`.
pub fn mark(method: &Method, path: &str, headers: &mut HeaderMap) {
    if !path.starts_with(PLAYED) || !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "Accept-Ranges, Content-Length, Content-Range, Date, ETag, Last-Modified, Retry-After",
        ),
    );
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
}
