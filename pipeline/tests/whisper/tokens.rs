//! The same tokens as the reference, greedy and with a beam, of single windows and of long audio.

use pipeline::ml::whisper::Whisper;
use pipeline::ml::whisper::decode::judge::Thresholds;
use pipeline::ml::whisper::options::{Options, Task};
use serde_json::Value;
use tch::Tensor;

use crate::fixture::{self, MODELS};
use crate::layers::window;
use crate::{folder, formula};

/// Options by their names in the reference, and what comes before.
fn options(of: &Value, is_long: bool) -> (Options, Vec<u32>) {
    let mut options = Options {
        temperatures: vec![0.0],
        beam: None,
        thresholds: Thresholds { no_speech: None, ..Thresholds::default() },
        continues: is_long,
        ..Options::default()
    };
    let mut prompt = Vec::new();
    for (key, value) in of.as_object().unwrap() {
        match key.as_str() {
            "language" => options.language = Some(value.as_str().unwrap().to_owned()),
            "task" => options.task = Task::Translate,
            "sample_len" => options.most_tokens = value.as_u64().map(|most| most as usize),
            "without_timestamps" => options.with_times = false,
            "suppress_blank" => options.suppresses_blank = false,
            "suppress_tokens" => options.suppresses_signs = false,
            "max_initial_timestamp" => options.latest_first_s = value.as_f64(),
            "beam_size" => options.beam = value.as_u64().map(|size| size as usize),
            "patience" => options.patience = value.as_f64().unwrap(),
            "length_penalty" => options.length_penalty = value.as_f64(),
            "condition_on_previous_text" => options.continues = value.as_bool().unwrap(),
            "initial_prompt" => options.prompt = value.as_str().unwrap().to_owned(),
            "prompt" => prompt = serde_json::from_value(value.clone()).unwrap(),
            "no_speech_threshold" => {}
            other => panic!("{other} is not known here"),
        }
    }
    (options, prompt)
}

/// The two windows of the fixtures, encoded.
fn audio(model: &Whisper) -> Tensor {
    let quiet: Vec<f32> = formula::sound(31.0).iter().map(|sample| 0.01f32 * sample).collect();
    let quiet = model.mel.spectrogram(&quiet, 0).unwrap().narrow(1, 0, 3000);
    model.encode(&[window(model), quiet]).unwrap()
}

fn code(languages: &[(String, f64)]) -> &str {
    languages.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map_or("en", |(code, _)| code)
}

#[test]
fn windows_give_the_tokens_of_the_reference() {
    for name in MODELS {
        let fixture = fixture::read(name);
        let model = folder::load(name);
        let audio = audio(&model);
        let languages = model.languages(&audio).unwrap();
        for (case, theirs) in fixture.decoded.iter().enumerate() {
            let (options, earlier) = options(&theirs.options, false);
            let prompts: Vec<Vec<u32>> = languages
                .iter()
                .map(|heard| {
                    let language = options.language.as_deref().unwrap_or(code(heard));
                    model.prompt(&options, Some(language), &earlier).unwrap()
                })
                .collect();
            let ours = model.decode(&audio, &prompts, &options, 0.0).unwrap();
            println!("{name:8} {:?} won by {:?}", theirs.options, theirs.least_margin);
            for (ours, theirs) in ours.iter().zip(&theirs.windows) {
                assert_eq!(ours.found.tokens, theirs.tokens, "{name}, case {case}");
                let apart = (ours.found.avg_logprob() - theirs.avg_logprob).abs();
                assert!(apart < 1e-3, "{name}, case {case}: {} and {}", ours.found.avg_logprob(), theirs.avg_logprob);
                assert!((ours.no_speech - theirs.no_speech).abs() < 1e-4 * theirs.no_speech.max(1e-3));
            }
        }
    }
}

#[test]
fn languages_are_as_probable_as_in_the_reference() {
    for name in MODELS {
        let fixture = fixture::read(name);
        let model = folder::load(name);
        let ours = model.languages(&audio(&model)).unwrap();
        if fixture.languages.is_empty() {
            assert!(ours.iter().all(Vec::is_empty), "{name} knows English alone");
            continue;
        }
        for (ours, theirs) in ours.iter().zip(&fixture.languages) {
            assert_eq!(ours.len(), theirs.len());
            for ((code, ours), theirs) in ours.iter().zip(theirs) {
                assert!((ours - theirs).abs() < 1e-4 * theirs.max(1e-2), "{name}: {code} {ours} {theirs}");
            }
        }
    }
}

#[test]
fn long_audio_gives_the_segments_of_the_reference() {
    for name in MODELS {
        let fixture = fixture::read(name);
        let model = folder::load(name);
        for (case, theirs) in fixture.transcribed.iter().enumerate() {
            let (options, _) = options(&theirs.options, true);
            // The vocabulary that is made here spells a prompt otherwise.
            if !options.prompt.is_empty() {
                continue;
            }
            let sound = formula::sound(75.0);
            let ours = model.transcribe(&[&sound], &options).unwrap().remove(0);
            let ours: Vec<(f64, f64, Vec<u32>)> =
                ours.segments.into_iter().map(|one| (one.start_s, one.end_s, one.tokens)).collect();
            assert_eq!(ours.len(), theirs.segments.len(), "{name}, case {case}");
            for (ours, theirs) in ours.iter().zip(&theirs.segments) {
                assert_eq!(ours.2, theirs.2, "{name}, case {case}");
                assert!((ours.0 - theirs.0).abs() < 1e-3 && (ours.1 - theirs.1).abs() < 1e-3, "{ours:?} {theirs:?}");
            }
        }
    }
}

#[test]
fn spans_in_a_batch_give_what_each_gives_alone() {
    let model = folder::load("many");
    let long = formula::sound(45.0);
    let spans = [&long[..], &long[..160_000], &long[99_000..300_000], &long[..0], &long[500_000..501_000]];
    for beam in [None, Some(3)] {
        let options = Options { beam, most_tokens: Some(20), temperatures: vec![0.0, 0.4], ..Options::default() };
        let together = model.transcribe(&spans, &options).unwrap();
        for (at, span) in spans.iter().enumerate() {
            let alone = model.transcribe(&[span], &options).unwrap().remove(0);
            assert_eq!(alone.language, together[at].language, "span {at}");
            let tokens = |of: &pipeline::ml::whisper::Transcript| -> Vec<Vec<u32>> {
                of.segments.iter().map(|segment| segment.tokens.clone()).collect()
            };
            assert_eq!(tokens(&alone), tokens(&together[at]), "span {at} with beam {beam:?}");
        }
        assert!(together[3].segments.is_empty(), "no samples say nothing");
    }
}

#[test]
fn sound_that_is_none_has_an_answer() {
    let model = folder::load("english");
    let options = Options { beam: None, most_tokens: Some(6), temperatures: vec![0.0], ..Options::default() };
    for samples in [vec![0.0; 16_000], vec![f32::NAN; 16_000], vec![f32::INFINITY; 400], vec![0.5; 3], Vec::new()] {
        model.transcribe(&[&samples], &options).unwrap();
    }
    let unknown = Options { language: Some("tlh".to_owned()), ..options.clone() };
    assert!(model.transcribe(&[&[0.0; 16_000]], &unknown).is_ok(), "a model for English alone hears English");
    let said = folder::load("many").transcribe(&[&[0.0; 16_000]], &unknown).unwrap_err().to_string();
    assert_eq!(said, "the model does not know the language `tlh`");
}
