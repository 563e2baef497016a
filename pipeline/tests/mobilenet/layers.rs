//! Every layer's numbers, and what a checkpoint's names are good for.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::folder::{self, Fixture, MODELS};
use crate::formula;

/// Largest difference that is rounding.
const ROUNDING: f64 = 1e-4;

#[test]
fn every_layer_computes_what_the_reference_computes() {
    for name in MODELS {
        let fixture: Fixture = folder::fixture(name);
        let place = folder::make(&fixture);
        let model = folder::load(place.path());
        let [height, width] = fixture.seen;
        let seen = Tensor::from_slice(&formula::seen(height, width)).view([1, 3, height as i64, width as i64]);
        let mut ours: BTreeMap<String, Tensor> = BTreeMap::new();
        let keep = &mut |key: &str, x: &Tensor| drop(ours.insert(key.to_owned(), x.shallow_clone()));
        drop(tch::no_grad(|| model.network.watched(&seen, keep)).unwrap());
        assert_eq!(ours.keys().collect::<Vec<_>>(), fixture.tensors.keys().collect::<Vec<_>>());
        let apart = fixture.tensors.iter().map(|(key, theirs)| (theirs.difference(&ours[key]), key));
        let apart: Vec<(f64, &String)> = apart.collect();
        let (worst, key) = apart.iter().max_by(|one, other| one.0.total_cmp(&other.0)).unwrap();
        println!("{name:6} {} layers, largest difference {worst:.1e} in {key}", apart.len());
        for (difference, key) in &apart {
            assert!(*difference < ROUNDING, "{name}: {key} differs by {difference:.1e} of its largest number");
        }
    }
}

#[test]
fn pictures_together_are_seen_as_each_alone() {
    let place = folder::make(&folder::fixture("odd"));
    let model = folder::load(place.path());
    let pictures = [formula::picture(300, 200), formula::picture(90, 400), formula::picture(224, 224)];
    let together = model.look(&pictures.iter().collect::<Vec<_>>());
    for (picture, together) in pictures.iter().zip(together) {
        let (alone, together) = (model.look(&[picture]).remove(0).unwrap(), together.unwrap());
        assert_eq!(alone.len(), 3, "a model of three labels says no more");
        assert!((alone.iter().map(|label| label.confidence).sum::<f32>() - 1.0).abs() < 1e-5);
        assert!(alone.is_sorted_by(|one, other| one.confidence >= other.confidence));
        for (one, other) in alone.iter().zip(&together) {
            assert_eq!((&one.name, one.index), (&other.name, other.index));
            assert!((one.confidence - other.confidence).abs() < 1e-5);
        }
    }
}

#[test]
fn a_checkpoint_that_differs_is_refused_with_every_name() {
    let fixture: Fixture = folder::fixture("odd");
    let place = folder::make(&fixture);
    let mut saved = fixture.saved.clone();
    saved.remove("mobilenet_v2.layer.3.conv_3x3.normalization.running_mean").unwrap();
    saved.get_mut("classifier.bias").unwrap().1 = vec![4];
    saved.insert("mobilenet_v2.layer.16.expand_1x1.convolution.weight".to_owned(), ("F32".to_owned(), vec![3]));
    folder::write_weights(place.path(), &saved);
    let said = folder::refusal(place.path());
    for named in [
        "it lacks mobilenet_v2.layer.3.conv_3x3.normalization.running_mean;",
        "classifier.bias ([4] instead of [3]);",
        "no use is known for mobilenet_v2.layer.16.expand_1x1.convolution.weight",
    ] {
        assert!(said.contains(named), "{named} in {said}");
    }
    assert_eq!(said.lines().count(), 1);
}

#[test]
fn a_folder_that_is_not_whole_is_refused_in_one_sentence() {
    let place = folder::make(&folder::fixture("odd"));
    for (file, text, wanted) in [
        ("preprocessor_config.json", r#"{ "size": { "shortest_edge": 100 } }"#, "cannot be cut out"),
        ("preprocessor_config.json", "{", "cannot be understood"),
        ("config.json", r#"{ "model_type": "whisper" }"#, "is no MobileNetV2"),
    ] {
        std::fs::write(place.path().join(file), text).unwrap();
        let said = folder::refusal(place.path());
        assert!(said.contains(file) && said.contains(wanted) && said.lines().count() == 1, "{said}");
        if file == "preprocessor_config.json" {
            std::fs::remove_file(place.path().join(file)).unwrap();
        }
    }
}
