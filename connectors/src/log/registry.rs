//! A schema registry that speaks Confluent's API: hands out ids for schemas, and schemas for ids. Only this room names
//! `schema_registry_converter`.

use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use reqwest::Url;
use schema_registry_converter::async_impl::schema_registry::{
    SrSettings, get_all_subjects, get_schema_by_id, perform_sr_call, post_schema,
};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, SchemaType, SrCall, SuppliedSchema};
use schemas::topic::{self, Topic, Version};
use serde_json::json;

/// One request may take so long.
const REQUEST: Duration = Duration::from_secs(3);

/// All schemas together may take so long to be registered: less than a door may take to open, so that it is said who does
/// not answer.
const ENROLLING: Duration = Duration::from_secs(8);

/// Topics whose schemas are registered side by side.
const SIDE_BY_SIDE: usize = 4;

/// Longest schema of somebody else that is looked at.
const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// What Confluent's API says when there is no schema of an id.
const NO_SUCH_SCHEMA: u32 = 40403;

/// The address is none of a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it must be like http://host:8081 or https://user:password@host/path, \
     with marks in user and password written as %40 for @"
)]
pub struct BadAddress;

/// Where a registry is, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Without user and password, and without a slash at its end.
    base: String,
    login: Option<(String, Option<String>)>,
}

impl Address {
    /// Reads `http[s]://[user[:password]@]host[:port][/path]`.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let mut url = Url::parse(text).map_err(|_| BadAddress)?;
        // Marks that belong to a password would be taken for the end of the host, and the rest of it be shown.
        let has_more = url.query().is_some() || url.fragment().is_some() || url.path().contains('@');
        if has_more || !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(BadAddress);
        }
        let login = match (url.username(), url.password()) {
            ("", None) => None,
            ("", Some(_)) => return Err(BadAddress),
            (user, password) => Some((decoded(user), password.map(decoded))),
        };
        url.set_username("").and_then(|()| url.set_password(None)).map_err(|()| BadAddress)?;
        Ok(Self { base: url.as_str().trim_end_matches('/').to_owned(), login })
    }
}

impl fmt::Display for Address {
    /// Without secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.base)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("base", &self.base).field("has_login", &self.login.is_some()).finish()
    }
}

/// `text` with percent signs resolved.
fn decoded(text: &str) -> String {
    // A query is the one place where the address's own reader decodes.
    let query = format!("http://x/?{}", text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D"));
    let name = Url::parse(&query).ok().and_then(|url| url.query_pairs().next().map(|(name, _)| name.into_owned()));
    name.unwrap_or_else(|| text.to_owned())
}

/// Why the registry is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers there, or not now.
    #[error("the schema registry at {at} does not answer: {detail}")]
    Away {
        /// Its address.
        at: String,
        /// What happened.
        detail: String,
    },
    /// It wants another login.
    #[error("the schema registry at {at} refuses user or password: {detail}")]
    Refused {
        /// Its address.
        at: String,
        /// What it says.
        detail: String,
    },
    /// What answers there is something else.
    #[error("what answers at {at} is no schema registry: {detail}")]
    Stranger {
        /// Its address.
        at: String,
        /// What it says.
        detail: String,
    },
    /// Its rules do not let one of our schemas follow what it has.
    #[error("the schema registry at {at} does not take {file} under `{subject}`: {detail}")]
    Incompatible {
        /// Its address.
        at: String,
        /// Name of the schema's file.
        file: String,
        /// Where it should go.
        subject: String,
        /// What the registry says.
        detail: String,
    },
}

impl Trouble {
    /// What to do about it, in one sentence.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Away { .. } => "see that it runs there and listens for this machine, and that `registry` names it",
            Self::Refused { .. } => {
                "put the right login into `registry`, as in http://user:password@host:8081, with marks as %40"
            }
            Self::Stranger { .. } => {
                "let `registry` name the place of Confluent's API, path included, as in http://host:8080/apis/ccompat/v7"
            }
            Self::Incompatible { .. } => {
                "look at what others have registered there; a `topic_prefix` of its own gives this deployment subjects of \
                 its own"
            }
        }
    }
}

/// What a question about a schema is answered with.
type Answer<T> = Result<T, Trouble>;

/// A client of one registry.
pub struct Client {
    settings: SrSettings,
    at: String,
}

impl Client {
    /// A client that asks at `address`; asks nothing yet.
    pub fn new(address: &Address) -> Answer<Self> {
        let at = address.to_string();
        let mut builder = SrSettings::new_builder(address.base.clone());
        builder.set_timeout(REQUEST);
        if let Some((user, password)) = &address.login {
            builder.set_basic_authorization(user, password.as_deref());
        }
        let settings = builder.build().map_err(|error| Trouble::Away { at: at.clone(), detail: deepest(&error) })?;
        Ok(Self { settings, at })
    }

    /// Registers every version of every schema of ours, or finds it there; subjects begin with `prefix`. Answers ours and
    /// the registry's ids.
    pub async fn enroll(&self, prefix: &str) -> Answer<Vec<(i32, i32)>> {
        let topics = topic::all().iter().filter(|topic| !topic.versions.is_empty());
        let each = topics.map(|topic| self.enroll_topic(prefix, topic));
        let all = stream::iter(each).buffer_unordered(SIDE_BY_SIDE).try_collect::<Vec<_>>();
        match tokio::time::timeout(ENROLLING, all).await {
            Ok(pairs) => Ok(pairs?.concat()),
            Err(_) => Err(self.away(format!("schemas are not registered within {} s", ENROLLING.as_secs()))),
        }
    }

    async fn enroll_topic(&self, prefix: &str, topic: &Topic) -> Answer<Vec<(i32, i32)>> {
        let mut pairs = Vec::new();
        // A registry compares a version with those before it.
        for version in &topic.versions {
            pairs.push((version.id, self.register(&subject(prefix, topic), version).await?));
        }
        Ok(pairs)
    }

    async fn register(&self, subject: &str, version: &Version) -> Answer<i32> {
        let schema = SuppliedSchema::new(None, SchemaType::Avro, version.text.to_owned());
        match post_schema(&self.settings, subject.to_owned(), schema).await {
            Ok(registered) => self.id(registered.id),
            Err(error) => match said(&error) {
                Some((409 | 422, detail)) => Err(Trouble::Incompatible {
                    at: self.at.clone(),
                    file: version.file.clone(),
                    subject: subject.to_owned(),
                    detail,
                }),
                _ => Err(self.trouble(&error)),
            },
        }
    }

    /// The schema of an id, if there is one that is Avro and whole: one that is spread over several is not.
    pub async fn schema(&self, id: i32) -> Answer<Option<String>> {
        // Registries count from 1.
        let Ok(number) = u32::try_from(id) else { return Ok(None) };
        match get_schema_by_id(number, &self.settings).await {
            Ok(found) => {
                let is_whole = found.schema_type == SchemaType::Avro && found.references.is_empty();
                Ok((is_whole && found.schema.len() <= MAX_SCHEMA_BYTES).then_some(found.schema))
            }
            Err(error) if code(&error) == Some(NO_SUCH_SCHEMA) => Ok(None),
            Err(error) => Err(self.trouble(&error)),
        }
    }

    /// Subjects that are there without the newest schema of ours, changing nothing: the next start registers it.
    pub async fn lacking(&self, prefix: &str) -> Answer<Vec<String>> {
        let subjects = get_all_subjects(&self.settings).await.map_err(|error| self.trouble(&error))?;
        let mut lacking = Vec::new();
        for topic in topic::all() {
            let (subject, Some(schema)) = (subject(prefix, topic), topic.schema()) else { continue };
            if !subjects.contains(&subject) {
                continue;
            }
            let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
            match perform_sr_call(&self.settings, SrCall::PostForVersion(&subject, &body)).await {
                Ok(_) => {}
                Err(error) if said(&error).is_some_and(|(status, _)| status == 404) => lacking.push(subject),
                Err(error) => return Err(self.trouble(&error)),
            }
        }
        Ok(lacking)
    }

    fn id(&self, number: u32) -> Answer<i32> {
        i32::try_from(number).map_err(|_| self.stranger(format!("it gives the id {number}")))
    }

    fn away(&self, detail: String) -> Trouble {
        Trouble::Away { at: self.at.clone(), detail }
    }

    fn stranger(&self, detail: String) -> Trouble {
        Trouble::Stranger { at: self.at.clone(), detail }
    }

    fn trouble(&self, error: &SRCError) -> Trouble {
        match said(error) {
            Some((status @ (401 | 403), _)) => {
                Trouble::Refused { at: self.at.clone(), detail: format!("it answers with status {status}") }
            }
            Some((status, detail)) if status >= 500 || status == 429 => {
                self.away(format!("it answers with status {status}, {detail}"))
            }
            Some((status, detail)) => self.stranger(format!("it answers with status {status}, {detail}")),
            None if http(error).is_none_or(|http| http.is_decode()) => self.stranger(deepest(error)),
            None if http(error).is_some_and(reqwest::Error::is_timeout) => {
                self.away(format!("no answer within {} s", REQUEST.as_secs()))
            }
            None => self.away(deepest(error)),
        }
    }
}

/// The subject of a topic's values, by the name that the topic has in the log.
fn subject(prefix: &str, topic: &Topic) -> String {
    format!("{prefix}{}", topic.subject)
}

/// What the registry's own error says: status and sentence.
fn said(error: &SRCError) -> Option<(u16, String)> {
    let raw = error.source()?.downcast_ref::<RawError>()?;
    // The client keeps the status in its sentence alone.
    let status = error.error.split_once("status ")?.1.split_whitespace().next()?.parse().ok()?;
    Some((status, raw.message.clone()))
}

fn code(error: &SRCError) -> Option<u32> {
    Some(error.source()?.downcast_ref::<RawError>()?.error_code)
}

fn http(error: &SRCError) -> Option<&reqwest::Error> {
    error.source()?.downcast_ref::<reqwest::Error>()
}

/// The last sentence of a chain of errors: what really happened, without the address that each of the others names.
fn deepest(error: &SRCError) -> String {
    let (mut text, mut source) = (error.error.clone(), error.source());
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}
