//! What `config.json` and `preprocessor_config.json` of a MobileNetV2 folder say.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::ml::Error;
use crate::ml::folder::read_checked;

/// Sizes of the network, Sandler et al. 2018, table 2, and its labels.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Always `mobilenet_v2`.
    pub model_type: String,
    /// Always 3: red, green, blue.
    pub num_channels: i64,
    /// Width of the network: channels of each layer as a fraction of those in the table, section 6.1.
    pub depth_multiplier: f64,
    /// Channels are a multiple of this.
    pub depth_divisible_by: i64,
    /// And at least that many.
    pub min_depth: i64,
    /// How much wider a block is inside: the `t` of the table.
    pub expand_ratio: f64,
    /// How much smaller the last layer is than the picture; always 32 here, other strides need dilated convolutions.
    pub output_stride: i64,
    /// Whether the first block has no expansion of its own, as in the table.
    pub first_layer_is_expansion: bool,
    /// Whether a narrow network keeps all 1280 channels of the last layer, section 6.1.
    pub finegrained_output: bool,
    /// Always `relu6`.
    pub hidden_act: String,
    /// Whether pictures are padded as TensorFlow does: at the end first.
    pub tf_padding: bool,
    /// What keeps the batch normalisation from dividing by nothing.
    pub layer_norm_eps: f64,
    /// Labels by place.
    pub id2label: BTreeMap<String, String>,
}

/// As `transformers` has it when a folder says nothing.
impl Default for Config {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            num_channels: 3,
            depth_multiplier: 1.0,
            depth_divisible_by: 8,
            min_depth: 8,
            expand_ratio: 6.0,
            output_stride: 32,
            first_layer_is_expansion: true,
            finegrained_output: true,
            hidden_act: "relu6".to_owned(),
            tf_padding: true,
            layer_norm_eps: 0.001,
            id2label: BTreeMap::new(),
        }
    }
}

/// Channels after each block, Sandler et al. 2018, table 2: the `c` of the table, `n` times each.
const CHANNELS: [i64; 17] = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320];
/// Strides of the blocks after the first.
const STRIDES: [i64; 16] = [2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];
/// Channels of the first and of the last convolution.
const FIRST: i64 = 32;
const LAST: i64 = 1280;
/// Larger numbers in a configuration are a mistake, not a model.
const TOO_LARGE: i64 = 1 << 16;

/// Channels before and after a block, and inside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// Channels that come in.
    pub inputs: i64,
    /// Channels inside.
    pub inner: i64,
    /// Channels that go out.
    pub outputs: i64,
    /// Every how many pixels are kept, in both directions.
    pub stride: i64,
}

impl Config {
    /// Reads `config.json` in `folder`.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        read_checked(&folder.join("config.json"), Self::check)
    }

    fn check(&self) -> Result<(), String> {
        if self.model_type != "mobilenet_v2" {
            return Err(format!("a model of type `{}` is no MobileNetV2", self.model_type));
        }
        if self.hidden_act != "relu6" || self.output_stride != 32 || self.num_channels != 3 {
            return Err("only `relu6`, a stride of 32 and pictures of three channels are known here".to_owned());
        }
        if !(0.01..=10.0).contains(&self.depth_multiplier) || !(1.0..=20.0).contains(&self.expand_ratio) {
            let (wide, inner) = (self.depth_multiplier, self.expand_ratio);
            return Err(format!("depth_multiplier is {wide} and expand_ratio is {inner}"));
        }
        for (name, size) in [("depth_divisible_by", self.depth_divisible_by), ("min_depth", self.min_depth)] {
            if !(1..TOO_LARGE).contains(&size) {
                return Err(format!("{name} is {size}"));
            }
        }
        if !(0.0..1.0).contains(&self.layer_norm_eps) {
            return Err(format!("layer_norm_eps is {}", self.layer_norm_eps));
        }
        self.labels().map(drop)
    }

    /// The labels in their order.
    pub fn labels(&self) -> Result<Vec<String>, String> {
        let label = |place: usize| {
            let label = self.id2label.get(&place.to_string()).cloned();
            label.ok_or_else(|| format!("id2label has {} labels, but none for {place}", self.id2label.len()))
        };
        if self.id2label.is_empty() {
            return Err("id2label is missing: nobody knows what the model would say".to_owned());
        }
        (0..self.id2label.len()).map(label).collect()
    }

    /// `channels` of the table in this network: rounded to a multiple, but never by more than a tenth down.
    fn scaled(&self, channels: i64) -> i64 {
        self.divisible((channels as f64 * self.depth_multiplier).round_ties_even())
    }

    fn divisible(&self, value: f64) -> i64 {
        let divisor = self.depth_divisible_by;
        let rounded = ((value + divisor as f64 / 2.0) as i64 / divisor * divisor).max(self.min_depth);
        if (rounded as f64) < 0.9 * value { rounded + divisor } else { rounded }
    }

    /// Channels of the first convolution.
    pub fn first(&self) -> i64 {
        self.scaled(FIRST)
    }

    /// Channels after the first block.
    pub fn stem(&self) -> i64 {
        self.scaled(CHANNELS[0])
    }

    /// Channels of the last convolution.
    pub fn last(&self) -> i64 {
        if self.finegrained_output && self.depth_multiplier < 1.0 { LAST } else { self.scaled(LAST) }
    }

    /// The sixteen blocks after the first.
    pub fn blocks(&self) -> Vec<Block> {
        let pairs = CHANNELS.windows(2).zip(STRIDES);
        let block = |(pair, stride): (&[i64], i64)| {
            let [inputs, outputs] = [self.scaled(pair[0]), self.scaled(pair[1])];
            let inner = self.divisible((inputs as f64 * self.expand_ratio).round_ties_even());
            Block { inputs, inner, outputs, stride }
        };
        pairs.map(block).collect()
    }
}

/// What is done to a picture before the network sees it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default)]
pub struct Preparation {
    /// The shorter side becomes that long.
    size: Shortest,
    /// What is cut out of the middle.
    crop_size: Crop,
    /// Always 2: bilinear, with a filter as wide as the picture shrinks.
    resample: i64,
    /// What 255 becomes is 255 times that.
    pub rescale_factor: f64,
    /// What is taken away of each channel then.
    pub image_mean: [f32; 3],
    /// What each channel is divided by after that.
    pub image_std: [f32; 3],
    do_resize: bool,
    do_center_crop: bool,
    do_rescale: bool,
    do_normalize: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Shortest {
    shortest_edge: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
struct Crop {
    height: usize,
    width: usize,
}

/// As `transformers` has it when a folder says nothing.
impl Default for Preparation {
    fn default() -> Self {
        Self {
            size: Shortest { shortest_edge: 256 },
            crop_size: Crop { height: 224, width: 224 },
            resample: 2,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            do_resize: true,
            do_center_crop: true,
            do_rescale: true,
            do_normalize: true,
        }
    }
}

impl Preparation {
    /// Reads `preprocessor_config.json` in `folder`, when there is one.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("preprocessor_config.json");
        if path.exists() { read_checked(&path, Self::check) } else { Ok(Self::default()) }
    }

    fn check(&self) -> Result<(), String> {
        let all = [self.do_resize, self.do_center_crop, self.do_rescale, self.do_normalize];
        if self.resample != 2 || all.contains(&false) {
            return Err("only bilinear resizing, then cropping, rescaling and normalising is known here".to_owned());
        }
        let (edge, crop) = (self.shortest_edge(), self.crop());
        if !(1..=4096).contains(&edge) || crop.0.min(crop.1) == 0 || crop.0.max(crop.1) > edge {
            return Err(format!("{}x{} pixels cannot be cut out of what is {edge} high or wide", crop.0, crop.1));
        }
        if !(self.rescale_factor > 0.0 && self.image_std.iter().all(|deviation| *deviation > 0.0)) {
            return Err("rescale_factor and image_std have to be positive".to_owned());
        }
        Ok(())
    }

    /// How long the shorter side becomes, pixels.
    pub fn shortest_edge(&self) -> usize {
        self.size.shortest_edge
    }

    /// Width and height of what is cut out, pixels.
    pub fn crop(&self) -> (usize, usize) {
        (self.crop_size.width, self.crop_size.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let id2label = BTreeMap::from([("0".to_owned(), "cat".to_owned())]);
        Config { model_type: "mobilenet_v2".to_owned(), id2label, ..Config::default() }
    }

    #[test]
    fn the_whole_network_is_that_of_the_table() {
        let config = config();
        assert_eq!((config.first(), config.stem(), config.last()), (32, 16, 1280));
        let blocks = config.blocks();
        assert_eq!(blocks[0], Block { inputs: 16, inner: 96, outputs: 24, stride: 2 });
        assert_eq!(blocks[15], Block { inputs: 160, inner: 960, outputs: 320, stride: 1 });
        assert_eq!(blocks.iter().map(|block| block.stride).product::<i64>() * 2, 32);
    }

    #[test]
    fn a_narrow_network_keeps_its_last_layer_and_rounds_by_eights() {
        let narrow = Config { depth_multiplier: 0.35, ..config() };
        assert_eq!((narrow.first(), narrow.stem(), narrow.last()), (16, 8, 1280));
        let outputs: Vec<i64> = narrow.blocks().iter().map(|block| block.outputs).collect();
        assert_eq!(outputs, [8, 8, 16, 16, 16, 24, 24, 24, 24, 32, 32, 32, 56, 56, 56, 112]);
    }

    #[test]
    fn what_is_no_mobilenet_is_refused_in_one_sentence() {
        let mut gap = config();
        gap.id2label.insert("2".to_owned(), "dog".to_owned());
        for (config, wanted) in [
            (Config { model_type: "whisper".to_owned(), ..config() }, "is no MobileNetV2"),
            (Config { output_stride: 8, ..config() }, "stride of 32"),
            (Config { depth_multiplier: f64::NAN, ..config() }, "depth_multiplier"),
            (Config { id2label: BTreeMap::new(), ..config() }, "id2label is missing"),
            (gap, "none for 1"),
        ] {
            let fault = config.check().unwrap_err();
            assert!(fault.contains(wanted), "{fault}");
        }
        let wide = Preparation { size: Shortest { shortest_edge: 200 }, ..Preparation::default() };
        assert!(wide.check().unwrap_err().contains("cannot be cut out"));
        assert!(Preparation { resample: 3, ..Preparation::default() }.check().is_err());
        assert!(Preparation::default().check().is_ok());
    }
}
