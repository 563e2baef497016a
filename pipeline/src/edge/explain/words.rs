//! Facts about a job become sentences.

use connectors::catalog::Decision;
use schemas::JobId;
use schemas::event::{Outcome, StageState};
use schemas::job::view::{StageView, rfc3339};
use schemas::job::{JobRow, Live, State};
use serde::Serialize;
use utoipa::ToSchema;

use super::advice;
use crate::edge::board::tally::{Busy, is_passed};

/// Work of which nothing was heard for so long stands still, milliseconds.
const STILL_MS: i64 = 20_000;

/// Everything that is known about a job.
pub struct Facts {
    /// Its row.
    pub row: JobRow,
    /// Where its stages stand.
    pub live: Live,
    /// Units that are worked on.
    pub busy: Vec<Busy>,
    /// When work on it was last heard of, milliseconds since the Unix epoch.
    pub heard_at: Option<i64>,
    /// Its end, when that is decided.
    pub decision: Option<Decision>,
    /// The stages, in order.
    pub stages: Vec<StageFacts>,
    /// What was given up on.
    pub letters: Vec<DeadLetter>,
    /// Now, milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// How one stage does, for all jobs.
pub struct StageFacts {
    /// Its name.
    pub name: &'static str,
    /// Events that it has not finished; absent when the log does not say.
    pub behind: Option<i64>,
    /// Workers that run it; absent when the catalog does not say.
    pub workers: Option<usize>,
}

/// An event that a stage gave up on.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The stage.
    pub stage: &'static str,
    /// A stable word.
    pub reason: String,
    /// One sentence.
    pub message: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
}

/// Why a job is where it is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Explanation {
    /// The job.
    pub id: JobId,
    /// Its state.
    pub state: State,
    /// Why it is where it is, in one sentence.
    pub because: String,
    /// What has to happen next.
    pub waiting_for: Vec<String>,
    /// Since when it waits for that: RFC 3339; `null` when it has ended.
    #[schema(required, format = DateTime)]
    pub since: Option<String>,
    /// Who works on it at this moment.
    pub held: Vec<Held>,
    /// What to do, when it has failed.
    #[schema(required)]
    pub advice: Option<&'static str>,
    /// What happened, oldest first.
    pub history: Vec<Happening>,
}

/// A part of a job that somebody works on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Held {
    /// The stage.
    pub stage: String,
    /// Number of the part, from 0.
    pub part: u32,
    /// Who has it.
    pub worker: String,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// Since when: RFC 3339.
    #[schema(format = DateTime)]
    pub since: String,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Happening {
    /// RFC 3339, when it is known.
    #[schema(required, format = DateTime)]
    pub at: Option<String>,
    /// In words.
    pub what: String,
}

/// Tells the story of a job.
pub fn tell(facts: &Facts) -> Explanation {
    let mut waiting_for = Vec::new();
    let because = because(facts, &mut waiting_for);
    let is_open = facts.row.ended.is_none();
    let running = facts.busy.iter().filter(|unit| is_open && unit.state == StageState::Running);
    let held = running.map(|unit| Held {
        stage: unit.stage.clone(),
        part: unit.unit,
        worker: unit.worker.clone(),
        attempt: unit.attempt,
        since: rfc3339(unit.since),
    });
    Explanation {
        id: facts.row.id,
        state: facts.row.state(),
        because,
        waiting_for,
        since: since(facts).filter(|_| is_open).map(rfc3339),
        held: held.collect(),
        advice: facts.row.ended.as_ref().and_then(|fact| fact.event.error.as_ref()).map(advice::of),
        history: history(facts),
    }
}

/// Since when the first stage that is not done is awaited: since somebody has a part of it, else since the last that was heard.
fn since(facts: &Facts) -> Option<i64> {
    let awaited = facts.live.stages.iter().filter(|stage| is_passed(&stage.name)).find(is_open_stage);
    let of_stage = |unit: &&Busy| awaited.is_some_and(|stage| stage.name == unit.stage);
    let running = facts.busy.iter().filter(of_stage).filter(|unit| unit.state == StageState::Running);
    let received = facts.row.received.as_ref().map(|fact| fact.event.received_at);
    running.map(|unit| unit.since).min().or(facts.heard_at).or(received)
}

fn is_open_stage(stage: &&StageView) -> bool {
    !matches!(stage.state, StageState::Done | StageState::Skipped)
}

fn because(facts: &Facts, waiting_for: &mut Vec<String>) -> String {
    if let Some(end) = &facts.row.ended {
        return ended(facts, end.event.outcome);
    }
    if let Some(decision) = &facts.decision {
        waiting_for.push("the event that says so".to_owned());
        let how = match decision.outcome {
            Outcome::Ready => "It is finished",
            Outcome::Failed => "It has failed",
            Outcome::Cancelled => "It is cancelled",
        };
        return format!("{how}; the event that says so is on its way.");
    }
    if facts.row.cancel_requested.is_some() {
        waiting_for.push("the workers to let go of it".to_owned());
        return "Somebody asked to cancel it, and the workers have not let go of it yet.".to_owned();
    }
    // What only adds to a video is nothing that its end waits for.
    let Some(stage) = facts.live.stages.iter().filter(|stage| is_passed(&stage.name)).find(is_open_stage) else {
        waiting_for.push("the end of the job to be decided".to_owned());
        return "All stages are done and the end of the job is being decided.".to_owned();
    };
    open(facts, stage, waiting_for)
}

fn ended(facts: &Facts, outcome: Outcome) -> String {
    let end = facts.row.ended.as_ref().map(|fact| &fact.event);
    match (outcome, end.and_then(|end| end.error.as_ref())) {
        (Outcome::Ready, _) => "It is done: every promised rendition can be fetched.".to_owned(),
        (Outcome::Cancelled, _) => "Somebody cancelled it.".to_owned(),
        (Outcome::Failed, Some(error)) => {
            format!("It failed in {}: {} ({}).", error.stage, error.message.trim_end_matches('.'), error.code)
        }
        (Outcome::Failed, None) => "It failed, and nobody said why.".to_owned(),
    }
}

/// Why `stage`, the first that is not done, is not done.
fn open(facts: &Facts, stage: &StageView, waiting_for: &mut Vec<String>) -> String {
    let name = &stage.name;
    let share = if stage.total > 1 { format!("{} of {} parts", stage.done, stage.total) } else { String::new() };
    let busy: Vec<&Busy> = facts.busy.iter().filter(|unit| unit.stage == *name).collect();
    waiting_for.push(if stage.total > 1 {
        format!("{name} to finish {} more of {} parts", stage.total - stage.done, stage.total)
    } else {
        format!("{name} to finish")
    });
    if let Some(unit) = busy.iter().find(|unit| unit.note.is_some() && unit.state != StageState::Running) {
        let note = unit.note.as_deref().unwrap_or_default().trim_end_matches('.');
        waiting_for.push(format!("another attempt at part {} of {name}", unit.unit));
        return format!(
            "{name} failed at part {} in attempt {} ({note}) and will be tried again.",
            unit.unit, unit.attempt
        );
    }
    let running = busy.iter().filter(|unit| unit.state == StageState::Running);
    if let Some(last) = running.clone().map(|unit| unit.at).max() {
        let silent_ms = facts.now_ms - last;
        let who = who(running.clone());
        if silent_ms > STILL_MS {
            waiting_for.push("the worker to give a sign, or its work to be handed to another".to_owned());
            let silent_s = silent_ms / 1000;
            return format!("{name} is at work, but nothing was heard of it for {silent_s} seconds; {who} had it.");
        }
        let since_s = since(facts).map_or(0, |since| (facts.now_ms - since).max(0) / 1000);
        let done = if share.is_empty() { String::new() } else { format!(", {share} are done") };
        let eta = facts.live.eta_s.map(|eta| format!("; about {eta:.0} s to go")).unwrap_or_default();
        let (now, has) = match running.count() {
            1 => ("one part".to_owned(), format!("{who} has had it for {since_s} s")),
            many => (format!("{many} parts"), format!("{who}, the first for {since_s} s")),
        };
        return format!("{name} is at work on {now} at this moment{done}{eta} ({has}).");
    }
    let waits_s = since(facts).map_or(0, |since| (facts.now_ms - since).max(0) / 1000);
    let of_stage = facts.stages.iter().find(|known| known.name == name);
    if of_stage.and_then(|known| known.workers) == Some(0) {
        waiting_for.push(format!("a worker that runs {name}"));
        return format!("No living worker runs {name}, so nobody takes it up; it has waited for {waits_s} s.");
    }
    match of_stage.and_then(|known| known.behind) {
        Some(behind) if behind > 1 => {
            waiting_for.push(format!("a free slot for {name}"));
            format!(
                "{name} has {behind} events to do, of all jobs, and this job's turn has not come yet; it has waited for {waits_s} s."
            )
        }
        _ => format!("{name} is about to take it up; it has waited for {waits_s} s."),
    }
}

/// The workers of `units`, by name.
fn who<'a>(units: impl Iterator<Item = &'a &'a Busy>) -> String {
    let mut names: Vec<&str> = units.map(|unit| unit.worker.as_str()).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [] => "a worker".to_owned(),
        [only] => format!("worker {only}"),
        [rest @ .., last] => format!("workers {} and {last}", rest.join(", ")),
    }
}

fn history(facts: &Facts) -> Vec<Happening> {
    let mut history: Vec<(Option<i64>, String)> = Vec::new();
    let row = &facts.row;
    if let Some(fact) = &row.received {
        let event = &fact.event;
        history.push((Some(event.received_at), format!("received {} bytes by {}", event.source.size, event.origin)));
    }
    if let Some(fact) = &row.probed {
        let (media, rungs) = (&fact.event.media, &fact.event.rungs);
        let names: Vec<&str> = rungs.iter().map(|rung| rung.quality.as_str()).collect();
        let video = &media.video;
        history.push((
            None,
            format!(
                "probed: {}, {} {}x{}, {:.1} s; promised {}",
                media.container,
                video.codec,
                video.width,
                video.height,
                media.duration_us as f64 / 1e6,
                names.join(", ")
            ),
        ));
    }
    for unit in &facts.busy {
        if let Some(note) = &unit.note {
            history
                .push((Some(unit.at), format!("{} part {}, attempt {}: {note}", unit.stage, unit.unit, unit.attempt)));
        }
    }
    for letter in &facts.letters {
        let (stage, attempts) = (letter.stage, &letter.attempts);
        let why = format!("{stage} gave up after {attempts} attempt(s): {} ({})", letter.message, letter.reason);
        history.push((Some(letter.at), why));
    }
    if let Some(at) = facts.live.playable_at {
        history.push((Some(at), "the beginning could be watched".to_owned()));
    }
    for fact in row.renditions.values() {
        history.push((None, format!("{} is whole: {} frames", fact.event.quality, fact.event.frames)));
    }
    if let Some(fact) = &row.illustrated {
        let (event, at) = (&fact.event, Some(fact.event.made_at));
        history.push((
            at,
            match &event.reason {
                None => format!("illustrated: {} shots, {} bytes of pictures", event.shots, event.bytes()),
                Some(reason) => format!("pictures: unavailable ({reason})"),
            },
        ));
    }
    if let Some(event) = row.current_captions() {
        let what = match &event.reason {
            None => {
                format!("captions: {} cues in `{}` by {} {}", event.cues, event.language, event.model, event.version)
            }
            Some(reason) if reason.starts_with("captions: ") => reason.clone(),
            Some(reason) => format!("captions: none ({reason})"),
        };
        history.push((Some(event.written_at), what));
    }
    if let Some(fact) = &row.classified {
        let event = &fact.event;
        let names: Vec<&str> = event.labels.iter().map(|label| label.name.as_str()).collect();
        let what = match (&event.reason, &event.no_model) {
            (Some(reason), _) => format!("labels: unavailable ({reason})"),
            (None, Some(why)) => format!("classified: {}; no image model looked ({why})", names.join(", ")),
            (None, None) => format!("classified: {}, also by {} {}", names.join(", "), event.model, event.version),
        };
        history.push((Some(event.classified_at), what));
    }
    if let Some(fact) = &row.cancel_requested {
        history.push((Some(fact.event.at), "somebody asked to cancel".to_owned()));
    }
    if let Some(fact) = &row.ended {
        let how = match fact.event.outcome {
            Outcome::Ready => "ready",
            Outcome::Failed => "failed",
            Outcome::Cancelled => "cancelled",
        };
        history.push((Some(fact.event.at), how.to_owned()));
    }
    // What has no time keeps its place after what came before it.
    let mut latest = i64::MIN;
    let mut placed: Vec<(i64, Option<i64>, String)> = history
        .into_iter()
        .map(|(at, what)| {
            latest = at.unwrap_or(latest);
            (latest, at, what)
        })
        .collect();
    placed.sort_by_key(|(place, ..)| *place);
    placed.into_iter().map(|(_, at, what)| Happening { at: at.map(rfc3339), what }).collect()
}

#[cfg(test)]
mod tests;
