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
use schemas::event::Outcome;
use schemas::job::JobEvent;
use schemas::job::view::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
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

/// What is asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wish {
    url: String,
    #[serde(default)]
    events: Vec<String>,
    #[serde(default)]
    secret: Option<String>,
}

impl Hook {
    /// Whether it wants to hear of `kind`.
    fn wants(&self, kind: &str) -> bool {
        self.disabled.is_none() && (self.events.is_empty() || self.events.iter().any(|wanted| wanted == kind))
    }

    fn shown(&self, waiting: usize, last: Option<&Value>) -> Value {
        json!({
            "id": self.id, "url": self.url,
            "events": if self.events.is_empty() { EVENTS.map(str::to_owned).to_vec() } else { self.events.clone() },
            "created_at": rfc3339(self.created_at), "disabled": self.disabled, "waiting": waiting, "last": last,
        })
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
        let shown =
            hooks.iter().map(|hook| hook.shown(waiting.get(&hook.id).copied().unwrap_or(0), last.get(&hook.id)));
        Ok(fresh(warp::reply::json(&json!({ "webhooks": shown.collect::<Vec<_>>() }))))
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
        let mut shown = hook.shown(0, None);
        shown["secret"] = hook.secret.clone().into();
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
        Ok(fresh(warp::reply::json(&json!({ "id": id, "url": hook.url, "taken": is_taken, "why": why }))))
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
