"""Llama and Mistral: RMSNorm, rotary neighbours, grouped queries, SwiGLU. Runs anywhere.

llama.cpp's converter permutes the rows of q and k so that pairs (i, i + d/2) of the original lie side by side: style "norm".
"""

from ..graph import Tensor
from .blocks import Build, attention, decoder, gated, rms, wanted_rows


def sequential(b: Build, x: Tensor, i: int, style: str, window: int = 0) -> Tensor:
    """A layer of most decoders: x + attention(norm x), then x + feed-forward(norm x)."""
    at = f"blk.{i}."
    x = b.graph.add(x, attention(b, rms(b, x, f"{at}attn_norm"), i, style, window))
    x = wanted_rows(b, x, i)
    return b.graph.add(x, gated(b, rms(b, x, f"{at}ffn_norm"), at, "silu"))


def llama(b: Build) -> None:
    decoder(b, lambda b, x, i: sequential(b, x, i, "norm", b.config.window))
