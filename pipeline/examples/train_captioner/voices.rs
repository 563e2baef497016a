//! Who reads: espeak-ng in many voices, speeds and pitches.

use std::process::Command;

use rand::Rng;
use rand::seq::IndexedRandom;

/// Samples a second.
pub const RATE: usize = 16_000;
/// Samples a second of espeak-ng.
const SPOKEN: usize = 22_050;
/// Bytes before the samples of a wave file.
const HEADER: usize = 44;
/// Quieter than this share of the loudest sample is silence.
const SILENCE: f32 = 0.02;

/// Accents, with the variants that read for lessons.
const ACCENTS: &[&str] = &["en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-us-nyc"];
const VARIANTS: &[&str] = &[
    "m1", "m2", "m3", "m4", "m5", "f1", "f2", "f3", "Alex", "Andy", "Lee", "steph", "edward", "iven", "belinda", "zac",
    "klatt2", "Denis", "Alicia", "john", "michel", "paul",
];
/// Accent and variants that read for exams alone.
const OTHER_ACCENTS: &[&str] = &["en-us", "en-gb", "en-gb-x-gbclan"];
const OTHER_VARIANTS: &[&str] = &["m6", "m7", "m8", "f4", "f5", "Andrea", "david", "linda"];

/// One reading of one sentence, without the silence around it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// What is read.
    pub text: String,
    /// Mono, 16 kHz.
    pub samples: Vec<f32>,
}

/// Reads `text` in a voice by chance: one of those for lessons, or of the others.
pub fn read(text: &str, is_lesson: bool, dice: &mut impl Rng) -> Result<Reading, String> {
    let (accents, variants) = if is_lesson { (ACCENTS, VARIANTS) } else { (OTHER_ACCENTS, OTHER_VARIANTS) };
    let any = |of: &[&'static str], dice: &mut _| of.choose(dice).copied().unwrap_or("m1");
    let voice = format!("{}+{}", any(accents, dice), any(variants, dice));
    let (speed, pitch) = (dice.random_range(130..=200), dice.random_range(35..=65));
    let mut command = Command::new("espeak-ng");
    command.args(["-v", &voice, "-s", &speed.to_string(), "-p", &pitch.to_string(), "--stdout", text]);
    let spoken = command.output().map_err(|error| format!("run espeak-ng (install it): {error}"))?;
    if !spoken.status.success() || spoken.stdout.len() <= HEADER {
        return Err(format!("espeak-ng does not read as {voice}: {}", String::from_utf8_lossy(&spoken.stderr)));
    }
    let samples = spoken.stdout[HEADER..].chunks_exact(2);
    let samples: Vec<f32> = samples.map(|two| f32::from(i16::from_le_bytes([two[0], two[1]])) / 32768.0).collect();
    Ok(Reading { text: text.to_owned(), samples: trimmed(resampled(&samples, SPOKEN as f64 / RATE as f64)) })
}

/// Every `step`-th sample, those between by a windowed sinc of 16 zero crossings.
fn resampled(samples: &[f32], step: f64) -> Vec<f32> {
    const REACH: i64 = 16;
    let cutoff = 1.0 / step.max(1.0);
    let count = (samples.len() as f64 / step) as usize;
    let at = |index: i64| usize::try_from(index).ok().and_then(|index| samples.get(index)).copied().unwrap_or(0.0);
    let made = (0..count).map(|index| {
        let middle = index as f64 * step;
        let around = (middle as i64 - REACH + 1)..=(middle as i64 + REACH);
        let weighted = around.map(|other| {
            let apart = other as f64 - middle;
            let window = 0.5 + 0.5 * (std::f64::consts::PI * apart / (REACH + 1) as f64).cos();
            f64::from(at(other)) * sinc(apart * cutoff) * cutoff * window
        });
        weighted.sum::<f64>() as f32
    });
    made.collect()
}

fn sinc(x: f64) -> f64 {
    let angle = std::f64::consts::PI * x;
    if angle.abs() < 1e-9 { 1.0 } else { angle.sin() / angle }
}

fn trimmed(samples: Vec<f32>) -> Vec<f32> {
    let loudest = samples.iter().fold(0f32, |most, sample| most.max(sample.abs()));
    let is_heard = |sample: &f32| sample.abs() > SILENCE * loudest;
    let first = samples.iter().position(is_heard).unwrap_or(0);
    let last = samples.iter().rposition(is_heard).map_or(0, |last| last + 1);
    samples.get(first..last).map(<[f32]>::to_vec).unwrap_or_default()
}
