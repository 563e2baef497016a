//! Which bytes a request gets: RFC 9110 preconditions (section 13) and ranges (section 14), without any I/O.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use headers::{Date, ETag, HeaderMap, HeaderMapExt, IfMatch, IfModifiedSince, IfNoneMatch, IfUnmodifiedSince};
use warp::http::header::{IF_RANGE, RANGE};
use warp::http::{HeaderValue, Method};

/// Most ranges that one request may ask for; a request for more gets the whole representation.
pub const MAX_RANGES: usize = 64;

/// What tells one version of a representation from another.
#[derive(Clone, Debug)]
pub struct Validators {
    /// Strong entity tag.
    pub etag: ETag,
    /// Milliseconds since the Unix epoch.
    pub modified_ms: i64,
}

impl Validators {
    /// Validators with the strong entity tag `tag`, given without quotes.
    ///
    /// `None` when `tag` has characters that no entity tag may have.
    pub fn new(tag: &str, modified_ms: i64) -> Option<Self> {
        let etag = format!("\"{tag}\"").parse().ok()?;
        Some(Self { etag, modified_ms })
    }

    /// `Last-Modified`, which counts whole seconds.
    pub fn last_modified(&self) -> std::time::SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.modified_ms / 1000).unwrap_or(0))
    }
}

/// What to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// 200: everything.
    Whole,
    /// 206: one range.
    One(Range<u64>),
    /// 206 `multipart/byteranges`: these, in this order; at least two.
    Many(Vec<Range<u64>>),
    /// 304.
    NotModified,
    /// 412.
    Failed,
    /// 416.
    Unsatisfiable,
}

/// Decides what a request with `headers` gets of a representation of `size` bytes.
pub fn select(method: &Method, headers: &HeaderMap, size: u64, validators: &Validators) -> Selection {
    let modified = validators.last_modified();
    // The order is RFC 9110's, section 13.2.2.
    if let Some(condition) = headers.typed_get::<IfMatch>() {
        if !condition.precondition_passes(&validators.etag) {
            return Selection::Failed;
        }
    } else if let Some(condition) = headers.typed_get::<IfUnmodifiedSince>()
        && !condition.precondition_passes(modified)
    {
        return Selection::Failed;
    }
    if let Some(condition) = headers.typed_get::<IfNoneMatch>() {
        if !condition.precondition_passes(&validators.etag) {
            return Selection::NotModified;
        }
    } else if let Some(condition) = headers.typed_get::<IfModifiedSince>()
        && !condition.is_modified(modified)
    {
        return Selection::NotModified;
    }
    // Ranges are defined for GET alone; HEAD answers as if there were none.
    if method != Method::GET {
        return Selection::Whole;
    }
    let Some(asked) = headers.get(RANGE).and_then(|value| value.to_str().ok()).and_then(parse) else {
        return Selection::Whole;
    };
    if let Some(condition) = headers.get(IF_RANGE)
        && !is_this_version(condition, validators)
    {
        return Selection::Whole;
    }
    if asked.len() > MAX_RANGES {
        return Selection::Whole;
    }
    let mut ranges: Vec<Range<u64>> = asked.into_iter().filter_map(|spec| spec.resolve(size)).collect();
    merge_overlaps(&mut ranges);
    match ranges.as_slice() {
        [] => Selection::Unsatisfiable,
        [one] => Selection::One(one.clone()),
        _ => Selection::Many(ranges),
    }
}

/// Whether `If-Range` names just this version: the same strong entity tag, or the same date to the second (RFC 9110, section
/// 13.1.5). What cannot be read names none.
fn is_this_version(condition: &HeaderValue, validators: &Validators) -> bool {
    let Ok(text) = condition.to_str() else { return false };
    match text.trim().parse::<ETag>() {
        Ok(tag) => tag == validators.etag && !text.trim().starts_with("W/"),
        Err(_) => {
            let date = headers::Header::decode(&mut std::iter::once(condition)).ok().map(|date: Date| date.into());
            date == Some(validators.last_modified())
        }
    }
}

/// One range as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spec {
    /// `first-` or `first-last`.
    From { first: u64, last: Option<u64> },
    /// `-length`.
    Last(u64),
}

impl Spec {
    /// The bytes that are meant; `None` when there are none of them.
    fn resolve(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            Self::From { first, last } => first..last.map_or(size, |last| last.saturating_add(1).min(size)),
            Self::Last(length) => size.saturating_sub(length)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

/// Reads a `Range` header; `None` when its unit is another one or it is malformed, both of which mean: no range.
fn parse(header: &str) -> Option<Vec<Spec>> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let specs: Vec<Spec> = set
        .split(',')
        .map(|spec| spec.trim_matches([' ', '\t']))
        // Empty list elements are allowed (section 5.6.1).
        .filter(|spec| !spec.is_empty())
        .map(|spec| {
            let (first, last) = spec.split_once('-')?;
            match (first.is_empty(), last.is_empty()) {
                (true, true) => None,
                (true, false) => number(last).map(Spec::Last),
                (false, true) => number(first).map(|first| Spec::From { first, last: None }),
                (false, false) => {
                    let (first, last) = (number(first)?, number(last)?);
                    (first <= last).then_some(Spec::From { first, last: Some(last) })
                }
            }
        })
        .collect::<Option<_>>()?;
    (!specs.is_empty()).then_some(specs)
}

/// A decimal number; one that is too large for any file counts as the largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || digits.len() > 40 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// Joins ranges that overlap, so that no request can make us send bytes twice; others keep the order asked for.
fn merge_overlaps(ranges: &mut Vec<Range<u64>>) {
    let mut sorted = ranges.clone();
    sorted.sort_by_key(|range| range.start);
    if sorted.windows(2).all(|pair| pair[0].end <= pair[1].start) {
        return;
    }
    ranges.clear();
    for range in sorted {
        match ranges.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => ranges.push(range),
        }
    }
}

#[cfg(test)]
mod tests {
    use headers::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn ask(pairs: &[(&'static str, &str)], size: u64) -> Selection {
        let headers = pairs
            .iter()
            .map(|(name, value)| (warp::http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        select(&Method::GET, &headers.collect(), size, &Validators::new("abc", 1_700_000_000_500).unwrap())
    }

    fn range(value: &str, size: u64) -> Selection {
        ask(&[("range", value)], size)
    }

    #[test]
    fn single_ranges() {
        assert_eq!(range("bytes=0-0", 1000), Selection::One(0..1));
        assert_eq!(range("bytes=100-", 1000), Selection::One(100..1000));
        assert_eq!(range("bytes=-100", 1000), Selection::One(900..1000));
        assert_eq!(range("bytes=-5000", 1000), Selection::One(0..1000));
        assert_eq!(range("bytes=990-99999999999999999999999", 1000), Selection::One(990..1000));
        assert_eq!(range("Bytes= 5-6 ,", 1000), Selection::One(5..7));
    }

    #[test]
    fn what_cannot_be_satisfied_is_416_and_what_cannot_be_read_is_ignored() {
        assert_eq!(range("bytes=1000-", 1000), Selection::Unsatisfiable);
        assert_eq!(range("bytes=-0", 1000), Selection::Unsatisfiable);
        assert_eq!(range("bytes=0-0", 0), Selection::Unsatisfiable);
        for odd in ["bytes=9-3", "bytes=", "bytes=a-b", "bytes=-", "lines=1-2", "0-5", "bytes=1-2;3", "bytes=+1-2"] {
            assert_eq!(range(odd, 1000), Selection::Whole, "{odd}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order_unless_they_overlap() {
        assert_eq!(range("bytes=500-599,0-9", 1000), Selection::Many(vec![500..600, 0..10]));
        assert_eq!(range("bytes=0-9,2000-,20-29", 1000), Selection::Many(vec![0..10, 20..30]));
        assert_eq!(range("bytes=50-99,0-59", 1000), Selection::One(0..100));
        let many = format!("bytes={}", vec!["0-"; MAX_RANGES + 1].join(","));
        assert_eq!(range(&many, 1000), Selection::Whole);
    }

    #[test]
    fn head_knows_no_ranges() {
        let headers = [(RANGE, HeaderValue::from_static("bytes=0-0"))].into_iter().collect();
        let validators = Validators::new("abc", 0).unwrap();
        assert_eq!(select(&Method::HEAD, &headers, 10, &validators), Selection::Whole);
    }

    #[test]
    fn conditions() {
        let date = "Tue, 14 Nov 2023 22:13:20 GMT";
        let earlier = "Tue, 14 Nov 2023 22:13:19 GMT";
        assert_eq!(ask(&[("if-none-match", "\"abc\"")], 9), Selection::NotModified);
        assert_eq!(ask(&[("if-none-match", "\"x\", W/\"abc\"")], 9), Selection::NotModified);
        assert_eq!(ask(&[("if-none-match", "*")], 9), Selection::NotModified);
        assert_eq!(ask(&[("if-none-match", "\"x\""), ("if-modified-since", date)], 9), Selection::Whole);
        assert_eq!(ask(&[("if-modified-since", date)], 9), Selection::NotModified);
        assert_eq!(ask(&[("if-modified-since", earlier)], 9), Selection::Whole);
        assert_eq!(ask(&[("if-match", "\"x\"")], 9), Selection::Failed);
        assert_eq!(ask(&[("if-match", "\"abc\""), ("range", "bytes=1-2")], 9), Selection::One(1..3));
        assert_eq!(ask(&[("if-unmodified-since", earlier)], 9), Selection::Failed);
        assert_eq!(ask(&[("if-range", "\"abc\""), ("range", "bytes=1-2")], 9), Selection::One(1..3));
        assert_eq!(ask(&[("if-range", "W/\"abc\""), ("range", "bytes=1-2")], 9), Selection::Whole);
        assert_eq!(ask(&[("if-range", "\"x\""), ("range", "bytes=1-2")], 9), Selection::Whole);
        assert_eq!(ask(&[("if-range", date), ("range", "bytes=1-2")], 9), Selection::One(1..3));
        // Only the very same date will do, and what cannot be read is not the same.
        for other in [earlier, "Tue, 14 Nov 2023 22:13:21 GMT", "abc", "yesterday", ""] {
            assert_eq!(ask(&[("if-range", other), ("range", "bytes=1-2")], 9), Selection::Whole, "{other}");
        }
        assert_eq!(ask(&[("if-range", "\"x\""), ("range", "bytes=99-")], 9), Selection::Whole);
    }

    proptest! {
        #[test]
        fn selected_ranges_lie_inside_and_never_overlap(
            size in 0_u64..5_000,
            specs in prop::collection::vec((prop::option::of(0_u64..6_000), prop::option::of(0_u64..6_000)), 1..8),
        ) {
            let text = |n: &Option<u64>| n.map(|n| n.to_string()).unwrap_or_default();
            let list: Vec<String> = specs.iter().map(|(a, b)| format!("{}-{}", text(a), text(b))).collect();
            let ranges = match range(&format!("bytes={}", list.join(",")), size) {
                Selection::One(one) => vec![one],
                Selection::Many(many) => many,
                _ => Vec::new(),
            };
            let mut seen = vec![false; size as usize];
            for range in ranges {
                prop_assert!(range.start < range.end && range.end <= size);
                for byte in range {
                    prop_assert!(!std::mem::replace(&mut seen[byte as usize], true));
                }
            }
        }

        #[test]
        fn any_header_is_answered(value in "[ -~]{0,60}") {
            let _ = range(&value, 100);
            let _ = range(&format!("bytes={value}"), 100);
        }
    }
}
