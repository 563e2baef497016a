//! Whether a text is to be believed: repetition, unlikely words, silence.
//!
//! Radford et al. 2022, section 4.5.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};

/// When a text is decoded again at a higher temperature, and when it is dropped. Each may be absent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// A text that compresses better than this repeats itself.
    pub compression_ratio: Option<f64>,
    /// A text whose mean log probability is below this is doubted.
    pub logprob: Option<f64>,
    /// A window with a higher probability of no speech is silence, if its text is doubted as well.
    pub no_speech: Option<f64>,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { compression_ratio: Some(2.4), logprob: Some(-1.0), no_speech: Some(0.6) }
    }
}

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Case {
    /// Of the text, see [`compression_ratio`].
    pub compression_ratio: f64,
    /// Mean log probability of a token.
    pub avg_logprob: f64,
    /// Probability that nobody speaks.
    pub no_speech: f64,
}

impl Thresholds {
    /// Whether the text is to be decoded again.
    pub fn wants_another(&self, case: &Case) -> bool {
        let repeats = self.compression_ratio.is_some_and(|most| case.compression_ratio > most);
        let is_doubted = self.logprob.is_some_and(|least| case.avg_logprob < least);
        let is_silent = self.no_speech.is_some_and(|most| case.no_speech > most) && is_doubted;
        (repeats || is_doubted) && !is_silent
    }

    /// Whether the window holds no speech.
    pub fn is_silence(&self, case: &Case) -> bool {
        let is_silent = self.no_speech.is_some_and(|most| case.no_speech > most);
        is_silent && !self.logprob.is_some_and(|least| case.avg_logprob > least)
    }
}

/// How many times shorter zlib makes `text`.
pub fn compression_ratio(text: &str) -> f64 {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    // Writing into memory does not fail.
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.map_or(0.0, |packed| text.len() as f64 / packed.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Case = Case { compression_ratio: 1.2, avg_logprob: -0.3, no_speech: 0.1 };

    #[test]
    fn a_good_text_is_kept() {
        let thresholds = Thresholds::default();
        assert!(!thresholds.wants_another(&GOOD) && !thresholds.is_silence(&GOOD));
    }

    #[test]
    fn repetition_and_doubt_want_another_try() {
        let thresholds = Thresholds::default();
        assert!(thresholds.wants_another(&Case { compression_ratio: 2.5, ..GOOD }));
        assert!(thresholds.wants_another(&Case { avg_logprob: -1.1, ..GOOD }));
    }

    #[test]
    fn silence_is_not_tried_again_and_gives_nothing() {
        let silent = Case { avg_logprob: -1.5, no_speech: 0.9, ..GOOD };
        let thresholds = Thresholds::default();
        assert!(!thresholds.wants_another(&silent) && thresholds.is_silence(&silent));
        let sure = Case { avg_logprob: -0.2, ..silent };
        assert!(!thresholds.is_silence(&sure), "a sure text outweighs the token for no speech");
        let without = Thresholds { logprob: None, ..thresholds };
        assert!(without.is_silence(&sure), "nothing is there to outweigh it");
    }

    #[test]
    fn a_vocabulary_without_a_token_for_silence_knows_none() {
        let case = Case { no_speech: f64::NAN, avg_logprob: -3.0, ..GOOD };
        assert!(Thresholds::default().wants_another(&case) && !Thresholds::default().is_silence(&case));
    }

    #[test]
    fn loops_compress_well() {
        assert!(compression_ratio(&"thank you ".repeat(40)) > 2.4);
        assert!(compression_ratio("the quick brown fox jumps over the lazy dog") < 1.2);
        assert!(compression_ratio("") < 1.0);
    }
}
