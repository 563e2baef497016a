//! The encoder: a convolutional stem, then blocks of self-attention.
//!
//! Radford et al. 2022, section 2.2 and figure 1; Vaswani et al. 2017, sections 3.1 and 3.5. `n` windows of `2 t` frames with
//! `m` bands become `[n, t, d]`.

use tch::Tensor;

use super::attention::Attention;
use super::config::Config;
use super::positions::sinusoids;
use crate::ml::Error;
use crate::ml::layers::{Conv, FeedForward, Norm};
use crate::ml::weights::Parameters;

/// What is told of a computation on the way: a name and a tensor.
pub type Watch<'a> = &'a mut dyn FnMut(&str, &Tensor);

/// Listens.
#[derive(Debug)]
pub struct Encoder {
    /// `m` bands to `d`.
    first: Conv,
    /// Every second position is left.
    second: Conv,
    /// `[t, d]`
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
}

impl Encoder {
    /// Takes `model.encoder.*`.
    pub fn take(from: &mut impl Parameters, config: &Config) -> Result<Self, Error> {
        let width = config.d_model;
        let name = "model.encoder";
        let first = Conv::take(from, &format!("{name}.conv1"), config.num_mel_bins, width, 1)?;
        let second = Conv::take(from, &format!("{name}.conv2"), width, width, 2)?;
        let (positions, shape) = (format!("{name}.embed_positions.weight"), [config.max_source_positions, width]);
        // Fixed numbers, which most files carry all the same.
        let positions = if from.has(&positions) { from.take(&positions, &shape)? } else { fixed_positions(shape)? };
        let blocks =
            (0..config.encoder_layers).map(|layer| Block::take(from, &format!("{name}.layers.{layer}"), config));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let norm = Norm::take(from, &format!("{name}.layer_norm"), width)?;
        Ok(Self { first, second, positions, blocks, norm })
    }

    /// `[n, m, 2 t]` to `[n, t, d]`.
    pub fn apply(&self, mel: &Tensor) -> Result<Tensor, Error> {
        self.watched(mel, &mut |_, _| {})
    }

    /// The same, telling `stem`, `layer 0` and so on.
    pub fn watched(&self, mel: &Tensor, watch: Watch<'_>) -> Result<Tensor, Error> {
        let x = self.first.apply(mel)?.f_gelu("none")?;
        let x = self.second.apply(&x)?.f_gelu("none")?.f_transpose(1, 2)?;
        let mut x = x.f_add(&self.positions.f_to(x.device())?.f_to_kind(x.kind())?)?;
        watch("stem", &x);
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.apply(&x)?;
            watch(&format!("layer {layer}"), &x);
        }
        self.norm.apply(&x)
    }
}

/// The fixed positions of the published models, of shape `[t, d]`.
fn fixed_positions(shape: [i64; 2]) -> Result<Tensor, Error> {
    let [length, width] = shape.map(|size| usize::try_from(size).unwrap_or_default());
    Ok(Tensor::f_from_slice(&sinusoids(length, width))?.f_view(shape)?)
}

/// Normalisation stands before what it normalises (Radford et al. 2022, section 2.2: pre-activation residual blocks).
#[derive(Debug)]
struct Block {
    attention_norm: Norm,
    attention: Attention,
    feed_norm: Norm,
    feed: FeedForward,
}

impl Block {
    fn take(from: &mut impl Parameters, name: &str, config: &Config) -> Result<Self, Error> {
        let width = config.d_model;
        Ok(Self {
            attention: Attention::take(from, &format!("{name}.self_attn"), width, config.encoder_attention_heads)?,
            attention_norm: Norm::take(from, &format!("{name}.self_attn_layer_norm"), width)?,
            feed: FeedForward::take(from, name, width, config.encoder_ffn_dim)?,
            feed_norm: Norm::take(from, &format!("{name}.final_layer_norm"), width)?,
        })
    }

    /// `[n, t, d]` to the same shape.
    fn apply(&self, x: &Tensor) -> Result<Tensor, Error> {
        let normal = self.attention_norm.apply(x)?;
        let seen = self.attention.see(&normal)?;
        let x = x.f_add(&self.attention.attend(&normal, &seen, false)?)?;
        Ok(x.f_add(&self.feed.apply(&self.feed_norm.apply(&x)?)?)?)
    }
}
