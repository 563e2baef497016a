//! Where the bucket is, and who asks.

use std::fmt;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential, Checksum};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use super::profile;
use super::trouble::Trouble;

/// What a region is called when nobody names one; servers that are not Amazon's do not care.
const ANY_REGION: &str = "us-east-1";

/// A bucket, or a folder in it, and how to get there.
///
/// Keys are taken from [`Settings::keys`]; without them the usual chain is asked: web identity, container, instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the bucket.
    pub bucket: String,
    /// Folder in the bucket that is the store, without slashes at its ends; empty for the whole bucket.
    pub prefix: String,
    /// Address of the server, such as `http://127.0.0.1:8333`; absent for Amazon's own. Plain HTTP is used where it says so.
    pub endpoint: Option<String>,
    /// Region that requests are signed for; absent: `us-east-1`.
    pub region: Option<String>,
    /// Who asks; absent: the usual chain says.
    pub keys: Option<Keys>,
    /// Whether the bucket is part of the host name. Then [`Settings::endpoint`] has it in it.
    pub virtual_hosted: bool,
    /// How long anything may take.
    pub patience: Patience,
}

/// Static credentials. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// Access key id.
    pub id: String,
    /// Secret access key.
    pub secret: String,
    /// Session token of temporary keys.
    pub token: Option<String>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({}, ***)", self.id)
    }
}

/// How long the store is waited for. With the defaults a dead store is an error within a minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// Without a byte.
    pub read: Duration,
    /// One request with its answer; at most one part (8 MiB) is sent or fetched by one.
    pub request: Duration,
    /// From the first attempt on, new ones are begun for so long.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            read: Duration::from_secs(20),
            request: Duration::from_secs(45),
            retry: Duration::from_secs(12),
        }
    }
}

impl Settings {
    /// The store at `uri`, which is `s3://bucket` or `s3://bucket/prefix`, on Amazon's own servers.
    pub fn parse(uri: &str) -> Result<Self, Trouble> {
        let refused = |why: &str| Trouble::Settings(format!("`{uri}` is no address of a bucket: {why}"));
        let rest = uri.strip_prefix("s3://").ok_or_else(|| refused("write s3://bucket or s3://bucket/prefix"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html; other servers allow a little more.
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !(3..=63).contains(&bucket.len()) || !bucket.chars().all(is_name) {
            return Err(refused("a bucket's name has 3 to 63 letters, digits, dots and hyphens"));
        }
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() && super::super::key::check(prefix).is_err() {
            return Err(refused("the prefix has empty or odd parts"));
        }
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: None,
            keys: None,
            virtual_hosted: false,
            patience: Patience::default(),
        })
    }

    /// Takes what the usual variables say: `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL` (or `AWS_ENDPOINT`), `AWS_REGION` (or
    /// `AWS_DEFAULT_REGION`), `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`,
    /// `AWS_VIRTUAL_HOSTED_STYLE_REQUEST`. Without keys there, the profile `AWS_PROFILE` of `AWS_SHARED_CREDENTIALS_FILE` and
    /// `AWS_CONFIG_FILE` (by default in `~/.aws`) is looked at.
    pub fn with_environment(mut self, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Trouble> {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name).filter(|value| !value.is_empty()));
        self.endpoint = first(&["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]).or(self.endpoint);
        self.region = first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).or(self.region);
        self.virtual_hosted |= first(&["AWS_VIRTUAL_HOSTED_STYLE_REQUEST"]).is_some_and(|value| value == "true");
        match (first(&["AWS_ACCESS_KEY_ID"]), first(&["AWS_SECRET_ACCESS_KEY"])) {
            (Some(id), Some(secret)) => self.keys = Some(Keys { id, secret, token: first(&["AWS_SESSION_TOKEN"]) }),
            (Some(_), None) => {
                return Err(Trouble::Settings("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not".to_owned()));
            }
            (None, Some(_)) => {
                return Err(Trouble::Settings("AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not".to_owned()));
            }
            (None, None) => {}
        }
        // Roles of containers and clusters are set on purpose for one program, files are for everybody of a user.
        let has_role = first(&["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"]).is_some()
            || first(&["AWS_CONTAINER_CREDENTIALS_FULL_URI"]).is_some();
        if self.keys.is_none() && (!has_role || first(&["AWS_PROFILE"]).is_some()) {
            let profile = profile::read(&first)?;
            self.keys = profile.keys;
            self.region = self.region.or(profile.region);
            self.endpoint = self.endpoint.or(profile.endpoint);
        }
        if let Some(endpoint) = &self.endpoint
            && !(endpoint.starts_with("http://") || endpoint.starts_with("https://"))
        {
            return Err(Trouble::Settings(format!("the endpoint `{endpoint}` is no http:// or https:// address")));
        }
        Ok(self)
    }

    /// Address of the store, as claims from outside have it.
    pub fn uri(&self) -> String {
        if self.prefix.is_empty() {
            return format!("s3://{}", self.bucket);
        }
        format!("s3://{}/{}", self.bucket, self.prefix)
    }

    /// Region that requests are signed for.
    pub(super) fn region(&self) -> &str {
        self.region.as_deref().unwrap_or(ANY_REGION)
    }

    /// Address of the bucket, without a slash at its end.
    pub(super) fn bucket_address(&self) -> String {
        match (&self.endpoint, self.virtual_hosted) {
            (Some(endpoint), true) => endpoint.trim_end_matches('/').to_owned(),
            (Some(endpoint), false) => format!("{}/{}", endpoint.trim_end_matches('/'), self.bucket),
            (None, true) => format!("https://{}.s3.{}.amazonaws.com", self.bucket, self.region()),
            (None, false) => format!("https://s3.{}.amazonaws.com/{}", self.region(), self.bucket),
        }
    }

    /// How connections are made.
    pub(super) fn client(&self) -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(self.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://")))
            // One connection carries one part: with HTTP/2 they would share the window of one.
            .with_http1_only()
            .with_connect_timeout(self.patience.connect)
            .with_read_timeout(self.patience.read)
            .with_timeout(self.patience.request)
    }

    /// The client library's own form of all this.
    pub(super) fn builder(&self) -> AmazonS3Builder {
        let builder = match &self.keys {
            Some(keys) => {
                let credential = AwsCredential {
                    key_id: keys.id.clone(),
                    secret_key: keys.secret.clone(),
                    token: keys.token.clone(),
                };
                AmazonS3Builder::new()
                    .with_credentials(std::sync::Arc::new(object_store::StaticCredentialProvider::new(credential)))
            }
            // Its own reading of the environment finds web identities, containers and instances.
            None => AmazonS3Builder::from_env(),
        };
        let builder = match &self.endpoint {
            Some(endpoint) => builder
                .with_config(AmazonS3ConfigKey::S3Endpoint, endpoint.trim_end_matches('/'))
                .with_endpoint(endpoint.trim_end_matches('/')),
            None => builder,
        };
        builder
            .with_bucket_name(&self.bucket)
            .with_region(self.region())
            .with_virtual_hosted_style_request(self.virtual_hosted)
            .with_client_options(self.client())
            .with_checksum_algorithm(Checksum::SHA256)
            .with_retry(RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(50),
                    max_backoff: Duration::from_secs(2),
                    base: 2.0,
                },
                max_retries: 12,
                retry_timeout: self.patience.retry,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Result<Settings, Trouble> {
        let variable = |name: &str| {
            // No profile of whoever runs the tests is looked at.
            let none = [("AWS_SHARED_CREDENTIALS_FILE", "/nowhere"), ("AWS_CONFIG_FILE", "/nowhere")];
            pairs.iter().chain(&none).find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        Settings::parse("s3://videos/house/blobs/")?.with_environment(variable)
    }

    #[test]
    fn addresses_of_buckets_are_taken_apart() {
        let settings = Settings::parse("s3://videos/house/blobs/").unwrap();
        assert_eq!((settings.bucket.as_str(), settings.prefix.as_str()), ("videos", "house/blobs"));
        assert_eq!(settings.uri(), "s3://videos/house/blobs");
        assert_eq!(settings.bucket_address(), "https://s3.us-east-1.amazonaws.com/videos");
        assert_eq!(Settings::parse("s3://videos").unwrap().uri(), "s3://videos");
        for bad in
            ["s3:/videos", "file:///videos", "s3://", "s3://ab", "s3://a b c", "s3://videos/../x", "s3://videos//x"]
        {
            let refused = Settings::parse(bad).unwrap_err().to_string();
            assert!(refused.contains(bad), "{refused}");
        }
    }

    #[test]
    fn the_usual_variables_are_heard() {
        let settings = with(&[
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:8333/"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "me"),
            ("AWS_SECRET_ACCESS_KEY", "hidden"),
        ])
        .unwrap();
        assert_eq!(settings.bucket_address(), "http://127.0.0.1:8333/videos");
        assert_eq!(settings.region(), "eu-west-1");
        assert!(!format!("{settings:?}").contains("hidden"));
        let half = with(&[("AWS_ACCESS_KEY_ID", "me")]).unwrap_err().to_string();
        assert!(half.contains("AWS_SECRET_ACCESS_KEY is not"), "{half}");
        assert!(with(&[("AWS_ENDPOINT_URL", "127.0.0.1:8333")]).is_err());
        assert_eq!(with(&[]).unwrap().keys, None);
    }
}
