//! A model of the size of Whisper base, as Hugging Face has it, that has learned nothing.

use std::collections::BTreeMap;
use std::path::Path;

use pipeline::ml::weights::Parameters;
use pipeline::ml::whisper::config::Config;
use pipeline::ml::whisper::decoder::Decoder;
use pipeline::ml::whisper::encoder::Encoder;
use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::server::Outcome;

/// Tokens of text, those that steer, languages among them, and timestamps: as the published multilingual models have.
const TEXT: usize = 50_257;
const LANGUAGES: usize = 99;
const TIMES: usize = 1_501;
const VOCABULARY: usize = TEXT + 2 + LANGUAGES + 6 + TIMES;

/// Parameters made from nothing.
#[derive(Default)]
struct Made(Vec<(String, Tensor)>);

impl Parameters for Made {
    fn has(&self, _name: &str) -> bool {
        false
    }

    fn pass_by(&mut self, _name: &str) {}

    fn take(&mut self, name: &str, shape: &[i64]) -> Result<Tensor, pipeline::ml::Error> {
        let inputs: i64 = shape.iter().skip(1).product();
        let options = (Kind::Float, Device::Cpu);
        let made = if name.ends_with("layer_norm.weight") {
            Tensor::ones(shape, options)
        } else if name.ends_with(".bias") {
            Tensor::zeros(shape, options)
        } else {
            Tensor::randn(shape, options) / (inputs as f64).sqrt()
        };
        self.0.push((name.to_owned(), made.to_kind(Kind::Half)));
        Ok(made)
    }
}

fn tokenizer() -> serde_json::Value {
    let text: BTreeMap<String, usize> = (0..TEXT).map(|token| (format!("w{token}"), token)).collect();
    let codes = ["en".to_owned()].into_iter().chain((1..LANGUAGES).map(|code| format!("l{code}")));
    let rest = ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"].map(str::to_owned);
    let steering = ["endoftext".to_owned(), "startoftranscript".to_owned()].into_iter().chain(codes).chain(rest);
    let times = (0..TIMES).map(|step| format!("{:.2}", step as f64 * 0.02));
    let added = steering.chain(times).zip(TEXT..).map(|(name, id)| {
        json!({"id": id, "content": format!("<|{name}|>"), "special": id < VOCABULARY - TIMES, "single_word": false,
               "lstrip": false, "rstrip": false, "normalized": false})
    });
    let added: Vec<_> = added.collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": level, "post_processor": null, "decoder": level,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": text, "merges": []}})
}

/// Writes the model to `folder`; answers the bytes of its weights.
pub fn write(folder: &Path) -> Outcome<u64> {
    std::fs::create_dir_all(folder)?;
    tch::manual_seed(1);
    let config = json!({
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "torch_dtype": "float16",
        "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448, "vocab_size": VOCABULARY,
        "d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048,
        "decoder_layers": 6, "decoder_attention_heads": 8, "decoder_ffn_dim": 2048,
        "activation_function": "gelu", "scale_embedding": false,
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    let generation = json!({"is_multilingual": true, "suppress_tokens": []});
    std::fs::write(folder.join("generation_config.json"), generation.to_string())?;
    std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string())?;
    let config = Config::read(folder)?;
    let mut made = Made::default();
    Encoder::take(&mut made, &config)?;
    Decoder::take(&mut made, &config)?;
    let path = folder.join("model.safetensors");
    Tensor::write_safetensors(&made.0, &path)?;
    Ok(std::fs::metadata(path)?.len())
}

/// Raw samples of something like music: chords that change, and noise.
pub fn sound(samples: usize) -> Vec<u8> {
    let mut noise = 1_u32;
    let sample = |at: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (seconds, piece) = (at as f32 / 16_000.0, at / 6_400);
        let tones = [110.0, 277.0, 440.0].map(|base| {
            let frequency = base * (1.0 + (piece * 7 % 12) as f32 / 12.0);
            (std::f32::consts::TAU * frequency * seconds).sin()
        });
        0.1 * tones.iter().sum::<f32>() + 0.02 * ((noise >> 8) as f32 / (1 << 23) as f32 - 1.0)
    };
    (0..samples).map(sample).flat_map(f32::to_le_bytes).collect()
}
