//! Windows to learn from: a reading somewhere in 6 s, louder or quieter, with noise; or nothing but noise or tones.

use pipeline::ml::whisper::mel::{HOP, Mel};
use pipeline::ml::whisper::vocabulary::Vocabulary;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tch::Tensor;

use super::folder::POSITIONS;
use super::voices::{RATE, Reading};

/// Samples of a window.
pub const WINDOW: usize = POSITIONS * 2 * HOP;
/// Longest reading, so that there is room before and after it.
pub const LONGEST: usize = WINDOW - RATE / 2;
/// Target of what follows the end.
pub const NOTHING: i64 = -100;
/// How many windows have no speech.
const SILENT: f64 = 0.12;

/// A batch.
pub struct Lesson {
    /// `[n, 80, 2 t]`.
    pub mel: Tensor,
    /// `[n, l]`, what is read before each target.
    pub inputs: Tensor,
    /// `[n, l]`.
    pub targets: Tensor,
    /// Words alone, one window after the other, and how many of each.
    pub spelled: (Vec<i64>, Vec<i64>),
}

/// Draws `count` windows.
pub fn draw(
    readings: &[Reading],
    vocabulary: &Vocabulary,
    mel: &Mel,
    count: usize,
    dice: &mut StdRng,
) -> Result<Lesson, String> {
    let special = &vocabulary.special;
    let (mut spectra, mut rows, mut spelled) = (Vec::new(), Vec::new(), (Vec::new(), Vec::new()));
    for _ in 0..count {
        let reading = readings.choose(dice).filter(|_| !dice.random_bool(SILENT));
        let (samples, row) = match reading {
            None => (silent(dice), vec![special.start, special.no_speech.unwrap_or(special.end), special.end]),
            Some(reading) => {
                let words = vocabulary.encode(&format!(" {}", reading.text)).map_err(|error| error.to_string())?;
                let (samples, start, end) = placed(reading, dice);
                spelled.0.extend(words.iter().map(|token| i64::from(*token)));
                spelled.1.push(words.len() as i64);
                let time = |sample: usize| special.zero + u32::try_from(sample / (2 * HOP)).unwrap_or_default();
                let mut row = vec![special.start, time(start)];
                row.extend(words);
                row.extend([time(end + HOP), special.end]);
                (samples, row)
            }
        };
        if reading.is_none() {
            spelled.1.push(0);
        }
        spectra.push(masked(mel.spectrogram(&samples, 0).map_err(|error| error.to_string())?, dice));
        rows.push(row);
    }
    let longest = rows.iter().map(Vec::len).max().unwrap_or(1) - 1;
    let side = |skip: usize, filler: i64| {
        let numbers = rows.iter().flat_map(|row| {
            let tokens = row.iter().skip(skip).map(|token| i64::from(*token)).chain(std::iter::repeat(filler));
            tokens.take(longest).collect::<Vec<_>>()
        });
        Tensor::from_slice(&numbers.collect::<Vec<_>>()).view([count as i64, longest as i64])
    };
    let end = i64::from(special.end);
    // What stands after the end of an input is read and has no target.
    let (inputs, targets) = (side(0, end), side(1, NOTHING));
    Ok(Lesson { mel: Tensor::stack(&spectra, 0), inputs, targets, spelled })
}

/// A reading in a window, a little faster or slower, and where it begins and ends.
fn placed(reading: &Reading, dice: &mut StdRng) -> (Vec<f32>, usize, usize) {
    let fastest = reading.samples.len() as f64 / LONGEST as f64;
    let step: f64 = dice.random_range(0.9..1.1f64).max(fastest);
    let length = (reading.samples.len() as f64 / step) as usize;
    let start = dice.random_range(0..=(WINDOW - length).min(RATE));
    let gain = 10f32.powf(dice.random_range(-1.2..0.2));
    let mut samples = vec![0.0; WINDOW];
    for (index, sample) in samples[start..start + length].iter_mut().enumerate() {
        let (whole, part) = ((index as f64 * step) as usize, (index as f64 * step).fract() as f32);
        let [one, next] = [whole, whole + 1].map(|at| reading.samples.get(at).copied().unwrap_or(0.0));
        *sample = gain * (one + part * (next - one));
    }
    if dice.random_bool(0.8) {
        noise(&mut samples, gain * 10f32.powf(dice.random_range(-3.5..-1.6)), dice);
    }
    (samples, start, start + length)
}

fn noise(samples: &mut [f32], level: f32, dice: &mut StdRng) {
    let colour = dice.random_range(0.0..0.95f32);
    let mut last = 0.0;
    for sample in samples {
        last = colour * last + (1.0 - colour) * dice.random_range(-1.0..1.0f32);
        *sample += 2.0 * level * last;
    }
}

/// Silence, noise, or chords.
fn silent(dice: &mut StdRng) -> Vec<f32> {
    let mut samples = vec![0.0; WINDOW];
    match dice.random_range(0..3) {
        0 => {}
        1 => noise(&mut samples, 10f32.powf(dice.random_range(-3.0..-0.5)), dice),
        _ => {
            let beat = dice.random_range(RATE / 6..RATE);
            let level = dice.random_range(0.02..0.2f32);
            for piece in samples.chunks_mut(beat) {
                let base: f32 = dice.random_range(90.0..500.0);
                for (at, sample) in piece.iter_mut().enumerate() {
                    let seconds = at as f32 / RATE as f32;
                    let fade = (-2.0 * seconds).exp();
                    let chord = [1.0, 1.26, 1.5, 2.0].map(|part| (std::f32::consts::TAU * base * part * seconds).sin());
                    *sample = level * fade * chord.iter().sum::<f32>();
                }
            }
        }
    }
    samples
}

/// Bands and moments that are hidden (Park et al. 2019), so that nothing is learned from one of them alone.
fn masked(mel: Tensor, dice: &mut StdRng) -> Tensor {
    for (dimension, most) in [(0, 12), (0, 12), (1, 30)] {
        let size = mel.size()[dimension as usize];
        let width = dice.random_range(0..=most);
        let from = dice.random_range(0..size - width);
        let _ = mel.narrow(dimension, from, width).fill_(0.0);
    }
    mel
}
