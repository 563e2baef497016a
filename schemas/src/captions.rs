//! Captions: cues, and the two formats in which they are stored and served.
//!
//! WebVTT is the W3C's Candidate Recommendation of 4 April 2019 and is what is stored; SubRip has no standard, and players agree
//! on what is written here. Both writers are undone by their readers.

use std::fmt::Write as _;

use crate::JobId;
use crate::manifest;

/// A text and when it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cue {
    /// Milliseconds of the video.
    pub start_ms: u64,
    /// Milliseconds of the video, after the start.
    pub end_ms: u64,
    /// Lines without line breaks, none empty.
    pub lines: Vec<String>,
}

impl Cue {
    /// A cue of the lines of `text`. What neither format can hold gives way: control characters, blanks around lines, empty
    /// lines, and arrows, which stand between times.
    pub fn new(start_ms: u64, end_ms: u64, text: &str) -> Self {
        let plain = |line: &str| {
            let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            line.replace("-->", "→").trim().to_owned()
        };
        let lines = text.split(['\n', '\r']).map(plain).filter(|line| !line.is_empty()).collect();
        Self { start_ms, end_ms, lines }
    }
}

/// Prefix below which the captions of `job` lie, with its slash.
pub fn prefix(job: JobId) -> String {
    format!("{}captions/", manifest::prefix(job))
}

/// First line of WebVTT.
pub const SIGNATURE: &str = "WEBVTT";

/// `cues` as WebVTT.
pub fn write_vtt(cues: &[Cue]) -> String {
    let mut text = format!("{SIGNATURE}\n");
    for cue in cues {
        let _ = writeln!(text, "\n{} --> {}", time(cue.start_ms, '.'), time(cue.end_ms, '.'));
        for line in &cue.lines {
            let _ = writeln!(text, "{}", escaped(line));
        }
    }
    text
}

/// `cues` as SubRip.
pub fn write_srt(cues: &[Cue]) -> String {
    let mut text = String::new();
    for (cue, number) in cues.iter().zip(1..) {
        let _ = writeln!(text, "{number}\n{} --> {}", time(cue.start_ms, ','), time(cue.end_ms, ','));
        for line in &cue.lines {
            let _ = writeln!(text, "{line}");
        }
        text.push('\n');
    }
    text
}

/// The cues of WebVTT as [`write_vtt`] writes it; nothing when it is something else.
pub fn read_vtt(text: &str) -> Option<Vec<Cue>> {
    let mut blocks = text.split("\n\n");
    if blocks.next()?.trim_end() != SIGNATURE {
        return None;
    }
    let blocks = blocks.map(|block| block.trim_end_matches('\n')).filter(|block| !block.is_empty());
    blocks.map(|block| cue(block, '.', unescaped)).collect()
}

/// The cues of SubRip as [`write_srt`] writes it; nothing when it is something else.
pub fn read_srt(text: &str) -> Option<Vec<Cue>> {
    let blocks = text.split("\n\n").filter(|block| !block.is_empty());
    blocks.map(|block| cue(block.split_once('\n')?.1, ',', str::to_owned)).collect()
}

/// One cue: times, then lines.
fn cue(block: &str, point: char, plain: impl Fn(&str) -> String) -> Option<Cue> {
    let (times, lines) = block.split_once('\n').unwrap_or((block, ""));
    let (start, end) = times.split_once(" --> ")?;
    let lines = lines.split('\n').filter(|line| !line.is_empty()).map(plain).collect();
    Some(Cue { start_ms: milliseconds(start, point)?, end_ms: milliseconds(end, point)?, lines })
}

/// `hh:mm:ss` and milliseconds behind `point`; hours have at least two digits.
fn time(ms: u64, point: char) -> String {
    let (s, ms) = (ms / 1000, ms % 1000);
    format!("{:02}:{:02}:{:02}{point}{ms:03}", s / 3600, s / 60 % 60, s % 60)
}

fn milliseconds(time: &str, point: char) -> Option<u64> {
    let (clock, ms) = time.split_once(point)?;
    let mut s = 0_u64;
    for part in clock.split(':') {
        s = s.checked_mul(60)?.checked_add(part.parse().ok()?)?;
    }
    s.checked_mul(1000)?.checked_add(ms.parse().ok()?)
}

/// Text in which nothing is a tag or an arrow.
fn escaped(line: &str) -> String {
    line.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn unescaped(line: &str) -> String {
    line.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn webvtt_is_what_the_recommendation_asks_for() {
        let cues =
            [Cue::new(2_020, 5_900, "Tom & Jerry <shout>:\nthere --> here"), Cue::new(360_000_000, 360_001_000, "x")];
        let text = "WEBVTT\n\n00:00:02.020 --> 00:00:05.900\nTom &amp; Jerry &lt;shout&gt;:\nthere → here\n\n\
                    100:00:00.000 --> 100:00:01.000\nx\n";
        assert_eq!(write_vtt(&cues), text);
        assert_eq!(write_vtt(&[]), "WEBVTT\n");
        assert_eq!(read_vtt("WEBVTT\n").as_deref(), Some(&[][..]));
        assert_eq!(read_vtt("<html>"), None);
        assert_eq!(read_vtt("WEBVTT\n\nno times\n"), None);
    }

    #[test]
    fn subrip_counts_from_one() {
        let cues = [Cue::new(0, 1_500, "a\nb"), Cue::new(61_000, 62_000, "c")];
        let text = "1\n00:00:00,000 --> 00:00:01,500\na\nb\n\n2\n00:01:01,000 --> 00:01:02,000\nc\n\n";
        assert_eq!(write_srt(&cues), text);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(said in prop::collection::vec((0..400_000_000_u64, 1..10_000_u64, "\\PC{0,60}(\n[^\u{0}]{0,40})?"), 0..8)) {
            let cues: Vec<Cue> = said.iter().map(|(at, length, text)| Cue::new(*at, at + length, text)).collect();
            let (vtt, srt) = (write_vtt(&cues), write_srt(&cues));
            prop_assert_eq!(vtt.matches("-->").count(), cues.len());
            prop_assert_eq!(read_vtt(&vtt), Some(cues.clone()));
            prop_assert_eq!(read_srt(&srt), Some(cues));
        }
    }
}
