//! Every layer's numbers, and what a checkpoint's names are good for.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use crate::fixture::{self, MODELS};
use crate::{folder, formula};
use pipeline::ml::whisper::Whisper;

/// Largest difference that is rounding.
const ROUNDING: f64 = 1e-4;

/// The window of the fixtures: a clip of 7.3 s, zeros after it.
pub fn window(model: &Whisper) -> Tensor {
    let spectrogram = model.spectrogram(&formula::sound(7.3)).unwrap();
    spectrogram.narrow(1, 0, 730).constant_pad_nd([0, 2270])
}

#[test]
fn every_layer_computes_what_the_reference_computes() {
    for name in MODELS {
        let fixture = fixture::read(name);
        let model = folder::load(name);
        let mut ours: BTreeMap<String, Tensor> = BTreeMap::new();
        let mel = window(&model);
        ours.insert("mel".to_owned(), mel.shallow_clone());
        let mut keep = |key: String, tensor: &Tensor| drop(ours.insert(key, tensor.shallow_clone()));
        let audio = model.encoder.watched(&mel.unsqueeze(0), &mut |key, x| keep(format!("encoder {key}"), x)).unwrap();
        keep("encoder".to_owned(), &audio);
        let tokens: Vec<i64> = fixture.tokens[0].iter().map(|token| i64::from(*token)).collect();
        let tokens = Tensor::from_slice(&tokens).unsqueeze(0);
        let mut memory = model.decoder.listen(&audio).unwrap();
        let watch = &mut |key: &str, x: &Tensor| keep(format!("decoder {key}"), x);
        let read = model.decoder.watched(&tokens, &mut memory, watch).unwrap();
        keep("logits".to_owned(), &model.decoder.logits(&read).unwrap());
        assert_eq!(ours.keys().collect::<Vec<_>>(), fixture.tensors.keys().collect::<Vec<_>>());
        for (key, theirs) in &fixture.tensors {
            let difference = theirs.difference(&ours[key]);
            println!("{name:8} {key:18} {difference:.1e}");
            assert!(difference < ROUNDING, "{name}: {key} differs by {difference:.1e} of its largest number");
        }
    }
}

#[test]
fn a_checkpoint_of_transformers_has_no_tensor_too_many_and_none_too_few() {
    for name in MODELS {
        folder::load(name);
    }
}

#[test]
fn a_checkpoint_that_differs_is_refused_with_every_name() {
    let fixture = fixture::read("english");
    let words = folder::words(&fixture);
    let place = folder::make(&fixture);
    let mut saved = fixture.saved.clone();
    saved.remove("model.decoder.layers.1.fc2.bias").unwrap();
    saved.get_mut("model.encoder.conv1.weight").unwrap().1 = vec![48, 80, 5];
    saved.insert("model.extra".to_owned(), ("F32".to_owned(), vec![3]));
    folder::write_weights(place.path(), &saved, &words);
    let said = Whisper::load_on(place.path(), Device::Cpu, Kind::Float).unwrap_err().to_string();
    for named in [
        "it lacks model.decoder.layers.1.fc2.bias;",
        "model.encoder.conv1.weight ([48, 80, 5] instead of [48, 80, 3]);",
        "no use is known for model.extra",
    ] {
        assert!(said.contains(named), "{named} in {said}");
    }
}

#[test]
fn an_output_that_repeats_the_embedding_is_known_and_another_one_is_refused() {
    let fixture = fixture::read("english");
    let words = folder::words(&fixture);
    let place = folder::make(&fixture);
    let mut saved = fixture.saved.clone();
    let shape = saved["model.decoder.embed_tokens.weight"].clone();
    saved.insert("proj_out.weight".to_owned(), shape);
    folder::write_weights(place.path(), &saved, &words);
    let said = Whisper::load_on(place.path(), Device::Cpu, Kind::Float).unwrap_err().to_string();
    assert!(said.contains("proj_out.weight is not the embedding"), "{said}");
}

#[test]
fn a_tokenizer_that_does_not_fit_is_refused_in_one_sentence() {
    let place = folder::make(&fixture::read("english"));
    let path = place.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let faults = [
        (text.replace("<|startofprev|>", "<|before|>"), "lacks the token <|startofprev|>"),
        (text[..text.len() / 2].to_owned(), "cannot be understood"),
    ];
    for (text, wanted) in faults {
        std::fs::write(&path, text).unwrap();
        let said = Whisper::load_on(place.path(), Device::Cpu, Kind::Float).unwrap_err().to_string();
        assert!(said.contains("tokenizer.json") && said.contains(wanted) && said.lines().count() == 1, "{said}");
    }
    std::fs::remove_file(&path).unwrap();
    let said = Whisper::load_on(place.path(), Device::Cpu, Kind::Float).unwrap_err().to_string();
    assert!(said.contains("tokenizer.json"), "{said}");
}

#[test]
fn half_precision_on_disk_is_read_as_well() {
    let fixture = fixture::read("english");
    let place = folder::make(&fixture);
    folder::halve(place.path());
    let rounded = Whisper::load_on(place.path(), Device::Cpu, Kind::Float).unwrap();
    let exact = folder::load("english");
    let [ours, theirs] = [&rounded, &exact].map(|model| model.encode(&[window(model)]).unwrap());
    let apart = (ours - &theirs).abs().max().double_value(&[]) / theirs.abs().max().double_value(&[]);
    assert!(apart > 0.0 && apart < 0.02, "{apart}");
}
