//! Sound as it was presented: when the beeps begin, and whether the endless tone ever breaks.

use std::f64::consts::TAU;

use crate::clip::TONE_HZ;

/// Samples that were decoded together.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Presentation time of the first, seconds.
    pub at: f64,
    /// Its index among all samples.
    pub first: usize,
    /// How many.
    pub count: usize,
}

/// One channel of sound with its times.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Samples per second.
    pub rate: f64,
    /// Blocks in the order in which they were decoded.
    pub blocks: Vec<Block>,
    /// All samples.
    pub samples: Vec<f32>,
}

/// Windows of the tone: 20 ms, in step with the beeps, so that none of them holds half a beep.
const WINDOW: f64 = 0.02;

/// Samples below this are silence; the endless tone has five times as much.
const SILENCE: f32 = 0.015;

/// Largest difference between a time stamp and the end of the samples before it that is rounding, seconds.
const ROUNDING: f64 = 0.0015;

impl Heard {
    /// When the first sample is presented.
    pub fn begin(&self) -> Option<f64> {
        self.blocks.first().map(|block| block.at)
    }

    /// When the last sample ends.
    pub fn end(&self) -> Option<f64> {
        self.blocks.last().map(|block| block.at + block.count as f64 / self.rate)
    }

    /// The same without the silence around it, with which a pipeline may fill up what a track lacks.
    pub fn audible(&self) -> (f64, f64) {
        let time = |place: usize| {
            let block = self.blocks.iter().rfind(|block| block.first <= place)?;
            Some(block.at + (place - block.first) as f64 / self.rate)
        };
        let is_audible = |sample: &f32| sample.abs() > SILENCE;
        let first = self.samples.iter().position(is_audible).and_then(time);
        let last = self.samples.iter().rposition(is_audible).and_then(time);
        (first.unwrap_or(0.0), last.unwrap_or(0.0))
    }

    /// When each beep begins.
    pub fn beeps(&self) -> Vec<f64> {
        let peak = self.samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        let mut beeps = Vec::new();
        let mut quiet = f64::INFINITY;
        for block in &self.blocks {
            for place in 0..block.count {
                quiet += 1.0 / self.rate;
                if self.samples[block.first + place].abs() > 0.45 * peak && peak > 0.01 {
                    if quiet > 0.05 {
                        beeps.push(block.at + place as f64 / self.rate);
                    }
                    quiet = 0.0;
                }
            }
        }
        beeps
    }

    /// Largest gap or overlap between two blocks, seconds.
    pub fn worst_gap(&self) -> f64 {
        let pairs = self.blocks.windows(2);
        let gaps = pairs.map(|pair| (pair[1].at - pair[0].at - pair[0].count as f64 / self.rate).abs());
        gaps.fold(0.0, f64::max)
    }

    /// Windows in which the tone is out of step with the rest by more than 0.2 ms, or much louder or quieter; the first
    /// and last 60 ms, where codecs fade in and out, do not count.
    pub fn breaks(&self) -> Vec<f64> {
        let windows = self.tone();
        if windows.is_empty() {
            return Vec::new();
        }
        // The mean direction of all windows is the tone's own phase.
        let (x, y) = windows
            .iter()
            .fold((0.0, 0.0), |(x, y), (_, level, phase)| (x + level * phase.cos(), y + level * phase.sin()));
        let phase = f64::atan2(y, x);
        let mut levels: Vec<f64> = windows.iter().map(|(_, level, _)| *level).collect();
        levels.sort_by(f64::total_cmp);
        let level = levels[levels.len() / 2];
        let is_broken = |found: &(f64, f64, f64)| {
            let turn = (found.2 - phase).rem_euclid(TAU);
            turn.min(TAU - turn) > TAU * TONE_HZ * 0.0002 || found.1 < 0.6 * level || found.1 > 1.6 * level
        };
        windows.iter().filter(|window| is_broken(window)).map(|window| window.0).collect()
    }

    /// Level and phase of the tone in each window: (time, level, phase).
    fn tone(&self) -> Vec<(f64, f64, f64)> {
        let Some(first) = self.begin() else { return Vec::new() };
        let (begin, end) = self.audible();
        let beat = self.beeps().first().copied().unwrap_or(begin);
        let steps = ((end - begin) / WINDOW) as i64 + 2;
        let offset = ((begin - beat) / WINDOW).floor() as i64;
        let mut sums = vec![(0.0, 0.0, 0_usize); steps as usize];
        let mut clock = first;
        for block in &self.blocks {
            // Containers that count in milliseconds stamp packets early and late; the samples still follow each other.
            if (block.at - clock).abs() > ROUNDING {
                clock = block.at;
            }
            let at = clock;
            clock += block.count as f64 / self.rate;
            for place in 0..block.count {
                let time = at + place as f64 / self.rate;
                let position = (time - beat) / WINDOW;
                let step = position.floor();
                let slot = step as i64 - offset;
                if slot < 0 || slot >= steps {
                    continue;
                }
                let shape = 0.5 - 0.5 * (TAU * (position - step)).cos();
                let value = f64::from(self.samples[block.first + place]) * shape;
                let sum = &mut sums[slot as usize];
                sum.0 += value * (TAU * TONE_HZ * time).cos();
                sum.1 -= value * (TAU * TONE_HZ * time).sin();
                sum.2 += 1;
            }
        }
        let full = (WINDOW * self.rate) as usize;
        let timed =
            sums.into_iter().enumerate().map(|(slot, sum)| (beat + (slot as i64 + offset) as f64 * WINDOW, sum));
        timed
            .filter(|(time, sum)| sum.2 + 1 >= full && *time > begin + 0.06 && *time + WINDOW < end - 0.06)
            .map(|(time, (x, y, _))| (time, f64::hypot(x, y), f64::atan2(y, x)))
            .collect()
    }
}
