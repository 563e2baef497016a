//! What is answered to a client of tus.

use headers::{HeaderName, HeaderValue};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use schemas::JobId;
use warp::http::StatusCode;
use warp::http::header::CACHE_CONTROL;
use warp::reply::Response;

use super::checksum::ALGORITHMS;
use super::record::Record;
use super::request::VERSION;
use crate::edge::problem::Problem;

/// The job that an upload has become; ours, no part of tus.
pub const JOB: &str = "streamforge-job";
const RESUMABLE: &str = "tus-resumable";
const OFFSET: &str = "upload-offset";
const LENGTH: &str = "upload-length";

const EXTENSIONS: &str = "creation,creation-with-upload,creation-defer-length,checksum,termination,expiration";

/// `OPTIONS`: what this server can do.
pub fn abilities(limit: u64) -> Response {
    let mut response = bare(StatusCode::NO_CONTENT);
    put(&mut response, "tus-version", VERSION);
    put(&mut response, "tus-extension", EXTENSIONS);
    put(&mut response, "tus-max-size", &limit.to_string());
    put(&mut response, "tus-checksum-algorithm", &ALGORITHMS.join(","));
    response
}

/// An answer without a body.
pub(super) fn bare(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    put(&mut response, RESUMABLE, VERSION);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A problem as tus wants it.
pub(super) fn dressed(problem: Problem) -> Problem {
    let is_version = problem.status == StatusCode::PRECONDITION_FAILED;
    let problem = problem.with(HeaderName::from_static(RESUMABLE), VERSION);
    if is_version { problem.with(HeaderName::from_static("tus-version"), VERSION) } else { problem }
}

/// How far an upload is.
pub(super) fn offset(offset: u64, record: &Record) -> Response {
    let mut response = bare(StatusCode::OK);
    put(&mut response, OFFSET, &offset.to_string());
    match record.length {
        Some(length) => put(&mut response, LENGTH, &length.to_string()),
        None => put(&mut response, "upload-defer-length", "1"),
    }
    if !record.metadata.is_empty() {
        put(&mut response, "upload-metadata", &record.metadata);
    }
    expires(&mut response, record.expires_at);
    response
}

/// An upload that is a job by now.
pub(super) fn complete(job: JobId, length: u64) -> Response {
    let mut response = bare(StatusCode::OK);
    put(&mut response, OFFSET, &length.to_string());
    put(&mut response, LENGTH, &length.to_string());
    put(&mut response, JOB, &job.to_string());
    response
}

/// What came, and when it goes unless more comes.
pub(super) fn taken(status: StatusCode, offset: u64, expires_at: Option<i64>, job: Option<JobId>) -> Response {
    let mut response = bare(status);
    put(&mut response, OFFSET, &offset.to_string());
    if let Some(expires_at) = expires_at {
        expires(&mut response, expires_at);
    }
    if let Some(job) = job {
        put(&mut response, JOB, &job.to_string());
    }
    response
}

/// The refusal of bytes for another place than the end of what is there.
pub(super) fn elsewhere(offset: u64) -> Problem {
    let detail = format!("the upload goes on at byte {offset}: ask for its offset again");
    Problem::new(StatusCode::CONFLICT, "wrong_offset", detail)
        .with(HeaderName::from_static(OFFSET), &offset.to_string())
}

/// A date of HTTP (RFC 9110, section 5.6.7).
fn expires(response: &mut Response, at_ms: i64) {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or(Timestamp::MAX);
    if let Ok(text) = rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at) {
        put(response, "upload-expires", &text);
    }
}

fn put(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
