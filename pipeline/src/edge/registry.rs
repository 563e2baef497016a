//! The read half of a schema registry, as Confluent's clients ask one: whoever reads topics with any of them decodes what
//! lies there, with nothing else to install. The schemas are those that are part of the program. Subjects are named for the
//! topics as they lie in the log, prefix included; without the prefix they are found as well.
//!
//! Where a deployment has a registry of its own, the ids in its topics are that one's. The edge does not tell others then,
//! which would be taken for the truth, and does not hand requests on: it says that there is a registry, and who operates it
//! knows where.
//!
//! Errors have Confluent's shape here, not that of the rest of the edge: `{ "error_code": 40401, "message": "…" }`.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use headers::HeaderValue;
use schemas::topic::{self, Topic, Version};
use schemas::wire::evolution;
use serde_json::{Value, json};
use warp::http::header::{ALLOW, CONTENT_TYPE};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

/// What Confluent's registry answers with.
const KIND: &str = "application/vnd.schemaregistry.v1+json";
/// Longest schema that is looked up.
const MAX_SCHEMA_BYTES: usize = 1 << 20;

/// An error in Confluent's words: status, number, sentence.
struct Fault(StatusCode, u32, String);

type Found = Result<Value, Fault>;

impl Fault {
    fn told(self) -> (StatusCode, Value) {
        let Self(status, code, message) = self;
        (status, json!({ "error_code": code, "message": message }))
    }

    fn not_found(code: u32, message: String) -> Self {
        Self(StatusCode::NOT_FOUND, code, message)
    }
}

/// Answers a request for `path` below the registry's address; the names of topics in the log begin with `prefix`.
pub async fn answer(
    prefix: &str,
    method: &Method,
    path: &str,
    body: BoxStream<'static, Result<Bytes, String>>,
) -> Response {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let found = match *method {
        Method::GET | Method::HEAD => read(prefix, &parts),
        Method::POST => match schema_of(body).await {
            Ok(schema) => look_up(prefix, &parts, &schema),
            Err(fault) => Err(fault),
        },
        Method::PUT | Method::DELETE => Err(read_only()),
        _ => Err(Fault(StatusCode::METHOD_NOT_ALLOWED, 405, "HTTP 405 Method Not Allowed".to_owned())),
    };
    let (status, body) = match found {
        Ok(body) => (StatusCode::OK, body),
        Err(fault) => fault.told(),
    };
    respond(status, &body)
}

/// Says that the ids in the topics are another registry's.
pub fn elsewhere() -> Response {
    let message = "This deployment has a schema registry of its own (setting `registry`): the ids in its topics are that \
                   registry's, so ask there";
    let (status, body) = Fault(StatusCode::MISDIRECTED_REQUEST, 421, message.to_owned()).told();
    respond(status, &body)
}

fn respond(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(body.to_string().into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(KIND));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
    }
    response
}

fn read_only() -> Fault {
    let message = "This registry is read-only: its schemas are part of the program";
    Fault(StatusCode::UNPROCESSABLE_ENTITY, 42205, message.to_owned())
}

fn read(prefix: &str, parts: &[&str]) -> Found {
    let find = |subject: &str| find(prefix, subject);
    match parts {
        [] => Ok(json!({})),
        ["subjects"] => Ok(named().map(|topic| full(prefix, topic)).collect()),
        ["subjects", subject, "versions"] => {
            Ok(find(subject)?.versions.iter().map(|version| version.version).collect())
        }
        ["subjects", subject, "versions", number] => {
            let topic = find(subject)?;
            Ok(described(prefix, topic, version(topic, number)?))
        }
        ["subjects", subject, "versions", number, "schema"] => parsed(version(find(subject)?, number)?),
        ["subjects", subject, "versions", number, "referencedby"] => version(find(subject)?, number).map(|_| json!([])),
        ["schemas", "types"] => Ok(json!(["AVRO"])),
        ["schemas", "ids", id] => Ok(json!({ "schema": by_id(id)?.1.text })),
        ["schemas", "ids", id, "schema"] => parsed(by_id(id)?.1),
        ["schemas", "ids", id, "subjects"] => Ok(json!([full(prefix, by_id(id)?.0)])),
        ["schemas", "ids", id, "versions"] => {
            let (topic, version) = by_id(id)?;
            Ok(json!([{ "subject": full(prefix, topic), "version": version.version }]))
        }
        ["config"] => Ok(json!({ "compatibilityLevel": "FULL_TRANSITIVE" })),
        ["config", subject] => Ok(json!({ "compatibilityLevel": find(subject)?.compatibility })),
        ["mode"] => Ok(json!({ "mode": "READONLY" })),
        ["mode", subject] => find(subject).map(|_| json!({ "mode": "READONLY" })),
        _ => Err(Fault::not_found(404, "HTTP 404 Not Found".to_owned())),
    }
}

/// Producers ask which id their schema has, and some register it each time: what is there already is answered.
fn look_up(prefix: &str, parts: &[&str], schema: &str) -> Found {
    let find = |subject: &str| find(prefix, subject);
    let (subject, is_registering) = match parts {
        ["subjects", subject] => (subject, false),
        ["subjects", subject, "versions"] => (subject, true),
        ["compatibility", "subjects", subject, "versions", number] => {
            let version = version(find(subject)?, number)?;
            return Ok(json!({ "is_compatible": evolution::follows(version.text, schema).is_ok() }));
        }
        _ => return Err(Fault::not_found(404, "HTTP 404 Not Found".to_owned())),
    };
    let topic = match find(subject) {
        Err(_) if is_registering => return Err(read_only()),
        found => found?,
    };
    let is_it = |version: &&Version| evolution::is_same(version.text, schema);
    let mut same = None;
    for version in topic.versions.iter().rev() {
        match is_it(&version) {
            Ok(true) => same = same.or(Some(version)),
            Ok(false) => {}
            Err(error) => {
                return Err(Fault(StatusCode::UNPROCESSABLE_ENTITY, 42201, format!("Invalid schema: {error}")));
            }
        }
    }
    match same {
        Some(version) if is_registering => Ok(json!({ "id": version.id })),
        Some(version) => Ok(described(prefix, topic, version)),
        None if is_registering => Err(read_only()),
        None => Err(Fault::not_found(40403, "Schema not found".to_owned())),
    }
}

/// The schema in a body such as `{ "schema": "…" }`.
async fn schema_of(mut body: BoxStream<'static, Result<Bytes, String>>) -> Result<String, Fault> {
    let invalid = |why: &str| Fault(StatusCode::UNPROCESSABLE_ENTITY, 42201, format!("Invalid schema: {why}"));
    let mut bytes = Vec::new();
    while let Some(piece) = body.next().await {
        bytes.extend_from_slice(&piece.map_err(|_| invalid("the body broke off"))?);
        if bytes.len() > MAX_SCHEMA_BYTES {
            return Err(invalid("it is too long"));
        }
    }
    let asked: Value = serde_json::from_slice(&bytes).map_err(|_| invalid("the body is no JSON"))?;
    if asked.get("schemaType").and_then(Value::as_str).is_some_and(|kind| kind != "AVRO") {
        return Err(invalid("only Avro is here"));
    }
    asked.get("schema").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| invalid("the body has no `schema`"))
}

/// Topics with schemas of their own.
fn named() -> impl Iterator<Item = &'static Topic> {
    topic::all().iter().filter(|topic| !topic.versions.is_empty())
}

/// The subject of `topic` where names begin with `prefix`.
fn full(prefix: &str, topic: &Topic) -> String {
    format!("{prefix}{}", topic.subject)
}

fn find(prefix: &str, subject: &str) -> Result<&'static Topic, Fault> {
    let short = subject.strip_prefix(prefix).unwrap_or(subject);
    let found = named().find(|topic| topic.subject == short || topic.subject == subject);
    found.ok_or_else(|| Fault::not_found(40401, format!("Subject '{subject}' not found.")))
}

fn version(topic: &'static Topic, number: &str) -> Result<&'static Version, Fault> {
    if number == "latest" || number == "-1" {
        return topic.newest().ok_or_else(|| Fault::not_found(40402, "Version latest not found.".to_owned()));
    }
    let Some(number) = number.parse::<i32>().ok().filter(|number| *number > 0) else {
        let message = format!(
            "The specified version '{number}' is not a valid version id. \
             Allowed values are between [1, 2^31-1] and the string \"latest\""
        );
        return Err(Fault(StatusCode::UNPROCESSABLE_ENTITY, 42202, message));
    };
    let found = topic.versions.iter().find(|version| i64::from(version.version) == i64::from(number));
    found.ok_or_else(|| Fault::not_found(40402, format!("Version {number} not found.")))
}

fn by_id(id: &str) -> Result<(&'static Topic, &'static Version), Fault> {
    let number = id.parse::<i32>().map_err(|_| Fault::not_found(404, "HTTP 404 Not Found".to_owned()))?;
    let all = named().flat_map(|topic| topic.versions.iter().map(move |version| (topic, version)));
    let found = all.into_iter().find(|(_, version)| version.id == number);
    found.ok_or_else(|| Fault::not_found(40403, format!("Schema {number} not found")))
}

fn described(prefix: &str, topic: &Topic, version: &Version) -> Value {
    json!({ "subject": full(prefix, topic), "version": version.version, "id": version.id, "schema": version.text })
}

fn parsed(version: &Version) -> Found {
    let broken = |_| Fault(StatusCode::INTERNAL_SERVER_ERROR, 50001, "Error in the backend data store".to_owned());
    serde_json::from_str(version.text).map_err(broken)
}
