//! The one audio track as plain samples for whoever listens: mono, 16 kHz, on the output's clock.

use ffmpeg_next as ff;

use super::sound::{self, Form, Mix, Taker};
use super::source::Source;
use super::{Code, Error, Sampled, SamplesTask, Sink};

/// Samples per second.
pub const RATE: u32 = 16_000;

/// Decodes the audio track of `task`; the samples go to `sink` as they come, 32-bit floats, little-endian, from -1 to 1.
pub fn read(source: Source, task: &SamplesTask, sink: &mut dyn Sink) -> Result<Sampled, Error> {
    let mut out = Out { sink, samples: 0 };
    let form = Form { rate: RATE, frame: RATE, mix: Mix::Speech };
    let damaged = sound::decode(source, &task.media, form, &mut out)?;
    Ok(Sampled { samples: out.samples, damaged })
}

struct Out<'a> {
    sink: &'a mut dyn Sink,
    samples: u64,
}

impl Taker for Out<'_> {
    fn take(&mut self, frame: ff::frame::Audio) -> Result<(), Error> {
        if frame.planes() == 0 {
            return Err(Error::new(Code::EncoderFailed, "filter the audio: a frame without samples came out"));
        }
        let samples: &[f32] = frame.plane(0);
        self.samples += samples.len() as u64;
        // Files may hold anything that fits into 32 bits.
        let plain = |sample: &f32| if sample.is_finite() { sample.clamp(-1.0, 1.0) } else { 0.0 };
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| plain(sample).to_le_bytes()).collect();
        self.sink.bytes(0, &bytes)
    }

    fn settle(&mut self) -> Result<u64, Error> {
        Ok(self.samples)
    }
}

/// The samples of `bytes`, as [`read`] writes them; a rest that is no whole sample is left out.
pub fn of_bytes(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect()
}
