//! A published network on pictures whose content is known, when they are there.
//!
//! The weights are those of TensorFlow's quantised `mobilenet_v2_1.0_224`, made numbers again, the normalisation already in the
//! convolutions; here they get the names of `transformers` and a normalisation that changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;

use pipeline::ml::mobilenet::Picture;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use crate::folder;

/// Labels that are right for each picture, of those that the network knows. Written down before the network saw any. There is no
/// sunflower, no sparrow and no owl of this kind among them: the closest relatives count. The dogs are shaggy, white and grey.
const ACCEPTED: [(&str, &[&str]); 10] = [
    ("burger.jpg", &["cheeseburger"]),
    ("cat.bmp", &["tabby", "tiger cat", "Egyptian cat"]),
    (
        "dogs.jpg",
        &[
            "Old English sheepdog",
            "soft-coated wheaten terrier",
            "Maltese dog",
            "Lhasa",
            "Tibetan terrier",
            "Shih-Tzu",
            "komondor",
            "miniature poodle",
            "standard poodle",
            "toy poodle",
            "Bedlington terrier",
            "Dandie Dinmont",
            "West Highland white terrier",
            "Sealyham terrier",
        ],
    ),
    ("dragonfly.bmp", &["dragonfly"]),
    ("grace_hopper.bmp", &["military uniform"]),
    ("hot_dog.jpg", &["hotdog"]),
    ("owl.jpg", &["great grey owl"]),
    ("parrot.jpg", &["macaw"]),
    ("sparrow.jpg", &["brambling", "house finch"]),
    ("sunflower.bmp", &["daisy"]),
];

/// The folder of models: beside that of collected samples.
fn models() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/media");
    let samples = std::env::var_os("STREAMFORGE_SAMPLES").map_or(beside, PathBuf::from);
    let folder = samples.join("../models");
    folder.join("mobilenet_v2_1.0_224_dequant.safetensors").is_file().then_some(folder)
}

/// The layers of our network and what TensorFlow calls them.
fn layers() -> Vec<(String, String)> {
    let mut layers = vec![
        ("conv_stem.first_conv".to_owned(), "Conv".to_owned()),
        ("conv_stem.conv_3x3".to_owned(), "expanded_conv/depthwise".to_owned()),
        ("conv_stem.reduce_1x1".to_owned(), "expanded_conv/project".to_owned()),
    ];
    for block in 0..16 {
        for (ours, theirs) in [("expand_1x1", "expand"), ("conv_3x3", "depthwise"), ("reduce_1x1", "project")] {
            layers.push((format!("layer.{block}.{ours}"), format!("expanded_conv_{}/{theirs}", block + 1)));
        }
    }
    layers.push(("conv_1x1".to_owned(), "Conv_1".to_owned()));
    layers
}

fn numbers(tensor: &TensorView<'_>) -> Vec<f32> {
    tensor.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// `[outputs, height, width, inputs]`, or `[1, height, width, outputs]` of channels each by itself, as `[outputs, inputs, height, width]`.
fn turned(tensor: &TensorView<'_>, is_alone: bool) -> (Vec<usize>, Vec<f32>) {
    let [first, height, width, last] = tensor.shape().try_into().unwrap();
    let (outputs, inputs) = if is_alone { (last, 1) } else { (first, last) };
    let old = numbers(tensor);
    let mut made = Vec::with_capacity(old.len());
    for output in 0..outputs {
        for input in 0..inputs {
            for pixel in 0..height * width {
                let at =
                    if is_alone { pixel * last + output } else { (output * height * width + pixel) * last + input };
                made.push(old[at]);
            }
        }
    }
    (vec![outputs, inputs, height, width], made)
}

/// A folder as Hugging Face has it, of the network in `models`.
fn converted(models: &Path) -> tempfile::TempDir {
    let bytes = std::fs::read(models.join("mobilenet_v2_1.0_224_dequant.safetensors")).unwrap();
    let theirs = SafeTensors::deserialize(&bytes).unwrap();
    let mut ours: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
    for (name, there) in layers() {
        let is_alone = there.ends_with("depthwise");
        let of = |rest: &str| theirs.tensor(&format!("MobilenetV2/{there}/{rest}")).unwrap();
        let bias = numbers(&of(if is_alone { "depthwise_Fold_bias" } else { "Conv2D_Fold_bias" }));
        let channels = vec![bias.len()];
        let full = format!("mobilenet_v2.{name}");
        let weight = turned(&of("weights_quant/FakeQuantWithMinMaxVars"), is_alone);
        ours.insert(format!("{full}.convolution.weight"), weight);
        for (part, value) in [("weight", 1.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            ours.insert(format!("{full}.normalization.{part}"), (channels.clone(), vec![value; bias.len()]));
        }
        ours.insert(format!("{full}.normalization.bias"), (channels, bias));
    }
    let logits = |rest: &str| theirs.tensor(&format!("MobilenetV2/Logits/Conv2d_1c_1x1/{rest}")).unwrap();
    let weight = numbers(&logits("weights_quant/FakeQuantWithMinMaxVars"));
    ours.insert("classifier.weight".to_owned(), (vec![1001, 1280], weight));
    ours.insert("classifier.bias".to_owned(), (vec![1001], numbers(&logits("Conv2D_bias"))));

    let folder = tempfile::tempdir().unwrap();
    let labels = std::fs::read_to_string(models.join("labels/imagenet_1001_mobilenet_labels.txt")).unwrap();
    let labels: HashMap<String, &str> = labels.lines().enumerate().map(|(at, label)| (at.to_string(), label)).collect();
    let config = json!({ "model_type": "mobilenet_v2", "layer_norm_eps": 0.0, "id2label": labels });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let made: Vec<(String, Vec<usize>, Vec<u8>)> = ours
        .into_iter()
        .map(|(name, (shape, numbers))| (name, shape, numbers.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = made
        .iter()
        .map(|(name, shape, bytes)| (name.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

/// The picture in a file, as ffmpeg decodes it.
fn decoded(path: &Path) -> Picture {
    let side = |name: &str| -> u32 {
        let entry = format!("stream={name}");
        let asked = ["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", &entry];
        let said = Command::new("ffprobe").args(asked).arg(path).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().parse().unwrap()
    };
    let raw = ["-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-frames:v", "1", "-"];
    let said = Command::new("ffmpeg").arg("-i").arg(path).args(raw).output().unwrap();
    Picture { width: side("width"), height: side("height"), rgb: said.stdout, most: 5 }
}

#[test]
fn eight_of_ten_pictures_are_right_in_the_top_five() {
    let Some(models) = models() else {
        println!("not run here: a published network needs its folder; STREAMFORGE_SAMPLES=<folder beside it>");
        return;
    };
    let place = converted(&models);
    let model = folder::load(place.path());
    let known = model.config.labels().unwrap();
    let mut right = 0;
    for (name, accepted) in ACCEPTED {
        assert!(accepted.iter().all(|label| known.iter().any(|known| known == label)), "{accepted:?}");
        let picture = decoded(&models.join("test_images").join(name));
        let labels = model.look(&[&picture]).remove(0).unwrap();
        let is_right = labels.iter().any(|label| accepted.contains(&label.name.as_str()));
        right += usize::from(is_right);
        let said: Vec<String> =
            labels.iter().map(|label| format!("{} {:.0}%", label.name, label.confidence * 100.0)).collect();
        println!("{:5} {name:16} {}", if is_right { "right" } else { "wrong" }, said.join(", "));
    }
    assert!(right >= 8, "{right} of {} are right", ACCEPTED.len());
}
