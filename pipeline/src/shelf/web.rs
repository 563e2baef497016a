//! Files over HTTP: redirects followed by hand, because what a sum is is announced on the way; ranges of what has come in part.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt, TryStreamExt};
use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, IF_RANGE, LOCATION, RANGE,
};
use reqwest::redirect::Policy;
use reqwest::{Response, StatusCode, Url};

use super::error::Error;
use super::{place, sum};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a server may say nothing in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(60);

/// How many times an answer may say that it is somewhere else.
const MOST_HOPS: usize = 10;

/// How Hugging Face announces the SHA-256 of a large file, before it redirects to where its bytes are.
const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");

/// What of a file is here already.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Bytes from its beginning.
    pub bytes: u64,
    /// Its strong entity tag, when the server gave one.
    pub etag: Option<String>,
}

/// What a server or a folder gives of a file.
pub(super) struct Body {
    /// Where in the file the pieces begin.
    pub start: u64,
    /// Bytes of the whole file, when that is told.
    pub total: Option<u64>,
    /// The strong entity tag.
    pub etag: Option<String>,
    /// SHA-256 as announced.
    pub announced: Option<String>,
    /// The bytes; an error means that they broke off.
    pub pieces: BoxStream<'static, std::io::Result<Bytes>>,
}

/// A way to servers.
#[derive(Clone, Debug)]
pub(super) struct Web {
    client: reqwest::Client,
}

impl Web {
    /// A way to the server of `url`.
    pub(super) fn to(url: &Url) -> Result<Self, Error> {
        let agent = concat!("streamforge/", env!("CARGO_PKG_VERSION"));
        let mut client = reqwest::Client::builder().connect_timeout(CONNECT).read_timeout(SILENCE);
        client = client.redirect(Policy::none()).user_agent(agent);
        let host = url.host_str().unwrap_or_default();
        if matches!(host, "localhost" | "[::1]") || host.starts_with("127.") {
            // A proxy cannot reach this machine's own loopback.
            client = client.no_proxy();
        }
        let client = client.build().map_err(|error| unreachable(url, &error))?;
        Ok(Self { client })
    }

    /// The file at `url` from where `kept` ends; from the beginning when the server has another file by now, or knows no ranges
    /// (RFC 9110, sections 13.1.5 and 14.2).
    pub(super) async fn open(&self, url: &Url, kept: Option<&Kept>) -> Result<Body, Error> {
        let (response, announced) = self.follow(url, kept).await?;
        let status = response.status();
        let refused = |why: String| Error::Refused { address: place::shown(url), why };
        let headers = response.headers();
        let (start, total) = match (status, kept) {
            (StatusCode::OK, _) => (0, number(headers, CONTENT_LENGTH)),
            (StatusCode::PARTIAL_CONTENT, Some(kept)) => match range(headers) {
                Some((start, total)) if start == kept.bytes => (start, total),
                _ => return Err(refused("the server answered with another range than it was asked for".to_owned())),
            },
            (status, _) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                let address = place::shown(url);
                return Err(Error::Unreachable { address, why: said(status) });
            }
            (status, _) => return Err(refused(said(status))),
        };
        let etag = text(headers, &ETAG).filter(|etag| etag.starts_with('"')).map(str::to_owned);
        let pieces = response.bytes_stream().map_err(std::io::Error::other).boxed();
        Ok(Body { start, total, etag, announced, pieces })
    }

    /// The answer to a request for `url` at the end of all redirects, and the SHA-256 that was announced on the way.
    async fn follow(&self, url: &Url, kept: Option<&Kept>) -> Result<(Response, Option<String>), Error> {
        let (mut at, mut announced) = (url.clone(), None);
        for hop in 0..MOST_HOPS {
            let mut request = self.client.get(at.clone()).header(ACCEPT_ENCODING, "identity");
            if let Some(kept) = kept {
                request = request.header(RANGE, format!("bytes={}-", kept.bytes));
                if let Some(etag) = &kept.etag {
                    request = request.header(IF_RANGE, etag);
                }
            }
            let response = request.send().await.map_err(|error| unreachable(&at, &error))?;
            let headers = response.headers();
            // Where the bytes are kept, an entity tag may be the hash of something else.
            let own = if hop == 0 { announcement(headers, &ETAG) } else { None };
            announced = announced.or(announcement(headers, &LINKED_ETAG)).or(own);
            let is_elsewhere = response.status().is_redirection() && response.status() != StatusCode::NOT_MODIFIED;
            if !is_elsewhere {
                return Ok((response, announced));
            }
            let refused = |why: &str| Error::Refused { address: place::shown(url), why: why.to_owned() };
            let next = text(headers, &LOCATION).and_then(|location| at.join(location).ok());
            let next = next.ok_or_else(|| refused("it is said to be elsewhere, but not where"))?;
            if !matches!(next.scheme(), "http" | "https") || (at.scheme() == "https" && next.scheme() == "http") {
                return Err(refused("it is said to be where nothing protects it on its way"));
            }
            at = next;
        }
        Err(Error::Refused { address: place::shown(url), why: "it is always elsewhere".to_owned() })
    }
}

fn said(status: StatusCode) -> String {
    format!("the server answered {} {}", status.as_u16(), status.canonical_reason().unwrap_or_default().to_lowercase())
}

fn unreachable(url: &Url, error: &reqwest::Error) -> Error {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Error::Unreachable { address: place::shown(url), why: cause.to_string() }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    text(headers, &name)?.trim().parse().ok()
}

/// The SHA-256 that header `name` is.
fn announcement(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let announced = text(headers, name)?.trim_matches('"');
    sum::is_sum(announced).then(|| announced.to_owned())
}

/// First byte and length of the whole file in `Content-Range: bytes 5-9/10` (RFC 9110, section 14.4).
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let (range, total) = text(headers, &CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()))
}
