//! What a track sounds like: shares of speech, music, other sounds and silence.
//!
//! Speech is what [`crate::voice`] takes for it. Music is what is neither speech nor silent and has tones that stay: peaks of the
//! spectrum that stand out from what is around them, now and a moment before.

use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use crate::voice::{MOMENT, Voice};

/// Samples of a step: two moments of the voice, 64 ms at 16 kHz.
const STEP: usize = 2 * MOMENT;
/// Samples of a spectrum: two steps.
const WINDOW: usize = 2 * STEP;

/// Longest track that is listened to from end to end, and as much of a longer one, in pieces, samples at 16 kHz.
const WHOLE: u64 = 600 * 16_000;
const PIECE: u64 = 10 * 16_000;

/// Somebody speaks when it is likelier than not.
const SPEAKS: f32 = 0.5;
/// Steps after speech that belong to it: half a second, as between words.
const BREATH: u32 = 8;
/// A step is silent below this root mean square: -54 dB.
const SILENT: f32 = 0.002;

/// Lines of the spectrum in which tones are looked for: 110 Hz to 5.5 kHz, 7.8 Hz each.
const LINES: std::ops::Range<usize> = 14..704;
/// Lines to either side with which one is compared.
const AROUND: usize = 24;
/// How many times the median around it a tone has.
const OUTSTANDING: f32 = 14.0;
/// Share of a step's power that its tones have in music.
const TONAL: f32 = 0.35;

/// Shares of a track; together 1, or all 0 when there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Shares {
    /// Somebody speaks.
    pub speech: f64,
    /// Tones.
    pub music: f64,
    /// Anything else that is heard.
    pub sounds: f64,
    /// Nothing is heard.
    pub silence: f64,
}

/// Listens to a track, piece by piece.
pub struct Ear {
    voice: Voice,
    spectrum: Spectrum,
    /// Samples that wait for their step.
    waiting: Vec<f32>,
    /// Samples that have come.
    came: u64,
    /// From the beginning of one piece to that of the next.
    every: u64,
    /// The last step, when this one follows it.
    before: Vec<f32>,
    /// The tones of the last spectrum.
    tones: Vec<usize>,
    breath: u32,
    counts: [u64; 4],
}

impl Ear {
    /// An ear for a track of `length` samples, as far as is known.
    pub fn new(length: u64) -> Result<Self, String> {
        let every = if length <= WHOLE { 0 } else { length / (WHOLE / PIECE) };
        let (waiting, before, tones) = (Vec::new(), Vec::new(), Vec::new());
        let (voice, spectrum) = (Voice::new()?, Spectrum::new());
        Ok(Self { voice, spectrum, waiting, came: 0, every, before, tones, breath: 0, counts: [0; 4] })
    }

    /// The next samples, mono, 16 kHz, from -1 to 1.
    pub fn take(&mut self, samples: &[f32]) -> Result<(), String> {
        for sample in samples {
            let is_heard = self.every == 0 || self.came % self.every < PIECE;
            self.came += 1;
            if is_heard {
                self.waiting.push(if sample.is_finite() { *sample } else { 0.0 });
            } else if !self.before.is_empty() || !self.waiting.is_empty() {
                // The next piece does not follow this one.
                self.voice.forget();
                (self.breath, self.waiting, self.before, self.tones) = (0, Vec::new(), Vec::new(), Vec::new());
            }
            if self.waiting.len() == STEP {
                let step = std::mem::take(&mut self.waiting);
                self.hear(step)?;
            }
        }
        Ok(())
    }

    /// What was heard. A rest that makes no step is left out.
    pub fn shares(&self) -> Shares {
        let all = self.counts.iter().sum::<u64>().max(1) as f64;
        let [speech, music, sounds, silence] = self.counts.map(|count| count as f64 / all);
        Shares { speech, music, sounds, silence }
    }

    fn hear(&mut self, step: Vec<f32>) -> Result<(), String> {
        let mut speaks = false;
        for moment in step.chunks_exact(MOMENT) {
            speaks |= self.voice.likelihood(moment)? >= SPEAKS;
        }
        self.breath = if speaks { BREATH } else { self.breath.saturating_sub(1) };
        let level = (step.iter().map(|sample| sample * sample).sum::<f32>() / STEP as f32).sqrt();
        let is_music = self.has_tones(&step);
        let kind = if speaks || (self.breath > 0 && !is_music) {
            0
        } else if level < SILENT {
            3
        } else {
            usize::from(!is_music) + 1
        };
        self.counts[kind] += 1;
        self.before = step;
        Ok(())
    }

    /// Whether this step and the last one together have tones that the spectrum before had as well.
    fn has_tones(&mut self, step: &[f32]) -> bool {
        let samples: Vec<f32> = self.before.iter().chain(step).copied().collect();
        if samples.len() < WINDOW {
            return false;
        }
        let power = self.spectrum.power(&samples);
        let tones = tones(&power);
        let stays = |tone: &&usize| self.tones.iter().any(|before| before.abs_diff(**tone) <= 1);
        let of_tones: f32 = tones.iter().filter(stays).map(|tone| power[tone - 2..=tone + 2].iter().sum::<f32>()).sum();
        let all: f32 = power[2..].iter().sum();
        self.tones = tones;
        of_tones > TONAL * all
    }
}

/// Lines that stand out from those around them.
fn tones(power: &[f32]) -> Vec<usize> {
    let is_peak = |at: &usize| power[*at] >= power[at - 1] && power[*at] > power[at + 1];
    let stands_out = |at: &usize| {
        let mut around = power[at.saturating_sub(AROUND).max(1)..(at + AROUND).min(power.len())].to_vec();
        let middle = around.len() / 2;
        let (_, median, _) = around.select_nth_unstable_by(middle, f32::total_cmp);
        power[*at] > OUTSTANDING * *median
    };
    LINES.filter(is_peak).filter(stands_out).collect()
}

/// From sound to its spectrum.
struct Spectrum {
    transform: Arc<dyn RealToComplex<f32>>,
    /// A window of Hann.
    window: Vec<f32>,
}

impl Spectrum {
    fn new() -> Self {
        let turn = std::f32::consts::TAU / WINDOW as f32;
        let window = (0..WINDOW).map(|at| 0.5 - 0.5 * (turn * at as f32).cos()).collect();
        Self { transform: RealFftPlanner::new().plan_fft_forward(WINDOW), window }
    }

    /// The power of each line of [`WINDOW`] samples; nothing of any other number of them.
    fn power(&self, samples: &[f32]) -> Vec<f32> {
        let mut windowed: Vec<f32> = samples.iter().zip(&self.window).map(|(sample, weight)| sample * weight).collect();
        let mut lines = self.transform.make_output_vec();
        if self.transform.process(&mut windowed, &mut lines).is_err() {
            return vec![0.0; WINDOW / 2];
        }
        lines[..WINDOW / 2].iter().map(|line| line.norm_sqr()).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATE: usize = 16_000;

    fn noise(samples: usize, level: f32) -> Vec<f32> {
        let mut state = 7_u32;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        };
        (0..samples).map(|_| next() * level).collect()
    }

    /// Chords of three tones with their overtones, each for half a second.
    fn chords(samples: usize) -> Vec<f32> {
        let roots = [220.0, 293.66, 329.63, 246.94];
        let tone = |at: usize| {
            let (t, root) = (at as f32 / RATE as f32, roots[at / (RATE / 2) % 4]);
            let voice = |frequency: f32| -> f32 {
                (1..5).map(|k| (std::f32::consts::TAU * frequency * k as f32 * t).sin() / (k * k) as f32).sum()
            };
            0.1 * (voice(root) + voice(root * 1.25) + voice(root * 1.5))
        };
        (0..samples).map(tone).collect()
    }

    fn heard(track: &[f32]) -> Shares {
        let mut ear = Ear::new(track.len() as u64).unwrap();
        track.chunks(5_000).for_each(|part| ear.take(part).unwrap());
        ear.shares()
    }

    #[test]
    fn the_spectrum_of_a_tone_is_its_line() {
        let wave = |at: usize| (std::f32::consts::TAU * 128.0 * at as f32 / WINDOW as f32).sin();
        let tone: Vec<f32> = noise(WINDOW, 1e-3).into_iter().enumerate().map(|(at, grain)| grain + wave(at)).collect();
        let power = Spectrum::new().power(&tone);
        let highest = power.iter().enumerate().max_by(|one, other| one.1.total_cmp(other.1)).unwrap().0;
        assert_eq!(highest, 128);
        assert!(tones(&power).contains(&128) && tones(&power).len() < 4, "{:?}", tones(&power));
    }

    #[test]
    fn silence_noise_and_chords_are_told_apart() {
        assert_eq!(heard(&[]), Shares::default());
        assert_eq!(heard(&vec![0.0; 5 * RATE]).silence, 1.0);
        assert_eq!(heard(&vec![f32::NAN; 5 * RATE]).silence, 1.0);
        let wind = heard(&noise(5 * RATE, 0.3));
        assert!(wind.sounds > 0.95, "{wind:?}");
        let tune = heard(&chords(5 * RATE));
        assert!(tune.music > 0.8, "{tune:?}");
        let both: Vec<f32> = chords(4 * RATE).into_iter().chain(vec![0.0; 4 * RATE]).collect();
        let shares = heard(&both);
        assert!((shares.silence - 0.5).abs() < 0.05 && shares.music > 0.4, "{shares:?}");
    }

    #[test]
    fn of_a_long_track_pieces_all_over_it_are_heard() {
        let length = 4 * WHOLE;
        let mut ear = Ear::new(length).unwrap();
        // An hour would take long here: ten minutes of nothing, told as if it were the beginning of more.
        (0..600).for_each(|_| ear.take(&[0.0; RATE]).unwrap());
        let steps = ear.counts.iter().sum::<u64>();
        assert_eq!(steps, 15 * (PIECE / STEP as u64), "a quarter of it");
        assert_eq!(ear.shares().silence, 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn shares_add_up_however_a_track_comes(parts in prop::collection::vec((0_usize..9_000, 0..3), 1..6), piece in 1_usize..3_000) {
            let track: Vec<f32> = parts.iter().flat_map(|(length, kind)| match kind {
                0 => vec![0.0; *length],
                1 => noise(*length, 0.2),
                _ => chords(*length),
            }).collect();
            let shares = heard(&track);
            let sum = shares.speech + shares.music + shares.sounds + shares.silence;
            prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "{:?}", shares);
            prop_assert_eq!(sum == 0.0, track.len() < STEP);
            let mut ear = Ear::new(track.len() as u64).unwrap();
            track.chunks(piece).for_each(|part| ear.take(part).unwrap());
            prop_assert_eq!(ear.shares(), shares);
        }
    }
}
