//! A second reference that shares no code with the first: the greedy tokens of whisper.cpp.

use std::path::Path;

use pipeline::ml::whisper::Whisper;
use pipeline::ml::whisper::options::Options;
use serde::Deserialize;
use tch::{Device, Kind};

use crate::{fixture, folder, formula};

/// Timestamps, from 0 to 30 s.
const TIMES: usize = 1501;

#[derive(Deserialize)]
struct Second {
    model: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    seconds: f64,
    tokens: Vec<u32>,
}

#[test]
fn whisper_cpp_writes_the_same_tokens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/whisper/fixtures/second.json");
    let second: Second = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    // It suppresses what steers the model and, where no timestamps are wanted, those, and no signs.
    let mut fixture = fixture::read(&second.model);
    let words = folder::words(&fixture);
    fixture.suppressed = (words.zero..words.zero + TIMES).map(|token| u32::try_from(token).unwrap()).collect();
    let place = folder::make(&fixture);
    folder::halve(place.path());
    let model = Whisper::load_on(place.path(), Device::Cpu, Kind::Float).unwrap();
    for case in second.cases {
        let options =
            Options { beam: None, with_times: false, most_tokens: Some(case.tokens.len()), ..Options::default() };
        // It fills a window up with silence, where the first reference has zeros.
        let window = model.spectrogram(&formula::sound(case.seconds)).unwrap().narrow(1, 0, 3000);
        let audio = model.encode(&[window]).unwrap();
        let prompt = model.prompt(&options, Some("en"), &[]).unwrap();
        let ours = model.decode(&audio, &[prompt], &options, 0.0).unwrap().remove(0);
        println!("{} s: {} tokens", case.seconds, case.tokens.len());
        assert_eq!(ours.found.tokens, case.tokens, "{} s", case.seconds);
    }
}
