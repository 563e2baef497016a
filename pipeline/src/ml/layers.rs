//! What networks are made of: tensors with the names that the Hugging Face files give them.
//!
//! Vaswani et al. 2017 (arXiv:1706.03762). `n` is the batch, `t` the positions of a sequence, `d` the width of the model.

use tch::Tensor;

use super::Error;
use super::weights::Parameters;

/// `x W^T + b`, section 3.3.
#[derive(Debug)]
pub struct Linear {
    /// `[outputs, inputs]`.
    weight: Tensor,
    /// `[outputs]`.
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes `<name>.weight` and `<name>.bias`.
    pub fn take(from: &mut impl Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self, Error> {
        let bias = Some(from.take(&format!("{name}.bias"), &[outputs])?);
        Ok(Self { bias, ..Self::take_plain(from, name, inputs, outputs)? })
    }

    /// Takes `<name>.weight`; there is no bias.
    pub fn take_plain(from: &mut impl Parameters, name: &str, inputs: i64, outputs: i64) -> Result<Self, Error> {
        Ok(Self { weight: from.take(&format!("{name}.weight"), &[outputs, inputs])?, bias: None })
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, Error> {
        linear(x, &self.weight, self.bias.as_ref())
    }
}

/// `x W^T + b` for `x` of shape `[.., inputs]`, `weight` `[outputs, inputs]` and `bias` `[outputs]`.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, Error> {
    let (outputs, inputs) = weight.size2()?;
    if x.numel() as i64 != inputs {
        return Ok(x.f_linear(weight, bias)?);
    }
    // A single row, as when one token is read: matrix times vector streams the weights once and lays nothing out anew.
    let row = x.f_view([inputs])?;
    let made = match bias {
        Some(bias) => bias.f_addmv(weight, &row)?,
        None => weight.f_mv(&row)?,
    };
    let mut shape = x.size();
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    Ok(made.f_view(shape.as_slice())?)
}

/// Layer normalisation (Ba et al. 2016) over the last dimension.
#[derive(Debug)]
pub struct Norm {
    width: i64,
    weight: Tensor,
    bias: Tensor,
}

impl Norm {
    const EPSILON: f64 = 1e-5;

    /// Takes `<name>.weight` and `<name>.bias`, both `[width]`.
    pub fn take(from: &mut impl Parameters, name: &str, width: i64) -> Result<Self, Error> {
        let weight = from.take(&format!("{name}.weight"), &[width])?;
        let bias = from.take(&format!("{name}.bias"), &[width])?;
        Ok(Self { width, weight, bias })
    }

    /// `[.., width]` to the same shape.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.f_layer_norm(self.width, Some(&self.weight), Some(&self.bias), Self::EPSILON, true)?)
    }
}

/// Convolution over time with a filter of three (Radford et al. 2022, section 2.2).
#[derive(Debug)]
pub struct Conv {
    /// `[outputs, inputs, 3]`.
    weight: Tensor,
    bias: Tensor,
    stride: i64,
}

impl Conv {
    /// Takes `<name>.weight` and `<name>.bias`.
    pub fn take(from: &mut impl Parameters, name: &str, inputs: i64, outputs: i64, stride: i64) -> Result<Self, Error> {
        let weight = from.take(&format!("{name}.weight"), &[outputs, inputs, 3])?;
        let bias = from.take(&format!("{name}.bias"), &[outputs])?;
        Ok(Self { weight, bias, stride })
    }

    /// `[n, inputs, t]` to `[n, outputs, t / stride]`.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.f_conv1d(&self.weight, Some(&self.bias), self.stride, 1, 1, 1)?)
    }
}

/// Two linear layers with a GELU between (section 3.3; Hendrycks and Gimpel 2016 for GELU, in its exact form).
#[derive(Debug)]
pub struct FeedForward {
    wide: Linear,
    narrow: Linear,
}

impl FeedForward {
    /// Takes `<name>.fc1` and `<name>.fc2`.
    pub fn take(from: &mut impl Parameters, name: &str, width: i64, inner: i64) -> Result<Self, Error> {
        let wide = Linear::take(from, &format!("{name}.fc1"), width, inner)?;
        let narrow = Linear::take(from, &format!("{name}.fc2"), inner, width)?;
        Ok(Self { wide, narrow })
    }

    /// `[n, t, d]` to the same shape.
    pub fn apply(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.narrow.apply(&self.wide.apply(x)?.f_gelu("none")?)
    }
}
