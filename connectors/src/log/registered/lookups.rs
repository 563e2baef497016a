//! What the registry says about ids that are not ours: asked once for all readers, kept, and asked again while nobody answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use schemas::wire::Foreign;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::super::registry::Client;

/// Most ids that something is kept about.
const MOST: usize = 1024;

/// How long lookups wait.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Before a registry that did not answer is asked again; doubles up to ten times as much.
    pub again: Duration,
    /// Before one that has no schema of an id is asked a second time. One of several servers may hear of a new schema a
    /// moment later than another.
    pub doubt: Duration,
    /// How long it is believed that there is none.
    pub belief: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { again: Duration::from_millis(500), doubt: Duration::from_secs(1), belief: Duration::from_secs(30) }
    }
}

/// What is known about an id.
#[derive(Clone)]
pub(super) enum Known {
    /// It is being asked for.
    Asked,
    /// Its schema.
    Schema(Arc<Foreign>),
    /// There is none that could be read.
    Nothing,
}

struct Entry {
    known: Known,
    /// When it was said.
    at: Instant,
}

/// Answers of one registry, shared by all readers of a log.
pub(super) struct Lookups {
    client: Arc<Client>,
    pace: Pace,
    entries: Mutex<HashMap<i32, Entry>>,
    /// Counts answers.
    answers: watch::Sender<u64>,
}

impl Lookups {
    pub(super) fn new(client: Client, pace: Pace) -> Arc<Self> {
        let (client, entries, answers) = (Arc::new(client), Mutex::new(HashMap::new()), watch::Sender::new(0));
        Arc::new(Self { client, pace, entries, answers })
    }

    /// Changes with each answer that came.
    pub(super) fn answers(&self) -> watch::Receiver<u64> {
        self.answers.subscribe()
    }

    /// What is known about `id`; what is not known is asked for from now on.
    pub(super) fn look_up(self: &Arc<Self>, id: i32) -> Known {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get(&id)
            && (!matches!(entry.known, Known::Nothing) || entry.at.elapsed() < self.pace.belief)
        {
            return entry.known.clone();
        }
        make_room(&mut entries);
        entries.insert(id, Entry { known: Known::Asked, at: Instant::now() });
        tokio::spawn(ask(Arc::downgrade(self), Arc::clone(&self.client), self.pace, id));
        Known::Asked
    }

    fn learn(&self, id: i32, known: Known) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(id, Entry { known, at: Instant::now() });
        drop(entries);
        self.answers.send_modify(|count| *count += 1);
    }
}

/// Forgets the oldest answers where there are too many; questions end by themselves.
fn make_room(entries: &mut HashMap<i32, Entry>) {
    while entries.len() >= MOST {
        let answered = entries.iter().filter(|(_, entry)| !matches!(entry.known, Known::Asked));
        let Some(oldest) = answered.min_by_key(|(_, entry)| entry.at).map(|(id, _)| *id) else { return };
        entries.remove(&oldest);
    }
}

/// Asks until there is an answer, or nobody is left who wants it.
async fn ask(lookups: Weak<Lookups>, client: Arc<Client>, pace: Pace, id: i32) {
    let (mut failures, mut is_doubted) = (0u32, true);
    while lookups.strong_count() > 0 {
        let wait = match client.schema(id).await {
            Ok(found) if found.is_some() || !is_doubted => {
                if failures > 0 {
                    tracing::info!(id, "the schema registry answers again");
                }
                if let Some(lookups) = lookups.upgrade() {
                    lookups.learn(id, read(id, found));
                }
                return;
            }
            Ok(_) => {
                is_doubted = false;
                pace.doubt
            }
            Err(trouble) => {
                // Said at once, then every now and then.
                if failures % 20 == 0 {
                    tracing::warn!(id, error = %trouble, "events with a schema that is not ours wait for the registry");
                }
                failures += 1;
                pace.again * failures.min(10)
            }
        };
        sleep(wait).await;
    }
}

fn read(id: i32, found: Option<String>) -> Known {
    let Some(text) = found else {
        tracing::warn!(id, "the schema registry has no schema of this id that could be read");
        return Known::Nothing;
    };
    match Foreign::parse(&text) {
        Ok(schema) => {
            tracing::info!(id, "events with a schema that is not ours are read by what the registry has");
            Known::Schema(Arc::new(schema))
        }
        Err(error) => {
            tracing::warn!(id, %error, "the schema registry has a schema of this id that cannot be read");
            Known::Nothing
        }
    }
}
