//! What becomes of uploads.

use schemas::job::{JobView, State, StatusView};
use schemas::ledger::Ledger;
use utoipa::openapi::Required;

use super::call::{Call, delete, get, post};
use crate::edge::explain::words::Explanation;
use crate::edge::jobs::{Deleted, JobList};
use crate::edge::quality::Report;
use crate::edge::timeline::Timeline;

const TAG: &str = "jobs";

pub(super) fn calls() -> Vec<Call> {
    vec![
        get(TAG, "/api/events", "allEvents", "Changes of all jobs")
            .tells(
                200,
                "text/event-stream",
                "Server-sent events: `progress` and `end` with a status, `deleted` with an id, `refresh` when the list must be \
                 asked for again",
            )
            .problems(&[503]),
        get(TAG, "/api/jobs", "listJobs", "Jobs, newest first")
            .query::<u16>("limit", "Jobs of a page, 50 unless said, at most 500")
            .query::<String>("after", "The `next` of the page before")
            .query::<State>("state", "Only jobs in this state")
            .query::<String>(
                "label",
                "Only jobs with this label, or with one that has it between its commas; capitals make no difference. A page may be \
                 short, or empty, although another one follows",
            )
            .answers::<JobList>(200, "A page")
            .problems(&[400, 503]),
        get(TAG, "/api/jobs/{id}", "getJob", "A job").answers::<JobView>(200, "The job").problems(&[404, 503]),
        delete(TAG, "/api/jobs/{id}", "deleteJob", "Cancel if it runs, and remove its bytes; twice is fine")
            .answers::<Deleted>(202, "Gone")
            .problems(&[403, 404, 503]),
        get(TAG, "/api/jobs/{id}/status", "getStatus", "A job in one line")
            .answers::<StatusView>(200, "The status")
            .problems(&[404, 503]),
        get(TAG, "/api/jobs/{id}/events", "jobEvents", "Follow a job")
            .header("Last-Event-ID", Required::False, "The last event that was seen")
            .tells(
                200,
                "text/event-stream",
                "Server-sent events: `progress` with the status at least every 2 s, then one `end`",
            )
            .bare(204, "The end was seen already (`Last-Event-ID: end`)")
            .problems(&[404, 503]),
        get(TAG, "/api/jobs/{id}/ws", "jobSocket", "Follow a job over a WebSocket")
            .bare(101, "One JSON text per message: the status, with `event` being `progress` or `end`")
            .problems(&[404, 426, 503]),
        get(TAG, "/api/jobs/{id}/explain", "explainJob", "Why a job is not done yet")
            .answers::<Explanation>(200, "In plain words")
            .problems(&[404, 503]),
        post(TAG, "/api/jobs/{id}/cancel", "cancelJob", "Stop the work on a job and keep its row; twice is fine")
            .answers::<StatusView>(202, "Asked for; the state becomes `cancelled`")
            .problems(&[403, 404, 409, 503]),
        get(TAG, "/api/jobs/{id}/timeline", "getTimeline", "Which worker did what, when, and for how long")
            .answers::<Timeline>(200, "The timeline, as far as work has ended")
            .problems(&[404, 503]),
        get(TAG, "/api/jobs/{id}/ledger", "getLedger", "What stitch counted")
            .answers::<Ledger>(200, "The ledger")
            .problems(&[404, 409, 503]),
        get(TAG, "/api/jobs/{id}/quality", "getQuality", "How close each rendition is to its source")
            .about(
                "When the video is ready it says what the encoders measured (`psnr_encoded`); the other metrics of a rendition \
                 come when it has been compared with the source, and `assessed` becomes true.",
            )
            .answers::<Report>(200, "The report, as far as it is there")
            .problems(&[404, 409, 503]),
        get(TAG, "/api/jobs/{id}/quality.csv", "getQualityTable", "The same for each frame")
            .about(
                "Columns: frame, time_s, psnr_encoded, psnr_y, psnr_all (decibels; 100 stands for 100 or more, as of identical \
                 pictures), ssim_y, ssim_all, vmaf (where FFmpeg has the filter). What is not measured is empty.",
            )
            .query::<String>("quality", "Which rendition; the best one when it is left out")
            .tells(200, "text/csv", "One line a frame")
            .problems(&[404, 409, 503]),
    ]
}
