"""Writes the fixtures of the tests of MobileNetV2: what the reference makes of weights and pictures that follow from a formula.

    python -m venv somewhere && somewhere/bin/pip install -r requirements.txt
    somewhere/bin/python reference.py ../fixtures

Runs for some seconds. Whoever changes `weight` or `picture` changes `formula.rs` and runs it again.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import MobileNetV2Config, MobileNetV2ForImageClassification
from transformers.models.mobilenet_v2.image_processing_pil_mobilenet_v2 import MobileNetV2ImageProcessorPil
from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import MobileNetV2ConvLayer, MobileNetV2InvertedResidual

sys.path.append(str(Path(__file__).parent / "../../whisper/reference"))
from formula import numbers

# name: what differs from the published network of full width, and height and width of what it looks at
MODELS = {
    "whole": ({"num_labels": 1001}, 224, 224),
    "odd": ({"num_labels": 3, "depth_multiplier": 0.5}, 97, 75),
    "thin": (
        {
            "num_labels": 7,
            "depth_multiplier": 0.35,
            "tf_padding": False,
            "first_layer_is_expansion": False,
            "finegrained_output": False,
        },
        65,
        96,
    ),
}
PICTURES = [(640, 427), (300, 301), (224, 500), (97, 61), (1000, 256), (31, 400), (1920, 1080)]
SAMPLES = 48


def weight(name: str, shape: list[int]) -> np.ndarray:
    """The parameter called `name` as Hugging Face names it."""
    made = numbers(name, int(np.prod(shape))).reshape(shape)
    if name.endswith("normalization.weight"):
        made = 1.0 + 0.2 * made
    elif name.endswith("normalization.bias"):
        made = 0.3 * made
    elif name.endswith("running_mean"):
        made = 0.2 * made
    elif name.endswith("running_var"):
        made = 1.0 + 0.5 * made
    elif name.endswith(".bias"):
        made = 0.1 * made
    else:
        # Some of what comes out is clamped at 6, and rounding does not grow from layer to layer.
        is_wide = "expand_1x1" in name or name.startswith("mobilenet_v2.conv_1x1")
        sharpness = 4.0 if name.startswith("classifier") else 0.7 if is_wide else 1.5
        made = made * (sharpness * np.sqrt(3.0 / np.prod(shape[1:])))
    return made.astype(np.float32)


def picture(width: int, height: int) -> np.ndarray:
    """`[height, width, 3]`: brighter to the right in red, downwards in green, and noise in all."""
    noise = ((numbers("picture", width * height * 3) + 1.0) * 128.0).astype(np.int64).reshape(height, width, 3)
    made = np.empty((height, width, 3), dtype=np.int64)
    made[:, :, 0] = (np.arange(width) * 255 // max(width - 1, 1))[None, :]
    made[:, :, 1] = (np.arange(height) * 255 // max(height - 1, 1))[:, None]
    made[:, :, 2] = 128
    return ((2 * made + noise) // 3).astype(np.uint8)


def sampled(tensor):
    """Some numbers of a tensor and a summary of all, in the order of its memory."""
    flat = tensor.detach().float().contiguous().flatten()
    count = flat.numel()
    step = max(count // SAMPLES, 1)
    kept = flat[::step].double()
    signs = torch.where(torch.arange(count) % 3 == 0, 1.0, -1.0).double()
    return {
        "shape": list(tensor.shape),
        "step": step,
        "values": [float(f"{value:.7g}") for value in kept],
        "largest": flat.abs().max().item(),
        "signed_sum": (flat.double() * signs).sum().item(),
        "square_sum": flat.double().square().sum().item(),
    }


def model(name):
    differs, height, width = MODELS[name]
    config = MobileNetV2Config(**differs)
    theirs = MobileNetV2ForImageClassification(config).eval()
    with torch.no_grad():
        for key, tensor in theirs.state_dict().items():
            if not key.endswith("num_batches_tracked"):
                tensor.copy_(torch.from_numpy(weight(key, list(tensor.shape))))
    tensors = {}

    def keep(key):
        return lambda module, given, made: tensors.update({key: sampled(made)})

    for key, module in theirs.named_modules():
        if isinstance(module, (MobileNetV2ConvLayer, MobileNetV2InvertedResidual)):
            module.register_forward_hook(keep(key.removeprefix("mobilenet_v2.")))
    seen = numbers("seen", 3 * height * width).astype(np.float32).reshape(1, 3, height, width)
    with torch.no_grad():
        body = theirs.mobilenet_v2(torch.from_numpy(seen))
        logits = theirs(torch.from_numpy(seen)).logits
    tensors["pooled"] = sampled(body.pooler_output)
    tensors["logits"] = sampled(logits)
    kinds = {torch.float32: "F32", torch.int64: "I64"}
    saved = {key: [kinds[tensor.dtype], list(tensor.shape)] for key, tensor in theirs.state_dict().items()}
    fields = json.loads(config.to_json_string(use_diff=False))
    del fields["label2id"]
    return {"config": fields, "seen": [height, width], "saved": saved, "tensors": tensors}


def prepared(width, height):
    processor = MobileNetV2ImageProcessorPil(image_mean=[0.5] * 3, image_std=[0.5] * 3)
    made = picture(width, height)
    numbers_of = processor(Image.fromarray(made), return_tensors="pt")["pixel_values"][0]
    as_bytes = torch.round((numbers_of * 0.5 + 0.5) * 255.0).to(torch.uint8).permute(1, 2, 0).contiguous()
    new = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    resized = Image.fromarray(made).resize(new, Image.Resampling.BILINEAR)
    left, top = (new[0] - 224) // 2, (new[1] - 224) // 2
    cut = np.asarray(resized.crop((left, top, left + 224, top + 224)))
    assert np.array_equal(cut, as_bytes.numpy()), (width, height)
    return {
        "width": width,
        "height": height,
        "sha256": hashlib.sha256(cut.tobytes()).hexdigest(),
        "first": [int(byte) for byte in cut.reshape(-1)[:12]],
        "numbers": sampled(numbers_of),
    }


def main(folder):
    for name in MODELS:
        (folder / f"{name}.json").write_text(json.dumps(model(name)) + "\n")
    (folder / "pictures.json").write_text(json.dumps([prepared(*size) for size in PICTURES]) + "\n")


main(Path(sys.argv[1]))
