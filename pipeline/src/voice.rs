//! How likely somebody speaks, moment by moment.
//!
//! Silero's network (version 5, MIT). Detectors that listen for energy or for harmonics take chords and brown noise for speech;
//! this one is trained to tell them apart, in any language.

use rustvani_vad::{SAMPLES_PER_WINDOW, SileroVad};

/// Samples of a moment at 16 kHz: 32 ms.
pub const MOMENT: usize = SAMPLES_PER_WINDOW;

/// Listens to one track, in order; what it heard before counts.
pub struct Voice(SileroVad);

impl Voice {
    /// A listener that has heard nothing yet; an error says in words why there is none.
    pub fn new() -> Result<Self, String> {
        SileroVad::new().map(Self)
    }

    /// How likely somebody speaks in the next [`MOMENT`] of mono samples from -1 to 1, as a share.
    pub fn likelihood(&mut self, moment: &[f32]) -> Result<f32, String> {
        // What is no number becomes silence, what is too loud as loud as can be.
        let bytes: Vec<u8> = moment.iter().flat_map(|sample| ((sample * 32_768.0) as i16).to_le_bytes()).collect();
        self.0.infer(&bytes)
    }

    /// Forgets what it has heard: what comes next does not follow it.
    pub fn forget(&mut self) {
        self.0.reset_state();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_forgets_hears_the_same_again() {
        let buzz = |at: usize| {
            let t = at as f32 / 16_000.0;
            (1.0 - (t * 110.0).fract()).powi(8) * (t * 700.0 * std::f32::consts::TAU).sin()
        };
        let track: Vec<f32> = (0..20 * MOMENT).map(buzz).collect();
        let mut voice = Voice::new().unwrap();
        let hear = |voice: &mut Voice| -> Vec<f32> {
            track.chunks(MOMENT).map(|part| voice.likelihood(part).unwrap()).collect()
        };
        let first = hear(&mut voice);
        voice.forget();
        let again = hear(&mut voice);
        assert_eq!(first, again);
        assert!(first.iter().all(|share| (0.0..=1.0).contains(share)));
    }
}
