"""Phi-2 (LayerNorm, attention and feed-forward side by side, a part of each head turns) and Phi-3 (fused matrices). Runs anywhere."""

from ..graph import Tensor
from .blocks import Build, attention, decoder, layer_norm, plain, wanted_rows
from .llama import sequential


def parallel(b: Build, x: Tensor, i: int) -> Tensor:
    """x + attention(h) + feed-forward(h), h = norm x."""
    at = f"blk.{i}."
    h = layer_norm(b, x, f"{at}attn_norm")
    attended = b.graph.add(x, attention(b, h, i, "neox"))
    return b.graph.add(wanted_rows(b, attended, i), plain(b, wanted_rows(b, h, i), at, "gelu"))


def phi2(b: Build) -> None:
    decoder(b, parallel, layer_norm)


def phi3(b: Build) -> None:
    decoder(b, lambda b, x, i: sequential(b, x, i, "neox", b.config.window))
