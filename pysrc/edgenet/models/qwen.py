"""Qwen2 (biases on q, k, v) and Qwen3 (norms on q and k): the layer of Llama with rotary halves. Runs anywhere."""

from .blocks import Build, decoder
from .llama import sequential


def qwen(b: Build) -> None:
    decoder(b, lambda b, x, i: sequential(b, x, i, "neox"))
