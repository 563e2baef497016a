"""Writes the fixtures of the tests of Whisper: what the reference makes of weights and sound that follow from a formula.

    python -m venv somewhere && somewhere/bin/pip install -r requirements.txt
    somewhere/bin/python reference.py ../fixtures

Runs for some minutes. Whoever changes `formula.py` changes `formula.rs` and runs it again.
"""

import json
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
import whisper
from transformers import WhisperConfig, WhisperForConditionalGeneration
from whisper.audio import N_FRAMES, log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingOptions, DecodingTask, GreedyDecoder
from whisper.model import ModelDimensions, Whisper
from whisper.tokenizer import LANGUAGES, get_tokenizer
from whisper.transcribe import transcribe

from formula import sound, weight

# name: vocabulary, bands, layers of the encoder and of the decoder, width, heads, inner width
MODELS = {
    "many": (51865, 80, 4, 4, 64, 4, 256),
    "english": (51864, 80, 2, 3, 48, 6, 96),
    "third": (51866, 128, 3, 2, 64, 2, 128),
}
SAMPLES = 256


def config(name):
    vocabulary, bands, listening, writing, width, heads, inner = MODELS[name]
    return WhisperConfig(
        vocab_size=vocabulary,
        num_mel_bins=bands,
        encoder_layers=listening,
        decoder_layers=writing,
        d_model=width,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=inner,
        decoder_ffn_dim=inner,
        max_source_positions=1500,
        max_target_positions=448,
    )


def tokenizer_of(name):
    vocabulary = MODELS[name][0]
    many = vocabulary >= 51865
    return get_tokenizer(many, num_languages=vocabulary - 51765 - int(many), language="en", task="transcribe")


def theirs(name):
    """The model as `transformers` has it, with our weights."""
    model = WhisperForConditionalGeneration(config(name)).eval()
    tokenizer = tokenizer_of(name)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key == "model.encoder.embed_positions.weight" or key == "proj_out.weight":
                continue
            made = weight(key, list(parameter.shape), tokenizer.eot, tokenizer.timestamp_begin)
            parameter.copy_(torch.from_numpy(made))
    return model


def renamed(key):
    """A name of `transformers` as `openai-whisper` spells it."""
    for here, there in [
        ("model.", ""),
        ("layers.", "blocks."),
        ("self_attn_layer_norm", "attn_ln"),
        ("encoder_attn_layer_norm", "cross_attn_ln"),
        ("final_layer_norm", "mlp_ln"),
        ("self_attn.", "attn."),
        ("encoder_attn.", "cross_attn."),
        ("q_proj", "query"),
        ("k_proj", "key"),
        ("v_proj", "value"),
        ("out_proj", "out"),
        ("fc1", "mlp.0"),
        ("fc2", "mlp.2"),
        ("encoder.layer_norm", "encoder.ln_post"),
        ("decoder.layer_norm", "decoder.ln"),
        ("embed_tokens", "token_embedding"),
        ("embed_positions.weight", "positional_embedding"),
    ]:
        key = key.replace(here, there)
    return key


def reference(name, state):
    vocabulary, bands, listening, writing, width, heads, _ = MODELS[name]
    model = Whisper(ModelDimensions(bands, 1500, width, heads, listening, vocabulary, 448, width, heads, writing)).eval()
    inner = MODELS[name][-1]
    for block in [*model.encoder.blocks, *model.decoder.blocks]:
        block.mlp = torch.nn.Sequential(
            type(block.attn.query)(width, inner), torch.nn.GELU(), type(block.attn.query)(inner, width)
        )
    state = {renamed(key): value for key, value in state.items() if key != "proj_out.weight"}
    model.load_state_dict(state)
    return model.eval()


def sampled(tensor):
    """Some numbers of a tensor and a summary of all, in the order of its memory."""
    flat = tensor.detach().float().contiguous().flatten()
    count = flat.numel()
    step = max(count // SAMPLES, 1)
    kept = flat[::step][:SAMPLES].double()
    signs = torch.where(torch.arange(count) % 3 == 0, 1.0, -1.0).double()
    return {
        "shape": list(tensor.shape),
        "step": step,
        "values": [float(f"{value:.8g}") for value in kept],
        "largest": float(flat.abs().max()),
        "signed_sum": float((flat.double() * signs).sum()),
        "square_sum": float((flat.double() ** 2).sum()),
    }


def tensors(model, name, mel, tokens):
    """Every layer's output for one window and some tokens."""
    told = {"mel": sampled(mel)}
    hooks = []

    def tell(key):
        return lambda _module, _inputs, output: told.__setitem__(key, sampled(output))

    for side, blocks in [("encoder", model.encoder.blocks), ("decoder", model.decoder.blocks)]:
        for layer, block in enumerate(blocks):
            hooks.append(block.register_forward_hook(tell(f"{side} layer {layer}")))
    def tell_input(key):
        return lambda _module, inputs: told.__setitem__(key, sampled(inputs[0]))

    hooks.append(model.encoder.blocks[0].register_forward_pre_hook(tell_input("encoder stem")))
    hooks.append(model.decoder.blocks[0].register_forward_pre_hook(tell_input("decoder embedding")))
    audio = model.encoder(mel[None])
    logits = model.decoder(tokens, audio)
    for hook in hooks:
        hook.remove()
    told["encoder"] = sampled(audio)
    told["logits"] = sampled(logits)
    return told, audio, logits


def decoded(model, mel, **options):
    """What the reference decodes, and by how much each greedy choice won."""
    margins = []
    update = GreedyDecoder.update

    def watched(self, tokens, logits, sums):
        best = logits.float().topk(2, dim=-1).values
        margins.append(float((best[:, 0] - best[:, 1]).min()))
        return update(self, tokens, logits, sums)

    GreedyDecoder.update = watched
    try:
        # With several rows a window it hears one window at a time.
        windows = mel.split(1) if "beam_size" in options else [mel]
        task = DecodingOptions(fp16=False, **options)
        results = [one for window in windows for one in DecodingTask(model, task).run(window)]
    finally:
        GreedyDecoder.update = update
    return {
        "options": options,
        "least_margin": min(margins) if margins else None,
        "windows": [
            {"tokens": one.tokens, "avg_logprob": one.avg_logprob, "no_speech": one.no_speech_prob} for one in results
        ],
    }


def transcribed(model, samples, **options):
    result = transcribe(model, samples, fp16=False, temperature=0.0, verbose=None, **options)
    kept = [one for one in result["segments"] if one["tokens"]]
    return {
        "options": options,
        "segments": [[round(one["start"], 4), round(one["end"], 4), one["tokens"]] for one in kept],
    }


def header(model):
    """What `transformers` saves: names, kinds and shapes, without the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with open(Path(folder) / "model.safetensors", "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            listed = json.loads(file.read(length))
    return {key: [one["dtype"], one["shape"]] for key, one in listed.items() if key != "__metadata__"}


@torch.no_grad()
def fixture(name):
    tokenizer = tokenizer_of(name)
    hugging_face = theirs(name)
    model = reference(name, hugging_face.state_dict())
    # The window of a clip, and one of nothing but noise.
    clip = sound(7.3)
    spectrogram = log_mel_spectrogram(clip, model.dims.n_mels, padding=480000)
    window = pad_or_trim(spectrogram[:, : 730], N_FRAMES)
    quiet = pad_or_trim(log_mel_spectrogram(0.01 * sound(31.0), model.dims.n_mels), N_FRAMES)
    tokens = torch.tensor([[*tokenizer.sot_sequence, *range(100, 4100, 331)]])
    told, audio, logits = tensors(model, name, window, tokens)
    other = hugging_face(input_features=window[None], decoder_input_ids=tokens).logits
    print(name, "transformers and openai-whisper differ by", float((other - logits).abs().max() / logits.abs().max()))
    both = torch.stack([window, quiet])
    prompt = [tokenizer.timestamp_begin - 1 - at for at in range(2000, 2400, 7)]
    english = {"language": "en"}
    cases = [
        decoded(model, both, **english, sample_len=40),
        decoded(model, both, **english, sample_len=40, without_timestamps=True),
        decoded(model, both, **english, sample_len=30, suppress_blank=False, suppress_tokens=""),
        decoded(model, both, **english, sample_len=30, prompt=prompt),
        decoded(model, both, **english, sample_len=30, max_initial_timestamp=None),
        decoded(model, both, **english, sample_len=40, beam_size=5),
        decoded(model, both, **english, sample_len=40, beam_size=3, patience=2.0, without_timestamps=True),
        decoded(model, both, **english, sample_len=25, beam_size=4, length_penalty=0.6, prompt=prompt),
    ]
    if model.is_multilingual:
        cases.append(decoded(model, both, sample_len=20))
        cases.append(decoded(model, both, language="de", task="translate", sample_len=20))
    codes = list(LANGUAGES)[: tokenizer.num_languages]
    languages = []
    if model.is_multilingual:
        _, probabilities = model.detect_language(both, tokenizer)
        languages = [[round(one[code], 9) for code in codes] for one in probabilities]
    long = sound(75.0)
    thresholds = {"no_speech_threshold": None, "language": "en"}
    return {
        "made_with": {"openai-whisper": whisper.__version__, "torch": torch.__version__, "transformers": transformers.__version__},
        "config": json.loads(config(name).to_json_string()),
        "codes": codes,
        "suppressed": list(tokenizer.non_speech_tokens),
        "saved": header(hugging_face),
        "tokens": tokens.tolist(),
        "tensors": told,
        "decoded": cases,
        "languages": languages,
        "transcribed": [
            transcribed(model, long, **thresholds, condition_on_previous_text=False, sample_len=40),
            transcribed(model, long, **thresholds, condition_on_previous_text=True, sample_len=40),
            transcribed(model, long, **thresholds, condition_on_previous_text=True, sample_len=30, beam_size=3),
            transcribed(model, long, **thresholds, condition_on_previous_text=True, sample_len=30, initial_prompt="one two"),
        ],
    }


def main(folder):
    torch.manual_seed(0)
    for name in MODELS:
        path = Path(folder) / f"{name}.json"
        path.write_text(json.dumps(fixture(name), separators=(",", ":")) + "\n")
        print(path, path.stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1])
