//! Errors as clients see them: RFC 9457 problem details with a stable `code`.

use std::error::Error;
use std::fmt::Write as _;

use connectors::{blobs, catalog, log};
use headers::HeaderValue;
use schemas::JobId;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use warp::reply::{Reply, Response};

use crate::stage::chain;

/// An answer that says why the request was not served.
#[derive(Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: StatusCode,
    /// A stable word, such as `not_ready`.
    pub code: &'static str,
    /// One sentence for a person.
    pub detail: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a request was not served: problem details by RFC 9457.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct Details {
    /// No page describes our problems further than `code` and `detail` do.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The status in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// One sentence for a person.
    detail: String,
    /// A stable word, such as `not_ready`.
    code: &'static str,
}

impl Problem {
    /// A problem of `status`, named `code`.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), headers: Vec::new() }
    }

    /// 400.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 409 with `Retry-After`: promised, but not there yet.
    pub fn not_ready(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "not_ready", detail).with(RETRY_AFTER, "2")
    }

    /// 405 with `Allow`.
    pub fn method(allowed: &'static str) -> Self {
        let detail = format!("this address answers {allowed} only");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail).with(ALLOW, allowed)
    }

    /// 413.
    pub fn too_large(limit: u64) -> Self {
        let detail = format!("an upload may have at most {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 415.
    pub fn unsupported_media(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media", detail)
    }

    /// 503 with `Retry-After`: something behind a door fails.
    pub fn door(door: &'static str, error: &(dyn Error + 'static)) -> Self {
        tracing::error!(door, error = chain(error), "a door failed");
        let detail = format!("the {door} does not answer as it should; try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "door_failed", detail).with(RETRY_AFTER, "5")
    }

    /// 503 with `Retry-After`: nothing has been heard from behind a door for too long.
    pub fn away(door: &'static str) -> Self {
        let detail = format!("the {door} does not answer; try again");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "door_failed", detail).with(RETRY_AFTER, "5")
    }

    /// 500: something went wrong that never should.
    pub fn internal(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    /// The same, naming the job that goes on regardless.
    #[must_use]
    pub fn about_job(mut self, job: JobId) -> Self {
        let _ = write!(self.detail, " (the upload is kept as job {job} and goes on by itself)");
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((name, value));
        }
        self
    }

    /// The answer.
    pub fn response(self) -> Response {
        let details = Details {
            kind: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
        };
        let body = serde_json::to_string(&details).unwrap_or_default();
        let mut response = Response::new(body.into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

impl Reply for Problem {
    fn into_response(self) -> Response {
        self.response()
    }
}

impl From<catalog::Error> for Problem {
    fn from(error: catalog::Error) -> Self {
        match error {
            catalog::Error::BadCursor(_) => Self::bad_request("bad_cursor", error.to_string()),
            other => Self::door("catalog", &other),
        }
    }
}

impl From<blobs::Error> for Problem {
    fn from(error: blobs::Error) -> Self {
        match error {
            blobs::Error::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", error.to_string()),
            blobs::Error::NotFound(_) => Self::not_found("the bytes are not there any more"),
            other => Self::door("blob store", &other),
        }
    }
}

impl From<log::Error> for Problem {
    fn from(error: log::Error) -> Self {
        Self::door("log", &error)
    }
}
