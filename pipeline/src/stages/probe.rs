//! `upload.received` -> `source.probed`: what the bytes are, and which renditions they get.

use std::time::Duration;

use schemas::event::{SourceProbed, UploadReceived};
use schemas::ladder;

use super::{next_output, open_source, wrong_answer};
use crate::media::{Engine, Output, Request, Response};
use crate::stage::{Context, Lane, Stage, StageError};

/// The edge has hashed its own uploads while it stored them; claims of others are checked byte by byte.
const TRUSTED_ORIGINS: [&str; 2] = ["http", "tus"];

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
        let is_doubted = !TRUSTED_ORIGINS.contains(&event.origin.as_str());
        let file = open_source(cx, &event.source, is_doubted).await?;
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
