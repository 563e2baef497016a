//! A network that learns: parameters made from nothing, and AdamW (Loshchilov and Hutter 2019).

use std::path::Path;

use pipeline::ml::Error;
use pipeline::ml::weights::Parameters;
use tch::{Device, Kind, Tensor, no_grad};

/// Parameters with what the optimiser remembers of each.
#[derive(Default)]
pub struct Pupil {
    parts: Vec<Part>,
}

struct Part {
    name: String,
    value: Tensor,
    mean: Tensor,
    square: Tensor,
}

const BETAS: (f64, f64) = (0.9, 0.98);
const EPSILON: f64 = 1e-8;
const DECAY: f64 = 0.01;
/// Longest step of all gradients together.
const CLIP: f64 = 1.0;
/// What a block adds is small at first, so that depth does not matter.
const QUIET: f64 = 0.5;

impl Parameters for Pupil {
    fn has(&self, name: &str) -> bool {
        // The output is the embedding, and the encoder's positions are fixed.
        name != "proj_out.weight" && name != "model.encoder.embed_positions.weight"
    }

    fn pass_by(&mut self, _name: &str) {}

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, Error> {
        let options = (Kind::Float, Device::Cpu);
        let inputs: i64 = shape.iter().skip(1).product();
        let normal = |deviation: f64| Tensor::randn(shape, options) * deviation;
        let value = if name.ends_with("layer_norm.weight") {
            Tensor::ones(shape, options)
        } else if name.ends_with(".bias") {
            Tensor::zeros(shape, options)
        } else if name.contains("embed_") {
            normal(0.05)
        } else if name.ends_with("out_proj.weight") || name.ends_with("fc2.weight") {
            normal(QUIET / (inputs as f64).sqrt())
        } else {
            normal(1.0 / (inputs as f64).sqrt())
        };
        let value = value.set_requires_grad(true);
        let (mean, square) = (Tensor::zeros(shape, options), Tensor::zeros(shape, options));
        let shared = value.shallow_clone();
        self.parts.push(Part { name: name.to_owned(), value, mean, square });
        Ok(shared)
    }
}

impl Pupil {
    /// Numbers that can change.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|part| part.value.numel()).sum()
    }

    /// Takes a step against the gradients, number `at` from 1, and forgets them.
    pub fn step(&mut self, at: usize, rate: f64) {
        no_grad(|| {
            let squares = self.parts.iter().map(|part| part.value.grad().square().sum(Kind::Float).double_value(&[]));
            let length = squares.sum::<f64>().sqrt();
            let scale = if length.is_finite() { (CLIP / (length + 1e-6)).min(1.0) } else { 0.0 };
            let steps = i32::try_from(at).unwrap_or(i32::MAX);
            let (first, second) = (1.0 - BETAS.0.powi(steps), 1.0 - BETAS.1.powi(steps));
            for part in &mut self.parts {
                let mut gradient = part.value.grad();
                let scaled = &gradient * scale;
                part.mean = &part.mean * BETAS.0 + &scaled * (1.0 - BETAS.0);
                part.square = &part.square * BETAS.1 + scaled.square() * (1.0 - BETAS.1);
                let way = (&part.mean / first) / ((&part.square / second).sqrt() + EPSILON);
                let decay = if part.value.dim() > 1 { DECAY } else { 0.0 };
                let moved = &part.value * (1.0 - rate * decay) - way * rate;
                part.value.copy_(&moved);
                let _ = gradient.zero_();
            }
        });
    }

    /// Everything that going on needs.
    pub fn save(&self, path: &Path) -> Result<(), tch::TchError> {
        let named = self.parts.iter().flat_map(|part| {
            let Part { name, value, mean, square } = part;
            [("value", value), ("mean", mean), ("square", square)]
                .map(|(kind, tensor)| (format!("{kind}.{name}"), tensor.detach()))
        });
        Tensor::write_safetensors(&named.collect::<Vec<_>>(), path)
    }

    /// Goes on where [`Pupil::save`] was.
    pub fn resume(&mut self, path: &Path) -> Result<(), String> {
        let saved = Tensor::read_safetensors(path).map_err(|error| format!("read {}: {error}", path.display()))?;
        let find = |kind: &str, name: &str| {
            let wanted = format!("{kind}.{name}");
            let found = saved.iter().find(|(saved, _)| *saved == wanted).map(|(_, tensor)| tensor.shallow_clone());
            found.ok_or_else(|| format!("{} lacks {wanted}", path.display()))
        };
        for part in &mut self.parts {
            let value = find("value", &part.name)?;
            no_grad(|| part.value.copy_(&value));
            part.mean = find("mean", &part.name)?;
            part.square = find("square", &part.name)?;
        }
        Ok(())
    }

    /// The parameters alone, in half precision, those that begin with `prefix`.
    pub fn weights(&self, prefix: &str) -> Vec<(String, Tensor)> {
        let wanted = self.parts.iter().filter(|part| part.name.starts_with(prefix));
        wanted.map(|part| (part.name.clone(), part.value.detach().to_kind(Kind::Half))).collect()
    }
}
