//! `watch`: follows a job to its end, with a bar for it and one for each stage where somebody looks, and lines elsewhere.

use std::convert::Infallible;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Client, id_part};
use super::failure::{Exit, Failure};
use super::follow::{self, Status};
use super::{jobs, show};

/// Steps of a job's bar.
const STEPS: u64 = 1_000;

/// How often the stages are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(700);

/// Follows job `id`; a job that does not get ready is a failure.
pub async fn run(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let screen = MultiProgress::with_draw_target(match show::has_bars() && !json {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    });
    let bar = screen.add(bar(id));
    let mut stages = Stages { screen: &screen, job: &bar, lines: Vec::new() };
    let followed = follow(client, id, json, &bar);
    let job = match bar.is_hidden() {
        true => followed.await,
        false => tokio::select! {
            job = followed => job,
            never = stages.look(client, id) => match never {},
        },
    };
    stages.clear();
    bar.finish_and_clear();
    let job = job?;
    if !json {
        show::print(&jobs::ending(client, &job))?;
    }
    if job["state"] == "ready" { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
}

/// Tells how job `id` fares until its end, and answers it then.
async fn follow(client: &Client, id: &str, json: bool, bar: &ProgressBar) -> Result<Value, Failure> {
    let mut said = String::new();
    let mut broken = Ok(());
    let job = follow::to_the_end(client, id, |status| {
        draw(bar, status);
        let printed = match (json, bar.is_hidden()) {
            (true, _) => show::print_json_line(status),
            (false, true) => {
                let line = line(status);
                let is_news = line != said;
                said = line;
                if is_news { show::print(&said) } else { Ok(()) }
            }
            (false, false) => Ok(()),
        };
        if let Err(failure) = printed {
            broken = Err(failure);
        }
    })
    .await;
    broken.and(job)
}

/// The stages of a job, a line each below its bar.
struct Stages<'s> {
    screen: &'s MultiProgress,
    job: &'s ProgressBar,
    lines: Vec<(String, ProgressBar)>,
}

impl Stages<'_> {
    /// Shows where the stages stand, again and again. A server that does not answer is the other side's affair.
    async fn look(&mut self, client: &Client, id: &str) -> Infallible {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let Ok(id) = id_part(id) else { continue };
            if let Ok(job) = client.get(&format!("api/jobs/{id}")).await {
                self.job.set_prefix(show::plain(job["name"].as_str().filter(|name| !name.is_empty()).unwrap_or(id)));
                job["stages"].as_array().into_iter().flatten().for_each(|stage| self.show(stage));
            }
        }
    }

    fn show(&mut self, stage: &Value) {
        let name = show::plain(stage["name"].as_str().unwrap_or_default());
        let line = match self.lines.iter().find(|(known, _)| *known == name) {
            Some((_, line)) => line,
            None => {
                let line = self.screen.add(undrawn(Some(1)));
                style(&line, "  {prefix:18!} {bar:12} {wide_msg}");
                line.set_prefix(name.clone());
                self.lines.push((name, line));
                let Some((_, line)) = self.lines.last() else { return };
                line
            }
        };
        let count = |key: &str| stage[key].as_u64().unwrap_or(0);
        line.set_length(count("total").max(1));
        line.set_position(count("done"));
        line.set_message(stage_words(stage["state"].as_str().unwrap_or_default(), count("done"), count("total")));
    }

    fn clear(&self) {
        self.lines.iter().for_each(|(_, line)| line.finish_and_clear());
    }
}

/// How a stage stands: counted where there is something to count.
fn stage_words(state: &str, done: u64, total: u64) -> String {
    let state = show::plain(state);
    if total > 1 { format!("{done}/{total} {state}") } else { state }
}

/// A bar that is drawn when it is added to others, and not before.
pub fn undrawn(length: Option<u64>) -> ProgressBar {
    ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden())
}

/// A bar for the job called `name`, to be added to others.
pub fn bar(name: &str) -> ProgressBar {
    let bar = undrawn(Some(STEPS));
    style(&bar, "{prefix:20!} {bar:12} {wide_msg}");
    bar.set_prefix(show::plain(name));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Gives `bar` a look that fits 80 columns.
pub fn style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("█▉▊▋▌▍▎▏ "));
    }
}

/// Moves `bar` to where `status` is.
pub fn draw(bar: &ProgressBar, status: &Status) {
    bar.set_position((status.progress.clamp(0.0, 1.0) * STEPS as f64) as u64);
    bar.set_message(words(status));
}

/// One line, without the time left: that changes all the time and is no news.
fn line(status: &Status) -> String {
    words(&Status { eta_s: None, ..status.clone() })
}

fn words(status: &Status) -> String {
    let mut words = vec![show::percent(status.progress), status.state.clone()];
    words.extend(status.stage.clone());
    if status.playable && !status.is_end() {
        words.push("playable".to_owned());
    }
    words.extend(status.eta_s.map(|seconds| format!("{} left", show::span(seconds))));
    words.iter().map(|word| show::plain(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_counted_where_there_is_something_to_count() {
        assert_eq!(stage_words("running", 3, 12), "3/12 running");
        assert_eq!(stage_words("waiting", 0, 1), "waiting");
    }

    #[test]
    fn a_status_reads_as_a_line() {
        let status = Status {
            id: "x".into(),
            state: "processing".into(),
            progress: 0.426,
            playable: true,
            stage: Some("transcode".into()),
            eta_s: Some(75.0),
        };
        assert_eq!(words(&status), " 42% processing transcode playable 1m 15s left");
        assert_eq!(line(&status), " 42% processing transcode playable");
    }
}
