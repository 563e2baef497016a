//! Tells hooks what happens: events become messages that lie in the blob store, and messages are sent until they are taken.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use connectors::log::{Delivery, Record, TopicPartition};
use connectors::sinks::webhook::{Answer, Message, Sender};
use connectors::{Doors, log};
use schemas::job::view::rfc3339;
use schemas::job::{JobEvent, JobRow, JobView};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::pending::{self, Pending, ms};
use super::{DeletedJob, Hook, Last, News, NewsOf, Outcomes, hooks, key, kind_of};
use crate::edge::board::Board;
use crate::edge::events;
use crate::header::replay;
use crate::metrics;
use crate::stage::chain;

/// The group that reads what is to be told.
const GROUP: &str = "streamforge.webhook";
/// Topics that say how jobs fare.
const TOPICS: [&str; 4] = ["upload.received", "source.probed", "job.ended", "job.deleted"];
/// How old what is known of a hook may be when it is told.
const KNOWN_FOR: Duration = Duration::from_secs(5);
/// How often it is looked for messages whose edge has ended.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A message that is due for so long has nobody who sends it.
const ORPHANED_AFTER: Duration = Duration::from_secs(60);
/// Messages on their way at a time.
const AT_ONCE: usize = 32;
/// Of which so many to one hook: one that is slow holds up no other.
const AT_ONCE_EACH: usize = 4;
/// Shortest and longest wait before a door is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Tells hooks. One an edge.
pub struct Courier {
    doors: Doors,
    board: Arc<Board>,
    sender: Sender,
    public_path: String,
    state: Mutex<State>,
    /// Something new is to be told.
    news: Notify,
}

#[derive(Default)]
struct State {
    /// The hooks as they were at a time, milliseconds since the Unix epoch.
    hooks: Option<(i64, Arc<Vec<Hook>>)>,
    /// What this edge sends, by when it is due.
    due: BTreeSet<(i64, String)>,
    waiting: HashMap<String, Pending>,
    /// Keys of messages on their way, and how many are to each hook.
    sending: HashSet<String>,
    /// What became of the last message to each hook.
    last: HashMap<String, Last>,
}

impl State {
    /// Says how many messages wait.
    fn count(&self) {
        metrics::webhooks_waiting(self.waiting.len() + self.sending.len());
    }
}

impl Courier {
    /// A courier that sends nothing before it is run.
    pub fn new(doors: Doors, board: Arc<Board>, public_path: String) -> Self {
        Self { doors, board, sender: Sender::new(), public_path, state: Mutex::default(), news: Notify::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// What became of the last message to each hook, as far as this edge has sent it.
    pub(super) fn last(&self) -> HashMap<String, Last> {
        self.state().last.clone()
    }

    /// The hooks have changed.
    pub(super) fn forget_hooks(&self) {
        self.state().hooks = None;
    }

    /// The hooks as they are, or were no earlier than at `as_of_ms`: one that was added through another edge hears of what comes
    /// after.
    async fn hooks(&self, as_of_ms: i64) -> Result<Arc<Vec<Hook>>, connectors::blobs::Error> {
        if let Some((read_at_ms, hooks)) = &self.state().hooks
            && *read_at_ms > as_of_ms
        {
            return Ok(Arc::clone(hooks));
        }
        let read_at_ms = self.doors.clock.now_ms();
        let hooks = Arc::new(hooks(&self.doors.blobs).await?);
        self.state().hooks = Some((read_at_ms, Arc::clone(&hooks)));
        Ok(hooks)
    }

    /// Reads events and sends messages until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: &CancellationToken) {
        tokio::join!(self.read(shutdown), self.send(shutdown), self.adopt(shutdown));
    }

    async fn read(&self, shutdown: &CancellationToken) {
        let mut wait = BACKOFF.0;
        while !shutdown.is_cancelled() {
            match self.follow(shutdown, &mut wait).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(error = chain(&*error), "webhooks are told later"),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    async fn follow(
        &self,
        shutdown: &CancellationToken,
        wait: &mut Duration,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mut consumer = self.doors.log.join(GROUP, &TOPICS).await?;
        loop {
            let delivery = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                delivery = consumer.next() => delivery?,
            };
            let Delivery::Records(records) = delivery else { continue };
            let mut next: BTreeMap<TopicPartition, i64> = BTreeMap::new();
            for record in &records {
                self.note(record).await?;
                next.insert(record.at.clone(), record.offset + 1);
            }
            for offset in next {
                match consumer.commit(&[offset]).await {
                    // Another edge has it now and tells it again.
                    Ok(()) | Err(log::Error::NotOwner(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            *wait = BACKOFF.0;
        }
    }

    /// Keeps what `record` says for each hook that wants to hear it.
    async fn note(&self, record: &Record) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let event = match events::read(record) {
            Ok(Some(event)) if replay::stage(&record.headers).is_none() => event,
            // What cannot be read is the projection's to complain about.
            _ => return Ok(()),
        };
        let Some(kind) = kind_of(&event) else { return Ok(()) };
        let hooks = self.hooks(record.timestamp_ms).await?;
        let wanting = || hooks.iter().filter(|hook| hook.created_at <= record.timestamp_ms && hook.wants(kind));
        if wanting().next().is_none() {
            return Ok(());
        }
        let job = event.job();
        let message = format!("msg_{job}_{}", kind.trim_start_matches("job."));
        let timestamp = rfc3339(record.timestamp_ms);
        let news = News { kind: kind.to_owned(), timestamp, data: self.data(event, record.offset).await };
        let body = serde_json::to_string(&news)?;
        let now_ms = self.doors.clock.now_ms();
        for hook in wanting() {
            let (hook, message, body) = (hook.id.clone(), message.clone(), body.clone());
            let pending = Pending { hook, message, kind: kind.to_owned(), body, tries: 0, since: now_ms, due: now_ms };
            pending.save(&self.doors.blobs).await?;
            self.take(pending);
        }
        Ok(())
    }

    /// The job as it is with `event`.
    async fn data(&self, event: JobEvent, offset: i64) -> NewsOf {
        let job = event.job();
        if matches!(event, JobEvent::Deleted(_)) {
            return NewsOf::Deleted(DeletedJob { id: job, state: "deleted" });
        }
        // Rows may lag behind the log; the event itself says what it says. A catalog that is away costs details.
        let known = self.board.look(job).await.ok().flatten();
        let (mut row, live) = known.unwrap_or_else(|| (JobRow::new(job), schemas::job::Live::default()));
        row.apply(event, Some(offset));
        NewsOf::Job(Box::new(JobView::of(&row, &live, &self.public_path).in_brief()))
    }

    fn take(&self, pending: Pending) {
        let key = pending.key();
        let mut state = self.state();
        if state.sending.contains(&key) {
            return;
        }
        if let Some(before) = state.waiting.insert(key.clone(), pending.clone()) {
            state.due.remove(&(before.due, key.clone()));
        }
        state.due.insert((pending.due, key));
        state.count();
        drop(state);
        self.news.notify_one();
    }

    /// Takes over what an edge that has ended was to send; at the start all of it.
    async fn adopt(&self, shutdown: &CancellationToken) {
        let mut late = Duration::ZERO;
        loop {
            match pending::all(&self.doors.blobs).await {
                Ok(found) => {
                    let before_ms = self.doors.clock.now_ms() - ms(late);
                    let known: HashSet<String> = self.state().waiting.keys().cloned().collect();
                    for pending in found.into_iter().filter(|one| one.due <= before_ms && !known.contains(&one.key())) {
                        self.take(pending);
                    }
                    late = ORPHANED_AFTER;
                }
                Err(error) => tracing::debug!(error = chain(&error), "messages that wait cannot be listed"),
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn send(self: &Arc<Self>, shutdown: &CancellationToken) {
        let mut sending = JoinSet::new();
        loop {
            while let Some(pending) = self.next_due() {
                let courier = Arc::clone(self);
                sending.spawn(async move { courier.try_once(pending).await });
            }
            let wait = self.until_due();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(_) = sending.join_next(), if !sending.is_empty() => {}
                () = self.news.notified() => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// The next message that is due and whose hook has room.
    fn next_due(&self) -> Option<Pending> {
        let now_ms = self.doors.clock.now_ms();
        let mut state = self.state();
        if state.sending.len() >= AT_ONCE {
            return None;
        }
        let found = state.due.iter().take_while(|(due, _)| *due <= now_ms).find(|(_, key)| {
            let hook = state.waiting.get(key).map(|pending| pending.hook.as_str()).unwrap_or_default();
            state.sending.iter().filter(|other| other.contains(hook)).count() < AT_ONCE_EACH
        });
        let (due, key) = found.cloned()?;
        state.due.remove(&(due, key.clone()));
        let pending = state.waiting.remove(&key)?;
        state.sending.insert(key);
        Some(pending)
    }

    fn until_due(&self) -> Duration {
        let now_ms = self.doors.clock.now_ms();
        let next = self.state().due.first().map(|(due, _)| due.saturating_sub(now_ms));
        // What is due and has no room is looked at again when something has been sent.
        let wait = next.map_or(LOOK_EVERY, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        wait.clamp(Duration::from_millis(50), LOOK_EVERY)
    }

    async fn try_once(&self, mut pending: Pending) {
        let key = pending.key();
        let now_ms = self.doors.clock.now_ms();
        let again = match self.hooks(now_ms - ms(KNOWN_FOR)).await {
            Ok(hooks) => match hooks.iter().find(|hook| hook.id == pending.hook && hook.disabled.is_none()) {
                Some(hook) => self.tell(hook, &mut pending, now_ms).await,
                // Nobody is there to be told any more.
                None => false,
            },
            Err(_) => pending.put_off(now_ms, None, rand::random()),
        };
        let kept = if again { pending.save(&self.doors.blobs).await } else { self.doors.blobs.delete(&key).await };
        if let Err(error) = kept {
            // Told again later, which is allowed.
            tracing::debug!(error = chain(&error), "what became of a message cannot be kept");
        }
        self.state().sending.remove(&key);
        if again {
            self.take(pending);
        } else {
            self.state().count();
        }
    }

    /// Sends once; answers whether it is to be tried again.
    async fn tell(&self, hook: &Hook, pending: &mut Pending, now_ms: i64) -> bool {
        let message = Message { id: &pending.message, timestamp_s: now_ms / 1_000, body: &pending.body };
        let answer = self.sender.send(&hook.url, &hook.secret, message).await;
        let (outcome, why) = match &answer {
            Answer::Taken => (Outcomes::Taken, None),
            Answer::Gone => (Outcomes::Gone, None),
            Answer::Refused { why, .. } => (Outcomes::Refused, Some(why.clone())),
        };
        metrics::webhook_told(outcome.as_str());
        let last = Last { kind: pending.kind.clone(), at: rfc3339(now_ms), outcome, why };
        self.state().last.insert(hook.id.clone(), last);
        match answer {
            Answer::Taken => false,
            Answer::Gone => {
                tracing::warn!(
                    webhook = hook.id,
                    url = hook.url,
                    "a webhook's address is gone: it is told nothing more"
                );
                self.disable(hook).await;
                false
            }
            Answer::Refused { why, pause } => {
                let again = pending.put_off(now_ms, pause, rand::random());
                if !again {
                    tracing::warn!(
                        webhook = hook.id,
                        url = hook.url,
                        why,
                        "a webhook was not told for a day: given up"
                    );
                }
                again
            }
        }
    }

    async fn disable(&self, hook: &Hook) {
        let disabled = Hook { disabled: Some("its address answered 410 Gone".to_owned()), ..hook.clone() };
        if let Ok(bytes) = serde_json::to_vec(&disabled)
            && let Err(error) = self.doors.blobs.put(&key(&hook.id), bytes.into()).await
        {
            tracing::debug!(error = chain(&error), "a webhook cannot be switched off now");
        }
        self.forget_hooks();
    }
}
