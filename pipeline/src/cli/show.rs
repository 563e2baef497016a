//! Text for people: columns, colours, times. Colours and bars only where somebody looks.

use std::io::{IsTerminal, Write};

use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use super::failure::Failure;

/// Prints `text` with a line end; a reader that has gone away (`| head`) is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| match text.ends_with('\n') {
        true => out.flush(),
        false => out.write_all(b"\n").and_then(|()| out.flush()),
    });
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to standard output: {error}"), "look where it is sent"))
        }
        _ => Ok(()),
    }
}

/// Prints `value` as one JSON document for people and programs.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}"), "leave --json out"))?;
    print(&text)
}

/// Prints `value` as one line of JSON.
pub fn print_json_line(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}"), "leave --json out"))?;
    print(&text)
}

/// Whether standard output may have colours.
pub fn has_colours() -> bool {
    std::io::stdout().is_terminal() && is_colour_wanted()
}

/// Whether standard error may have bars that move.
pub fn has_bars() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("CI").is_none()
}

/// The usual wishes of a terminal: `NO_COLOR`, `TERM=dumb`.
pub fn is_colour_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// `text` in the colour of a job's `state`, when `colours` says so.
pub fn in_colour(text: &str, state: &str, colours: bool) -> String {
    let code = match state {
        "ready" | "ok" | "done" => 32,
        "failed" | "fail" => 31,
        "cancelled" | "warn" => 33,
        "processing" | "running" => 36,
        _ => return text.to_owned(),
    };
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// `text` without anything that moves a terminal's cursor: names come from strangers.
pub fn plain(text: &str) -> String {
    let is_marker = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || is_marker(c) { '\u{fffd}' } else { c }).collect()
}

/// `text` in exactly `width` columns of a terminal, cut with an ellipsis or filled with blanks.
pub fn fitted(text: &str, width: usize) -> String {
    let text = plain(text);
    let mut out = String::new();
    if text.width() <= width {
        out.push_str(&text);
    } else {
        for c in text.chars() {
            out.push(c);
            if out.width() >= width {
                out.pop();
                break;
            }
        }
        out.push('…');
    }
    let blank = width.saturating_sub(out.width());
    out.push_str(&" ".repeat(blank));
    out
}

/// Seconds as `5s`, `3m 20s`, `2h 05m`, `4d`.
pub fn span(seconds: f64) -> String {
    let seconds = if seconds.is_finite() { seconds.max(0.0).round() as u64 } else { 0 };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long ago the RFC 3339 time `at` was, such as `3m ago`; the time itself when it cannot be read.
pub fn ago(at: &str, now: jiff::Timestamp) -> String {
    let Ok(then) = at.parse::<jiff::Timestamp>() else { return plain(at) };
    let seconds = now.as_second() - then.as_second();
    match seconds {
        ..1 => "now".to_owned(),
        1..60 => format!("{seconds}s ago"),
        60..3_600 => format!("{}m ago", seconds / 60),
        3_600..86_400 => format!("{}h ago", seconds / 3_600),
        _ => format!("{}d ago", seconds / 86_400),
    }
}

/// `0.42` as ` 42%`; only a finished job shows 100.
pub fn percent(progress: f64) -> String {
    let shown = if progress >= 1.0 { 100.0 } else { (progress.clamp(0.0, 1.0) * 100.0).floor().min(99.0) };
    format!("{shown:3.0}%")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_from_strangers_cannot_move_the_cursor() {
        assert_eq!(plain("a\x1b[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
    }

    #[test]
    fn wide_letters_count_twice() {
        assert_eq!(fitted("休日の動画.mov", 8), "休日の… ");
        assert_eq!(fitted("ab", 4), "ab  ");
        assert_eq!(fitted("abcdef", 4), "abc…");
    }

    #[test]
    fn only_a_finished_job_shows_a_hundred() {
        assert_eq!(percent(0.999), " 99%");
        assert_eq!(percent(1.0), "100%");
        assert_eq!(percent(-1.0), "  0%");
        assert_eq!(percent(f64::NAN).len(), 4);
    }

    #[test]
    fn spans_and_ages_are_short() {
        assert_eq!([span(4.6), span(200.0), span(7_500.0), span(1e6)], ["5s", "3m 20s", "2h 05m", "11d"]);
        let now: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        assert_eq!(ago("2026-11-23T09:57:00Z", now), "3m ago");
        assert_eq!(ago("2026-11-23T10:00:05Z", now), "now");
        assert_eq!(ago("whenever", now), "whenever");
    }

    proptest! {
        #[test]
        fn fitted_text_fills_its_columns(text: String, width in 1..60_usize) {
            let fitted = fitted(&text, width);
            prop_assert_eq!(fitted.width(), width);
        }
    }
}
