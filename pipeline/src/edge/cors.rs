//! Who may ask from another origin: players may, for what is played, and uploaders, where the settings say so. Everything that
//! changes a job stays with its own page.

use headers::{HeaderMap, HeaderValue};
use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderName, ORIGIN, VARY,
};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use super::tus::answer::abilities;

/// Where everything lies that a player needs.
const PLAYED: &str = "/api/stream/";
/// Where resumable uploads arrive.
const UPLOADS: &str = "/api/uploads";

/// Lets a page that isolates itself embed what it plays.
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Pages of other origins that may upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// All of them.
    Any,
    /// These, such as `https://example.org`.
    Only(Vec<String>),
}

impl Origins {
    /// What a page of `origin` is told, when it may upload.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match self {
            Self::Any => Some(HeaderValue::from_static("*")),
            Self::Only(known) => {
                let origin = origin?;
                known.iter().any(|known| origin.as_bytes() == known.as_bytes()).then(|| origin.clone())
            }
        }
    }
}

/// What a path is to pages of other origins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Played,
    Uploads,
    Own,
}

fn place(path: &str) -> Place {
    let below = path.strip_prefix(UPLOADS);
    if path.starts_with(PLAYED) {
        Place::Played
    } else if below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        Place::Uploads
    } else {
        Place::Own
    }
}

/// Answers `OPTIONS`, which is a browser's question before a request from another origin, and a client of tus asking what can be done.
pub fn options(path: &str, max_upload_bytes: u64) -> Response {
    let place = place(path);
    let mut response = if place == Place::Uploads { abilities(max_upload_bytes) } else { Response::default() };
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let (methods, asked) = match place {
        Place::Played => (
            "GET, HEAD, OPTIONS",
            Some("Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since"),
        ),
        Place::Uploads => (
            "POST, GET, HEAD, PATCH, DELETE, OPTIONS",
            Some(
                "Tus-Resumable, Upload-Length, Upload-Offset, Upload-Metadata, Upload-Defer-Length, Upload-Checksum, \
                 Upload-Concat, Content-Type, X-HTTP-Method-Override, X-Requested-With, X-Request-ID",
            ),
        ),
        Place::Own => ("GET, HEAD, POST, DELETE, OPTIONS", None),
    };
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    if let Some(asked) = asked {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(asked));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    }
    response
}

/// Whether a browser sends this request for the page of another site, which must not change anything here.
///
/// Forms of other pages are sent without a question before; browsers say where they come from, programs say nothing. A client of
/// tus has to send headers that a browser asks about before, so that pages that may not upload never get this far.
pub fn is_foreign_change(method: &Method, path: &str, headers: &HeaderMap, origins: &Origins) -> bool {
    let is_change = !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_foreign = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
    let may = place(path) == Place::Uploads && origins.allowed(headers.get(ORIGIN)).is_some();
    is_change && is_foreign && !may
}

/// Marks an answer to a request for `path` from `origin`.
pub fn mark(method: &Method, path: &str, origin: Option<&HeaderValue>, origins: &Origins, headers: &mut HeaderMap) {
    match place(path) {
        Place::Played if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            let exposed = "Accept-Ranges, Content-Length, Content-Range, Date, ETag, Last-Modified, Retry-After";
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
        Place::Uploads => {
            if *origins != Origins::Any {
                headers.append(VARY, HeaderValue::from_static("Origin"));
            }
            let Some(allowed) = origins.allowed(origin) else { return };
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
            let exposed = "Location, Tus-Resumable, Tus-Version, Tus-Extension, Tus-Max-Size, Tus-Checksum-Algorithm, \
                           Upload-Offset, Upload-Length, Upload-Defer-Length, Upload-Metadata, Upload-Expires, \
                           StreamForge-Job, Retry-After";
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
            headers.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        }
        Place::Played | Place::Own => {}
    }
}
