//! The model that `train_captioner` made: what it has learned, in sentences and voices that it had not heard.

use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;
use tch::Kind;

#[path = "../../examples/train_captioner/exam.rs"]
mod exam;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/train_captioner/folder.rs"]
mod folder;
#[path = "../../examples/train_captioner/grammar.rs"]
mod grammar;
#[allow(dead_code, reason = "the example uses the rest")]
#[path = "../../examples/train_captioner/lessons.rs"]
mod lessons;
#[path = "../../examples/train_captioner/readings.rs"]
mod readings;
#[path = "../../examples/train_captioner/voices.rs"]
mod voices;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/models/seventy-four-words");
/// Share of words that may be wrong.
const WRONG: f64 = 0.15;
/// How far the first and the last sound may be from where the model hears them, for nine in ten, seconds.
const MISSED_S: f64 = 0.15;
/// Bytes that it may take.
const LARGEST: u64 = 6_000_000;

#[test]
fn sentences_and_voices_that_were_not_taught_are_understood_in_either_precision() {
    assert!(grammar::words().len() >= 60);
    let heard = readings::readings(60, false, &mut StdRng::seed_from_u64(9)).unwrap();
    for kind in [Kind::Float, Kind::BFloat16] {
        let marks = exam::sit(Path::new(MODEL), kind, &heard).unwrap();
        let wrong = marks.errors as f64 / marks.words as f64;
        let missed_s = marks.missed_s[marks.missed_s.len() * 9 / 10];
        println!("{kind:?}: {} of {} words wrong, times missed by {missed_s:.2} s", marks.errors, marks.words);
        assert!(marks.words > 300 && wrong <= WRONG, "{kind:?}: {} of {}", marks.errors, marks.words);
        assert!(missed_s <= MISSED_S, "{kind:?}: {missed_s}");
    }
}

#[test]
fn the_model_of_the_tests_is_small() {
    let files = std::fs::read_dir(MODEL).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= LARGEST, "{bytes}");
}
