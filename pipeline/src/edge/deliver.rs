//! Sends a representation made of ranges of blobs, whole or in part.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use connectors::{Blobs, blobs};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use headers::{AcceptRanges, ContentLength, ContentRange, HeaderMap, HeaderMapExt, HeaderValue, LastModified};
use schemas::manifest::Part;
use warp::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use warp::http::{Method, StatusCode};
use warp::reply::{Reply, Response};

use super::problem::Problem;
use super::range::{self, Selection, Validators};

/// What a representation is made of.
#[derive(Clone, Debug)]
pub enum Content {
    /// Ranges of blobs, one after the other.
    Parts(Vec<Part>),
    /// Bytes at hand.
    Bytes(Bytes),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Parts(parts) => parts.iter().map(|part| part.size).sum(),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A representation with its headers.
pub struct Representation {
    /// The bytes.
    pub content: Content,
    /// `Content-Type`.
    pub media_type: &'static str,
    /// `Cache-Control`.
    pub caching: &'static str,
    /// `ETag` and `Last-Modified`.
    pub validators: Validators,
}

/// Between the parts of a `multipart/byteranges` answer.
///
/// Fixed, so that the length is known before a byte is read; long enough that no video holds it by chance.
const BOUNDARY: &str = "streamforge-4f6b1c9e8a2d7035-byteranges";

impl Representation {
    /// Answers a GET or HEAD request with `headers`.
    pub async fn answer(self, blobs: &Blobs, method: &Method, headers: &HeaderMap) -> Result<Response, Problem> {
        let size = self.content.size();
        let selection = range::select(method, headers, size, &self.validators);
        let mut response = match &selection {
            Selection::Whole => {
                let body = self.body(blobs, method, std::slice::from_ref(&(0..size)), None).await?;
                with_length(body, size)
            }
            Selection::One(range) => {
                let body = self.body(blobs, method, std::slice::from_ref(range), None).await?;
                let mut response = with_length(body, range.end - range.start);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                if let Ok(content_range) = ContentRange::bytes(range.clone(), size) {
                    response.headers_mut().typed_insert(content_range);
                }
                response
            }
            Selection::Many(ranges) => {
                let heads: Vec<String> = ranges.iter().map(|range| self.part_head(range, size)).collect();
                let length = ranges.iter().map(|range| range.end - range.start).sum::<u64>()
                    + heads.iter().map(|head| head.len() as u64).sum::<u64>()
                    + closing().len() as u64;
                let body = self.body(blobs, method, ranges, Some(heads)).await?;
                let mut response = with_length(body, length);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                response
            }
            Selection::NotModified => empty(StatusCode::NOT_MODIFIED),
            Selection::Failed => {
                return Err(Problem::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition_failed",
                    "the representation is another one than the request expects",
                ));
            }
            Selection::Unsatisfiable => {
                let detail = format!("the range lies outside the {size} bytes that there are");
                return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", detail)
                    .with(warp::http::header::CONTENT_RANGE, &format!("bytes */{size}"))
                    .with(warp::http::header::ACCEPT_RANGES, "bytes"));
            }
        };
        let headers = response.headers_mut();
        headers.typed_insert(self.validators.etag.clone());
        headers.typed_insert(LastModified::from(self.validators.last_modified()));
        headers.typed_insert(AcceptRanges::bytes());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.caching));
        let media_type = match &selection {
            Selection::Many(_) => HeaderValue::from_str(&format!("multipart/byteranges; boundary={BOUNDARY}")).ok(),
            Selection::NotModified => None,
            _ => Some(HeaderValue::from_static(self.media_type)),
        };
        if let Some(media_type) = media_type {
            headers.insert(CONTENT_TYPE, media_type);
        }
        Ok(response)
    }

    fn part_head(&self, range: &Range<u64>, size: u64) -> String {
        format!(
            "\r\n--{BOUNDARY}\r\nContent-Type: {}\r\nContent-Range: bytes {}-{}/{size}\r\n\r\n",
            self.media_type,
            range.start,
            range.end - 1
        )
    }

    /// The bytes of `ranges`, each after its head when there are heads.
    async fn body(
        &self,
        blobs: &Blobs,
        method: &Method,
        ranges: &[Range<u64>],
        heads: Option<Vec<String>>,
    ) -> Result<Response, Problem> {
        if method == Method::HEAD {
            return Ok(empty(StatusCode::OK));
        }
        if let (Content::Bytes(bytes), [range], None) = (&self.content, ranges, &heads) {
            return Ok(Response::new(bytes.slice(to_usize(range)).to_vec().into()));
        }
        let mut pieces: Vec<Piece> = Vec::new();
        let has_heads = heads.is_some();
        let mut heads = heads.unwrap_or_default().into_iter();
        for range in ranges {
            pieces.extend(heads.next().map(|head| Piece::Bytes(head.into())));
            match &self.content {
                Content::Bytes(bytes) => pieces.push(Piece::Bytes(bytes.slice(to_usize(range)))),
                Content::Parts(parts) => pieces.extend(slices(parts, range).into_iter().map(Piece::Part)),
            }
        }
        if has_heads {
            pieces.push(Piece::Bytes(closing().into()));
        }
        // The first blob is opened before the answer begins, so that a missing one is an error and no broken body.
        let mut pieces = pieces.into_iter();
        let mut first = Vec::new();
        for piece in pieces.by_ref() {
            let is_part = matches!(piece, Piece::Part(_));
            first.push(Ok(piece.open(blobs).await?));
            if is_part {
                break;
            }
        }
        let blobs = blobs.clone();
        let rest = stream::iter(pieces).then(move |piece| {
            let blobs = blobs.clone();
            async move { piece.open(&blobs).await }
        });
        Ok(streaming(stream::iter(first).chain(rest).try_flatten().boxed()))
    }
}

/// A step of a body.
enum Piece {
    Bytes(Bytes),
    Part(Part),
}

impl Piece {
    async fn open(self, blobs: &Blobs) -> Result<BoxStream<'static, Result<Bytes, blobs::Error>>, blobs::Error> {
        match self {
            Self::Bytes(bytes) => Ok(stream::once(async { Ok(bytes) }).boxed()),
            Self::Part(part) => blobs.get(&part.key, Some(part.offset..part.offset + part.size)).await,
        }
    }
}

/// The ranges of blobs that make up `range` of the file made of `parts`.
pub fn slices(parts: &[Part], range: &Range<u64>) -> Vec<Part> {
    let mut begin = 0;
    let mut found: Vec<Part> = Vec::new();
    for part in parts {
        let end = begin + part.size;
        let (from, to) = (range.start.max(begin), range.end.min(end));
        if from < to {
            let offset = part.offset + (from - begin);
            match found.last_mut() {
                // Neighbours in one blob are read in one go.
                Some(last) if last.key == part.key && last.offset + last.size == offset => last.size += to - from,
                _ => found.push(Part { key: part.key.clone(), offset, size: to - from }),
            }
        }
        begin = end;
        if begin >= range.end {
            break;
        }
    }
    found
}

fn to_usize(range: &Range<u64>) -> Range<usize> {
    // Ranges of bytes in memory fit by construction.
    range.start as usize..range.end as usize
}

fn closing() -> String {
    format!("\r\n--{BOUNDARY}--\r\n")
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

fn with_length(mut response: Response, length: u64) -> Response {
    response.headers_mut().typed_insert(ContentLength(length));
    response
}

/// A body out of a stream that may live on one thread at a time only.
pub fn streaming<E>(stream: BoxStream<'static, Result<Bytes, E>>) -> Response
where
    E: Into<Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
{
    warp::reply::stream(Alone(Mutex::new(stream))).into_response()
}

/// Makes a stream `Sync`: whoever polls it has it for itself, so the lock is never taken.
struct Alone<S>(Mutex<S>);

impl<S: Stream + Unpin> Stream for Alone<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        match self.0.get_mut() {
            Ok(stream) => Pin::new(stream).poll_next(cx),
            Err(poisoned) => Pin::new(poisoned.into_inner()).poll_next(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]
        #[test]
        fn slices_are_the_bytes_of_the_range(
            sizes in prop::collection::vec((0_usize..3, 0_u64..40, 0_u64..9), 1..12),
            a in 0_u64..400,
            b in 0_u64..400,
        ) {
            let blobs: Vec<Vec<u8>> = (0..3).map(|n| (0..64).map(|i| n * 64 + i).collect()).collect();
            let parts: Vec<Part> = sizes
                .iter()
                .map(|(blob, size, offset)| Part { key: blob.to_string(), offset: *offset, size: *size })
                .collect();
            let bytes = |parts: &[Part]| -> Vec<u8> {
                parts
                    .iter()
                    .flat_map(|p| {
                        let blob: usize = p.key.parse().unwrap();
                        blobs[blob][p.offset as usize..(p.offset + p.size) as usize].to_vec()
                    })
                    .collect()
            };
            let whole = bytes(&parts);
            let end = a.max(b).min(whole.len() as u64);
            let start = a.min(b).min(end);
            prop_assert_eq!(bytes(&slices(&parts, &(start..end))), whole[start as usize..end as usize].to_vec());
        }
    }
}
