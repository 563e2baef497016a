//! What `config.json` and `generation_config.json` of a Whisper folder say.

use std::path::Path;

use serde::Deserialize;

use crate::ml::Error;
use crate::ml::folder::{read_checked, read_json};

/// Sizes of the network, Radford et al. 2022, table 1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Config {
    /// Always `whisper`.
    pub model_type: String,
    /// Frequency bands of a frame: 80, or 128 in the third large model.
    pub num_mel_bins: i64,
    /// Positions of the encoder's output, each two frames long: 1500.
    pub max_source_positions: i64,
    /// Width.
    pub d_model: i64,
    /// Layers of the encoder.
    pub encoder_layers: i64,
    /// Heads of each attention in the encoder.
    pub encoder_attention_heads: i64,
    /// Inner width of the encoder's feed-forward layers.
    pub encoder_ffn_dim: i64,
    /// Tokens.
    pub vocab_size: i64,
    /// Positions of the decoder: 448.
    pub max_target_positions: i64,
    /// Layers of the decoder.
    pub decoder_layers: i64,
    /// Heads of each attention in the decoder.
    pub decoder_attention_heads: i64,
    /// Inner width of the decoder's feed-forward layers.
    pub decoder_ffn_dim: i64,
    /// Always `gelu`.
    #[serde(default = "gelu")]
    pub activation_function: String,
    /// Never in published models.
    #[serde(default)]
    pub scale_embedding: bool,
    /// In old folders these are here and not in `generation_config.json`.
    #[serde(default)]
    pub suppress_tokens: Option<Vec<i64>>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

/// What decoding has to know. Old folders lack it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Generation {
    /// Tokens that never come.
    #[serde(default)]
    pub suppress_tokens: Option<Vec<i64>>,
    /// Whether the model knows other languages than English.
    #[serde(default)]
    pub is_multilingual: Option<bool>,
    /// The token `<|notimestamps|>`.
    #[serde(default)]
    pub no_timestamps_token_id: Option<u32>,
}

/// Vocabularies from this size on belong to multilingual models.
const MULTILINGUAL: i64 = 51_865;
/// Larger numbers in a configuration are a mistake, not a model.
const TOO_LARGE: i64 = 1 << 20;

impl Config {
    /// Reads `config.json` in `folder`.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        read_checked(&folder.join("config.json"), Self::check)
    }

    fn check(&self) -> Result<(), String> {
        if self.model_type != "whisper" {
            return Err(format!("a model of type `{}` is no Whisper", self.model_type));
        }
        if self.activation_function != "gelu" || self.scale_embedding {
            return Err("another activation than `gelu`, or scaled embeddings, are not known here".to_owned());
        }
        let sizes = [
            ("num_mel_bins", self.num_mel_bins),
            ("max_source_positions", self.max_source_positions),
            ("d_model", self.d_model),
            ("encoder_layers", self.encoder_layers),
            ("encoder_attention_heads", self.encoder_attention_heads),
            ("encoder_ffn_dim", self.encoder_ffn_dim),
            ("vocab_size", self.vocab_size),
            ("max_target_positions", self.max_target_positions),
            ("decoder_layers", self.decoder_layers),
            ("decoder_attention_heads", self.decoder_attention_heads),
            ("decoder_ffn_dim", self.decoder_ffn_dim),
        ];
        if let Some((name, size)) = sizes.into_iter().find(|(_, size)| !(1..TOO_LARGE).contains(size)) {
            return Err(format!("{name} is {size}"));
        }
        if self.d_model < 4 || self.d_model % 2 != 0 || self.max_target_positions < 8 {
            return Err("d_model has to be even and at least 4, max_target_positions at least 8".to_owned());
        }
        for heads in [self.encoder_attention_heads, self.decoder_attention_heads] {
            if self.d_model % heads != 0 {
                return Err(format!("d_model {} cannot be shared by {heads} heads", self.d_model));
            }
        }
        Ok(())
    }
}

impl Generation {
    /// Reads `generation_config.json` in `folder`; defaults when there is none.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("generation_config.json");
        if path.exists() { read_json(&path) } else { Ok(Self::default()) }
    }

    /// Whether a model with `config` knows other languages than English.
    pub fn is_multilingual(&self, config: &Config) -> bool {
        self.is_multilingual.unwrap_or(config.vocab_size >= MULTILINGUAL)
    }

    /// Tokens that never come, as the folder says; nothing when it does not say.
    pub fn suppressed(&self, config: &Config) -> Option<Vec<u32>> {
        let listed = self.suppress_tokens.as_ref().or(config.suppress_tokens.as_ref())?;
        Some(listed.iter().filter_map(|token| u32::try_from(*token).ok()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &str = r#"{"model_type": "whisper", "num_mel_bins": 80, "max_source_positions": 1500, "d_model": 384,
        "encoder_layers": 4, "encoder_attention_heads": 6, "encoder_ffn_dim": 1536, "vocab_size": 51865,
        "max_target_positions": 448, "decoder_layers": 4, "decoder_attention_heads": 6, "decoder_ffn_dim": 1536,
        "activation_function": "gelu", "scale_embedding": false, "torch_dtype": "float32"}"#;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), text).unwrap();
        Config::read(folder.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_published_tiny_model_is_understood() {
        let config = read(TINY).unwrap();
        assert_eq!((config.d_model, config.decoder_layers), (384, 4));
        assert!(Generation::default().is_multilingual(&config));
    }

    #[test]
    fn what_is_no_whisper_is_refused_in_one_sentence() {
        let faults = [
            ("\"whisper\"", "\"bert\"", "`bert` is no Whisper"),
            ("\"gelu\"", "\"relu\"", "activation"),
            ("\"d_model\": 384", "\"d_model\": 385", "even"),
            ("\"d_model\": 384", "\"d_model\": 386", "6 heads"),
            ("\"encoder_layers\": 4", "\"encoder_layers\": 0", "encoder_layers is 0"),
            ("\"d_model\": 384", "\"width\": 384", "d_model"),
            ("{", "", "cannot be understood"),
        ];
        for (from, to, wanted) in faults {
            let said = read(&TINY.replacen(from, to, 1)).unwrap_err();
            assert!(said.contains(wanted) && said.contains("config.json") && said.lines().count() == 1, "{said}");
        }
    }

    #[test]
    fn a_folder_without_generation_settings_has_defaults() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Generation::read(folder.path()).unwrap(), Generation::default());
        let text = r#"{"suppress_tokens": [-1, 5, 7], "is_multilingual": false, "alignment_heads": [[1, 2]]}"#;
        std::fs::write(folder.path().join("generation_config.json"), text).unwrap();
        let generation = Generation::read(folder.path()).unwrap();
        let config = read(TINY).unwrap();
        assert_eq!(generation.suppressed(&config), Some(vec![5, 7]));
        assert!(!generation.is_multilingual(&config));
    }
}
