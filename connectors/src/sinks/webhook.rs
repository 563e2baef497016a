//! Messages to an address by the Standard Webhooks specification (<https://www.standardwebhooks.com>).
//!
//! A message is signed, so that its receiver knows who sent it and that it is fresh. It may come more than once; its id stays
//! the same.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use reqwest::redirect::Policy;
use reqwest::{StatusCode, Url};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

/// How long a receiver may take to answer: the specification says 15 to 30 seconds.
const PATIENCE: Duration = Duration::from_secs(15);
/// What secrets begin with.
const PREFIX: &str = "whsec_";
/// Bytes of a secret, fewest and most.
const SECRET_BYTES: (usize, usize) = (24, 64);
/// Longest pause that a receiver may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(3_600);

/// A message.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The same for every try.
    pub id: &'a str,
    /// When it is sent, seconds since the Unix epoch.
    pub timestamp_s: i64,
    /// JSON.
    pub body: &'a str,
}

/// What became of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The receiver has it.
    Taken,
    /// Nobody wants messages at this address any more.
    Gone,
    /// It may be taken later.
    Refused {
        /// Why, in words.
        why: String,
        /// How long the receiver asks to be left alone.
        pause: Option<Duration>,
    },
}

/// Why an address or a secret cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The address is none.
    #[error("`{0}` is no address: write http://host/path or https://host/path")]
    Address(String),
    /// The secret is none.
    #[error("a secret is `whsec_` and 24 to 64 bytes in Base64")]
    Secret,
}

/// Sends messages.
#[derive(Clone)]
pub struct Sender {
    /// Or why this machine can send nothing, such as for want of certificates.
    http: Result<reqwest::Client, String>,
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

impl Sender {
    /// A sender that follows no redirect: an address is the one that was given.
    pub fn new() -> Self {
        let http = reqwest::Client::builder().timeout(PATIENCE).redirect(Policy::none()).build();
        Self { http: http.map_err(|error| first_cause(&error)) }
    }

    /// Tries to send `message` to `address`, signed with `secret`.
    pub async fn send(&self, address: &str, secret: &str, message: Message<'_>) -> Answer {
        let refused = |why: String, pause| Answer::Refused { why, pause };
        let signed = key(secret).and_then(|key| Webhook::from_bytes(key).map_err(|_| Error::Secret)).and_then(|key| {
            key.sign(message.id, message.timestamp_s, message.body.as_bytes()).map_err(|_| Error::Secret)
        });
        let signature = match signed {
            Ok(signature) => signature,
            Err(error) => return refused(error.to_string(), None),
        };
        let http = match &self.http {
            Ok(http) => http,
            Err(why) => return refused(why.clone(), None),
        };
        let request = http
            .post(address)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("StreamForge/", env!("CARGO_PKG_VERSION")))
            .header(HEADER_WEBHOOK_ID, message.id)
            .header(HEADER_WEBHOOK_TIMESTAMP, message.timestamp_s)
            .header(HEADER_WEBHOOK_SIGNATURE, signature)
            .body(message.body.to_owned());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return refused(first_cause(&error), None),
        };
        match answer.status() {
            status if status.is_success() => Answer::Taken,
            StatusCode::GONE => Answer::Gone,
            status => {
                let pause = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
                let pause = pause.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
                refused(format!("it answered {}", status.as_u16()), pause)
            }
        }
    }
}

/// The first cause, which says most in the fewest words.
fn first_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// A secret that nobody knows yet.
pub fn new_secret() -> String {
    use base64::Engine as _;
    let bytes: [u8; 32] = rand::random();
    format!("{PREFIX}{}", base64::prelude::BASE64_STANDARD.encode(bytes))
}

/// Refuses what is no secret.
pub fn check_secret(secret: &str) -> Result<(), Error> {
    key(secret).map(drop)
}

fn key(secret: &str) -> Result<Vec<u8>, Error> {
    use base64::Engine as _;
    let encoded = secret.strip_prefix(PREFIX).ok_or(Error::Secret)?;
    let key = base64::prelude::BASE64_STANDARD.decode(encoded).map_err(|_| Error::Secret)?;
    let (fewest, most) = SECRET_BYTES;
    if (fewest..=most).contains(&key.len()) { Ok(key) } else { Err(Error::Secret) }
}

/// Refuses what is no address; answers it as it is asked.
pub fn check_address(address: &str) -> Result<String, Error> {
    let wrong = || Error::Address(address.chars().take(200).collect());
    let url = Url::parse(address).map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url.into()) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_addresses_are_checked() {
        assert!(check_secret(&new_secret()).is_ok());
        assert_ne!(new_secret(), new_secret());
        for wrong in ["", "whsec_", "whsec_c2hvcnQ=", "whsec_???", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"] {
            assert_eq!(check_secret(wrong), Err(Error::Secret), "{wrong}");
        }
        assert_eq!(check_address("http://host/x?y=1").unwrap(), "http://host/x?y=1");
        for wrong in ["", "host", "ftp://host/", "file:///etc/passwd", "http://"] {
            assert!(check_address(wrong).is_err(), "{wrong}");
        }
    }

    /// The example of the specification.
    #[test]
    fn a_message_is_signed_as_the_specification_has_it() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = r#"{"test": 2432232314}"#;
        let signature =
            Webhook::from_bytes(key).unwrap().sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body.as_bytes());
        assert_eq!(signature.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
