//! Webhooks: addresses that are told how jobs fare, by the Standard Webhooks specification.
//!
//! What is to be told lies in the blob store until it is taken, so that neither a receiver that is away nor an edge that ends loses
//! any of it, and no job waits for anybody. Messages may come twice and out of order; each says when it was true.
//!
//! # Layout
//! - here: hooks, and how they are asked about; [`courier`]: telling; [`pending`]: what is still to be told

use std::sync::Arc;

use connectors::blobs;
use connectors::sinks::webhook::{self, Answer as Told, Message};
use schemas::JobId;
use schemas::event::Outcome;
use schemas::job::view::rfc3339;
use schemas::job::{JobEvent, JobView};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::http::header::LOCATION;
use warp::reply::{Reply, Response};

use super::Edge;
use super::jobs::fresh;
use super::problem::Problem;

pub mod courier;
mod pending;

pub use courier::Courier;

/// What is told, in the order in which a job comes through it.
pub const EVENTS: [&str; 6] =
    ["job.received", "job.processing", "job.ready", "job.failed", "job.cancelled", "job.deleted"];

/// Folder of everything about webhooks.
const HOOKS: &str = "webhooks/hooks/";
/// Hooks of one deployment.
const MOST: usize = 100;

type Answer = Result<Response, Problem>;

/// What a webhook is told.
#[derive(Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct News {
    /// What happened, such as `job.ready`.
    #[serde(rename = "type")]
    kind: String,
    /// When: RFC 3339, UTC.
    #[schema(format = DateTime)]
    timestamp: String,
    data: NewsOf,
}

/// The job as it was then, without its thumbnails and features, or one that is gone.
#[derive(Serialize, ToSchema)]
#[schema(as = MessageData)]
#[serde(untagged)]
enum NewsOf {
    Job(Box<JobView>),
    Deleted(DeletedJob),
}

/// A job that is gone.
#[derive(Serialize, ToSchema)]
struct DeletedJob {
    id: JobId,
    /// `deleted`
    state: &'static str,
}

/// An address that is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hook {
    /// Its name in addresses.
    pub(super) id: String,
    pub(super) url: String,
    /// What it wants to hear; all for none.
    pub(super) events: Vec<String>,
    pub(super) secret: String,
    /// Since when, milliseconds since the Unix epoch; what was before is not told.
    pub(super) created_at: i64,
    /// Why it is told nothing any more.
    #[serde(default)]
    pub(super) disabled: Option<String>,
}

/// A webhook that somebody wants.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = WebhookWish)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    /// Where messages are sent.
    url: String,
    /// What it wants to hear, such as `job.ready`; all when it is empty or left out.
    #[serde(default)]
    events: Vec<String>,
    /// What messages are signed with: `whsec_` and 24 to 64 bytes in Base64. One is made when it is left out.
    #[serde(default)]
    secret: Option<String>,
}

/// All webhooks, oldest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhooks {
    webhooks: Vec<Webhook>,
}

/// An address that is told how jobs fare.
#[derive(Serialize, ToSchema)]
pub(super) struct Webhook {
    id: String,
    url: String,
    /// What it hears.
    events: Vec<String>,
    /// What messages are signed with; told once, when it is added.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[schema(format = DateTime)]
    created_at: String,
    /// Why it is told nothing any more.
    #[schema(required)]
    disabled: Option<String>,
    /// Messages that are not taken yet.
    waiting: usize,
    /// What became of the last message, as far as this edge has sent it.
    #[schema(required)]
    last: Option<Last>,
}

/// What became of a message.
#[derive(Clone, Serialize, ToSchema)]
#[schema(as = LastMessage)]
pub(super) struct Last {
    /// What it told.
    #[serde(rename = "type")]
    kind: String,
    #[schema(format = DateTime)]
    at: String,
    outcome: Outcomes,
    /// Why it was refused.
    #[schema(required)]
    why: Option<String>,
}

/// How a receiver took a message.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[schema(as = MessageOutcome)]
#[serde(rename_all = "snake_case")]
enum Outcomes {
    /// It answered 2xx.
    Taken,
    /// It answered 410: it is told nothing any more.
    Gone,
    /// It answered something else, or nothing: it is told again later.
    Refused,
}

impl Outcomes {
    /// As in JSON and in metrics.
    fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Gone => "gone",
            Self::Refused => "refused",
        }
    }
}

/// What became of a test.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookTest)]
pub(super) struct Tested {
    id: String,
    url: String,
    /// Whether the receiver answered 2xx.
    taken: bool,
    /// What else came of it.
    #[schema(required)]
    why: Option<String>,
}

impl Hook {
    /// Whether it wants to hear of `kind`.
    fn wants(&self, kind: &str) -> bool {
        self.disabled.is_none() && (self.events.is_empty() || self.events.iter().any(|wanted| wanted == kind))
    }

    fn shown(&self, waiting: usize, last: Option<Last>) -> Webhook {
        let all = || EVENTS.map(str::to_owned).to_vec();
        Webhook {
            id: self.id.clone(),
            url: self.url.clone(),
            events: if self.events.is_empty() { all() } else { self.events.clone() },
            secret: None,
            created_at: rfc3339(self.created_at),
            disabled: self.disabled.clone(),
            waiting,
            last,
        }
    }
}

fn key(id: &str) -> String {
    format!("{HOOKS}{id}.json")
}

/// What an event says to receivers: the kind, and the state that the job has then.
pub(super) fn kind_of(event: &JobEvent) -> Option<&'static str> {
    match event {
        JobEvent::Received(_) => Some("job.received"),
        JobEvent::Probed(_) => Some("job.processing"),
        JobEvent::Ended(end) => Some(match end.outcome {
            Outcome::Ready => "job.ready",
            Outcome::Failed => "job.failed",
            Outcome::Cancelled => "job.cancelled",
        }),
        JobEvent::Deleted(_) => Some("job.deleted"),
        _ => None,
    }
}

/// All hooks, in order of their age.
pub(super) async fn hooks(blobs: &connectors::Blobs) -> Result<Vec<Hook>, blobs::Error> {
    let mut hooks = Vec::new();
    for meta in blobs.list(HOOKS).await? {
        match blobs.read(&meta.key).await {
            Ok(bytes) => hooks.extend(serde_json::from_slice::<Hook>(&bytes)),
            // Removed this moment.
            Err(blobs::Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    hooks.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(hooks)
}

impl Edge {
    /// `GET /api/webhooks`.
    pub(super) async fn webhooks(&self) -> Answer {
        let hooks = hooks(&self.doors.blobs).await?;
        let waiting = pending::counts(&self.doors.blobs).await?;
        let last = self.courier.last();
        let shown = hooks
            .iter()
            .map(|hook| hook.shown(waiting.get(&hook.id).copied().unwrap_or(0), last.get(&hook.id).cloned()));
        Ok(fresh(warp::reply::json(&Webhooks { webhooks: shown.collect() })))
    }

    /// `POST /api/webhooks`: the answer is the only one that tells the secret.
    pub(super) async fn add_webhook(&self, wish: Wish) -> Answer {
        let bad = |error: webhook::Error| Problem::bad_request("bad_webhook", error.to_string());
        let url = webhook::check_address(&wish.url).map_err(bad)?;
        if let Some(unknown) = wish.events.iter().find(|event| !EVENTS.contains(&event.as_str())) {
            let unknown: String = unknown.chars().take(80).collect();
            let detail = format!("`{unknown}` is never told; there are {}", EVENTS.join(", "));
            return Err(Problem::bad_request("bad_webhook", detail));
        }
        let secret = match wish.secret {
            Some(secret) => webhook::check_secret(&secret).map(|()| secret).map_err(bad)?,
            None => webhook::new_secret(),
        };
        if hooks(&self.doors.blobs).await?.len() >= MOST {
            let detail = format!("there are {MOST} webhooks already: remove one first");
            return Err(Problem::new(StatusCode::CONFLICT, "too_many_webhooks", detail));
        }
        let now_ms = self.doors.clock.now_ms();
        let id = (self.settings.new_job)(u64::try_from(now_ms).unwrap_or(0)).to_string();
        let hook = Hook { id, url, events: wish.events, secret, created_at: now_ms, disabled: None };
        self.doors.blobs.create(&key(&hook.id), written(&hook)?).await?;
        self.courier.forget_hooks();
        let shown = Webhook { secret: Some(hook.secret.clone()), ..hook.shown(0, None) };
        let location = format!("{}/api/webhooks/{}", self.settings.prefix(), hook.id);
        let reply = warp::reply::with_header(fresh(warp::reply::json(&shown)), LOCATION, location);
        Ok(warp::reply::with_status(reply, StatusCode::CREATED).into_response())
    }

    /// `DELETE /api/webhooks/{id}`: what it was still to be told goes as well. Twice is fine.
    pub(super) async fn remove_webhook(&self, id: &str) -> Answer {
        check_id(id)?;
        self.doors.blobs.delete(&key(id)).await?;
        self.courier.forget_hooks();
        pending::drop_of(&self.doors.blobs, id).await?;
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }

    /// `POST /api/webhooks/{id}/test`: one message, now; what became of it is the answer.
    pub(super) async fn test_webhook(self: &Arc<Self>, id: &str) -> Answer {
        let hook = self.hook(id).await?;
        let now_ms = self.doors.clock.now_ms();
        let body =
            json!({ "type": "webhook.test", "timestamp": rfc3339(now_ms), "data": { "webhook": id } }).to_string();
        let message = Message { id: &format!("msg_test_{now_ms}"), timestamp_s: now_ms / 1_000, body: &body };
        let told = self.courier.sender().send(&hook.url, &hook.secret, message).await;
        let (is_taken, why) = match told {
            Told::Taken => (true, None),
            Told::Gone => (false, Some("it answered 410: nobody wants messages there any more".to_owned())),
            Told::Refused { why, .. } => (false, Some(why)),
        };
        Ok(fresh(warp::reply::json(&Tested { id: id.to_owned(), url: hook.url, taken: is_taken, why })))
    }

    async fn hook(&self, id: &str) -> Result<Hook, Problem> {
        check_id(id)?;
        match self.doors.blobs.read(&key(id)).await {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                tracing::error!(id, %error, "a webhook cannot be read");
                Problem::internal("the webhook cannot be read: remove it and add it again")
            }),
            Err(blobs::Error::NotFound(_)) => Err(Problem::not_found("there is no such webhook")),
            Err(error) => Err(error.into()),
        }
    }
}

fn written(hook: &Hook) -> Result<bytes::Bytes, Problem> {
    serde_json::to_vec(hook).map(Into::into).map_err(|_| Problem::internal("the webhook cannot be written"))
}

/// What is no id is no webhook.
fn check_id(id: &str) -> Result<(), Problem> {
    let is_id = id.parse::<schemas::JobId>().is_ok();
    if is_id { Ok(()) } else { Err(Problem::not_found("there is no such webhook")) }
}
