//! The decoder: token and learned position embeddings, blocks of causal self-attention and attention to the audio, and the
//! token embedding once more as the output.
//!
//! Radford et al. 2022, section 2.2 and figure 1; Vaswani et al. 2017, sections 3.1 and 3.4. `n` rows of `t` tokens become
//! `[n, t, d]`, and `[n, v]` logits over a vocabulary of `v`.

use tch::{Kind, Tensor};

use super::attention::{Attention, Cache, Seen};
use super::config::Config;
use super::decode::search::Next;
use super::decode::{Logits, Scorer};
use super::encoder::Watch;
use crate::ml::Error;
use crate::ml::layers::{FeedForward, Norm, linear};
use crate::ml::weights::Parameters;

/// Writes.
#[derive(Debug)]
pub struct Decoder {
    /// `[v, d]`, for input and output.
    tokens: Tensor,
    /// `[448, d]`, learned.
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
}

/// What a decoder has read, and what it listens to.
#[derive(Debug)]
pub struct Memory {
    blocks: Vec<Remembered>,
    position: i64,
}

/// Of one block.
#[derive(Debug)]
struct Remembered {
    /// `[n, h, t, d / h]` of the tokens.
    read: Cache,
    /// `[windows, h, 1500, d / h]` of the audio.
    audio: Seen,
}

impl Decoder {
    /// Takes `model.decoder.*`, and `proj_out.weight` where a file repeats the embedding.
    pub fn take(from: &mut impl Parameters, config: &Config) -> Result<Self, Error> {
        let width = config.d_model;
        let name = "model.decoder";
        let shape = [config.vocab_size, width];
        let tokens = from.take(&format!("{name}.embed_tokens.weight"), &shape)?;
        let output = "proj_out.weight";
        if from.has(output) && !from.take(output, &shape)?.f_equal(&tokens)? {
            return Err(Error::Unfit(format!("{output} is not the embedding of the tokens, which Whisper shares")));
        }
        let positions = from.take(&format!("{name}.embed_positions.weight"), &[config.max_target_positions, width])?;
        let blocks =
            (0..config.decoder_layers).map(|layer| Block::take(from, &format!("{name}.layers.{layer}"), config));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let norm = Norm::take(from, &format!("{name}.layer_norm"), width)?;
        Ok(Self { tokens, positions, blocks, norm })
    }

    /// Nothing read yet; listens to `audio`, `[windows, 1500, d]`.
    pub fn listen(&self, audio: &Tensor) -> Result<Memory, Error> {
        let remembered = self.blocks.iter().map(|block| {
            let audio = block.audio.see(audio)?.packed()?;
            Ok(Remembered { read: Cache::default(), audio })
        });
        Ok(Memory { blocks: remembered.collect::<Result<_, Error>>()?, position: 0 })
    }

    /// Reads `tokens`, `[n, t]`, after what is in `memory`; answers `[n, t, d]`. Rows of one window follow each other.
    pub fn read(&self, tokens: &Tensor, memory: &mut Memory) -> Result<Tensor, Error> {
        self.watched(tokens, memory, &mut |_, _| {})
    }

    /// The same, telling `embedding`, `layer 0` and so on.
    pub fn watched(&self, tokens: &Tensor, memory: &mut Memory, watch: Watch<'_>) -> Result<Tensor, Error> {
        let (_, length) = tokens.size2()?;
        if memory.position > 0 && length > 1 {
            return Err(Error::Compute("a decoder that has begun reads one token at a time".to_owned()));
        }
        let positions = self.positions.f_narrow(0, memory.position, length)?;
        let mut x = Tensor::f_embedding(&self.tokens, tokens, -1, false, false)?.f_add(&positions)?;
        watch("embedding", &x);
        for (layer, (block, remembered)) in self.blocks.iter().zip(&mut memory.blocks).enumerate() {
            x = block.apply(&x, remembered)?;
            watch(&format!("layer {layer}"), &x);
        }
        memory.position += length;
        self.norm.apply(&x)
    }

    /// `[.., d]` to `[.., v]`.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(linear(x, &self.tokens, None)?.f_to_kind(Kind::Float)?)
    }
}

/// Normalisation stands before what it normalises.
#[derive(Debug)]
struct Block {
    read_norm: Norm,
    read: Attention,
    audio_norm: Norm,
    audio: Attention,
    feed_norm: Norm,
    feed: FeedForward,
}

impl Block {
    fn take(from: &mut impl Parameters, name: &str, config: &Config) -> Result<Self, Error> {
        let (width, heads) = (config.d_model, config.decoder_attention_heads);
        Ok(Self {
            read: Attention::take(from, &format!("{name}.self_attn"), width, heads)?,
            read_norm: Norm::take(from, &format!("{name}.self_attn_layer_norm"), width)?,
            audio: Attention::take(from, &format!("{name}.encoder_attn"), width, heads)?,
            audio_norm: Norm::take(from, &format!("{name}.encoder_attn_layer_norm"), width)?,
            feed: FeedForward::take(from, name, width, config.decoder_ffn_dim)?,
            feed_norm: Norm::take(from, &format!("{name}.final_layer_norm"), width)?,
        })
    }

    /// `[n, t, d]` to the same shape.
    fn apply(&self, x: &Tensor, remembered: &mut Remembered) -> Result<Tensor, Error> {
        let normal = self.read_norm.apply(x)?;
        let read = remembered.read.grow(self.read.see(&normal)?)?;
        let x = x.f_add(&self.read.attend(&normal, &read, x.size()[1] > 1)?)?;
        let heard = self.audio.attend(&self.audio_norm.apply(&x)?, &remembered.audio, false)?;
        let x = x.f_add(&heard)?;
        Ok(x.f_add(&self.feed.apply(&self.feed_norm.apply(&x)?)?)?)
    }
}

/// A decoder with a memory: logits for a batch of windows.
#[derive(Debug)]
pub struct Reader<'a> {
    decoder: &'a Decoder,
    memory: Memory,
    /// The window that each row is about, counted among those that the memory holds.
    windows: Vec<usize>,
}

impl<'a> Reader<'a> {
    /// Begins with `audio`, `[windows, 1500, d]`.
    pub fn new(decoder: &'a Decoder, audio: &Tensor) -> Result<Self, Error> {
        Ok(Self { decoder, memory: decoder.listen(audio)?, windows: Vec::new() })
    }

    fn device(&self) -> tch::Device {
        self.decoder.tokens.device()
    }

    /// Keeps what the rows `next` go on with, and which windows they are about.
    fn keep(&mut self, next: &[Next]) -> Result<(), Error> {
        let about = |one: &Next| self.windows.get(one.source).copied().unwrap_or_default();
        let of_rows: Vec<usize> = next.iter().map(about).collect();
        let mut kept = of_rows.clone();
        kept.dedup();
        let held = self.windows.iter().max().map_or(0, |last| last + 1);
        let windows = (kept.len() != held).then(|| indices(&kept, self.device())).transpose()?;
        let is_same = next.len() == self.windows.len() && next.iter().enumerate().all(|(row, one)| one.source == row);
        let sources: Vec<usize> = next.iter().map(|one| one.source).collect();
        let rows = (!is_same).then(|| indices(&sources, self.device())).transpose()?;
        for remembered in &mut self.memory.blocks {
            if let Some(windows) = &windows {
                remembered.audio.keep(windows)?;
            }
            if let Some(rows) = &rows {
                remembered.read.keep(rows)?;
            }
        }
        self.windows = of_rows.iter().map(|window| kept.partition_point(|one| one < window)).collect();
        Ok(())
    }

    /// `[n, d]` to rows of logits.
    fn rows(&self, x: &Tensor) -> Result<Logits, Error> {
        let logits = self.decoder.logits(x)?;
        let (rows, vocabulary) = logits.size2()?;
        let count = usize::try_from(rows * vocabulary).unwrap_or_default();
        let mut values = vec![0.0; count];
        logits.f_contiguous()?.f_to(tch::Device::Cpu)?.f_copy_data(&mut values, count)?;
        Ok(Logits { vocabulary: usize::try_from(vocabulary).unwrap_or_default(), values })
    }
}

fn indices(of: &[usize], device: tch::Device) -> Result<Tensor, Error> {
    let of: Vec<i64> = of.iter().map(|index| i64::try_from(*index).unwrap_or_default()).collect();
    Ok(Tensor::f_from_slice(&of)?.f_to(device)?)
}

impl Scorer for Reader<'_> {
    type Error = Error;

    fn begin(&mut self, prompts: &[Vec<u32>], at: usize) -> Result<(Logits, Logits), Error> {
        let tokens: Vec<i64> = prompts.iter().flatten().map(|token| i64::from(*token)).collect();
        let rows = i64::try_from(prompts.len()).unwrap_or_default();
        let tokens = Tensor::f_from_slice(&tokens)?.f_view([rows, -1])?.f_to(self.device())?;
        self.windows = (0..prompts.len()).collect();
        let x = self.decoder.read(&tokens, &mut self.memory)?;
        let at = i64::try_from(at).unwrap_or_default();
        Ok((self.rows(&x.f_select(1, at)?)?, self.rows(&x.f_select(1, -1)?)?))
    }

    fn step(&mut self, next: &[Next]) -> Result<Logits, Error> {
        self.keep(next)?;
        let tokens: Vec<i64> = next.iter().map(|one| i64::from(one.token)).collect();
        let tokens = Tensor::f_from_slice(&tokens)?.f_view([-1, 1])?.f_to(self.device())?;
        let x = self.decoder.read(&tokens, &mut self.memory)?;
        self.rows(&x.f_select(1, 0)?)
    }
}
