//! What is wrong with a bucket, told apart by what the server says.

use super::raw::Answer;

/// Why a bucket cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The settings contradict themselves or mean nothing.
    #[error("{0}")]
    Settings(String),
    /// Nobody has given keys, and no role was found.
    #[error("there are no credentials for bucket `{bucket}`: {cause}")]
    NoCredentials {
        /// The bucket.
        bucket: String,
        /// What the last in the chain said.
        cause: String,
    },
    /// The bucket lies in another region than requests are signed for.
    #[error("bucket `{bucket}` is not in region {configured}{}", said(.expected))]
    WrongRegion {
        /// The bucket.
        bucket: String,
        /// The region of the settings.
        configured: String,
        /// Where the server says that it is.
        expected: Option<String>,
    },
    /// The server does not know the access key id.
    #[error("the server does not know the access key id{}", said(.0))]
    BadKey(Option<String>),
    /// The access key id is known, the secret is another one.
    #[error("the secret access key does not belong to the access key id")]
    BadSecret,
    /// Temporary keys have ended or are broken.
    #[error("the session token has expired or is not valid")]
    BadToken,
    /// The keys are good, and not for this bucket.
    #[error("the keys may not use bucket `{bucket}`: {message}")]
    Forbidden {
        /// The bucket.
        bucket: String,
        /// The server's own words.
        message: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket `{bucket}` at {endpoint}")]
    NoBucket {
        /// The bucket.
        bucket: String,
        /// Where it was looked for.
        endpoint: String,
    },
    /// The clocks of this machine and of the server differ by too much (15 minutes, as a rule).
    #[error("the clock of this machine differs too much from the server's")]
    Clock,
    /// Nobody answers.
    #[error("{endpoint} does not answer: {cause}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// What happened.
        cause: String,
    },
    /// Something answers that is no S3 server, or something that has no name here.
    #[error("{endpoint} answers {status}: {message}")]
    Odd {
        /// Where.
        endpoint: String,
        /// The status of HTTP.
        status: u16,
        /// Code and message, as far as there are any.
        message: String,
    },
}

fn said(what: &Option<String>) -> String {
    what.as_ref().map_or_else(String::new, |what| format!(" ({what})"))
}

impl Trouble {
    /// What to do about it, in one sentence.
    pub fn advice(&self) -> String {
        match self {
            Self::Settings(_) => "correct the setting `blobs` or the AWS_* variables".to_owned(),
            Self::NoCredentials { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role".to_owned()
            }
            Self::WrongRegion { expected: Some(region), .. } => format!("set AWS_REGION={region}"),
            Self::WrongRegion { .. } => "set AWS_REGION to the region of the bucket".to_owned(),
            Self::BadKey(_) => {
                "check AWS_ACCESS_KEY_ID, and that AWS_ENDPOINT_URL names the server it is for".to_owned()
            }
            Self::BadSecret => "check AWS_SECRET_ACCESS_KEY".to_owned(),
            Self::BadToken => "get new temporary keys, AWS_SESSION_TOKEN included".to_owned(),
            Self::Forbidden { .. } => {
                "allow s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject and \
                 s3:AbortMultipartUpload"
                    .to_owned()
            }
            Self::NoBucket { .. } => "make the bucket, or correct the setting `blobs`".to_owned(),
            Self::Clock => "set the clock of this machine by a time server".to_owned(),
            Self::Unreachable { .. } => "check AWS_ENDPOINT_URL, and that the server runs".to_owned(),
            Self::Odd { .. } => "check that AWS_ENDPOINT_URL names an S3 server".to_owned(),
        }
    }
}

/// Where a request went and how it was signed, for messages.
pub(super) struct Asked<'a> {
    pub(super) bucket: &'a str,
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
}

/// Says what `answer` to the listing of a bucket means.
///
/// Codes: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
pub(super) fn judge(answer: &Answer, asked: &Asked<'_>) -> Result<(), Trouble> {
    if (200..300).contains(&answer.status) {
        // A web page with status 200 is no bucket.
        if answer.body.contains("ListBucketResult") {
            return Ok(());
        }
        return Err(Trouble::Odd {
            endpoint: asked.endpoint.to_owned(),
            status: answer.status,
            message: "this is no list of a bucket".to_owned(),
        });
    }
    let bucket = || asked.bucket.to_owned();
    let code = answer.element("Code").unwrap_or_default();
    let message = answer.element("Message").unwrap_or_default();
    let region = answer.element("Region").or_else(|| answer.region.clone()).filter(|region| region != asked.region);
    let wrong_region = |expected: Option<String>| Trouble::WrongRegion {
        bucket: bucket(),
        configured: asked.region.to_owned(),
        expected,
    };
    Err(match (code.as_str(), answer.status) {
        ("PermanentRedirect" | "TemporaryRedirect" | "IllegalLocationConstraintException", _) | (_, 301 | 307) => {
            wrong_region(region.or_else(|| region_of(&answer.element("Endpoint")?)))
        }
        ("AuthorizationHeaderMalformed", _) if region.is_some() || message.contains("region") => wrong_region(region),
        ("InvalidAccessKeyId", _) => Trouble::BadKey(answer.element("AWSAccessKeyId")),
        ("SignatureDoesNotMatch", _) => Trouble::BadSecret,
        ("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired", _) => Trouble::BadToken,
        ("RequestTimeTooSkewed" | "RequestExpired", _) => Trouble::Clock,
        ("NoSuchBucket", _) => Trouble::NoBucket { bucket: bucket(), endpoint: asked.endpoint.to_owned() },
        ("AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "UnauthorizedAccess", _) | ("", 403) => {
            Trouble::Forbidden { bucket: bucket(), message: if message.is_empty() { code } else { message } }
        }
        _ => Trouble::Odd {
            endpoint: asked.endpoint.to_owned(),
            status: answer.status,
            message: format!("{code} {message}").trim().to_owned(),
        },
    })
}

/// The region in the name of one of Amazon's hosts: `bucket.s3.eu-west-1.amazonaws.com`, or `s3-eu-west-1` as it once was.
fn region_of(host: &str) -> Option<String> {
    let before = host.strip_suffix(".amazonaws.com")?;
    let last = before.rsplit('.').next()?;
    let region = last.strip_prefix("s3-").unwrap_or(last);
    (region != "s3").then(|| region.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document that Amazon's own servers answer with.
    fn told(status: u16, header: Option<&str>, inside: &str) -> Trouble {
        let answer = Answer {
            status,
            region: header.map(str::to_owned),
            body: format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error>{inside}<RequestId>4442587FB7D0A2F9</RequestId></Error>"
            ),
        };
        let asked = Asked { bucket: "videos", endpoint: "https://s3.us-east-1.amazonaws.com", region: "us-east-1" };
        judge(&answer, &asked).unwrap_err()
    }

    #[test]
    fn documented_answers_are_told_apart() {
        let moved = "<Code>PermanentRedirect</Code><Message>The bucket you are attempting to access must be addressed using \
                     the specified endpoint. Please send all future requests to this endpoint.</Message>\
                     <Bucket>videos</Bucket><Endpoint>videos.s3.eu-west-1.amazonaws.com</Endpoint>";
        let in_europe = |expected: Option<&str>| Trouble::WrongRegion {
            bucket: "videos".into(),
            configured: "us-east-1".into(),
            expected: expected.map(str::to_owned),
        };
        assert_eq!(told(301, Some("eu-west-1"), moved), in_europe(Some("eu-west-1")));
        assert_eq!(told(301, None, moved), in_europe(Some("eu-west-1")));
        let old = "<Code>PermanentRedirect</Code><Endpoint>videos.s3-eu-west-1.amazonaws.com</Endpoint>";
        assert_eq!(told(301, None, old), in_europe(Some("eu-west-1")));
        let malformed = "<Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the \
                         region 'us-east-1' is wrong; expecting 'eu-central-1'</Message><Region>eu-central-1</Region>";
        assert_eq!(told(400, None, malformed), in_europe(Some("eu-central-1")));
        assert_eq!(told(400, None, malformed).advice(), "set AWS_REGION=eu-central-1");

        let key = "<Code>InvalidAccessKeyId</Code><Message>The AWS Access Key Id you provided does not exist in our \
                   records.</Message><AWSAccessKeyId>AKIAI</AWSAccessKeyId>";
        assert_eq!(told(403, None, key), Trouble::BadKey(Some("AKIAI".into())));
        let secret = "<Code>SignatureDoesNotMatch</Code><Message>The request signature we calculated does not match the \
                      signature you provided.</Message><StringToSign>AWS4</StringToSign>";
        assert_eq!(told(403, None, secret), Trouble::BadSecret);
        let skewed = "<Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the current \
                      time is too large.</Message><MaxAllowedSkewMilliseconds>900000</MaxAllowedSkewMilliseconds>";
        assert_eq!(told(403, None, skewed), Trouble::Clock);
        let missing = "<Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message>";
        assert!(matches!(told(404, None, missing), Trouble::NoBucket { .. }));
        let denied = "<Code>AccessDenied</Code><Message>Access Denied</Message>";
        assert_eq!(
            told(403, None, denied),
            Trouble::Forbidden { bucket: "videos".into(), message: "Access Denied".into() }
        );
        let expired = "<Code>ExpiredToken</Code><Message>The provided token has expired.</Message>";
        assert_eq!(told(400, None, expired), Trouble::BadToken);
        let odd = told(503, None, "<Code>SlowDown</Code><Message>Please reduce your request rate.</Message>");
        assert!(odd.to_string().ends_with("answers 503: SlowDown Please reduce your request rate."), "{odd}");
    }

    #[test]
    fn a_web_page_is_no_bucket() {
        let asked = Asked { bucket: "videos", endpoint: "http://host", region: "us-east-1" };
        let page = Answer { status: 200, region: None, body: "<html>It works!</html>".into() };
        assert!(matches!(judge(&page, &asked), Err(Trouble::Odd { status: 200, .. })));
        let list = Answer { status: 200, region: None, body: "<ListBucketResult></ListBucketResult>".into() };
        assert_eq!(judge(&list, &asked), Ok(()));
    }
}
