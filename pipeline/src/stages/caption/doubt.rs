//! What a model has made up: silence told as thanks, loops, and more text than anybody could say.

use std::ops::Range;

use unicode_width::UnicodeWidthChar;

use crate::ml::whisper::Segment;
use crate::ml::whisper::decode::judge::compression_ratio;

/// Above this a text repeats itself (Radford et al. 2022, section 4.5).
const COMPRESSES: f64 = 2.4;
/// Most characters that anybody says in a second.
const FASTEST: f64 = 25.0;
/// Timestamps are so coarse, seconds.
const COARSE: f64 = 0.5;
/// Above this probability of no speech a text that is doubted as well is silence; above the other any is.
const SILENT: (f64, f64) = (0.6, 0.9);
/// Mean log probability below which a text is doubted.
const DOUBTED: f64 = -1.0;
/// Longest phrase that is looked for as a loop, words.
const PHRASE: usize = 8;
/// Words of a text that may be said twice in a row: answers, counts and calls are.
const CALL: usize = 5;

/// A text and when it is said, milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// What the model says.
    pub segment: &'a Segment,
    /// From the first to the last piece of speech that it belongs to.
    pub time: &'a Range<u64>,
}

/// Which of `claims`, in order, are believed.
pub fn believe(claims: &[Claim<'_>]) -> Vec<bool> {
    let texts: Vec<Vec<String>> = claims.iter().map(|claim| words(&claim.segment.text)).collect();
    let mut believed: Vec<bool> = claims
        .iter()
        .zip(&texts)
        .map(|(claim, words)| is_likely(claim) && is_speech(&claim.segment.text, words))
        .collect();
    // The same text again and again, in spans that were heard by themselves or in one.
    let mut from = 0;
    while from < claims.len() {
        let alike = texts[from..].iter().take_while(|words| **words == texts[from]).count();
        let may_stay = if texts[from].len() <= CALL && alike <= 3 { 2 } else { 1 };
        believed[from..from + alike].iter_mut().skip(may_stay).for_each(|believed| *believed = false);
        from += alike.max(1);
    }
    believed
}

/// Whether somebody can have said so much, and whether the model believes itself.
fn is_likely(claim: &Claim<'_>) -> bool {
    let Segment { text, avg_logprob, no_speech, .. } = claim.segment;
    let seconds = (claim.time.end.saturating_sub(claim.time.start)) as f64 / 1000.0;
    let is_silent = *no_speech > SILENT.1 || (*no_speech > SILENT.0 && *avg_logprob < DOUBTED);
    !is_silent && text.trim().chars().count() as f64 <= FASTEST * (seconds + COARSE)
}

/// Whether `text` is something that is said: no sign for music, no loop.
fn is_speech(text: &str, words: &[String]) -> bool {
    let text = text.trim();
    let is_note = [('[', ']'), ('(', ')'), ('*', '*'), ('♪', '♪')]
        .iter()
        .any(|(open, close)| text.len() > 1 && text.starts_with(*open) && text.ends_with(*close));
    !words.is_empty() && !is_note && !is_loop(words) && compression_ratio(text) <= COMPRESSES
}

/// Whether a phrase comes again and again without anything in between.
fn is_loop(words: &[String]) -> bool {
    (1..=PHRASE.min(words.len())).any(|length| {
        let most = match length {
            1 => 4,
            2 => 3,
            _ => 2,
        };
        (0..words.len()).any(|from| {
            let phrase = words.get(from..from + length);
            let again = words[from..].chunks_exact(length).take_while(|chunk| Some(*chunk) == phrase).count();
            again > most
        })
    })
}

/// Words without signs and capitals; in scripts without blanks, characters.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        let plain: String = word.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
        if plain.chars().any(|c| c.width() == Some(2)) {
            words.extend(plain.chars().map(String::from));
        } else if !plain.is_empty() {
            words.push(plain);
        }
    }
    words
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "speech in one piece is a list of one range")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(text: &str) -> Segment {
        Segment {
            start_s: 0.0,
            end_s: 1.0,
            text: text.to_owned(),
            tokens: Vec::new(),
            temperature: 0.0,
            avg_logprob: -0.3,
            compression_ratio: 1.0,
            no_speech: 0.1,
        }
    }

    /// Which of `texts` are believed, four seconds each.
    fn believed(texts: &[&str]) -> Vec<bool> {
        let segments: Vec<Segment> = texts.iter().map(|text| segment(text)).collect();
        let times: Vec<Range<u64>> = (0..texts.len() as u64).map(|n| n * 5_000..n * 5_000 + 4_000).collect();
        let claims: Vec<Claim<'_>> =
            segments.iter().zip(&times).map(|(segment, time)| Claim { segment, time }).collect();
        believe(&claims)
    }

    #[test]
    fn what_people_say_is_believed() {
        let said = [
            " And so, my fellow Americans, ask not what your country can do for you,",
            " ask what you can do for your country.",
            " No, no, no.",
            " Yes.",
            " Yes.",
            " 你好世界",
            " Bye bye!",
        ];
        assert_eq!(believed(&said), [true; 7]);
    }

    #[test]
    fn loops_notes_and_signs_are_not() {
        let made_up = [
            " thank you thank you thank you thank you",
            " no no no no no",
            " I know what you mean. I know what you mean. I know what you mean.",
            " [Music]",
            " ♪♪",
            " ...",
            " 谢谢谢谢谢谢谢谢",
        ];
        assert_eq!(believed(&made_up), [false; 7]);
    }

    #[test]
    fn the_same_text_in_span_after_span_is_said_once() {
        assert_eq!(believed(&["Thanks for watching this video!"; 4]), [true, false, false, false]);
        assert_eq!(believed(&["Yes."; 3]), [true, true, false]);
        assert_eq!(believed(&["Thank you."; 9])[1..], [false; 8]);
        assert_eq!(believed(&["one", "two", "one", "two"]), [true; 4]);
    }

    #[test]
    fn nobody_speaks_that_fast_or_in_silence() {
        let believes = |segment: &Segment, ms: u64| believe(&[Claim { segment, time: &(0..ms) }]) == [true];
        let fast = segment("a sentence of sixty characters that takes a while to be said");
        assert!(believes(&fast, 3_000) && !believes(&fast, 400));
        let silent = Segment { no_speech: 0.7, avg_logprob: -1.4, ..segment("thanks") };
        assert!(!believes(&silent, 3_000));
        assert!(believes(&Segment { avg_logprob: -0.2, ..silent.clone() }, 3_000), "a sure text outweighs the doubt");
        assert!(!believes(&Segment { no_speech: 0.95, avg_logprob: -0.2, ..silent.clone() }, 3_000));
        assert!(
            believes(&Segment { no_speech: f64::NAN, ..silent }, 3_000),
            "a vocabulary without a token for silence"
        );
    }

    proptest! {
        #[test]
        fn whatever_repeats_often_enough_is_a_loop(phrase in "[a-z]{2,7}( [a-z]{2,7}){0,5}", times in 6..20_usize) {
            prop_assert!(is_loop(&words(&vec![phrase; times].join(" "))));
        }

        #[test]
        fn different_words_are_no_loop(words_of in prop::collection::hash_set("[a-z]{3,9}", 1..30)) {
            let text = words_of.into_iter().collect::<Vec<_>>().join(" ");
            prop_assert!(!is_loop(&words(&text)));
        }

        #[test]
        fn any_text_has_an_answer(texts in prop::collection::vec("\\PC{0,80}", 0..6)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            prop_assert_eq!(believed(&texts).len(), texts.len());
        }
    }
}
