//! `upload.received` -> `source.probed`: what the bytes are, and which renditions they get.

use std::time::Duration;

use schemas::event::{SourceProbed, UploadReceived};
use schemas::ladder;
use tokio::time::timeout;

use super::{next_output, open_source, wrong_answer};
use crate::media::{Engine, Output, Request, Response};
use crate::stage::{Context, Lane, Stage, StageError};

/// How long the catalog is asked which claim came first.
const CATALOG_PATIENCE: Duration = Duration::from_secs(3);

/// How long it is known which claim to the bytes of a job came first, milliseconds: longer than any chunk of it waits.
const CLAIM_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// Whether no other claim to the bytes of this job came before. While the catalog is away nobody can tell, and the work goes on.
async fn is_first(cx: &Context, event: &UploadReceived) -> bool {
    let (name, now_ms) = (format!("source/{}", event.job), cx.doors.clock.now_ms());
    let claim = format!("{} {}", event.source.sha256, event.source.uri);
    let asked = cx.doors.catalog.lease(&name, &claim, now_ms, now_ms.saturating_add(CLAIM_KEPT_MS));
    match timeout(CATALOG_PATIENCE, asked).await {
        Ok(Ok(is_first)) => is_first,
        Ok(Err(_)) | Err(_) => true,
    }
}

/// Probes uploads.
pub struct Probe<E> {
    engine: E,
}

impl<E: Engine> Probe<E> {
    /// A stage that probes with `engine`.
    pub fn new(engine: E) -> Self {
        Self { engine }
    }
}

impl<E: Engine> Stage for Probe<E> {
    type In = UploadReceived;
    type Out = SourceProbed;
    const NAME: &'static str = "probe";
    const NATIVE: bool = true;
    const LANE: Lane = Lane::Express;

    async fn process(&self, event: UploadReceived, cx: &Context) -> Result<Vec<SourceProbed>, StageError> {
        if !is_first(cx, &event).await {
            tracing::warn!(job = %event.job, uri = event.source.uri, "a second upload of a known job is ignored: the first one counts");
            return Ok(Vec::new());
        }
        // Anybody may write this event, so its claim is checked byte by byte.
        let file = open_source(cx, &event.source, true).await?;
        let mut run = self.engine.start(&Request::Probe, file)?;
        let probed = loop {
            match next_output(run.as_mut(), cx).await? {
                Output::Done(Response::Probed(probed)) => break probed,
                Output::Done(other) => return Err(wrong_answer(&other)),
                Output::Progress(_) | Output::Bytes(..) => {}
            }
        };
        let rungs = ladder::rungs(&probed.media, event.source.size);
        Ok(vec![SourceProbed {
            job: event.job,
            audio_kbps: ladder::audio_kbps(&probed.media, event.source.size),
            source: event.source,
            media: probed.media,
            keyframes: probed.keyframes,
            rungs,
            warnings: probed.warnings,
        }])
    }

    fn deadline(&self, event: &UploadReceived) -> Duration {
        // Every packet is read once: a slow disk gives 5 MB/s.
        Duration::from_secs(60 + event.source.size / 5_000_000)
    }
}
