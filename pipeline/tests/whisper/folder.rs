//! Folders as Hugging Face has them, of weights that follow from the formula.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use pipeline::ml::whisper::Whisper;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::fixture::{self, Fixture, MODELS};
use crate::formula;

/// The vocabulary of a model: text, then what steers, then timestamps.
pub struct Words {
    pub text: usize,
    pub end: usize,
    pub zero: usize,
    listed: BTreeMap<String, usize>,
}

/// Bytes as GPT-2 spells them (Radford et al. 2019): printable ones as they are, others from U+0100 on.
fn spelled_bytes() -> Vec<char> {
    let printable = ('!'..='~').chain('¡'..='¬').chain('®'..='ÿ');
    let others = (0u32..256).filter(|byte| !matches!(byte, 0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff));
    printable.chain(others.zip(0x100..).filter_map(|(_, spelled)| char::from_u32(spelled))).collect()
}

pub fn words(fixture: &Fixture) -> Words {
    let all = usize::try_from(fixture.config["vocab_size"].as_u64().unwrap()).unwrap();
    let mut steering = vec!["endoftext".to_owned(), "startoftranscript".to_owned()];
    steering.extend(fixture.codes.iter().cloned());
    let rest = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"];
    steering.extend(rest.map(str::to_owned));
    let text = all - 1501 - steering.len();
    let letters = spelled_bytes().into_iter().map(String::from);
    let made = (256..text).map(|token| format!("Ġw{token}"));
    let special = steering.iter().map(|name| format!("<|{name}|>"));
    let times = (0..1501).map(|step| format!("<|{:.2}|>", f64::from(step) * 0.02));
    let listed = letters.chain(made).chain(special).chain(times).zip(0..).collect();
    Words { text, end: text, zero: all - 1501, listed }
}

fn tokenizer(words: &Words) -> serde_json::Value {
    let (text, special): (BTreeMap<_, _>, BTreeMap<_, _>) =
        words.listed.iter().partition(|(_, token)| **token < words.text);
    let mut added: Vec<_> = special
        .into_iter()
        .map(|(content, id)| {
            json!({"id": id, "content": content, "special": *id < words.zero, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false})
        })
        .collect();
    added.sort_by_key(|one| one["id"].as_u64());
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": text, "merges": []}})
}

fn write_json(folder: &Path, name: &str, value: &serde_json::Value) {
    std::fs::write(folder.join(name), value.to_string()).unwrap();
}

/// Rounds the weights in `folder` to half precision.
pub fn halve(folder: &Path) {
    let path = folder.join("model.safetensors");
    let whole = Tensor::read_safetensors(&path).unwrap();
    let half: Vec<(String, Tensor)> = whole.into_iter().map(|(name, x)| (name, x.to_kind(Kind::Half))).collect();
    Tensor::write_safetensors(&half, &path).unwrap();
}

/// Writes `model.safetensors` with the names and shapes given.
pub fn write_weights(folder: &Path, saved: &BTreeMap<String, (String, Vec<usize>)>, words: &Words) {
    let made: Vec<(String, Vec<usize>, Vec<u8>)> = saved
        .iter()
        .map(|(name, (kind, shape))| {
            assert_eq!(kind, "F32");
            let numbers = formula::weight(name, shape, words.end, words.zero);
            (name.clone(), shape.clone(), numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
        })
        .collect();
    let views = made
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).unwrap();
}

/// A folder with everything.
pub fn make(fixture: &Fixture) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let words = words(fixture);
    write_json(folder.path(), "config.json", &fixture.config);
    write_json(folder.path(), "generation_config.json", &json!({"suppress_tokens": fixture.suppressed}));
    write_json(folder.path(), "tokenizer.json", &tokenizer(&words));
    write_weights(folder.path(), &fixture.saved, &words);
    folder
}

/// The folder of a model of the fixtures, made once.
pub fn of(name: &str) -> &'static Path {
    static MADE: [OnceLock<TempDir>; MODELS.len()] = [const { OnceLock::new() }; MODELS.len()];
    let at = MODELS.iter().position(|known| *known == name).unwrap();
    MADE[at].get_or_init(|| make(&fixture::read(name))).path()
}

/// The model of that name, on the processor.
pub fn load(name: &str) -> Whisper {
    Whisper::load_on(of(name), Device::Cpu, Kind::Float).unwrap()
}
