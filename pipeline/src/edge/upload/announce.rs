//! Announcing an upload whose bytes are durable: intent, row, event.
//!
//! The catalog may be away just then. The bytes stay, a note beside them says what they are, and a task keeps on until
//! everybody can be told; should the process end before, the sweeper finds the note.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use connectors::catalog::{Swap, UploadIntent};
use connectors::{Doors, blobs, catalog, log};
use schemas::event::UploadReceived;
use schemas::job::{JobEvent, JobRow};
use schemas::{JobId, manifest, wire};
use tokio_util::sync::CancellationToken;

use crate::edge::board::Board;
use crate::edge::problem::Problem;
use crate::metrics;
use crate::stage::{StageError, chain, record_of};

/// Waits between two tries.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Where the note about a stored and not yet announced upload lies.
pub fn note_key(job: JobId) -> String {
    format!("{}received", manifest::prefix(job))
}

/// The note about `job`, if there is one that can be read.
pub async fn note(doors: &Doors, job: JobId) -> Result<Option<UploadReceived>, blobs::Error> {
    match doors.blobs.read(&note_key(job)).await {
        Ok(bytes) => Ok(wire::decode::<UploadReceived>(&bytes).ok().filter(|event| event.job == job)),
        Err(blobs::Error::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why an upload is not announced yet.
enum Hindrance {
    Catalog(catalog::Error),
    Log(log::Error),
    Event(StageError),
}

/// Announces the upload that `intent` stands for, however long the catalog is away; ends early at `shutdown`. `is_in_catalog`
/// is set as soon as only the log is waited for.
pub(super) async fn announce(
    doors: Doors,
    board: Arc<Board>,
    shutdown: CancellationToken,
    mut intent: UploadIntent,
    event: UploadReceived,
    is_in_catalog: Arc<AtomicBool>,
) -> Result<JobRow, Problem> {
    let job = event.job;
    intent.event = Some(event.clone());
    let mut row = JobRow::new(job);
    row.apply(JobEvent::Received(event.clone()), None);
    let (mut wait, mut is_noted) = (FIRST_WAIT, false);
    loop {
        intent.touched_at = doors.clock.now_ms();
        let problem = match say(&doors, &intent, &event, &row, &is_in_catalog).await {
            Ok(()) => break,
            Err(Hindrance::Catalog(error)) => {
                metrics::door_failed("announce an upload");
                tracing::warn!(%job, error = chain(&error), "an upload is stored, and the catalog is away: trying again");
                is_noted = is_noted || leave_note(&doors, &event).await;
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = shutdown.cancelled() => return Err(Problem::from(error).about_job(job)),
                }
                wait = (wait * 2).min(LONGEST_WAIT);
                continue;
            }
            Err(Hindrance::Log(error)) => Problem::from(error),
            Err(Hindrance::Event(error)) => {
                tracing::error!(%job, %error, "the event of an upload cannot be written");
                Problem::internal("the upload's event cannot be written")
            }
        };
        tracing::error!(%job, code = problem.code, "an upload is stored but not announced; the sweeper tries again");
        return Err(problem.about_job(job));
    }
    let tidied = async {
        if is_noted {
            doors.blobs.delete(&note_key(job)).await.map_err(|error| chain(&error))?;
        }
        doors.catalog.remove_upload(job).await.map_err(|error| chain(&error))
    };
    if let Err(error) = tidied.await {
        // The sweeper finds that the event is there, and removes the note with the intent.
        tracing::warn!(%job, error, "the intent of a finished upload stays for the sweeper");
    }
    board.note(&row);
    tracing::info!(%job, name = event.name, bytes = event.source.size, "received an upload");
    Ok(row)
}

async fn say(
    doors: &Doors,
    intent: &UploadIntent,
    event: &UploadReceived,
    row: &JobRow,
    is_in_catalog: &AtomicBool,
) -> Result<(), Hindrance> {
    doors.catalog.put_upload(intent).await.map_err(Hindrance::Catalog)?;
    if let Swap::Lost(_) = doors.catalog.swap_job(row, None).await.map_err(Hindrance::Catalog)? {
        tracing::debug!(job = %event.job, "the row of a new job was there already");
    }
    is_in_catalog.store(true, Ordering::Relaxed);
    let record = record_of(event).map_err(Hindrance::Event)?;
    doors.log.append(vec![record]).await.map(drop).map_err(Hindrance::Log)
}

/// Writes the event beside the bytes, for whoever finds them without it.
async fn leave_note(doors: &Doors, event: &UploadReceived) -> bool {
    let Ok(bytes) = wire::encode(event) else { return false };
    let left = doors.blobs.put(&note_key(event.job), bytes.into()).await;
    if let Err(error) = &left {
        tracing::warn!(job = %event.job, %error, "no note can be left beside an upload");
    }
    left.is_ok()
}
