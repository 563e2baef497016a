//! What is taught to read and write: the folder of the model, as Hugging Face has them.

use std::error::Error;
use std::path::Path;

use serde_json::json;
use tch::{Kind, Tensor};
use tokenizers::decoders::byte_level::ByteLevel;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::{AddedToken, TokenizerBuilder};

use pipeline::ml::whisper::positions::sinusoids;

/// Positions of the encoder, 20 ms each: windows of 6 s.
pub const POSITIONS: usize = 300;
/// Width of the network.
const WIDTH: usize = 128;
/// Tokens of text at most.
const TEXT: usize = 600;

/// Writes `tokenizer.json`, learned from `texts`, and the configurations to `folder`.
pub fn write(folder: &Path, texts: impl Iterator<Item = String> + Send) -> Result<(), Box<dyn Error + Send + Sync>> {
    std::fs::create_dir_all(folder)?;
    let level = || ByteLevel::new(false, true, true);
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .vocab_size(TEXT)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    let mut tokenizer = TokenizerBuilder::<BPE, NormalizerWrapper, ByteLevel, ByteLevel, ByteLevel>::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(level()))
        .with_post_processor(Some(level()))
        .with_decoder(Some(level()))
        .build()?;
    tokenizer.train(&mut trainer, texts)?;
    let steering = [
        "endoftext",
        "startoftranscript",
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
    ];
    let steering = steering.map(|name| AddedToken::from(format!("<|{name}|>"), true));
    tokenizer.add_special_tokens(&steering);
    let times = (0..=POSITIONS).map(|step| AddedToken::from(format!("<|{:.2}|>", step as f64 * 0.02), false));
    tokenizer.add_tokens(&times.collect::<Vec<_>>());
    let size = tokenizer.get_vocab_size(true);
    let [end, start] = ["<|endoftext|>", "<|startoftranscript|>"].map(|name| tokenizer.token_to_id(name));
    tokenizer.save(folder.join("tokenizer.json"), false)?;
    let config = json!({
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "torch_dtype": "float16",
        "num_mel_bins": 80, "max_source_positions": POSITIONS, "max_target_positions": 64, "vocab_size": size,
        "d_model": WIDTH, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 3 * WIDTH,
        "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 3 * WIDTH,
        "activation_function": "gelu", "scale_embedding": false,
        "pad_token_id": end, "bos_token_id": end, "eos_token_id": end, "decoder_start_token_id": start,
    });
    std::fs::write(folder.join("config.json"), format!("{config:#}\n"))?;
    let generation = json!({"is_multilingual": false, "suppress_tokens": []});
    std::fs::write(folder.join("generation_config.json"), format!("{generation:#}\n"))?;
    Ok(())
}

/// Writes `model.safetensors`.
pub fn write_weights(folder: &Path, mut weights: Vec<(String, Tensor)>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let fixed = Tensor::from_slice(&sinusoids(POSITIONS, WIDTH)).view([POSITIONS as i64, WIDTH as i64]);
    weights.push(("model.encoder.embed_positions.weight".to_owned(), fixed.to_kind(Kind::Half)));
    // Nothing reads a half-written model: the new one takes the place of the old one at once.
    let part = folder.join("model.safetensors.part");
    Tensor::write_safetensors(&weights, &part)?;
    std::fs::rename(part, folder.join("model.safetensors"))?;
    Ok(())
}
