"""Qwen2 (biases on q, k, v) and Qwen3 (norms on q and k): the layer of Llama with rotary halves. Runs anywhere.

A window in the metadata is left alone: it would hold from some layer on, and files do not say from which.
"""

from .blocks import Build, decoder
from .llama import sequential


def qwen(b: Build) -> None:
    decoder(b, lambda b, x, i: sequential(b, x, i, "neox"))
