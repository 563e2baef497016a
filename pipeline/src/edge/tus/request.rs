//! What a client of tus says in its headers.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use headers::HeaderMap;
use warp::http::{Method, StatusCode};

use super::checksum::{ALGORITHMS, Expected};
use crate::edge::problem::Problem;

/// The one version of the protocol that is spoken here.
pub const VERSION: &str = "1.0.0";
/// Media type of bytes that are appended.
const BYTES: &str = "application/offset+octet-stream";
/// Longest metadata that is kept, bytes.
const LONGEST_METADATA: usize = 64 * 1024;

/// How long an upload will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// So many bytes.
    Known(u64),
    /// Its client says so later.
    Deferred,
}

/// What is to be created.
#[derive(Debug)]
pub(super) struct Creation {
    pub(super) length: Length,
    /// As it was sent, to be given back.
    pub(super) metadata: String,
    /// Name of the file, raw; empty when nobody says it.
    pub(super) name: String,
    pub(super) has_bytes: bool,
    /// How many, when the client says so before.
    pub(super) bytes: Option<u64>,
    pub(super) checksum: Option<Expected>,
}

/// Where bytes are to be appended.
#[derive(Debug)]
pub(super) struct Append {
    pub(super) offset: u64,
    /// How many bytes come, when the client says so before.
    pub(super) bytes: Option<u64>,
    /// The length of the whole, from a client that did not say it before.
    pub(super) length: Option<u64>,
    pub(super) checksum: Option<Expected>,
}

impl Creation {
    /// The bytes that come with it.
    pub(super) fn first_bytes(self) -> Append {
        Append { offset: 0, bytes: self.bytes, length: None, checksum: self.checksum }
    }
}

/// The method that is meant: clients that cannot send every method name it in a header.
pub(super) fn method(method: &Method, headers: &HeaderMap) -> Result<Method, Problem> {
    let Some(meant) = headers.get("x-http-method-override").filter(|_| *method == Method::POST) else {
        return Ok(method.clone());
    };
    let unknown = |_| Problem::bad_request("bad_method", "X-HTTP-Method-Override names no method");
    Method::from_bytes(meant.as_bytes().to_ascii_uppercase().as_slice()).map_err(unknown)
}

/// Refuses another version of the protocol.
pub(super) fn version(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get("tus-resumable").is_some_and(|version| version == VERSION) {
        return Ok(());
    }
    let detail = format!("this is tus {VERSION}: send the header `Tus-Resumable: {VERSION}`");
    Err(Problem::new(StatusCode::PRECONDITION_FAILED, "tus_version", detail))
}

pub(super) fn creation(headers: &HeaderMap, limit: u64) -> Result<Creation, Problem> {
    version(headers)?;
    if headers.contains_key("upload-concat") {
        return Err(Problem::bad_request("bad_upload", "uploads in parts that are concatenated are not taken here"));
    }
    let length = match (length(headers, limit)?, headers.get("upload-defer-length")) {
        (Some(length), None) => Length::Known(length),
        (None, Some(deferred)) if deferred == "1" => Length::Deferred,
        (None, Some(_)) => return Err(Problem::bad_request("bad_upload", "Upload-Defer-Length can only be 1")),
        _ => {
            let detail = "say either Upload-Length in bytes, or `Upload-Defer-Length: 1`";
            return Err(Problem::bad_request("bad_upload", detail));
        }
    };
    if length == Length::Known(0) {
        return Err(Problem::unsupported_media("the file is empty"));
    }
    let metadata = text(headers, "upload-metadata")?.unwrap_or_default().to_owned();
    let named = pairs(&metadata)?;
    let of = |key: &str| named.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone());
    let has_bytes = match headers.get("content-type") {
        Some(kind) if kind == BYTES => true,
        // Some clients name a type although they send nothing.
        Some(_) if body_length(headers).is_none_or(|length| length > 0) && !is_empty(headers) => {
            return Err(Problem::unsupported_media(format!("bytes of an upload have the content type {BYTES}")));
        }
        _ => false,
    };
    let bytes = if has_bytes { body_length(headers) } else { None };
    if let Length::Known(length) = length {
        fits(0, bytes, length)?;
    }
    let name = of("filename").or_else(|| of("name")).unwrap_or_default();
    Ok(Creation { length, name, has_bytes, bytes, checksum: checksum(headers)?, metadata })
}

pub(super) fn append(headers: &HeaderMap, limit: u64) -> Result<Append, Problem> {
    version(headers)?;
    if headers.get("content-type").is_none_or(|kind| kind != BYTES) {
        return Err(Problem::unsupported_media(format!("bytes of an upload have the content type {BYTES}")));
    }
    let offset = number(headers, "upload-offset")?;
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    let offset = offset
        .ok_or_else(|| Problem::bad_request("bad_upload", "Upload-Offset says at which byte these bytes begin"))?;
    let length = length(headers, limit)?;
    let bytes = body_length(headers);
    fits(offset, bytes, length.unwrap_or(limit))?;
    Ok(Append { offset, bytes, length, checksum: checksum(headers)? })
}

/// Refuses so many `bytes` at `offset` when they go beyond `length`.
pub(super) fn fits(offset: u64, bytes: Option<u64>, length: u64) -> Result<(), Problem> {
    match bytes {
        Some(bytes) if offset.saturating_add(bytes) > length => Err(beyond(length)),
        _ => Ok(()),
    }
}

/// The refusal of bytes beyond the end.
pub(super) fn beyond(length: u64) -> Problem {
    let detail = format!("these bytes go beyond the {length} that the upload may have");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
}

fn body_length(headers: &HeaderMap) -> Option<u64> {
    headers.get("content-length")?.to_str().ok()?.parse().ok()
}

fn is_empty(headers: &HeaderMap) -> bool {
    !headers.contains_key("content-length") && !headers.contains_key("transfer-encoding")
}

fn length(headers: &HeaderMap, limit: u64) -> Result<Option<u64>, Problem> {
    let Some(stated) = number(headers, "upload-length")? else { return Ok(None) };
    match u64::try_from(stated) {
        Ok(length) if length <= limit => Ok(Some(length)),
        _ => Err(Problem::too_large(limit)),
    }
}

/// A number without a sign; one that is larger than any is still one.
fn number(headers: &HeaderMap, name: &'static str) -> Result<Option<u128>, Problem> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Problem::bad_request("bad_upload", format!("{name} is a number of bytes")));
    }
    Ok(Some(text.parse().unwrap_or(u128::MAX)))
}

fn text<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() || value.len() > LONGEST_METADATA {
        return Err(Problem::bad_request("bad_upload", format!("{name} is there twice, or too long")));
    }
    let unreadable = |_| Problem::bad_request("bad_upload", format!("{name} has bytes that no header may have"));
    value.to_str().map(|text| Some(text.trim())).map_err(unreadable)
}

/// Keys and values of `Upload-Metadata`: pairs with commas between, values in Base64. Bytes that are no UTF-8 are replaced.
fn pairs(metadata: &str) -> Result<Vec<(String, String)>, Problem> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for pair in metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let Ok(value) = BASE64_STANDARD.decode(value.trim()) else {
            let detail = "Upload-Metadata is a list of `key value`, each value in Base64, with commas between";
            return Err(Problem::bad_request("bad_metadata", detail));
        };
        if pairs.iter().any(|(known, _)| known == key) {
            return Err(Problem::bad_request("bad_metadata", "a key of Upload-Metadata is there twice"));
        }
        pairs.push((key.to_owned(), String::from_utf8_lossy(&value).into_owned()));
    }
    Ok(pairs)
}

fn checksum(headers: &HeaderMap) -> Result<Option<Expected>, Problem> {
    let Some(stated) = text(headers, "upload-checksum")? else { return Ok(None) };
    let detail = format!("Upload-Checksum is one of {}, a space, and the sum in Base64", ALGORITHMS.join(", "));
    let expected = stated.split_once(' ').and_then(|(algorithm, sum)| {
        let sum = BASE64_STANDARD.decode(sum.trim()).ok()?;
        Expected::of(algorithm, sum)
    });
    expected.map(Some).ok_or_else(|| Problem::bad_request("bad_checksum", detail))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("tus-resumable", VERSION.parse().unwrap());
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn refusal(pairs: &[(&'static str, &str)]) -> (u16, &'static str) {
        let problem = creation(&headers(pairs), 1_000).unwrap_err();
        (problem.status.as_u16(), problem.code)
    }

    #[test]
    fn a_creation_says_length_and_name() {
        let asked = [("upload-length", "1000"), ("upload-metadata", "filename aG9saWRheS5tb3Y=,is_new,filetype eA==")];
        let found = creation(&headers(&asked), 1_000).unwrap();
        assert_eq!((found.length, found.name.as_str(), found.has_bytes), (Length::Known(1_000), "holiday.mov", false));
        assert_eq!(found.metadata, asked[1].1);
        let later =
            creation(&headers(&[("upload-defer-length", "1"), ("upload-metadata", "name YQ==")]), 1_000).unwrap();
        assert_eq!((later.length, later.name.as_str()), (Length::Deferred, "a"));
    }

    #[test]
    fn what_cannot_become_an_upload_is_refused_at_creation() {
        assert_eq!(creation(&HeaderMap::new(), 1).unwrap_err().status, 412);
        for too_much in ["1001", "9223372036854775808", "18446744073709551616", &"9".repeat(60)] {
            assert_eq!(refusal(&[("upload-length", too_much)]), (413, "too_large"), "{too_much}");
        }
        for nonsense in ["", "-1", "1e3", "0x10", "one", "+5"] {
            assert_eq!(refusal(&[("upload-length", nonsense)]), (400, "bad_upload"), "{nonsense}");
        }
        assert_eq!(refusal(&[("upload-length", "0")]), (415, "unsupported_media"));
        assert_eq!(refusal(&[]), (400, "bad_upload"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-length", "2")]), (400, "bad_upload"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-defer-length", "1")]), (400, "bad_upload"));
        assert_eq!(refusal(&[("upload-defer-length", "2")]), (400, "bad_upload"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-metadata", "filename ?")]), (400, "bad_metadata"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-metadata", "a YQ==,a YQ==")]), (400, "bad_metadata"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-checksum", "crc YQ==")]), (400, "bad_checksum"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-checksum", "sha1 YQ==")]), (400, "bad_checksum"));
        assert_eq!(refusal(&[("upload-length", "1"), ("upload-concat", "partial")]), (400, "bad_upload"));
        let with_bytes = [("upload-length", "5"), ("content-type", BYTES), ("content-length", "6")];
        assert_eq!(refusal(&with_bytes), (413, "too_large"));
    }

    #[test]
    fn bytes_say_where_they_begin() {
        let asked = [("content-type", BYTES), ("upload-offset", "5"), ("content-length", "10")];
        assert_eq!(append(&headers(&asked), 1_000).unwrap().offset, 5);
        assert_eq!(append(&headers(&asked), 14).unwrap_err().status, 413);
        assert_eq!(append(&headers(&asked[..1]), 14).unwrap_err().status, 400);
        assert_eq!(append(&headers(&asked[1..]), 14).unwrap_err().status, 415);
        let beyond = [asked[0], ("upload-offset", "18446744073709551616")];
        assert_eq!(append(&headers(&beyond), 14).unwrap_err().status, 400);
    }

    #[test]
    fn a_client_that_cannot_say_patch_says_it_in_a_header() {
        let meant = |verb: &str| method(&Method::POST, &headers(&[("x-http-method-override", verb)])).unwrap();
        assert_eq!((meant("PATCH"), meant("delete")), (Method::PATCH, Method::DELETE));
        assert_eq!(method(&Method::GET, &headers(&[("x-http-method-override", "DELETE")])).unwrap(), Method::GET);
    }

    proptest! {
        #[test]
        fn any_metadata_is_read_or_refused(text in "[ -~]{0,80}", name in any::<String>()) {
            let _ = pairs(&text);
            let encoded = format!("filename {}", BASE64_STANDARD.encode(&name));
            prop_assert_eq!(&pairs(&encoded).unwrap()[0].1, &name);
        }
    }
}
