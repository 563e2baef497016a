//! Signed requests that the client library has no word for.

use std::time::Duration;

use object_store::aws::{AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector};
use reqwest::Method;

use super::settings::Settings;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longest answer that is read, bytes: a page of a list.
const LONGEST: usize = 8 << 20;

/// What the server says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Status of HTTP.
    pub(super) status: u16,
    /// Region of the bucket, where the server names it in a header.
    pub(super) region: Option<String>,
    /// The document.
    pub(super) body: String,
}

impl Answer {
    /// Text of the first element `name`.
    pub(super) fn element(&self, name: &str) -> Option<String> {
        element(&self.body, name).map(unescaped)
    }

    /// What lies inside each element `name`.
    pub(super) fn elements<'a>(&'a self, name: &str) -> Vec<&'a str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.body
            .split(open.as_str())
            .skip(1)
            .filter_map(|rest| rest.split_once(close.as_str()))
            .map(|(in_, _)| in_)
            .collect()
    }
}

/// What lies inside the first element `name` of `text`. Servers write these few documents without attributes inside.
pub(super) fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

/// Text without the escapes of XML.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('&') {
        plain.push_str(before);
        let (name, after) = tail.split_once(';').unwrap_or((tail, ""));
        match name {
            "amp" => plain.push('&'),
            "lt" => plain.push('<'),
            "gt" => plain.push('>'),
            "quot" => plain.push('"'),
            "apos" => plain.push('\''),
            other => {
                let number = other.strip_prefix("#x").map_or_else(
                    || other.strip_prefix('#').and_then(|digits| digits.parse().ok()),
                    |digits| u32::from_str_radix(digits, 16).ok(),
                );
                plain.extend(number.and_then(char::from_u32));
            }
        }
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Silence {
    /// Nobody says who asks.
    #[error("find credentials")]
    Credentials(#[source] Failure),
    /// The server cannot be reached, or broke off.
    #[error("ask the server")]
    Server(#[source] Failure),
}

/// Asks one bucket.
pub(super) struct Asker {
    http: HttpClient,
    credentials: AwsCredentialProvider,
    address: String,
    region: String,
    patience: Duration,
}

impl Asker {
    pub(super) fn new(settings: &Settings, credentials: AwsCredentialProvider) -> Result<Self, object_store::Error> {
        Ok(Self {
            http: ReqwestConnector::default().connect(&settings.client())?,
            credentials,
            address: settings.bucket_address(),
            region: settings.region().to_owned(),
            patience: settings.patience.request,
        })
    }

    /// Asks once, about the object `key` or the bucket itself for an empty one.
    pub(super) async fn ask(&self, method: Method, key: &str, query: &[(&str, &str)]) -> Result<Answer, Silence> {
        let credential =
            self.credentials.get_credential().await.map_err(|error| Silence::Credentials(Box::new(error)))?;
        let failed = |error: Failure| Silence::Server(error);
        let pairs: Vec<String> =
            query.iter().map(|(name, value)| format!("{}={}", encoded(name, ""), encoded(value, ""))).collect();
        let path = if key.is_empty() { String::new() } else { format!("/{}", encoded(key, "/")) };
        let question = if pairs.is_empty() { "" } else { "?" };
        let uri = format!("{}{path}{question}{}", self.address, pairs.join("&"));
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().map_err(|error| failed(Box::new(error)))?;
        AwsAuthorizer::new(&credential, "s3", &self.region)
            .try_authorize(&mut request, None)
            .map_err(|error| failed(Box::new(error)))?;
        let answered = async {
            let response = self.http.execute(request).await.map_err(|error| failed(Box::new(error)))?;
            let status = response.status().as_u16();
            let region = response.headers().get("x-amz-bucket-region").and_then(|region| region.to_str().ok());
            let region = region.map(str::to_owned);
            let bytes = response.into_body().bytes().await.map_err(|error| failed(Box::new(error)))?;
            if bytes.len() > LONGEST {
                return Err(failed("the answer is longer than any that is expected".into()));
            }
            Ok(Answer { status, region, body: String::from_utf8_lossy(&bytes).into_owned() })
        };
        let late = |_| failed("no answer in time".into());
        tokio::time::timeout(self.patience, answered).await.map_err(late)?
    }
}

/// `text` with everything escaped that is neither unreserved in an address (RFC 3986) nor in `kept`.
fn encoded(text: &str, kept: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || kept.contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read() {
        let answer = Answer {
            body: "<L><U><Key>a&amp;b&#x20;&#233;&lt;</Key></U><U><Key>c</Key></U></L>".into(),
            ..Answer::default()
        };
        assert_eq!(answer.element("Key").as_deref(), Some("a&b é<"));
        assert_eq!(answer.element("Nothing"), None);
        assert_eq!(answer.elements("U"), ["<Key>a&amp;b&#x20;&#233;&lt;</Key>", "<Key>c</Key>"]);
        assert_eq!(encoded("a b/ü+~", "/"), "a%20b/%C3%BC%2B~");
        assert_eq!(encoded("a/b", ""), "a%2Fb");
    }
}
