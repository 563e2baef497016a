//! The network: a convolution, seventeen blocks that are wide inside and narrow between, a convolution, an average, a linear layer.
//!
//! Sandler et al. 2018, section 3 and table 2. `n` pictures of `h` by `w` pixels become `[n, labels]`. Batch normalisation (Ioffe and
//! Szegedy 2015, algorithm 2) with the means of the training is a factor and a summand for each channel, which go into the
//! convolution before it when a model is loaded.

use tch::{Kind, Tensor};

use super::config::{Block, Config};
use crate::ml::Error;
use crate::ml::layers::Linear;
use crate::ml::weights::Parameters;

/// What is told of a computation on the way: a name as in the file, and a tensor.
pub type Watch<'a> = &'a mut dyn FnMut(&str, &Tensor);

/// The network without what is done to pictures before and to its answer after.
#[derive(Debug)]
pub struct Network {
    /// The first convolution and the first block, which repeats nothing and adds nothing.
    stem: Vec<Convolution>,
    blocks: Vec<Inverted>,
    last: Convolution,
    classifier: Linear,
}

impl Network {
    /// Takes `mobilenet_v2.*` and `classifier.*`.
    pub fn take(from: &mut impl Parameters, config: &Config) -> Result<Self, Error> {
        let (first, stem, last) = (config.first(), config.stem(), config.last());
        let labels = i64::try_from(config.id2label.len()).unwrap_or(i64::MAX);
        let mut convolution = |name: &str, shape: Shape| Convolution::take(from, config, name, shape);
        let wide = |stride, inputs| Shape { inputs, outputs: first, kernel: 3, stride, groups: 1, clamps: true };
        let mut layers = vec![convolution("conv_stem.first_conv", wide(2, config.num_channels))?];
        if !config.first_layer_is_expansion {
            layers.push(convolution("conv_stem.expand_1x1", Shape { kernel: 1, ..wide(1, first) })?);
        }
        layers.push(convolution("conv_stem.conv_3x3", Shape { groups: first, ..wide(1, first) })?);
        layers.push(convolution("conv_stem.reduce_1x1", Shape::narrowing(first, stem))?);
        let blocks = config.blocks();
        let narrow = blocks.last().map_or(stem, |block| block.outputs);
        let blocks = blocks.into_iter().enumerate();
        let blocks = blocks.map(|(at, block)| Inverted::take(&mut convolution, &format!("layer.{at}"), block));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let last_shape = Shape { inputs: narrow, outputs: last, kernel: 1, stride: 1, groups: 1, clamps: true };
        let last_layer = convolution("conv_1x1", last_shape)?;
        let classifier = Linear::take(from, "classifier", last, labels)?;
        Ok(Self { stem: layers, blocks, last: last_layer, classifier })
    }

    /// `[n, 3, h, w]` to the logits `[n, labels]`.
    pub fn apply(&self, pictures: &Tensor) -> Result<Tensor, Error> {
        self.watched(pictures, &mut |_, _| {})
    }

    /// The same, telling every convolution (`layer.3.conv_3x3`), every block (`layer.3`), `pooled` and `logits`.
    pub fn watched(&self, pictures: &Tensor, watch: Watch<'_>) -> Result<Tensor, Error> {
        let mut x = pictures.shallow_clone();
        for convolution in &self.stem {
            x = convolution.watched(&x, watch)?;
        }
        for block in &self.blocks {
            x = block.watched(&x, watch)?;
        }
        let x = self.last.watched(&x, watch)?;
        // `[n, 1280, h / 32, w / 32]` to `[n, 1280]`.
        let pooled = x.f_mean_dim(&[2_i64, 3][..], false, None::<Kind>)?;
        watch("pooled", &pooled);
        let logits = self.classifier.apply(&pooled)?;
        watch("logits", &logits);
        Ok(logits)
    }
}

/// An inverted residual block, section 3.3: wider, each channel by itself, narrow again without a bend, and what came in added when it
/// fits.
#[derive(Debug)]
struct Inverted {
    name: String,
    /// `[n, inputs, h, w]` to `[n, inner, h, w]`, to `[n, inner, h / stride, w / stride]`, to `[n, outputs, …]`.
    layers: [Convolution; 3],
    adds: bool,
}

impl Inverted {
    fn take(
        convolution: &mut impl FnMut(&str, Shape) -> Result<Convolution, Error>,
        name: &str,
        block: Block,
    ) -> Result<Self, Error> {
        let Block { inputs, inner, outputs, stride } = block;
        let wider = Shape { inputs, outputs: inner, kernel: 1, stride: 1, groups: 1, clamps: true };
        let alone = Shape { inputs: inner, outputs: inner, kernel: 3, stride, groups: inner, clamps: true };
        Ok(Self {
            layers: [
                convolution(&format!("{name}.expand_1x1"), wider)?,
                convolution(&format!("{name}.conv_3x3"), alone)?,
                convolution(&format!("{name}.reduce_1x1"), Shape::narrowing(inner, outputs))?,
            ],
            adds: stride == 1 && inputs == outputs,
            name: name.to_owned(),
        })
    }

    fn watched(&self, x: &Tensor, watch: Watch<'_>) -> Result<Tensor, Error> {
        let mut y = x.shallow_clone();
        for convolution in &self.layers {
            y = convolution.watched(&y, watch)?;
        }
        if self.adds {
            y = y.f_add(x)?;
        }
        watch(&self.name, &y);
        Ok(y)
    }
}

/// How a convolution is built.
#[derive(Clone, Copy, Debug)]
struct Shape {
    inputs: i64,
    outputs: i64,
    /// Its side, 1 or 3.
    kernel: i64,
    stride: i64,
    /// 1, or as many as there are channels, each by itself (section 3.1).
    groups: i64,
    /// Whether what comes out is kept between 0 and 6 (section 3.2: narrow layers are linear).
    clamps: bool,
}

impl Shape {
    /// A linear bottleneck, section 3.2.
    fn narrowing(inputs: i64, outputs: i64) -> Self {
        Self { inputs, outputs, kernel: 1, stride: 1, groups: 1, clamps: false }
    }
}

/// A convolution, its normalisation, and ReLU6.
#[derive(Debug)]
struct Convolution {
    name: String,
    /// `[outputs, inputs / groups, kernel, kernel]`, the normalisation's factor in it.
    weight: Tensor,
    /// `[outputs]`
    bias: Tensor,
    shape: Shape,
    /// Whether an odd pixel of padding goes to the end.
    pads_late: bool,
}

impl Convolution {
    /// Takes `mobilenet_v2.<name>.convolution` and `.normalization`.
    fn take(from: &mut impl Parameters, config: &Config, name: &str, shape: Shape) -> Result<Self, Error> {
        let Shape { inputs, outputs, kernel, groups, .. } = shape;
        let full = format!("mobilenet_v2.{name}");
        let weight = from.take(&format!("{full}.convolution.weight"), &[outputs, inputs / groups, kernel, kernel])?;
        let norm = format!("{full}.normalization");
        let mut of_norm = |part: &str| from.take(&format!("{norm}.{part}"), &[outputs]);
        let [factor, summand, mean, variance] =
            [of_norm("weight")?, of_norm("bias")?, of_norm("running_mean")?, of_norm("running_var")?];
        // How many batches the training saw.
        from.pass_by(&format!("{norm}.num_batches_tracked"));
        let factor = factor.f_divide(&variance.f_add_scalar(config.layer_norm_eps)?.f_sqrt()?)?;
        let weight = weight.f_multiply(&factor.f_view([-1, 1, 1, 1])?)?;
        let bias = summand.f_subtract(&mean.f_multiply(&factor)?)?;
        Ok(Self { name: name.to_owned(), weight, bias, shape, pads_late: config.tf_padding })
    }

    /// `[n, inputs, h, w]` to `[n, outputs, h / stride, w / stride]`, halves rounded up.
    fn watched(&self, x: &Tensor, watch: Watch<'_>) -> Result<Tensor, Error> {
        let Shape { kernel, stride, groups, clamps, .. } = self.shape;
        let size = x.size();
        let padding = |side: i64| {
            let rest = side % stride;
            (kernel - if rest == 0 { stride } else { rest }).max(0)
        };
        let (down, across) = match (self.pads_late, size.as_slice()) {
            (true, [.., height, width]) => (padding(*height), padding(*width)),
            _ => (kernel - 1, kernel - 1),
        };
        let is_even = down % 2 == 0 && across % 2 == 0;
        let padded;
        let (x, around) = if is_even {
            (x, [down / 2, across / 2])
        } else {
            padded = x.f_constant_pad_nd([across / 2, across - across / 2, down / 2, down - down / 2])?;
            (&padded, [0, 0])
        };
        let mut y = x.f_conv2d(&self.weight, Some(&self.bias), [stride; 2], around, [1, 1], groups)?;
        if clamps {
            y = y.f_clamp(0.0, 6.0)?;
        }
        watch(&self.name, &y);
        Ok(y)
    }
}
