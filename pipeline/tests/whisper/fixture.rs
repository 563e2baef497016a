//! What the reference made.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tch::{Kind, Tensor};

/// Of one model.
#[derive(Deserialize)]
pub struct Fixture {
    /// As `transformers` writes it.
    pub config: serde_json::Value,
    /// Codes of languages, in the order of their tokens.
    pub codes: Vec<String>,
    /// Tokens of signs that are not spoken.
    pub suppressed: Vec<u32>,
    /// What `transformers` saves: kind and shape by name.
    pub saved: BTreeMap<String, (String, Vec<usize>)>,
    /// A row of tokens to read.
    pub tokens: Vec<Vec<u32>>,
    /// What layers make of a window and of the tokens.
    pub tensors: BTreeMap<String, Sampled>,
    /// Tokens of two windows, by options.
    pub decoded: Vec<Decoded>,
    /// How probable each language is in the two windows.
    pub languages: Vec<Vec<f64>>,
    /// Segments of a long audio, by options.
    pub transcribed: Vec<Transcribed>,
}

/// Some numbers of a tensor, and sums of all.
#[derive(Deserialize)]
pub struct Sampled {
    pub shape: Vec<i64>,
    pub step: i64,
    pub values: Vec<f64>,
    pub largest: f64,
    pub signed_sum: f64,
    pub square_sum: f64,
}

#[derive(Deserialize)]
pub struct Decoded {
    pub options: serde_json::Value,
    pub least_margin: Option<f64>,
    pub windows: Vec<Window>,
}

#[derive(Deserialize)]
pub struct Window {
    pub tokens: Vec<u32>,
    pub avg_logprob: f64,
    pub no_speech: f64,
}

#[derive(Deserialize)]
pub struct Transcribed {
    pub options: serde_json::Value,
    pub segments: Vec<(f64, f64, Vec<u32>)>,
}

pub const MODELS: [&str; 3] = ["many", "english", "third"];

pub fn read(name: &str) -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/whisper/fixtures/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Sampled {
    /// The largest difference of a number, as a fraction of the largest number; sums over all count as well.
    pub fn difference(&self, ours: &Tensor) -> f64 {
        assert_eq!(ours.size(), self.shape);
        let flat = ours.to_kind(Kind::Double).contiguous().view(-1);
        let count = flat.size()[0];
        let picked: Vec<f64> = Vec::try_from(flat.slice(0, 0, count, self.step)).unwrap();
        let signs =
            Tensor::arange(count, (Kind::Int64, tch::Device::Cpu)).remainder(3i64).eq(0i64).to_kind(Kind::Double) * 2
                - 1;
        let apart = self.values.iter().zip(picked).map(|(theirs, ours)| (theirs - ours).abs()).fold(0.0, f64::max);
        // A sum over all may be off by what all are off together; a number that is wrong shows more.
        let sum = ((&flat * signs).sum(Kind::Double).double_value(&[]) - self.signed_sum).abs() / (count as f64).sqrt();
        let squares = flat.square().sum(Kind::Double).double_value(&[]);
        let length = (squares.sqrt() - self.square_sum.sqrt()).abs() / (count as f64).sqrt();
        apart.max(sum).max(length) / self.largest
    }
}
