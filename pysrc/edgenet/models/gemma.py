"""Gemma (scaled embedding, GeGLU) and Gemma 2 (norms after each part too, caps on scores and logits, every other layer sees a window)."""

from ..graph import Tensor
from .blocks import Build, attention, decoder, gated, rms, wanted_rows

LAYERS_27B = 46  # the one size whose scores are scaled by width / heads, which the file does not say


def gemma_layer(b: Build, x: Tensor, i: int) -> Tensor:
    at = f"blk.{i}."
    x = b.graph.add(x, attention(b, rms(b, x, f"{at}attn_norm"), i, "neox"))
    x = wanted_rows(b, x, i)
    return b.graph.add(x, gated(b, rms(b, x, f"{at}ffn_norm"), at, "gelu"))


def gemma2_layer(b: Build, x: Tensor, i: int) -> Tensor:
    c, at = b.config, f"blk.{i}."
    window = 0 if i % 2 else c.window
    scale = (c.width / c.heads) ** -0.5 if c.layers == LAYERS_27B else 0.0
    y = attention(b, rms(b, x, f"{at}attn_norm"), i, "neox", window, scale)
    x = wanted_rows(b, b.graph.add(x, rms(b, y, f"{at}post_attention_norm")), i)
    y = gated(b, rms(b, x, f"{at}ffn_norm"), at, "gelu")
    return b.graph.add(x, rms(b, y, f"{at}post_ffw_norm"))


def gemma(b: Build) -> None:
    decoder(b, gemma_layer, scale=b.config.width**0.5)


def gemma2(b: Build) -> None:
    decoder(b, gemma2_layer, scale=b.config.width**0.5)
