"""Runs the same weights in whisper.cpp and in faster-whisper, and says what they took, one JSON object a line.

    python others.py FOLDER AUDIO TOKENS THREADS

FOLDER is a model as Hugging Face has it, AUDIO raw samples (float, mono, 16 kHz), TOKENS how many are written for each window.
"""

import json
import os
import re
import struct
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

WINDOW = 30 * 16000
POSITIONS = 1500


def sinusoids(length, width):
    """Radford et al. 2022, section 2.2."""
    turns = np.arange(length)[:, None] * np.exp(-np.log(10000) / (width // 2 - 1) * np.arange(width // 2))[None]
    return np.concatenate([np.sin(turns), np.cos(turns)], axis=1).astype(np.float32)


def read(folder):
    config = json.loads((folder / "config.json").read_text())
    weights = {name: array.astype(np.float32) for name, array in load_file(folder / "model.safetensors").items()}
    weights["model.encoder.embed_positions.weight"] = sinusoids(POSITIONS, config["d_model"])
    return config, weights


# whisper.cpp

NAMES = [
    ("model.", ""),
    ("layers.", "blocks."),
    ("fc1", "mlp.0"),
    ("fc2", "mlp.2"),
    ("final_layer_norm", "mlp_ln"),
    ("self_attn_layer_norm", "attn_ln"),
    ("encoder_attn_layer_norm", "cross_attn_ln"),
    ("self_attn", "attn"),
    ("encoder_attn", "cross_attn"),
    ("q_proj", "query"),
    ("k_proj", "key"),
    ("v_proj", "value"),
    ("out_proj", "out"),
    ("embed_tokens.weight", "token_embedding.weight"),
    ("embed_positions.weight", "positional_embedding"),
]


def renamed(name):
    for old, new in NAMES:
        name = name.replace(old, new)
    top = "decoder.ln" if name.startswith("decoder.") else "encoder.ln_post"
    return re.sub(r"^(encoder|decoder)\.layer_norm", top, name)


def filters(bands):
    """The triangles of the front end, from the other program's own file."""
    from faster_whisper.feature_extractor import FeatureExtractor

    return FeatureExtractor(feature_size=bands).mel_filters.astype(np.float32)


def write_ggml(path, config, weights):
    width, bands = config["d_model"], config["num_mel_bins"]
    sizes = [
        config["vocab_size"], POSITIONS, width, config["encoder_attention_heads"], config["encoder_layers"],
        448, width, config["decoder_attention_heads"], config["decoder_layers"], bands, 1,
    ]  # fmt: skip
    with open(path, "wb") as file:
        file.write(struct.pack("<I11i", 0x67676D6C, *sizes))
        triangles = filters(bands)
        file.write(struct.pack("<2i", *triangles.shape) + triangles.tobytes())
        # It asks for this one by its text.
        texts = [b" " if token == 220 else f"w{token}".encode() for token in range(50257)]
        file.write(struct.pack("<i", len(texts)))
        for text in texts:
            file.write(struct.pack("<i", len(text)) + text)
        for key, array in weights.items():
            key = renamed(key)
            is_half = array.ndim > 1 and not key.endswith("positional_embedding")
            array = array.astype("<f2" if is_half else "<f4")
            if key in ("encoder.conv1.bias", "encoder.conv2.bias"):
                array = array.reshape(-1, 1)
            file.write(struct.pack("<3i", array.ndim, len(key.encode()), int(is_half)))
            file.write(struct.pack(f"<{array.ndim}i", *reversed(array.shape)))
            file.write(key.encode() + np.ascontiguousarray(array).tobytes())


def whisper_cpp(config, weights, audio, count, threads):
    import _pywhispercpp as cpp

    with tempfile.TemporaryDirectory() as place:
        path = str(Path(place) / "ggml.bin")
        write_ggml(path, config, weights)
        settings = cpp.whisper_context_default_params()
        settings.use_gpu = False
        context = cpp.whisper_init_from_file_with_params(path, settings)
        params = cpp.whisper_full_default_params(cpp.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY)
        params.language, params.n_threads, params.max_tokens = "en", threads, count
        params.no_context = params.no_timestamps = True
        params.temperature = params.temperature_inc = 0.0
        params.print_progress = params.print_realtime = params.print_timestamps = False
        for start in range(0, len(audio), WINDOW):
            window = audio[start : start + WINDOW]
            if cpp.whisper_full(context, params, window, len(window)) != 0:
                raise RuntimeError("whisper.cpp failed")
        # It tells its times to the standard error alone.
        told = Path(place) / "times"
        kept = os.dup(2)
        with open(told, "w") as file:
            os.dup2(file.fileno(), 2)
            cpp.whisper_print_timings(context)
            os.dup2(kept, 2)
        runs = {
            name: (float(took), int(times))
            for name, took, times in re.findall(r"(\w+) time =\s+([\d.]+) ms /\s+(\d+) runs", told.read_text())
        }
    encode, decode = runs["encode"], runs["decode"]
    say("whisper.cpp", "f16", encode[0] / 1000 / encode[1], decode[0] / max(decode[1], 1), decode[1])


# faster-whisper


def specification(config, weights):
    from ctranslate2.specs.whisper_spec import WhisperSpec

    spec = WhisperSpec(
        config["encoder_layers"], config["encoder_attention_heads"], config["decoder_layers"], config["decoder_attention_heads"]
    )

    def norm(to, name):
        to.gamma, to.beta = weights[f"{name}.weight"], weights[f"{name}.bias"]

    def linear(to, *names):
        matrices = [weights[f"{name}.weight"] for name in names]
        to.weight = np.concatenate(matrices)
        nothing = np.zeros(len(matrices[0]), np.float32)
        to.bias = np.concatenate([weights.get(f"{name}.bias", nothing) for name in names])

    def attention(to, name, is_own):
        names = [f"{name}.{part}_proj" for part in "qkv"]
        if is_own:
            linear(to.linear[0], *names)
        else:
            linear(to.linear[0], names[0])
            linear(to.linear[1], *names[1:])
        linear(to.linear[-1], f"{name}.out_proj")

    def rest(to, name):
        norm(to.self_attention.layer_norm, f"{name}.self_attn_layer_norm")
        attention(to.self_attention, f"{name}.self_attn", True)
        norm(to.ffn.layer_norm, f"{name}.final_layer_norm")
        linear(to.ffn.linear_0, f"{name}.fc1")
        linear(to.ffn.linear_1, f"{name}.fc2")

    for part, to in (("model.encoder", spec.encoder), ("model.decoder", spec.decoder)):
        to.position_encodings.encodings = weights[f"{part}.embed_positions.weight"]
        norm(to.layer_norm, f"{part}.layer_norm")
        for at, layer in enumerate(to.layer):
            rest(layer, f"{part}.layers.{at}")
            if part == "model.decoder":
                norm(layer.attention.layer_norm, f"{part}.layers.{at}.encoder_attn_layer_norm")
                attention(layer.attention, f"{part}.layers.{at}.encoder_attn", False)
    for number, conv in ((1, spec.encoder.conv1), (2, spec.encoder.conv2)):
        conv.weight, conv.bias = (weights[f"model.encoder.conv{number}.{what}"] for what in ("weight", "bias"))
    spec.decoder.embeddings.weight = weights["model.decoder.embed_tokens.weight"]
    spec.decoder.projection.weight = weights["model.decoder.embed_tokens.weight"]
    vocabulary = json.loads((Path(sys.argv[1]) / "tokenizer.json").read_text())
    tokens = {**vocabulary["model"]["vocab"], **{one["content"]: one["id"] for one in vocabulary["added_tokens"]}}
    spec.register_vocabulary(sorted(tokens, key=tokens.get))
    heads = range(config["decoder_attention_heads"])
    spec.config.suppress_ids, spec.config.suppress_ids_begin, spec.config.lang_ids = [], [], []
    spec.config.alignment_heads = [(config["decoder_layers"] - 1, head) for head in heads]
    spec.validate()
    return spec


def faster_whisper(config, weights, audio, count, threads, precision):
    import shutil

    from faster_whisper import WhisperModel

    with tempfile.TemporaryDirectory() as place:
        spec = specification(config, weights)
        spec.save(place)
        shutil.copy(Path(sys.argv[1]) / "tokenizer.json", place)
        model = WhisperModel(place, device="cpu", compute_type=precision, cpu_threads=threads)
        features = model.feature_extractor(audio)
        end = 50257
        prompt = [end + 1, end + 2, end + 101, end + 106]
        encoding, writing, written = [], [], 0
        for start in range(0, features.shape[-1] - 2999, 3000):
            begin = time.perf_counter()
            heard = model.encode(features[:, start : start + 3000])
            encoding.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            answer = model.model.generate(
                heard, [prompt], beam_size=1, max_length=2 * count, suppress_tokens=[end], suppress_blank=False
            )
            writing.append(time.perf_counter() - begin)
            written += len(answer[0].sequences_ids[0])
        say("faster-whisper", model.model.compute_type, np.mean(encoding), 1000 * sum(writing) / max(written, 1), written)


def say(program, precision, window_s, token_ms, tokens):
    line = {"program": program, "precision": precision, "window_s": float(window_s), "token_ms": token_ms, "tokens": tokens}
    print(json.dumps(line), flush=True)


def main():
    folder, audio, count, threads = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    config, weights = read(folder)
    audio = np.fromfile(audio, np.float32)
    whisper_cpp(config, weights, audio, count, threads)
    import ctranslate2

    known = ctranslate2.get_supported_compute_types("cpu")
    for precision in [one for one in ("float32", "bfloat16", "int8") if one in known]:
        faster_whisper(config, weights, audio, count, threads, precision)


if __name__ == "__main__":
    main()
