//! Folders as Hugging Face has them, of weights that follow from the formula.

use std::collections::BTreeMap;
use std::path::Path;

use pipeline::ml::mobilenet::MobileNet;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use tch::{Device, Kind};
use tempfile::TempDir;

use crate::fixture::Sampled;
use crate::formula;

/// What the reference made of one model.
#[derive(Deserialize)]
pub struct Fixture {
    /// As `transformers` writes it.
    pub config: serde_json::Value,
    /// Height and width of what was seen.
    pub seen: [usize; 2],
    /// What `transformers` saves: kind and shape by name.
    pub saved: BTreeMap<String, (String, Vec<usize>)>,
    /// What layers make of it.
    pub tensors: BTreeMap<String, Sampled>,
}

pub const MODELS: [&str; 3] = ["whole", "odd", "thin"];

pub fn fixture<T: for<'a> Deserialize<'a>>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/mobilenet/fixtures/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Writes `model.safetensors` with the names and shapes given.
pub fn write_weights(folder: &Path, saved: &BTreeMap<String, (String, Vec<usize>)>) {
    let made: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = saved
        .iter()
        .map(|(name, (kind, shape))| match kind.as_str() {
            "I64" => (name.clone(), Dtype::I64, shape.clone(), 7_i64.to_le_bytes().to_vec()),
            _ => {
                let numbers = formula::weight(name, shape);
                let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                (name.clone(), Dtype::F32, shape.clone(), bytes)
            }
        })
        .collect();
    let views = made
        .iter()
        .map(|(name, kind, shape, bytes)| (name.clone(), TensorView::new(*kind, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}

/// A folder with everything but a `preprocessor_config.json`, which old ones lack.
pub fn make(fixture: &Fixture) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), fixture.config.to_string()).unwrap();
    write_weights(folder.path(), &fixture.saved);
    folder
}

/// The model in `folder`, on the processor.
pub fn load(folder: &Path) -> MobileNet {
    MobileNet::load_on(folder, Device::Cpu, Kind::Float).unwrap()
}

/// Why there is no model in `folder`.
pub fn refusal(folder: &Path) -> String {
    let loaded = MobileNet::load_on(folder, Device::Cpu, Kind::Float).unwrap_err().to_string();
    assert_eq!(MobileNet::check(folder).unwrap_err().to_string(), loaded, "a glance says the same");
    loaded
}
