"""Weights and sound that follow from a formula, so that nothing big is stored. `formula.rs` makes the same numbers."""

import numpy as np

MASK = (1 << 64) - 1


def name_hash(name: str) -> int:
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = (value ^ byte) * 0x100000001B3 & MASK
    return value


def numbers(name: str, count: int) -> np.ndarray:
    """Numbers from -1 to below 1 in steps of 2^-23: SplitMix64, begun with the name's hash."""
    with np.errstate(over="ignore"):
        x = np.uint64(name_hash(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(40)).astype(np.float64) / (1 << 23) - 1.0


def sharpness(name: str) -> float:
    """How far weights are scaled above unit variance: queries and keys more, so that attention prefers something, above all in
    the sound; and what a decoder's block adds, so that a text does not go on with the token that it has just read."""
    if ".q_proj." in name or ".k_proj." in name:
        return 3.0 if "encoder_attn" in name else 1.7
    return 3.0 if "decoder" in name and (".out_proj." in name or ".fc2." in name) else 1.0


def weight(name: str, shape: list[int], end: int, zero: int) -> np.ndarray:
    """The parameter called `name` as Hugging Face names it. `end` and `zero` are the tokens that end a text and say 0.00."""
    made = numbers(name, int(np.prod(shape))).reshape(shape)
    if name.endswith("layer_norm.weight"):
        made = 1.0 + 0.2 * made
    elif name.endswith(".bias"):
        made = 0.1 * made
    elif name.endswith("embed_tokens.weight"):
        # Some texts end, and some tokens are timestamps.
        made[end] *= 2.5
        made[zero:] *= 1.2
    elif name.endswith("embed_positions.weight"):
        made = 4.0 * made
    else:
        made = made * (sharpness(name) * np.sqrt(3.0 / np.prod(shape[1:])))
    return made.astype(np.float32)


def sound(seconds: float) -> np.ndarray:
    """Mono at 16 kHz: three triangle waves that change every 0.4 s, some noise, and a pause in every third second."""
    count = int(seconds * 16000)
    at = np.arange(count, dtype=np.int64)
    piece = at // 6400
    made = 0.15 * numbers("sound", count)
    for wave, base in enumerate((90, 37, 11)):
        period = base + piece * (7 + 4 * wave) % 29
        phase = (at % period).astype(np.float64) / period.astype(np.float64)
        made = made + 0.2 * (np.abs(4.0 * phase - 2.0) - 1.0)
    made[(at // 16000) % 3 == 2] *= 0.001
    return made.astype(np.float32)
