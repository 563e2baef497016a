//! The log-mel front end.
//!
//! Radford et al. 2022, section 2.2: windows of 25 ms every 10 ms, 80 or 128 bands, the logarithm cut 8 decades below the
//! loudest and scaled to about -1 to 1.

use tch::{Device, Kind, Tensor};

use super::bands::{self, FREQUENCIES, TRANSFORM};
use crate::ml::Error;

/// Samples from one frame to the next.
pub const HOP: usize = 160;
/// Frames that are transformed at a time, so that an hour of audio takes no more memory than a minute.
const BLOCK: usize = 6000;

/// Makes spectrograms.
#[derive(Debug)]
pub struct Mel {
    /// `[bands, FREQUENCIES]`.
    filters: Tensor,
    /// `[TRANSFORM]`, a Hann window.
    window: Tensor,
}

impl Mel {
    /// A front end with `bands` bands on `device`.
    pub fn new(bands: i64, device: Device) -> Result<Self, Error> {
        let filters = bands::filters(usize::try_from(bands).unwrap_or_default());
        let filters = Tensor::f_from_slice(&filters)?.f_view([bands, FREQUENCIES as i64])?.f_to(device)?;
        let window = Tensor::f_hann_window(TRANSFORM as i64, (Kind::Float, device))?;
        Ok(Self { filters, window })
    }

    /// `[bands, t]` of mono samples at 16 kHz and `silence` zeros after them, one frame for each whole hop.
    ///
    /// What is not a number counts as silence.
    pub fn spectrogram(&self, samples: &[f32], silence: usize) -> Result<Tensor, Error> {
        let padded = reflected(samples, silence);
        let frames = (samples.len() + silence) / HOP;
        let mut blocks = Vec::new();
        let mut first = 0;
        while first < frames {
            let count = BLOCK.min(frames - first);
            let begin = first * HOP;
            let part = padded.get(begin..begin + (count - 1) * HOP + TRANSFORM).unwrap_or(&[]);
            blocks.push(self.log_power(part)?);
            first += count;
        }
        if blocks.is_empty() {
            return Ok(Tensor::f_zeros([self.filters.size()[0], 0], (Kind::Float, self.filters.device()))?);
        }
        let whole = Tensor::f_cat(&blocks, 1)?;
        let floor = whole.f_max()?.f_sub_scalar(8.0)?;
        Ok(whole.f_maximum(&floor)?.f_add_scalar(4.0)?.f_div_scalar(4.0)?)
    }

    /// `[bands, t]` of samples that begin half a window before the first frame's middle.
    fn log_power(&self, samples: &[f32]) -> Result<Tensor, Error> {
        let samples = Tensor::f_from_slice(samples)?.f_to(self.filters.device())?;
        let (transform, hop, window) = (TRANSFORM as i64, HOP as i64, Some(&self.window));
        let spectrum =
            samples.f_stft_center(transform, hop, None::<i64>, window, false, "reflect", false, true, true, false)?;
        let power = spectrum.f_abs()?.f_square()?;
        Ok(self.filters.f_matmul(&power)?.f_clamp_min(1e-10)?.f_log10()?)
    }
}

/// Half a window mirrored at both ends of the samples and the silence after them.
fn reflected(samples: &[f32], silence: usize) -> Vec<f32> {
    let half = TRANSFORM / 2;
    let length = samples.len() + silence;
    let at = |index: usize| samples.get(index).copied().filter(|sample| sample.is_finite()).unwrap_or(0.0);
    let last = length.saturating_sub(1);
    let before = (1..=half).rev().map(|index| at(index.min(last)));
    let after = (1..=half).map(|index| at(last.saturating_sub(index)));
    before.chain((0..length).map(at)).chain(after).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(samples: usize, silence: usize) -> Vec<i64> {
        let mel = Mel::new(80, Device::Cpu).unwrap();
        mel.spectrogram(&vec![0.1; samples], silence).unwrap().size()
    }

    #[test]
    fn there_is_a_frame_for_each_whole_hop() {
        assert_eq!(shape(480_000, 0), [80, 3000]);
        assert_eq!(shape(0, 480_000), [80, 3000]);
        assert_eq!(shape(1700, 0), [80, 10]);
        assert_eq!(shape(100, 0), [80, 0]);
    }

    #[test]
    fn blocks_do_not_show() {
        let samples: Vec<f32> = (0..(BLOCK + 700) * HOP).map(|at| (at as f32 * 0.07).sin() * 0.3).collect();
        let mel = Mel::new(80, Device::Cpu).unwrap();
        let whole = mel.spectrogram(&samples, 0).unwrap();
        let from = (BLOCK - 300) * HOP;
        let part = mel.spectrogram(&samples[from..], 0).unwrap();
        let apart = whole.narrow(1, BLOCK as i64 - 290, 900) - part.narrow(1, 10, 900);
        assert!(apart.abs().max().double_value(&[]) < 1e-4);
    }

    #[test]
    fn silence_and_noise_that_is_no_number_have_a_spectrogram() {
        let mel = Mel::new(128, Device::Cpu).unwrap();
        for sample in [0.0, f32::NAN, f32::INFINITY, f32::MAX] {
            let made = mel.spectrogram(&[sample; 3200], 0).unwrap();
            assert_eq!(made.size(), [128, 20]);
            let is_finite = made.isfinite().all();
            assert!(sample == f32::MAX || is_finite.int64_value(&[]) == 1, "{sample}");
        }
    }
}
