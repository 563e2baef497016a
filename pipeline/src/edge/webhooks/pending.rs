//! What is still to be told: a blob for each message and hook, until it is taken or a day is over.

use std::collections::HashMap;
use std::time::Duration;

use connectors::{Blobs, blobs};
use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};

/// Folder of messages that are not taken yet.
const PENDING: &str = "webhooks/pending/";

/// Waits before the second and each later try; the last one again and again.
const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(5 * 60),
    Duration::from_secs(15 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(3_600),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(4 * 3_600),
];
/// How long a message is tried.
const TRIED_FOR: Duration = Duration::from_secs(24 * 3_600);
/// Blobs that are read at a time.
const AT_ONCE: usize = 16;

/// A message for one hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) hook: String,
    /// The message's id, the same for every try and every hook.
    pub(super) message: String,
    pub(super) kind: String,
    /// JSON, as it is sent.
    pub(super) body: String,
    /// Tries so far.
    pub(super) tries: u32,
    /// When it was written, milliseconds since the Unix epoch.
    pub(super) since: i64,
    /// When it is tried next, milliseconds since the Unix epoch.
    pub(super) due: i64,
}

impl Pending {
    pub(super) fn key(&self) -> String {
        format!("{PENDING}{}/{}.json", self.hook, self.message)
    }

    /// Puts the next try off; false when a day is over. `luck` from 0 to 1 spreads what failed together.
    pub(super) fn put_off(&mut self, now_ms: i64, asked: Option<Duration>, luck: f64) -> bool {
        let wait = WAITS[usize::try_from(self.tries).unwrap_or(usize::MAX).min(WAITS.len() - 1)];
        let wait = wait.mul_f64(0.8 + 0.4 * luck).max(asked.unwrap_or_default());
        self.tries += 1;
        self.due = now_ms.saturating_add(ms(wait));
        now_ms.saturating_sub(self.since) < ms(TRIED_FOR)
    }

    /// Durable when it answers.
    pub(super) async fn save(&self, blobs: &Blobs) -> Result<(), blobs::Error> {
        let key = self.key();
        let unwritable = |error| blobs::Error::Store { doing: "write", key: key.clone(), source: Box::new(error) };
        blobs.put(&key, serde_json::to_vec(self).map_err(unwritable)?.into()).await.map(drop)
    }
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Everything that is still to be told.
pub(super) async fn all(blobs: &Blobs) -> Result<Vec<Pending>, blobs::Error> {
    let found = blobs.list(PENDING).await?;
    let read = |meta: blobs::Meta| async move { blobs.read(&meta.key).await };
    let mut read = stream::iter(found).map(read).buffer_unordered(AT_ONCE);
    let mut pending = Vec::new();
    while let Some(bytes) = read.next().await {
        match bytes {
            Ok(bytes) => pending.extend(serde_json::from_slice::<Pending>(&bytes)),
            Err(blobs::Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(pending)
}

/// How many messages wait for each hook.
pub(super) async fn counts(blobs: &Blobs) -> Result<HashMap<String, usize>, blobs::Error> {
    let mut counts = HashMap::new();
    for meta in blobs.list(PENDING).await? {
        if let Some((hook, _)) = meta.key.strip_prefix(PENDING).and_then(|rest| rest.split_once('/')) {
            *counts.entry(hook.to_owned()).or_insert(0) += 1;
        }
    }
    Ok(counts)
}

/// Forgets what `hook` was to be told.
pub(super) async fn drop_of(blobs: &Blobs, hook: &str) -> Result<(), blobs::Error> {
    blobs.delete_prefix(&format!("{PENDING}{hook}/")).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_tried_for_a_day_with_growing_pauses() {
        let body = String::new();
        let mut pending =
            Pending { hook: "h".into(), message: "m".into(), kind: "k".into(), body, tries: 0, since: 0, due: 0 };
        let (mut now, mut pauses) = (0, Vec::new());
        while pending.put_off(now, None, 0.5) {
            pauses.push(pending.due - now);
            now = pending.due;
        }
        assert!(pauses.is_sorted() && pauses[0] == 5_000, "{pauses:?}");
        assert!((12..20).contains(&pauses.len()), "{pauses:?}");
        assert!((24 * 3_600_000..29 * 3_600_000).contains(&now), "{now}");
        pending.tries = 0;
        pending.put_off(7, Some(Duration::from_secs(90)), 0.5);
        assert_eq!(pending.due, 90_007, "a receiver that asks for a pause gets it");
    }
}
