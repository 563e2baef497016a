//! `watch`: follows a job to its end, with a bar where somebody looks and lines elsewhere.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::Client;
use super::failure::{Exit, Failure};
use super::follow::{self, Status};
use super::{jobs, show};

/// Steps of a job's bar.
const STEPS: u64 = 1_000;

/// Follows job `id`; a job that does not get ready is a failure.
pub async fn run(client: &Client, id: &str, json: bool) -> Result<(), Failure> {
    let bar = bar(id);
    bar.set_draw_target(match show::has_bars() && !json {
        true => ProgressDrawTarget::stderr(),
        false => ProgressDrawTarget::hidden(),
    });
    let mut said = String::new();
    let mut broken = Ok(());
    let job = follow::to_the_end(client, id, |status| {
        draw(&bar, status);
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
    bar.finish_and_clear();
    let job = job?;
    broken?;
    if !json {
        show::print(&jobs::ending(client, &job))?;
    }
    if job["state"] == "ready" { Ok(()) } else { Err(Failure::told(Exit::Failed)) }
}

/// A bar for the job called `name`.
pub fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::new(STEPS);
    style(&bar, "{prefix:22!} {bar:14} {wide_msg}");
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
