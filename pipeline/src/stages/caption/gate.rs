//! Which spans of a track hold speech.
//!
//! [`crate::voice`] says for every 32 ms how likely somebody speaks.

use std::ops::Range;

use super::cut::{Cut, Cutter};
use crate::voice::{MOMENT, Voice};

/// Name of the gate, for results: changes whenever the same sound would give other spans.
pub const NAME: &str = "silero5-28s-v1";

/// The network notices a beginning so many samples late, and an end: the medians over a thousand sentences in 180 voices, half of them in
/// noise, to its steps of 32 ms.
const LATE: (u64, u64) = (512, 1024);

/// A span of speech. Times are samples at 16 kHz from the beginning of the track.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its first sample.
    pub start: u64,
    /// Mono, with a little silence around the speech; at most 28 s.
    pub samples: Vec<f32>,
    /// Where in it somebody speaks, in order.
    pub voiced: Vec<Range<u64>>,
}

/// Takes a track piece by piece, gives its spans; holds no more than the one that is open.
pub struct Gate {
    voice: Voice,
    cutter: Cutter,
    /// Samples that a later span may have.
    kept: Vec<f32>,
    /// Where they begin.
    kept_from: u64,
    /// Samples that have been listened to.
    heard: u64,
}

impl Gate {
    /// A gate before the beginning of a track.
    pub fn new() -> Result<Self, String> {
        Ok(Self { voice: Voice::new()?, cutter: Cutter::default(), kept: Vec::new(), kept_from: 0, heard: 0 })
    }

    /// The spans that end in `samples`.
    pub fn take(&mut self, samples: &[f32]) -> Result<Vec<Span>, String> {
        self.kept.extend_from_slice(samples);
        let mut spans = Vec::new();
        while let Some(frame) = self.unheard().get(..MOMENT) {
            let frame = frame.to_vec();
            spans.extend(self.listen(&frame)?);
        }
        let wanted = self.cutter.wanted_from() * MOMENT as u64;
        self.kept.drain(..self.index(wanted));
        self.kept_from = wanted.max(self.kept_from);
        Ok(spans)
    }

    /// The last spans.
    pub fn finish(&mut self) -> Result<Vec<Span>, String> {
        let mut spans = Vec::new();
        let mut rest = self.unheard().to_vec();
        if !rest.is_empty() {
            rest.resize(MOMENT, 0.0);
            spans.extend(self.listen(&rest)?);
        }
        let last = self.cutter.finish();
        spans.extend(last.map(|cut| self.span(cut)));
        Ok(spans)
    }

    /// Samples that have not been listened to.
    fn unheard(&self) -> &[f32] {
        self.kept.get(self.index(self.heard)..).unwrap_or(&[])
    }

    /// Where sample `at` of the track lies in what is kept.
    fn index(&self, at: u64) -> usize {
        usize::try_from(at.saturating_sub(self.kept_from)).unwrap_or(usize::MAX).min(self.kept.len())
    }

    fn listen(&mut self, frame: &[f32]) -> Result<Option<Span>, String> {
        let likelihood = self.voice.likelihood(frame)?;
        self.heard += MOMENT as u64;
        let level = frame.iter().map(|sample| sample * sample).sum::<f32>();
        Ok(self.cutter.take(likelihood, level).map(|cut| self.span(cut)))
    }

    fn span(&self, cut: Cut) -> Span {
        let samples = |frame: u64| frame * MOMENT as u64;
        let end = self.kept_from + self.kept.len() as u64;
        let (start, stop) = (samples(cut.frames.start), samples(cut.frames.end).min(end));
        let kept = self.kept.get(self.index(start)..self.index(stop)).unwrap_or(&[]);
        let begins = |frame: u64| samples(frame).saturating_sub(LATE.0).max(start);
        let ends = |frame: u64| samples(frame).min(end).saturating_sub(LATE.1);
        // A run has at least six frames, and between two there are at least three.
        let voiced = cut.runs.iter().map(|run| begins(run.start)..ends(run.end)).filter(|run| !run.is_empty());
        Span { start, samples: kept.to_vec(), voiced: voiced.collect() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Noise of one loudness from a seed.
    fn noise(samples: usize, seed: u32, level: f32) -> Vec<f32> {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        (0..samples).map(|_| next() * level).collect()
    }

    fn spans(pieces: &[&[f32]]) -> Vec<Span> {
        let mut gate = Gate::new().unwrap();
        let mut spans: Vec<Span> = pieces.iter().flat_map(|piece| gate.take(piece).unwrap()).collect();
        spans.extend(gate.finish().unwrap());
        spans
    }

    #[test]
    fn silence_noise_and_nonsense_are_no_speech() {
        assert_eq!(spans(&[]), []);
        assert_eq!(spans(&[&[]]), []);
        assert_eq!(spans(&[&[0.0; 160_000]]), []);
        assert_eq!(spans(&[&noise(160_000, 7, 0.5)]), []);
        assert_eq!(spans(&[&[f32::NAN; 16_000], &[f32::INFINITY; 16_000], &[-1e30; 700]]), []);
    }

    #[test]
    fn no_more_is_kept_than_a_span_can_have() {
        let mut gate = Gate::new().unwrap();
        for second in 0..100 {
            gate.take(&noise(16_000, second, 0.3)).unwrap();
            assert!(gate.kept.len() < 16_000, "{} samples after {second} s without speech", gate.kept.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]
        #[test]
        fn the_pieces_in_which_a_track_comes_make_no_difference(cuts in prop::collection::vec(0..32_000_usize, 0..6)) {
            // Vowels of a buzzing throat: two formants over a hundred pulses a second, on and off.
            let vowel = |at: usize| {
                let t = at as f32 / 16_000.0;
                let pulse = (1.0 - (t * (100.0 + 20.0 * t.sin())).fract()).powi(8);
                pulse * ((t * 700.0 * std::f32::consts::TAU).sin() + 0.5 * (t * 1_200.0 * std::f32::consts::TAU).sin())
            };
            let track: Vec<f32> = (0..32_000).map(|at| if at / 4_000 % 2 == 0 { 0.3 * vowel(at) } else { 0.0 }).collect();
            let mut cuts = cuts;
            cuts.extend([0, track.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[f32]> = cuts.windows(2).map(|pair| &track[pair[0]..pair[1]]).collect();
            prop_assert_eq!(spans(&pieces), spans(&[&track]));
        }
    }
}
