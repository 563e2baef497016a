"""Writes `second.json`: greedy tokens of whisper.cpp, which shares no code with the first reference.

    somewhere/bin/pip install -r requirements.txt pywhispercpp==1.5.1
    somewhere/bin/python second.py ../fixtures

whisper.cpp knows Whisper's vocabulary alone, so the model is tiny but for that. It wants matrices in half precision, rounds what it
multiplies them with as well, and computes GELU through a table: logits differ in the third digit, tokens that win clearly do not.
"""

import json
import struct
import sys
import tempfile
from pathlib import Path

import _pywhispercpp as cpp
import numpy as np
from whisper.audio import mel_filters
from whisper.tokenizer import get_tokenizer

from formula import sound
from reference import MODELS, renamed, theirs

NAME = "many"
SECONDS = (7.3, 12.0, 3.1, 20.0, 28.0)
LENGTH = 24
END = 50257


def write(path, name):
    """The file that whisper.cpp reads: sizes, filters, tokens, tensors."""
    vocabulary, bands, listening, writing, width, heads, _ = MODELS[name]
    encoding = get_tokenizer(True, num_languages=99).encoding
    state = theirs(name).state_dict()
    filters = mel_filters("cpu", bands).numpy()
    with open(path, "wb") as file:
        sizes = [vocabulary, 1500, width, heads, listening, 448, width, heads, writing, bands, 1]
        file.write(struct.pack("<I11i", 0x67676D6C, *sizes))
        file.write(struct.pack("<2i", *filters.shape))
        file.write(filters.astype("<f4").tobytes())
        texts = [encoding.decode_single_token_bytes(token) for token in range(encoding.eot_token)]
        file.write(struct.pack("<i", len(texts)))
        for text in texts:
            file.write(struct.pack("<i", len(text)) + text)
        for key, value in state.items():
            if key == "proj_out.weight":
                continue
            array = value.numpy().astype("<f2")
            key = renamed(key)
            is_half = array.ndim > 1 and not key.endswith("positional_embedding")
            if not is_half:
                array = array.astype("<f4")
            if key in ("encoder.conv1.bias", "encoder.conv2.bias"):
                array = array.reshape(-1, 1)
            encoded = key.encode()
            file.write(struct.pack("<3i", array.ndim, len(encoded), int(is_half)))
            file.write(struct.pack(f"<{array.ndim}i", *reversed(array.shape)))
            file.write(encoded + np.ascontiguousarray(array).tobytes())


def heard(context, samples):
    """The tokens of one window; its rules for timestamps are not those of the paper's code, so there are none."""
    params = cpp.whisper_full_default_params(cpp.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY)
    params.language = "en"
    params.n_threads = 1
    params.no_context = True
    params.single_segment = True
    params.no_timestamps = True
    params.max_tokens = LENGTH
    params.temperature = 0.0
    params.temperature_inc = 0.0
    params.print_progress = False
    params.print_realtime = False
    params.suppress_blank = True
    if cpp.whisper_full(context, params, samples, len(samples)) != 0:
        raise RuntimeError("whisper.cpp failed")
    tokens = []
    for segment in range(cpp.whisper_full_n_segments(context)):
        for at in range(cpp.whisper_full_n_tokens(context, segment)):
            tokens.append(cpp.whisper_full_get_token_id(context, segment, at))
    # A text that ends says so.
    return [token for token in tokens if token < END]


def main(folder):
    cases = []
    with tempfile.TemporaryDirectory() as place:
        path = str(Path(place) / "ggml.bin")
        write(path, NAME)
        settings = cpp.whisper_context_default_params()
        settings.use_gpu = False
        settings.flash_attn = False
        context = cpp.whisper_init_from_file_with_params(path, settings)
        for seconds in SECONDS:
            tokens = heard(context, sound(seconds))
            print(seconds, tokens)
            cases.append({"seconds": seconds, "tokens": tokens})
    made_with = {"pywhispercpp": "1.5.1"}
    path = Path(folder) / "second.json"
    path.write_text(json.dumps({"made_with": made_with, "model": NAME, "cases": cases}, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
