//! A model that is loaded.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use super::config::{Config, Generation};
use super::decode::{Heard, Marks, Plan, decode, logits, rules};
use super::decoder::{Decoder, Reader};
use super::encoder::Encoder;
use super::mel::Mel;
use super::options::{Options, Task};
use super::vocabulary::Vocabulary;
use crate::ml::Error;
use crate::ml::weights::{Reading, Weights};

/// A model on one device, for one thread.
#[derive(Debug)]
pub struct Whisper {
    /// Sizes.
    pub config: Config,
    /// Tokens and text.
    pub vocabulary: Vocabulary,
    /// Sound to spectrogram.
    pub mel: Mel,
    /// Spectrogram to audio features.
    pub encoder: Encoder,
    /// Audio features to logits.
    pub decoder: Decoder,
    device: Device,
    kind: Kind,
}

/// Two frames a position of the encoder.
const FRAMES_A_POSITION: i64 = 2;

impl Whisper {
    /// Loads the model in `folder`, on the graphics card when there is one, in the precision in which it is fastest.
    pub fn load(folder: &Path) -> Result<Self, Error> {
        Self::read(folder, Reading::fastest())
    }

    /// Whether everything in `folder` is there and fits together, without reading the weights.
    pub fn check(folder: &Path) -> Result<(), Error> {
        Self::read(folder, Reading::glance()).map(drop)
    }

    /// Loads the model in `folder` on `device`, its parameters being `kind`.
    pub fn load_on(folder: &Path, device: Device, kind: Kind) -> Result<Self, Error> {
        Self::read(folder, Reading::on(device, kind))
    }

    fn read(folder: &Path, reading: Reading) -> Result<Self, Error> {
        let _no_grad = tch::no_grad_guard();
        let config = Config::read(folder)?;
        let generation = Generation::read(folder)?;
        let vocabulary = Vocabulary::read(folder, &config, &generation)?;
        let mut weights = Weights::open(&folder.join("model.safetensors"), reading)?;
        let encoder = Encoder::take(&mut weights, &config)?;
        let decoder = Decoder::take(&mut weights, &config)?;
        weights.finish()?;
        let Reading { device, kind, .. } = reading;
        let mel = Mel::new(config.num_mel_bins, device)?;
        Ok(Self { config, vocabulary, mel, encoder, decoder, device, kind })
    }

    /// What its parameters are: `float32`, `float16` or `bfloat16`.
    pub fn precision(&self) -> &'static str {
        match self.kind {
            Kind::Half => "float16",
            Kind::BFloat16 => "bfloat16",
            _ => "float32",
        }
    }

    /// Frames of a whole window: 3000.
    pub fn window_frames(&self) -> usize {
        usize::try_from(self.config.max_source_positions * FRAMES_A_POSITION).unwrap_or_default()
    }

    /// Frames from one timestamp to the next: 2.
    pub fn frames_a_step(&self) -> usize {
        FRAMES_A_POSITION as usize
    }

    /// `[m, t]` of samples at 16 kHz and a window of silence after them.
    pub fn spectrogram(&self, samples: &[f32]) -> Result<Tensor, Error> {
        let _no_grad = tch::no_grad_guard();
        self.mel.spectrogram(samples, self.window_frames() * super::mel::HOP)
    }

    /// `[n, 1500, d]` of windows of at most 3000 frames each, `[m, t]`; shorter ones are filled up with zeros.
    pub fn encode(&self, windows: &[Tensor]) -> Result<Tensor, Error> {
        let _no_grad = tch::no_grad_guard();
        let whole = i64::try_from(self.window_frames()).unwrap_or_default();
        let filled = windows.iter().map(|window| {
            let missing = (whole - window.size2()?.1).max(0);
            Ok(window.f_constant_pad_nd([0, missing])?)
        });
        let filled = filled.collect::<Result<Vec<Tensor>, Error>>()?;
        // One window keeps every core of a processor busy; more would only take memory.
        let together = if self.device.is_cuda() { filled.len().max(1) } else { 1 };
        let encoded = filled.chunks(together).map(|some| {
            let batch = Tensor::f_stack(some, 0)?.f_to(self.device)?.f_to_kind(self.kind)?;
            self.encoder.apply(&batch)
        });
        let mut encoded = encoded.collect::<Result<Vec<Tensor>, Error>>()?;
        if encoded.len() == 1 {
            return Ok(encoded.remove(0));
        }
        Ok(Tensor::f_cat(&encoded, 0)?)
    }

    /// How probable each language is in each window of `audio`, `[n, 1500, d]`; empty in a model for English alone.
    pub fn languages(&self, audio: &Tensor) -> Result<Vec<Vec<(String, f64)>>, Error> {
        let _no_grad = tch::no_grad_guard();
        let special = &self.vocabulary.special;
        let windows = usize::try_from(audio.size()[0]).unwrap_or_default();
        if special.languages.is_empty() {
            return Ok(vec![Vec::new(); windows]);
        }
        let mut reader = Reader::new(&self.decoder, audio)?;
        let prompts = vec![vec![special.start]; windows];
        let (_, logits) = super::decode::Scorer::begin(&mut reader, &prompts, 0)?;
        let of_row = |row: &[f32]| {
            let scores: Vec<f32> = special.languages.iter().map(|(_, token)| row[*token as usize]).collect();
            let sum = logits::log_sum_exp(&scores);
            let likely = scores.iter().map(|score| f64::from(score - sum).exp());
            special.languages.iter().map(|(code, _)| code.clone()).zip(likely).collect()
        };
        Ok(logits.rows().map(of_row).collect())
    }

    /// What a window is asked, after the tokens of `earlier` text.
    pub fn prompt(&self, options: &Options, language: Option<&str>, earlier: &[u32]) -> Result<Vec<u32>, Error> {
        let special = &self.vocabulary.special;
        let mut prompt = Vec::new();
        if !earlier.is_empty() {
            let most = self.context() / 2 - 1;
            prompt.push(special.previous);
            prompt.extend(&earlier[earlier.len().saturating_sub(most)..]);
        }
        prompt.push(special.start);
        if !special.languages.is_empty() {
            let code = language.unwrap_or("en");
            let unknown = || Error::Audio(format!("the model does not know the language `{code}`"));
            prompt.push(self.vocabulary.language(code).ok_or_else(unknown)?);
            prompt.push(match options.task {
                Task::Transcribe => special.transcribe,
                Task::Translate => special.translate,
            });
        }
        if !options.with_times {
            prompt.push(special.no_times);
        }
        Ok(prompt)
    }

    /// Decodes windows of `audio`, `[n, 1500, d]`, at one temperature; the prompts are of one length.
    pub fn decode(
        &self,
        audio: &Tensor,
        prompts: &[Vec<u32>],
        options: &Options,
        temperature: f32,
    ) -> Result<Vec<Heard>, Error> {
        let _no_grad = tch::no_grad_guard();
        let special = &self.vocabulary.special;
        let plan = Plan {
            temperature,
            best_of: options.best_of,
            beam: options.beam,
            patience: options.patience,
            length_penalty: options.length_penalty,
            most_tokens: options.most_tokens.unwrap_or(self.context() / 2),
            context: self.context(),
            seed: options.seed,
        };
        let start_at = prompts.first().and_then(|prompt| prompt.iter().position(|token| *token == special.start));
        let marks = Marks { end: special.end, no_speech: special.no_speech, start_at: start_at.unwrap_or_default() };
        let mut reader = Reader::new(&self.decoder, audio)?;
        decode(&mut reader, prompts, &self.rules(options), &plan, &marks)
    }

    fn rules(&self, options: &Options) -> rules::Rules {
        let special = &self.vocabulary.special;
        let seconds_a_step = 0.01 * FRAMES_A_POSITION as f64;
        let latest_first = options.latest_first_s.map(|seconds| (seconds / seconds_a_step).round_ties_even() as u32);
        let times = rules::Times { zero: special.zero, end: special.end, none: special.no_times, latest_first };
        rules::Rules {
            suppressed: if options.suppresses_signs { self.vocabulary.suppressed.clone() } else { Vec::new() },
            not_first: if options.suppresses_blank { self.vocabulary.not_first.clone() } else { Vec::new() },
            times: options.with_times.then_some(times),
        }
    }

    /// Most tokens that the decoder holds.
    fn context(&self) -> usize {
        usize::try_from(self.config.max_target_positions).unwrap_or_default()
    }
}
