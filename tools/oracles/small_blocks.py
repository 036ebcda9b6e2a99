"""Weights drawn as the bits of K-quant blocks: no quantiser is needed, and every reader is given the same bytes. Needs NumPy."""

import numpy as np

from edgenet.formats.blocks import BLOCKS

# Scales that give weights of about 0.06 around 0: a weight is d * scale * q - dmin * minimum, or d * scale * (q - 32) in q6_k.
SCALES = {"q4_k": {"d": 2.6e-4, "dmin": 1.95e-3}, "q5_k": {"d": 1.3e-4, "dmin": 2e-3}, "q6_k": {"d": 4.4e-5}}
# What Q4_K_M files mix: the tensors that matter most in more bits.
MIX = {"attn_v": "q6_k", "ffn_down": "q6_k", "token_embd": "q6_k", "attn_k": "q5_k", "ffn_up": "q5_k"}


def kind_of(name: str) -> str:
    """The type of a matrix, by its name."""
    return next((kind for part, kind in MIX.items() if part in name), "q4_k")


def draw_blocks(raw: np.ndarray, kind: str) -> bytes:
    """Blocks of random bits, their scales put in order. `raw`: uint8, any number of whole blocks."""
    blocks = raw.view(BLOCKS[kind]).copy()
    for field, scale in SCALES[kind].items():
        spread = 1 + (raw[: len(blocks)].astype(np.float32) - 128) / 512  # 0.75 to 1.25
        blocks[field] = (np.float32(scale) * spread).astype(np.float16)
    return blocks.tobytes()
