"""A small batch of tokens and random LoRA factors, on which engines and torch compare losses and gradients. Needs no torch."""

import numpy as np

from edgenet.formats.gguf import Header, read_header
from edgenet.lora.config import LoraConfig
from edgenet.models.sites import parameters_of, sites_of
from tools.gguf_file import file_pieces
from tools.oracles.small_models import Small, prompt, uniform, vocabulary

LORA = LoraConfig(r=2, lora_alpha=3, target_modules="all-linear")
LENGTHS = (13, 4, 7)  # beyond a window of 8, and within
TEXTS = [prompt(100 + n)[:n] for n in LENGTHS]


def batch() -> dict[str, np.ndarray]:
    """The inputs of `train`, rows of all texts behind one another: each predicts the next token, its text's last nothing."""
    rows = sum(LENGTHS)
    return {
        "tokens": np.concatenate(TEXTS).astype(np.int32),
        "positions": np.concatenate([np.arange(n) for n in LENGTHS]).astype(np.int32),
        "sequences": np.repeat(np.arange(len(LENGTHS)), LENGTHS).astype(np.int32),
        "targets": np.concatenate([[*t[1:], -1] for t in TEXTS]).astype(np.int32),
        "weights": np.abs(uniform("weights", (rows,))) * (np.arange(rows) % 5 > 0),
        "seeds": np.array([1, 2, 3, 0], np.uint32),
    }


def parameters(header: Header) -> np.ndarray:
    """The flat state: A and B of every site, f32."""
    return 0.3 * uniform("parameters", (parameters_of(sites_of(header, LORA)),))


def header_of(small: Small) -> Header:
    """The header of the small model's file with f32 matrices."""
    data = b"".join(file_pieces(small.metadata | vocabulary(small), small.tensors(), "f32"))
    return read_header(lambda offset, length: data[offset : offset + length], len(data))
