//! Texts become cues that one can read: at most two lines of 42 characters, from one second to seven, split where a reader would
//! pause.
//!
//! The figures are those of the BBC's subtitle guidelines and Netflix's timed text style guide. When a text is said is known
//! for the whole of it; within, it is spread over the speech by its characters.

use std::ops::Range;

use schemas::captions::Cue;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Most characters of a line; wide ones count twice.
const LINE: usize = 42;
/// Most lines.
const LINES: usize = 2;
/// Shortest and longest time that a cue is shown, milliseconds.
const SHOWN_MS: Range<u64> = 1_000..7_000;
/// Characters that are read in a second.
const READ: u64 = 17;
/// How long a cue may stay after its speech, so that it can be read, milliseconds.
const LINGER_MS: u64 = 250;
/// A pause within a text is a place to break it; after a longer one what follows is not shown before it is said, milliseconds.
const PAUSES_MS: (u64, u64) = (300, 1_500);
/// Short cues that are so close together are shown as one, milliseconds.
const CLOSE_MS: u64 = 500;

/// A text and the pieces of speech in which it is said, milliseconds, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The text.
    pub text: String,
    /// Never empty, and neither is a piece.
    pub pieces: Vec<Range<u64>>,
}

/// A cue before it is known what is around it.
#[derive(Clone, Debug)]
struct Draft {
    time: Range<u64>,
    text: String,
}

/// Cues for `said`, which is in order.
pub fn cues(said: &[Said]) -> Vec<Cue> {
    let mut drafts = Vec::new();
    for said in said {
        let words = words(&said.text, &said.pieces);
        if !words.is_empty() {
            split(&words, &mut drafts);
        }
    }
    time(merged(drafts))
}

/// What is never torn apart: a word, a part of an endless one, or a character of a script without blanks.
#[derive(Clone, Debug)]
struct Word {
    text: String,
    /// Whether a blank stands before it.
    is_apart: bool,
    /// When it is said.
    time: Range<u64>,
}

/// The words of `text`, which is said in `pieces`; none when it is not said at all. None is said through a pause: it belongs to
/// the piece in which most of it would be.
fn words(text: &str, pieces: &[Range<u64>]) -> Vec<Word> {
    if pieces.is_empty() {
        return Vec::new();
    }
    let mut words = torn(text);
    let length = |piece: &Range<u64>| piece.end - piece.start;
    // Where in the speech, pauses left out, each piece begins.
    let begins: Vec<u64> =
        pieces.iter().scan(0, |at, piece| Some(std::mem::replace(at, *at + length(piece)))).collect();
    let speech: u64 = pieces.iter().map(length).sum();
    // Where in the speech each word begins and ends.
    let weights: Vec<u64> = words.iter().map(|word| word.text.chars().count() as u64 + 1).collect();
    let all: u64 = weights.iter().sum();
    let parts = weights.iter().scan(0, |before, weight| {
        let from = speech * *before / all.max(1);
        *before += weight;
        Some(from..speech * *before / all.max(1))
    });
    let parts: Vec<Range<u64>> = parts.collect();
    let piece_of = |part: &Range<u64>| {
        let middle = u64::midpoint(part.start, part.end);
        begins.partition_point(|begin| *begin <= middle).saturating_sub(1)
    };
    let places: Vec<usize> = parts.iter().map(piece_of).collect();
    for (index, word) in words.iter_mut().enumerate() {
        let place = places[index];
        let (piece, begin) = (&pieces[place], begins[place]);
        let is_first = index == 0 || places[index - 1] != place;
        let is_last = places.get(index + 1).is_none_or(|next| *next != place);
        let at = |spoken: u64| (piece.start + spoken.saturating_sub(begin)).min(piece.end);
        let start = if is_first { piece.start } else { at(parts[index].start) };
        let end = if is_last { piece.end } else { at(parts[index].end) };
        word.time = start..end.max(start);
    }
    words
}

/// The words of `text`, not knowing when they are said.
fn torn(text: &str) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for word in text.split_whitespace() {
        let mut is_apart = true;
        for c in word.chars().filter(|c| !c.is_control()) {
            let is_wide = |c: char| c.width() == Some(2) && c.is_alphanumeric();
            let goes_on = |last: &Word| {
                let ends_wide = last.text.chars().next_back().is_some_and(is_wide);
                last.text.width().max(last.text.chars().count()) + 2 <= LINE
                    && !(ends_wide && c.is_alphanumeric())
                    && !is_wide(c)
            };
            match words.last_mut().filter(|last| !is_apart && goes_on(last)) {
                Some(last) => last.text.push(c),
                None => words.push(Word { text: c.to_string(), is_apart, time: 0..0 }),
            }
            is_apart = false;
        }
    }
    words
}

fn joined(words: &[Word]) -> String {
    let mut text = String::new();
    for word in words {
        if word.is_apart && !text.is_empty() {
            text.push(' ');
        }
        text.push_str(&word.text);
    }
    text
}

/// Length of a line.
fn length(text: &str) -> usize {
    text.width().max(text.chars().count())
}

/// Adds drafts for `words`.
fn split(words: &[Word], drafts: &mut Vec<Draft>) {
    let start = words.first().map_or(0, |word| word.time.start);
    let end = words.last().map_or(start, |word| word.time.end).max(start);
    let has_pause = words.windows(2).any(|pair| pause(&pair[0], &pair[1]) > PAUSES_MS.1);
    let fits = wrapped(words).is_some() && end - start <= SHOWN_MS.end && !has_pause;
    match best_break(words).filter(|_| !fits) {
        Some(middle) => {
            split(&words[..middle], drafts);
            split(&words[middle..], drafts);
        }
        None => drafts.push(Draft { time: start..end.min(start + SHOWN_MS.end), text: joined(words) }),
    }
}

/// Milliseconds between two words.
fn pause(before: &Word, after: &Word) -> u64 {
    after.time.start.saturating_sub(before.time.end)
}

/// Before which word a text is best broken: near its middle, after a pause, a sentence, or else a part of one.
fn best_break(words: &[Word]) -> Option<usize> {
    let lengths: Vec<usize> = words.iter().map(|word| length(&word.text) + 1).collect();
    let all: usize = lengths.iter().sum();
    let mut before = 0;
    let mut best: Option<(f64, usize)> = None;
    for at in 1..words.len() {
        before += lengths[at - 1];
        let lopsided = (2.0 * before as f64 / all.max(1) as f64 - 1.0).abs();
        let cost = lopsided - welcome(&words[at - 1], &words[at]);
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, at));
        }
    }
    best.map(|(_, at)| at)
}

/// How welcome a break between two words is.
fn welcome(before: &Word, after: &Word) -> f64 {
    let after_pause = match pause(before, after) {
        pause if pause > PAUSES_MS.1 => 2.0,
        pause if pause > PAUSES_MS.0 => 0.5,
        _ => 0.0,
    };
    after_pause + sign(before, after)
}

/// How welcome a break is by what is written.
fn sign(before: &Word, after: &Word) -> f64 {
    let last = before.text.trim_end_matches(['"', '\'', ')', '”', '’', '»', '」']).chars().next_back();
    match last {
        Some('.' | '?' | '!' | '…' | '。' | '？' | '！' | '।' | '؟') => 0.6,
        Some(',' | ';' | ':' | '–' | '—' | '，' | '、' | '；' | '،') => 0.35,
        // A part of an endless word, or a sign that belongs to what stands before.
        _ if !after.is_apart && !after.text.starts_with(char::is_alphanumeric) => -0.5,
        _ => 0.0,
    }
}

/// The words in at most two lines; nothing when there is no room.
fn wrapped(words: &[Word]) -> Option<String> {
    if words.iter().map(|word| length(&word.text)).sum::<usize>() > LINES * LINE {
        return None;
    }
    let text = joined(words);
    if length(&text) <= LINE {
        return Some(text);
    }
    let breaks = (1..words.len()).filter_map(|at| {
        let (upper, lower) = (joined(&words[..at]), joined(&words[at..]));
        let (above, below) = (length(&upper), length(&lower));
        let cost = above.abs_diff(below) as f64 / LINE as f64 - welcome(&words[at - 1], &words[at]);
        (above <= LINE && below <= LINE).then_some((cost, format!("{upper}\n{lower}")))
    });
    breaks.min_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, text)| text)
}

/// `drafts` without those that are too short to be read and can be shown together with their neighbour.
fn merged(drafts: Vec<Draft>) -> Vec<Draft> {
    let mut merged: Vec<Draft> = Vec::new();
    for draft in drafts {
        let is_short = |draft: &Draft| draft.time.end - draft.time.start < SHOWN_MS.start;
        if let Some(last) = merged.last_mut()
            && (is_short(last) || is_short(&draft))
            && draft.time.start <= last.time.end.saturating_add(CLOSE_MS)
            && draft.time.end.saturating_sub(last.time.start) <= SHOWN_MS.end
        {
            let both = format!("{} {}", last.text, draft.text);
            if wrapped(&torn(&both)).is_some() {
                *last = Draft { time: last.time.start..draft.time.end.max(last.time.end), text: both };
                continue;
            }
        }
        merged.push(draft);
    }
    merged
}

/// Cues that stay long enough, not too long, and never beside another.
fn time(drafts: Vec<Draft>) -> Vec<Cue> {
    let mut cues: Vec<Cue> = Vec::new();
    let nexts: Vec<u64> = drafts.iter().skip(1).map(|draft| draft.time.start).chain([u64::MAX]).collect();
    for (draft, next) in drafts.into_iter().zip(nexts) {
        let start = draft.time.start.max(cues.last().map_or(0, |cue| cue.end_ms));
        let spoken = draft.time.end.max(start);
        let wish = start + draft.text.chars().count() as u64 * 1_000 / READ;
        let mut end = spoken.max(wish.min(spoken + LINGER_MS).min(next));
        // What is said too fast pushes on what comes.
        end = end.clamp(start + SHOWN_MS.start, start + SHOWN_MS.end);
        let text = wrapped(&torn(&draft.text)).unwrap_or(draft.text);
        cues.push(Cue::new(start, end, &text));
    }
    cues
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "speech in one piece is a list of one range")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str, pieces: &[Range<u64>]) -> Said {
        Said { text: text.to_owned(), pieces: pieces.to_vec() }
    }

    fn shown(cues: &[Cue]) -> Vec<(u64, u64, String)> {
        cues.iter().map(|cue| (cue.start_ms, cue.end_ms, cue.lines.join("|"))).collect()
    }

    #[test]
    fn a_short_sentence_is_one_cue_when_it_is_said() {
        let cues = cues(&[said(" We will meet again tomorrow at seven.", &[2_000..4_400])]);
        assert_eq!(shown(&cues), [(2_000, 4_400, "We will meet again tomorrow at seven.".to_owned())]);
    }

    #[test]
    fn lines_and_cues_break_at_signs() {
        let text = "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for your country.";
        let cues = cues(&[said(text, &[0..10_000])]);
        let texts: Vec<String> = shown(&cues).into_iter().map(|(.., text)| text).collect();
        assert_eq!(
            texts,
            [
                "And so, my fellow Americans,|ask not what your country can do for you,",
                "ask what you can do for your country."
            ]
        );
        assert_eq!(cues[0].end_ms, cues[1].start_ms);
        assert!((6_000..7_000).contains(&cues[0].end_ms), "{cues:?}");
    }

    #[test]
    fn words_stay_out_of_the_pauses_between_pieces() {
        let cues = cues(&[said("One two three four. Five six seven eight.", &[1_000..3_000, 9_000..11_000])]);
        let found = shown(&cues);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].1 <= 3_250 && found[1].0 >= 8_900, "{found:?}");
    }

    #[test]
    fn answers_are_shown_together_and_long_enough() {
        let two = cues(&[said("Yes.", &[1_000..1_300]), said("Why not?", &[1_500..2_100])]);
        assert_eq!(shown(&two), [(1_000, 2_100, "Yes. Why not?".to_owned())]);
        let one = cues(&[said("Yes.", &[1_000..1_300])]);
        assert_eq!(shown(&one), [(1_000, 2_000, "Yes.".to_owned())]);
    }

    #[test]
    fn scripts_without_blanks_are_broken_between_characters() {
        let text = "今天天气很好，我们一起去公园散步吧。然后我们可以去吃饭，晚上再回家看电影，你觉得怎么样呢？";
        let cues = cues(&[said(text, &[0..12_000])]);
        assert!(
            cues.iter().flat_map(|cue| &cue.lines).all(|line| line.width() <= LINE && !line.contains(' ')),
            "{cues:?}"
        );
        assert_eq!(cues.iter().flat_map(|cue| cue.lines.clone()).collect::<String>(), text);
        assert!(cues.iter().flat_map(|cue| &cue.lines).all(|line| !line.starts_with(['，', '。'])), "{cues:?}");
    }

    proptest! {
        #[test]
        fn cues_can_be_read_and_nothing_is_lost(
            texts in prop::collection::vec(
                (prop::collection::vec("[a-zA-Z]{1,14}[.,?]?|[a-z]{50,120}|[\u{4e00}-\u{4e20}]{1,30}", 1..40), 0..3_000_u64, prop::collection::vec((1..9_000_u64, 1..4_000_u64), 1..4)),
                0..8,
            ),
        ) {
            let mut at = 0;
            let mut all = Vec::new();
            for (words, pause, lengths) in &texts {
                at += pause;
                let mut pieces = Vec::new();
                for (length, gap) in lengths {
                    pieces.push(at..at + length);
                    at += length + gap;
                }
                all.push(said(&words.join(" "), &pieces));
            }
            let cues = cues(&all);
            let mut before = 0;
            for cue in &cues {
                prop_assert!(cue.start_ms >= before, "{:?}", cues);
                prop_assert!((SHOWN_MS.start..=SHOWN_MS.end).contains(&(cue.end_ms - cue.start_ms)), "{:?}", cue);
                prop_assert!(!cue.lines.is_empty() && cue.lines.len() <= LINES, "{:?}", cue);
                prop_assert!(cue.lines.iter().all(|line| length(line) <= LINE), "{:?}", cue);
                before = cue.end_ms;
            }
            let plain = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            let written: String = cues.iter().flat_map(|cue| &cue.lines).map(|line| plain(line)).collect();
            prop_assert_eq!(written, texts.iter().map(|(words, ..)| plain(&words.join(" "))).collect::<String>());
        }

        #[test]
        fn speech_at_a_human_pace_is_captioned_while_it_is_heard(
            sentences in prop::collection::vec((prop::collection::vec("[a-z]{2,9}", 4..16), 400..3_000_u64, 12..17_u64), 1..8),
        ) {
            let mut at = 0;
            let mut all = Vec::new();
            for (words, pause, pace) in &sentences {
                let text = format!("{}.", words.join(" "));
                let length = (text.len() as u64 * 1_000 / pace).max(1_000);
                all.push(said(&text, &[at + pause..at + pause + length]));
                at += pause + length;
            }
            for cue in cues(&all) {
                let inside = all.iter().any(|said| said.pieces[0].start <= cue.start_ms && cue.start_ms <= said.pieces[0].end);
                prop_assert!(inside, "{:?} of {:?}", cue, all);
                let late = all.iter().filter(|said| said.pieces[0].start < cue.end_ms).map(|said| said.pieces[0].end).max();
                prop_assert!(cue.end_ms <= late.unwrap() + 300 , "{:?} of {:?}", cue, all);
            }
        }
    }
}
