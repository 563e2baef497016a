//! `rendition.assessed`: the quality of one rendition is measured.

use serde::{Deserialize, Serialize};

use super::Event;
use crate::{Claim, JobId};

/// Objective quality of one rendition against its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RenditionAssessed {
    /// The job.
    pub job: JobId,
    /// Name of the rung.
    pub quality: String,
    /// Mean luma PSNR, decibels.
    pub psnr_db: f64,
    /// Mean SSIM, 0 to 1.
    pub ssim: f64,
    /// The whole report.
    pub report: Claim,
    /// What measured, with its version.
    pub maker: String,
}

impl Event for RenditionAssessed {
    const TOPIC: &'static str = "rendition.assessed";

    fn job(&self) -> JobId {
        self.job
    }
}
