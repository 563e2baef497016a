//! The job row: what the events of one job fold into, in any order, with the same result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::JobId;
use crate::event::{
    CancelRequested, CaptionsWritten, JobDeleted, JobEnded, Outcome, RenditionAssessed, RenditionStitched,
    SourceClassified, SourceIllustrated, SourceProbed, UploadReceived,
};

pub mod pictures;
pub mod view;

pub use pictures::PicturesView;
pub use view::{JobView, Live, StatusView};

/// State of a job as users see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its bytes are durable; no stage has looked at them yet.
    Received,
    /// Stages work on it.
    Processing,
    /// Every promised video rendition can be fetched.
    Ready,
    /// It cannot be done.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

impl State {
    /// The word in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Received, Self::Processing, Self::Ready, Self::Failed, Self::Cancelled]
            .into_iter()
            .find(|state| state.as_str() == word)
    }

    /// Whether no state follows.
    pub fn is_end(self) -> bool {
        matches!(self, Self::Ready | Self::Failed | Self::Cancelled)
    }
}

/// A fact with the offset of the record that brought it; all events of one topic and job share a partition, so
/// offsets order them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fact<T> {
    /// Offset of the record; absent while the writer itself has put the fact here ahead of the log.
    pub offset: Option<i64>,
    /// What it says.
    pub event: T,
    /// When and by whom it was made, as its record says; nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timing: Option<Timing>,
}

/// When an event was made, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// When the work began, milliseconds since the Unix epoch; absent for what no worker made.
    pub began_at: Option<i64>,
    /// When the event was appended, milliseconds since the Unix epoch.
    pub ended_at: i64,
    /// The worker.
    pub worker: Option<String>,
}

/// Any event that moves a job row.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    /// `upload.received`
    Received(UploadReceived),
    /// `source.probed`
    Probed(Box<SourceProbed>),
    /// `rendition.stitched`
    Stitched(RenditionStitched),
    /// `source.illustrated`
    Illustrated(SourceIllustrated),
    /// `captions.written`
    Captioned(CaptionsWritten),
    /// `source.classified`
    Classified(SourceClassified),
    /// `rendition.assessed`
    Assessed(RenditionAssessed),
    /// `cancel.requested`
    CancelRequested(CancelRequested),
    /// `job.ended`
    Ended(JobEnded),
    /// `job.deleted`
    Deleted(JobDeleted),
}

impl JobEvent {
    /// Topics whose records fold into job rows; all of them are kept for good.
    pub const TOPICS: [&'static str; 10] = [
        "upload.received",
        "source.probed",
        "rendition.stitched",
        "source.illustrated",
        "captions.written",
        "source.classified",
        "rendition.assessed",
        "cancel.requested",
        "job.ended",
        "job.deleted",
    ];

    /// The job that the event belongs to.
    pub fn job(&self) -> JobId {
        match self {
            Self::Received(event) => event.job,
            Self::Probed(event) => event.job,
            Self::Stitched(event) => event.job,
            Self::Illustrated(event) => event.job,
            Self::Captioned(event) => event.job,
            Self::Classified(event) => event.job,
            Self::Assessed(event) => event.job,
            Self::CancelRequested(event) => event.job,
            Self::Ended(event) => event.job,
            Self::Deleted(event) => event.job,
        }
    }
}

/// Everything that the kept events say about one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobRow {
    /// The job.
    pub id: JobId,
    /// The upload; the first one wins, a repeated one is already known.
    pub received: Option<Fact<UploadReceived>>,
    /// What probe found; the newest wins.
    pub probed: Option<Fact<SourceProbed>>,
    /// Finished renditions by quality; the newest wins.
    pub renditions: BTreeMap<String, Fact<RenditionStitched>>,
    /// Pictures; the newest wins.
    pub illustrated: Option<Fact<SourceIllustrated>>,
    /// Captions by language; the newest wins.
    pub captions: BTreeMap<String, Fact<CaptionsWritten>>,
    /// Labels; the newest wins.
    pub classified: Option<Fact<SourceClassified>>,
    /// Quality by rendition; the newest wins.
    pub assessed: BTreeMap<String, Fact<RenditionAssessed>>,
    /// A wish to stop; the first wins.
    pub cancel_requested: Option<Fact<CancelRequested>>,
    /// The end; the first wins.
    pub ended: Option<Fact<JobEnded>>,
    /// A tombstone; nothing reopens it.
    pub deleted: bool,
}

impl JobRow {
    /// A row of which nothing is known yet.
    pub fn new(id: JobId) -> Self {
        Self {
            id,
            received: None,
            probed: None,
            renditions: BTreeMap::new(),
            illustrated: None,
            captions: BTreeMap::new(),
            classified: None,
            assessed: BTreeMap::new(),
            cancel_requested: None,
            ended: None,
            deleted: false,
        }
    }

    /// Folds one event in; `offset` is where its record lies, absent when the writer is ahead of the log.
    ///
    /// Applying the same events in another order, or some of them twice, gives the same row.
    pub fn apply(&mut self, event: JobEvent, offset: Option<i64>) {
        self.apply_made(event, offset, None);
    }

    /// Folds one event in like [`JobRow::apply`], with what its record says of its making.
    pub fn apply_made(&mut self, event: JobEvent, offset: Option<i64>, timing: Option<Timing>) {
        if self.deleted {
            return;
        }
        let at = (offset, timing);
        match event {
            JobEvent::Received(event) => keep_first(&mut self.received, event, at),
            JobEvent::Probed(event) => keep_newest(&mut self.probed, *event, at),
            JobEvent::Stitched(event) => newest_of(&mut self.renditions, event.quality.clone(), event, at),
            JobEvent::Illustrated(event) => keep_newest(&mut self.illustrated, event, at),
            JobEvent::Captioned(event) => newest_of(&mut self.captions, event.language.clone(), event, at),
            JobEvent::Classified(event) => keep_newest(&mut self.classified, event, at),
            JobEvent::Assessed(event) => newest_of(&mut self.assessed, event.quality.clone(), event, at),
            JobEvent::CancelRequested(event) => keep_first(&mut self.cancel_requested, event, at),
            JobEvent::Ended(event) => keep_first(&mut self.ended, event, at),
            JobEvent::Deleted(_) => *self = Self { deleted: true, ..Self::new(self.id) },
        }
    }

    /// The captions that viewers get, or why there are none: the newest, of whatever language. That nobody could listen takes
    /// nothing away from what somebody has heard.
    pub fn current_captions(&self) -> Option<&CaptionsWritten> {
        let is_heard = |fact: &&Fact<CaptionsWritten>| fact.event.language != CaptionsWritten::UNKNOWN;
        let heard = self.captions.values().filter(is_heard).max_by_key(|fact| fact.offset);
        heard.or_else(|| self.captions.values().next()).map(|fact| &fact.event)
    }

    /// The state that follows from the facts.
    pub fn state(&self) -> State {
        match (&self.ended, &self.probed) {
            (Some(end), _) => match end.event.outcome {
                Outcome::Ready => State::Ready,
                Outcome::Failed => State::Failed,
                Outcome::Cancelled => State::Cancelled,
            },
            (None, Some(_)) => State::Processing,
            (None, None) => State::Received,
        }
    }
}

/// Where a record lies, and what it says of its making.
type At = (Option<i64>, Option<Timing>);

/// A fact ahead of the log gives way to the record itself.
fn keep_first<T>(slot: &mut Option<Fact<T>>, event: T, (offset, timing): At) {
    let wins = match slot {
        None => true,
        Some(fact) => match (offset, fact.offset) {
            (Some(new), Some(old)) => new < old,
            (Some(_), None) => true,
            (None, _) => false,
        },
    };
    if wins {
        *slot = Some(Fact { offset, event, timing });
    }
}

fn keep_newest<T>(slot: &mut Option<Fact<T>>, event: T, (offset, timing): At) {
    if slot.as_ref().is_none_or(|fact| offset > fact.offset) {
        *slot = Some(Fact { offset, event, timing });
    }
}

fn newest_of<T>(slots: &mut BTreeMap<String, Fact<T>>, name: String, event: T, (offset, timing): At) {
    if slots.get(&name).is_none_or(|fact| offset > fact.offset) {
        slots.insert(name, Fact { offset, event, timing });
    }
}

#[cfg(test)]
mod tests;
