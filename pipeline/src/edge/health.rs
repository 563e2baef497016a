//! Whether the doors answer, for `/api/health` and for the ops address.

use std::future::Future;
use std::time::Duration;

use connectors::Doors;
use serde::Serialize;
use utoipa::ToSchema;
use warp::http::StatusCode;
use warp::reply::{Reply, Response};

use crate::stage::chain;

/// A door that takes longer than this to answer is as good as closed.
const PATIENCE: Duration = Duration::from_secs(2);

/// What each door says: nothing is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Trouble with the log.
    pub log: Option<String>,
    /// Trouble with the catalog.
    pub catalog: Option<String>,
    /// Trouble with the blob store.
    pub blobs: Option<String>,
}

/// How this process is.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub(super) struct Told {
    status: Word,
    version: &'static str,
    doors: DoorsTold,
}

/// How this process is, in a word.
#[derive(Serialize, ToSchema)]
#[schema(as = HealthStatus)]
#[serde(rename_all = "snake_case")]
enum Word {
    Ok,
    Failing,
}

/// What each door says: `ok`, or what is wrong.
#[derive(Serialize, ToSchema)]
#[schema(as = Doors)]
struct DoorsTold {
    log: String,
    catalog: String,
    blobs: String,
}

impl Health {
    /// Asks all doors, side by side.
    pub async fn of(doors: &Doors) -> Self {
        let (log, catalog, blobs) =
            tokio::join!(ask(doors.log.check()), ask(doors.catalog.check()), ask(doors.blobs.check()));
        Self { log, catalog, blobs }
    }

    /// What is said of doors that nobody has asked yet.
    pub fn unknown() -> Self {
        let unknown = || Some("not asked yet".to_owned());
        Self { log: unknown(), catalog: unknown(), blobs: unknown() }
    }

    /// The same with what the blob store says now.
    pub async fn with_blobs_of(self, doors: &Doors) -> Self {
        Self { blobs: ask(doors.blobs.check()).await, ..self }
    }

    /// Whether all doors are open.
    pub fn is_good(&self) -> bool {
        self.log.is_none() && self.catalog.is_none() && self.blobs.is_none()
    }

    /// 200 or 503, with what each door says.
    pub fn answer(&self, is_good: bool) -> Response {
        let word = |trouble: &Option<String>| trouble.as_deref().unwrap_or("ok").to_owned();
        let body = Told {
            status: if is_good { Word::Ok } else { Word::Failing },
            version: env!("CARGO_PKG_VERSION"),
            doors: DoorsTold { log: word(&self.log), catalog: word(&self.catalog), blobs: word(&self.blobs) },
        };
        let status = if is_good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        warp::reply::with_status(super::jobs::fresh(warp::reply::json(&body)), status).into_response()
    }
}

async fn ask<E: std::error::Error + 'static>(check: impl Future<Output = Result<(), E>>) -> Option<String> {
    match tokio::time::timeout(PATIENCE, check).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(chain(&error)),
        Err(_) => Some("does not answer".to_owned()),
    }
}
