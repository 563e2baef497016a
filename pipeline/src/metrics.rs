//! Every metric's name, and the only functions that record them.
//!
//! Names are `streamforge_<noun>_<unit>[_total]`. Labels have few values each: stages, outcomes, codes, never a job.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use schemas::event::Outcome;

/// Jobs that came to an end, by `outcome`.
pub const JOBS_ENDED: &str = "streamforge_jobs_ended_total";
/// From upload to the end of a job, by `outcome`.
pub const JOB_SECONDS: &str = "streamforge_job_duration_seconds";
/// From upload to the moment when a job could first be watched.
pub const JOB_PLAYABLE_SECONDS: &str = "streamforge_job_playable_seconds";
/// One attempt of a stage, by `stage` and `result`.
pub const STAGE_SECONDS: &str = "streamforge_stage_duration_seconds";
/// Attempts, by `stage` and `result`.
pub const ATTEMPTS: &str = "streamforge_attempts_total";
/// Failed attempts, by `stage` and `type`.
pub const ERRORS: &str = "streamforge_errors_total";
/// Events given up on, by `stage` and `reason`.
pub const DEAD_LETTERS: &str = "streamforge_dead_letters_total";
/// Results that came too late to be published, by `stage` and `why`.
pub const RESULTS_REFUSED: &str = "streamforge_results_refused_total";
/// Calls on a door that failed and were repeated, by `call`.
pub const DOOR_FAILURES: &str = "streamforge_door_failures_total";
/// Events delivered to this process and not finished, by `stage`.
pub const QUEUE_DEPTH: &str = "streamforge_queue_depth_events";
/// Events in the log that the group has not committed, by `stage`.
pub const STAGE_LAG: &str = "streamforge_stage_lag_events";
/// Age of the oldest event that the group has not committed, by `stage`; 0 when there is none.
pub const OLDEST_EVENT: &str = "streamforge_oldest_event_seconds";
/// Slots in use in this process, by `stage`.
pub const SLOTS_BUSY: &str = "streamforge_slots_busy";
/// Slots that a stage may use in this process, by `stage`; native stages share theirs.
pub const SLOTS_LIMIT: &str = "streamforge_slots_limit";
/// Stages of this process that said they cannot go on, by `stage`: 1 or 0.
pub const STAGES_STOPPED: &str = "streamforge_stages_stopped";
/// Deliveries of partitions to a stage of this process or away from it, by `stage` and `change`.
pub const REBALANCES: &str = "streamforge_rebalances_total";
/// Jobs without an end, by `state`.
pub const JOBS_UNFINISHED: &str = "streamforge_jobs_unfinished";
/// Age of the oldest job without an end, by `state`; 0 when there is none.
pub const OLDEST_JOB: &str = "streamforge_oldest_job_seconds";
/// Longest time that nothing was heard of a job without an end, by `state`; 0 when there is none.
pub const SILENT_JOB: &str = "streamforge_silent_job_seconds";
/// Workers, by `state`: `alive`, or `silent` for longer than a worker may be.
pub const WORKERS: &str = "streamforge_workers";
/// Whether a door answers, by `door`: 1 or 0.
pub const DOOR_UP: &str = "streamforge_door_up";
/// Free on the disk of the data folder.
pub const DISK_FREE: &str = "streamforge_disk_free_bytes";
/// Size of the disk of the data folder.
pub const DISK_SIZE: &str = "streamforge_disk_size_bytes";
/// Memory of this process without its children.
pub const MEMORY: &str = "streamforge_memory_bytes";
/// Brokers of Kafka that clients of this process are connected to, by `client`.
pub const KAFKA_BROKERS: &str = "streamforge_kafka_brokers";
/// Time until the slowest broker of Kafka answers, by `client` and `quantile`.
pub const KAFKA_SECONDS: &str = "streamforge_kafka_latency_seconds";
/// Records that wait in a client of Kafka, to be written or read ahead, by `client`.
pub const KAFKA_WAITING: &str = "streamforge_kafka_waiting_events";
/// Their bytes, by `client`.
pub const KAFKA_WAITING_BYTES: &str = "streamforge_kafka_waiting_bytes";
/// Partitions that are a member's own, by `client`.
pub const KAFKA_PARTITIONS: &str = "streamforge_kafka_partitions";
/// Bytes sent to brokers of Kafka, by `client`.
pub const KAFKA_SENT: &str = "streamforge_kafka_sent_bytes_total";
/// Bytes received from brokers of Kafka, by `client`.
pub const KAFKA_RECEIVED: &str = "streamforge_kafka_received_bytes_total";
/// Requests to brokers of Kafka that failed or came too late, by `client`.
pub const KAFKA_FAILURES: &str = "streamforge_kafka_failures_total";
/// Connections to brokers of Kafka that ended, by `client`.
pub const KAFKA_DISCONNECTS: &str = "streamforge_kafka_disconnects_total";
/// How often a group of Kafka gave or took partitions, by `client`.
pub const KAFKA_REBALANCES: &str = "streamforge_kafka_rebalances_total";
/// Always 1, with the `version` of the program.
pub const BUILD_INFO: &str = "streamforge_build_info";
/// Everything in the blob store.
pub const STORAGE_BYTES: &str = "streamforge_storage_bytes";
/// Chunks encoded, by `kind`.
pub const CHUNKS_ENCODED: &str = "streamforge_chunks_encoded_total";
/// Chunks that were below their floor and encoded once more, summed over renditions.
pub const CHUNKS_ENCODED_AGAIN: &str = "streamforge_chunks_encoded_again_total";
/// Chunks whose result was there already when they were started again.
pub const CHUNKS_REDONE: &str = "streamforge_chunks_redone_total";
/// Frames encoded, summed over renditions.
pub const FRAMES_ENCODED: &str = "streamforge_frames_encoded_total";
/// Requests at the edge, by `route`, `method` and `status`.
pub const EDGE_REQUESTS: &str = "streamforge_edge_requests_total";
/// Time to the first byte of an answer, by `route`.
pub const EDGE_SECONDS: &str = "streamforge_edge_latency_seconds";
/// Bytes received in request bodies, by `route`.
pub const EDGE_RECEIVED: &str = "streamforge_edge_received_bytes_total";
/// Bytes sent in answers, by `route`.
pub const EDGE_SENT: &str = "streamforge_edge_sent_bytes_total";
/// Messages sent to webhooks, each try of its own, by `outcome`: `taken`, `refused` or `gone`.
pub const WEBHOOK_TRIES: &str = "streamforge_webhook_tries_total";
/// Messages to webhooks that this process has still to send, or again.
pub const WEBHOOK_WAITING: &str = "streamforge_webhook_waiting_messages";

/// How a job can end.
const OUTCOMES: [&str; 3] = ["ready", "failed", "cancelled"];

/// Upper bounds in seconds: a probe takes milliseconds, a film hours.
const WORK_BUCKETS: [f64; 16] =
    [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];
/// Upper bounds in seconds for answers over HTTP.
const ANSWER_BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0];

/// The metrics could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("install the metrics recorder")]
pub struct Error(#[from] metrics_exporter_prometheus::BuildError);

/// Renders what was recorded. Cheap to clone.
#[derive(Clone)]
pub struct Handle(PrometheusHandle);

impl Handle {
    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        // Histograms keep their samples until somebody sweeps them up; a scrape is as good a time as any.
        self.0.run_upkeep();
        self.0.render()
    }
}

fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(STAGE_SECONDS.to_owned()), &WORK_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(JOB_SECONDS.to_owned()), &WORK_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(JOB_PLAYABLE_SECONDS.to_owned()), &WORK_BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(EDGE_SECONDS.to_owned()), &ANSWER_BUCKETS)
}

/// Starts recording; once per process. Without it every function here does nothing.
pub fn install() -> Result<Handle, Error> {
    let handle = builder()?.install_recorder()?;
    describe();
    begin();
    Ok(Handle(handle))
}

/// Counts nothing, by every outcome: a rate can only be told from a count that was there before.
fn begin() {
    for outcome in OUTCOMES {
        counter!(JOBS_ENDED, "outcome" => outcome).increment(0);
    }
    for kind in ["video", "audio"] {
        counter!(CHUNKS_ENCODED, "kind" => kind).increment(0);
    }
    for outcome in ["taken", "refused", "gone"] {
        counter!(WEBHOOK_TRIES, "outcome" => outcome).increment(0);
    }
    gauge!(WEBHOOK_WAITING).set(0.0);
    counter!(CHUNKS_ENCODED_AGAIN).increment(0);
    counter!(CHUNKS_REDONE).increment(0);
    counter!(FRAMES_ENCODED).increment(0);
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

fn describe() {
    describe_counter!(JOBS_ENDED, "Jobs that came to an end, by outcome");
    describe_histogram!(JOB_SECONDS, Unit::Seconds, "From upload to the end of a job, by outcome");
    describe_histogram!(JOB_PLAYABLE_SECONDS, Unit::Seconds, "From upload to the moment when a job could be watched");
    describe_histogram!(STAGE_SECONDS, Unit::Seconds, "Duration of one attempt of a stage, by result");
    describe_counter!(ATTEMPTS, "Attempts of stages, by result");
    describe_counter!(ERRORS, "Failed attempts, by type");
    describe_counter!(DEAD_LETTERS, "Events given up on, by reason");
    describe_counter!(RESULTS_REFUSED, "Results that came too late to be published");
    describe_counter!(DOOR_FAILURES, "Calls on the log, the catalog or the blob store that failed and were repeated");
    describe_gauge!(QUEUE_DEPTH, "Events delivered to this process and not finished");
    describe_gauge!(STAGE_LAG, "Events in the log that the stage has not committed");
    describe_gauge!(OLDEST_EVENT, Unit::Seconds, "Age of the oldest event that the stage has not committed");
    describe_gauge!(SLOTS_BUSY, "Slots in use");
    describe_gauge!(SLOTS_LIMIT, "Slots that a stage may use; native stages share theirs");
    describe_gauge!(STAGES_STOPPED, "Whether a stage said that it cannot go on");
    describe_counter!(REBALANCES, "Deliveries of partitions to a stage of this process or away from it");
    describe_gauge!(JOBS_UNFINISHED, "Jobs without an end");
    describe_gauge!(OLDEST_JOB, Unit::Seconds, "Age of the oldest job without an end");
    describe_gauge!(SILENT_JOB, Unit::Seconds, "Longest time that nothing was heard of a job without an end");
    describe_gauge!(WORKERS, "Workers, alive or silent for longer than a worker may be");
    describe_gauge!(DOOR_UP, "Whether the log, the catalog or the blob store answers");
    describe_gauge!(DISK_FREE, Unit::Bytes, "Free on the disk of the data folder");
    describe_gauge!(DISK_SIZE, Unit::Bytes, "Size of the disk of the data folder");
    describe_gauge!(MEMORY, Unit::Bytes, "Memory of this process without its children");
    describe_gauge!(KAFKA_BROKERS, "Brokers of Kafka that a client is connected to");
    describe_gauge!(KAFKA_SECONDS, Unit::Seconds, "Time until the slowest broker of Kafka answers");
    describe_gauge!(KAFKA_WAITING, "Records that wait in a client of Kafka, to be written or read ahead");
    describe_gauge!(KAFKA_WAITING_BYTES, Unit::Bytes, "Bytes that wait in a client of Kafka");
    describe_gauge!(KAFKA_PARTITIONS, "Partitions that are a member's own");
    describe_counter!(KAFKA_SENT, Unit::Bytes, "Bytes sent to brokers of Kafka");
    describe_counter!(KAFKA_RECEIVED, Unit::Bytes, "Bytes received from brokers of Kafka");
    describe_counter!(KAFKA_FAILURES, "Requests to brokers of Kafka that failed or came too late");
    describe_counter!(KAFKA_DISCONNECTS, "Connections to brokers of Kafka that ended");
    describe_counter!(KAFKA_REBALANCES, "How often a group of Kafka gave or took partitions");
    describe_gauge!(BUILD_INFO, "Always 1, with the version of the program");
    describe_gauge!(STORAGE_BYTES, Unit::Bytes, "Everything in the blob store");
    describe_counter!(CHUNKS_ENCODED, "Chunks encoded, by kind");
    describe_counter!(
        CHUNKS_ENCODED_AGAIN,
        "Chunks below their floor that were encoded once more, summed over renditions"
    );
    describe_counter!(CHUNKS_REDONE, "Chunks whose result was there already when they were started again");
    describe_counter!(FRAMES_ENCODED, "Frames encoded, summed over renditions");
    describe_counter!(EDGE_REQUESTS, "Requests at the edge");
    describe_histogram!(EDGE_SECONDS, Unit::Seconds, "Time to the first byte of an answer");
    describe_counter!(EDGE_RECEIVED, Unit::Bytes, "Bytes received in request bodies");
    describe_counter!(EDGE_SENT, Unit::Bytes, "Bytes sent in answers");
    describe_counter!(WEBHOOK_TRIES, "Messages sent to webhooks, each try of its own, by outcome");
    describe_gauge!(WEBHOOK_WAITING, "Messages to webhooks that this process has still to send, or again");
}

/// A job has come to its end, `took` after its upload.
pub fn job_ended(outcome: Outcome, took: Duration) {
    let outcome = match outcome {
        Outcome::Ready => OUTCOMES[0],
        Outcome::Failed => OUTCOMES[1],
        Outcome::Cancelled => OUTCOMES[2],
    };
    counter!(JOBS_ENDED, "outcome" => outcome).increment(1);
    histogram!(JOB_SECONDS, "outcome" => outcome).record(took.as_secs_f64());
}

/// A job that has ended could be watched so long after its upload.
pub fn job_playable(took: Duration) {
    histogram!(JOB_PLAYABLE_SECONDS).record(took.as_secs_f64());
}

/// An attempt is over; `result` is `done`, `retry`, `reject`, `stop` or why it was called off.
pub fn attempt(stage: &'static str, result: &'static str, took: Duration) {
    counter!(ATTEMPTS, "stage" => stage, "result" => result).increment(1);
    histogram!(STAGE_SECONDS, "stage" => stage, "result" => result).record(took.as_secs_f64());
}

/// An attempt failed with `code`.
pub fn error(stage: &'static str, code: &'static str) {
    counter!(ERRORS, "stage" => stage, "type" => code).increment(1);
}

/// An event was given up on.
pub fn dead_letter(stage: &'static str, reason: &'static str) {
    counter!(DEAD_LETTERS, "stage" => stage, "reason" => reason).increment(1);
}

/// A result came too late.
pub fn result_refused(stage: &'static str, why: &'static str) {
    counter!(RESULTS_REFUSED, "stage" => stage, "why" => why).increment(1);
}

/// A call on a door failed and will be repeated.
pub fn door_failed(call: &'static str) {
    counter!(DOOR_FAILURES, "call" => call).increment(1);
}

/// Events that a stage has in hand.
pub fn queue_depth(stage: &'static str, events: usize) {
    gauge!(QUEUE_DEPTH, "stage" => stage).set(events as f64);
}

/// How far a stage is behind: events, and the age of the oldest.
pub fn lag(stage: &'static str, events: i64, oldest: Duration) {
    gauge!(STAGE_LAG, "stage" => stage).set(events as f64);
    gauge!(OLDEST_EVENT, "stage" => stage).set(oldest.as_secs_f64());
}

/// Slots of a stage.
pub fn slots(stage: &'static str, busy: usize, limit: usize) {
    gauge!(SLOTS_BUSY, "stage" => stage).set(busy as f64);
    gauge!(SLOTS_LIMIT, "stage" => stage).set(limit as f64);
}

/// A stage begins: it has not stopped, and its counters can be told from none.
pub fn stage_begins(stage: &'static str) {
    stage_stopped(stage, false);
    for result in ["done", "retry", "reject", "stop", "called_off"] {
        counter!(ATTEMPTS, "stage" => stage, "result" => result).increment(0);
    }
    for change in ["gained", "lost"] {
        counter!(REBALANCES, "stage" => stage, "change" => change).increment(0);
    }
}

/// A stage was given partitions (`gained`) or had to give some up (`lost`).
pub fn rebalanced(stage: &'static str, change: &'static str) {
    counter!(REBALANCES, "stage" => stage, "change" => change).increment(1);
}

/// Jobs of one state that have no end yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// How many there are.
    pub jobs: usize,
    /// Time since the oldest was received.
    pub oldest: Duration,
    /// Longest time that nothing was heard of one of them.
    pub silence: Duration,
}

/// How the jobs of one state without an end stand.
pub fn unfinished(state: &'static str, found: Unfinished) {
    gauge!(JOBS_UNFINISHED, "state" => state).set(found.jobs as f64);
    gauge!(OLDEST_JOB, "state" => state).set(found.oldest.as_secs_f64());
    gauge!(SILENT_JOB, "state" => state).set(found.silence.as_secs_f64());
}

/// Workers that were heard of just now, and those that fell silent.
pub fn workers(alive: usize, silent: usize) {
    gauge!(WORKERS, "state" => "alive").set(alive as f64);
    gauge!(WORKERS, "state" => "silent").set(silent as f64);
}

/// Whether a door answers.
pub fn door(door: &'static str, is_open: bool) {
    gauge!(DOOR_UP, "door" => door).set(f64::from(u8::from(is_open)));
}

/// Free and all bytes of the disk of the data folder.
pub fn disk(free: u64, size: u64) {
    gauge!(DISK_FREE).set(free as f64);
    gauge!(DISK_SIZE).set(size as f64);
}

/// Bytes of this process in memory.
pub fn memory(bytes: u64) {
    gauge!(MEMORY).set(bytes as f64);
}

/// How the Kafka clients of one role stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaClient {
    /// Brokers that the one with the fewest is connected to.
    pub brokers: u64,
    /// Half of the slowest broker's answers took at most so long.
    pub latency_p50: Duration,
    /// 99 of 100 of its answers took at most so long.
    pub latency_p99: Duration,
    /// Records that wait, to be written or read ahead.
    pub waiting: u64,
    /// Their bytes.
    pub waiting_bytes: u64,
    /// Partitions that are their own.
    pub partitions: u64,
    /// Bytes sent since the last time.
    pub sent: u64,
    /// Bytes received since the last time.
    pub received: u64,
    /// Requests that failed or came too late since the last time.
    pub failures: u64,
    /// Connections that ended since the last time.
    pub disconnects: u64,
    /// Rebalances since the last time.
    pub rebalances: u64,
}

/// The Kafka clients of one role.
pub fn kafka_client(client: &str, now: KafkaClient) {
    let gauge = |name, value: f64| gauge!(name, "client" => client.to_owned()).set(value);
    let count = |name, more: u64| counter!(name, "client" => client.to_owned()).increment(more);
    for (quantile, took) in [("0.5", now.latency_p50), ("0.99", now.latency_p99)] {
        gauge!(KAFKA_SECONDS, "client" => client.to_owned(), "quantile" => quantile).set(took.as_secs_f64());
    }
    gauge(KAFKA_BROKERS, now.brokers as f64);
    gauge(KAFKA_WAITING, now.waiting as f64);
    gauge(KAFKA_WAITING_BYTES, now.waiting_bytes as f64);
    gauge(KAFKA_PARTITIONS, now.partitions as f64);
    count(KAFKA_SENT, now.sent);
    count(KAFKA_RECEIVED, now.received);
    count(KAFKA_FAILURES, now.failures);
    count(KAFKA_DISCONNECTS, now.disconnects);
    count(KAFKA_REBALANCES, now.rebalances);
}

/// Whether a stage said that it cannot go on.
pub fn stage_stopped(stage: &'static str, stopped: bool) {
    gauge!(STAGES_STOPPED, "stage" => stage).set(f64::from(u8::from(stopped)));
}

/// Bytes of everything in the blob store.
pub fn storage(bytes: u64) {
    gauge!(STORAGE_BYTES).set(bytes as f64);
}

/// A chunk was encoded; `kind` is `video` or `audio`, `frames` the sum over its renditions.
pub fn chunk_encoded(kind: &'static str, frames: u64) {
    counter!(CHUNKS_ENCODED, "kind" => kind).increment(1);
    counter!(FRAMES_ENCODED).increment(frames);
}

/// A chunk was below its floor in so many rungs, and they were encoded once more.
pub fn chunk_encoded_again(renditions: u64) {
    counter!(CHUNKS_ENCODED_AGAIN).increment(renditions);
}

/// A chunk was started although its result was there already.
pub fn chunk_redone() {
    counter!(CHUNKS_REDONE).increment(1);
}

/// A request was answered; `route` is the pattern of its path, never the path.
pub fn edge_request(route: &'static str, method: &'static str, status: u16, first_byte: Duration) {
    counter!(EDGE_REQUESTS, "route" => route, "method" => method, "status" => status.to_string()).increment(1);
    histogram!(EDGE_SECONDS, "route" => route).record(first_byte.as_secs_f64());
}

/// Bytes of a request's body arrived.
pub fn edge_received(route: &'static str, bytes: u64) {
    counter!(EDGE_RECEIVED, "route" => route).increment(bytes);
}

/// Bytes of an answer's body were sent.
pub fn edge_sent(route: &'static str, bytes: u64) {
    counter!(EDGE_SENT, "route" => route).increment(bytes);
}

/// A message was sent to a webhook, with this outcome.
pub fn webhook_told(outcome: &'static str) {
    counter!(WEBHOOK_TRIES, "outcome" => outcome).increment(1);
}

/// So many messages to webhooks wait in this process.
pub fn webhooks_waiting(messages: usize) {
    gauge!(WEBHOOK_WAITING).set(messages as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_recorded_is_rendered_under_its_name() {
        let recorder = builder().expect("buckets").build_recorder();
        let handle = Handle(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            describe();
            begin();
            stage_begins("split");
            unfinished(
                "received",
                Unfinished { jobs: 2, oldest: Duration::from_secs(90), silence: Duration::from_secs(60) },
            );
            job_ended(Outcome::Ready, Duration::from_secs(12));
            attempt("transcode", "done", Duration::from_millis(40));
            lag("transcode", 7, Duration::from_secs(3));
            edge_request("/api/jobs/{id}", "GET", 404, Duration::from_millis(2));
        });
        let text = handle.render();
        for line in [
            "streamforge_jobs_ended_total{outcome=\"ready\"} 1",
            "streamforge_jobs_ended_total{outcome=\"failed\"} 0",
            "streamforge_attempts_total{stage=\"split\",result=\"retry\"} 0",
            "streamforge_rebalances_total{stage=\"split\",change=\"lost\"} 0",
            "streamforge_jobs_unfinished{state=\"received\"} 2",
            "streamforge_silent_job_seconds{state=\"received\"} 60",
            "streamforge_job_duration_seconds_bucket{outcome=\"ready\",le=\"30\"} 1",
            "streamforge_stage_duration_seconds_bucket{stage=\"transcode\",result=\"done\",le=\"0.05\"} 1",
            "streamforge_stage_lag_events{stage=\"transcode\"} 7",
            "streamforge_oldest_event_seconds{stage=\"transcode\"} 3",
            "streamforge_edge_requests_total{route=\"/api/jobs/{id}\",method=\"GET\",status=\"404\"} 1",
            "# HELP streamforge_stage_lag_events Events in the log that the stage has not committed",
        ] {
            assert!(text.contains(line), "missing `{line}` in:\n{text}");
        }
    }
}
