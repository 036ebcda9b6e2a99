"""Quantised rows: their definition in NumPy, references and cases of the kernels that make them. Runs anywhere with NumPy.

A block of 32 values x has the scale s = max|x| / 127, integers x * (127 / max|x|), and the same in steps of s / 256, all in f32, rounded
to the nearest integer, ties to even. Blocks with max|x| < 2^-100 are 0. A scale that is NaN or infinite stays and reaches the output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .layouts import BLOCK, PANEL
from .norm import Outcome, Values, layer_norm, rms_norm
from .table import MAX_THREADS

# `panel_block` of layouts.h. A pair: sums over columns 0, 1 of every four and over columns 2, 3, as two int16, times minus 8, 16 or 32.
META = np.dtype(
    [("scale", "<f4"), ("sum", "<f4"), ("pair8", "<i2", 2), ("pair16", "<i2", 2), ("pair32", "<i2", (2, 2))]
)
PANELS = np.dtype([("meta", META, PANEL), ("q8", "i1", (PANEL, BLOCK)), ("q16", "<i2", (PANEL, BLOCK))])
SMALLEST = np.float32(2.0**-100)


def pack_rows(x: np.ndarray) -> np.ndarray:
    """f32 (n, d) as quantised rows, uint8; rows that fill up the last panel are zeros. Finite values only."""
    n, d = x.shape
    v = np.pad(x, ((0, -n % PANEL), (0, 0))).reshape(-(-n // PANEL), PANEL, d // BLOCK, BLOCK).transpose(0, 2, 1, 3)
    out = np.zeros(v.shape[:2], PANELS)
    most = np.abs(v).max(axis=3, keepdims=True)
    zero = most < SMALLEST
    scale = np.where(zero, np.float32(0), most / np.float32(127))
    inverse = np.where(zero, np.float32(0), np.float32(127) / np.where(zero, np.float32(1), most))
    q = np.rint(v * inverse).astype(np.int8)
    out["q8"], out["q16"] = q, np.rint(v * (inverse * np.float32(256))).astype(np.int16)
    meta, pairs = out["meta"], _pairs(q)
    meta["scale"] = scale[..., 0]
    meta["sum"] = meta["scale"] * q.sum(axis=3, dtype=np.int32).astype(np.float32)
    meta["pair8"], meta["pair16"], meta["pair32"] = -8 * pairs.sum(axis=3), -16 * pairs.sum(axis=3), -32 * pairs
    return np.frombuffer(out.tobytes(), np.uint8)


def _pairs(q: np.ndarray) -> np.ndarray:
    """(…, 32) → (…, half, 2)"""
    return q.astype(np.int16).reshape(*q.shape[:-1], 2, 4, 2, 2).sum(axis=(-3, -1))


def values_of(data: Any, n: int, d: int, fine: bool = False) -> np.ndarray:
    """What quantised rows stand for, f32 (n, d): of their int8, or (`fine`) of their int16."""
    panels = np.frombuffer(data, PANELS).reshape(-(-n // PANEL), d // BLOCK)
    q = panels["q16"].astype(np.float32) / 256 if fine else panels["q8"].astype(np.float32)
    return (
        (q * panels["meta"]["scale"][..., None])
        .transpose(0, 2, 1, 3)
        .reshape(len(panels) * PANEL, d // BLOCK * BLOCK)[:n]
    )


def unpack_rows(data: bytes, values: Mapping[str, Any]) -> np.ndarray:
    """An output of a quantising kernel as f32 (n, d)."""
    n, d = values["n"], values["d"]
    one = -(-n // PANEL) * (d // BLOCK) * PANELS.itemsize
    return values_of(data[:one], n, d)


def _unfit(v: Values) -> bool:
    return v["n"] < 0 or v["d"] <= 0 or v["d"] % BLOCK != 0


def quantize(v: Values) -> Outcome:
    """y stands for x; integers are off by half a step at most, which is 1/254 of the largest value."""
    if _unfit(v):
        return INVALID_PARAMS, {}
    blocks = np.asarray(v["x"], np.float32).reshape(-1, BLOCK)
    large = np.abs(blocks).max(axis=1, keepdims=True, initial=0) >= SMALLEST
    return OK, {"y": np.where(large, blocks, 0).reshape(v["n"], v["d"])}


def rms_norm_quantize(v: Values) -> Outcome:
    """y stands for rms_norm(x)."""
    return (INVALID_PARAMS, {}) if _unfit(v) else rms_norm(v)


def layer_norm_quantize(v: Values) -> Outcome:
    """y stands for layer_norm(x)."""
    return (INVALID_PARAMS, {}) if _unfit(v) else layer_norm(v)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(kernel: str, reason: str, x: np.ndarray, stride: int = 0) -> Case:
        n, d = x.shape
        extra = {} if kernel == "quantize" else {"weight": normal(rng, d) + 1, "eps": np.float32(1e-5)}
        extra |= {"bias": normal(rng, d)} if kernel == "layer_norm_quantize" else {}
        return Case(kernel, reason, {"x": x, "n": n, "d": d, "stride": stride, **extra})

    for kernel in ("quantize", "rms_norm_quantize", "layer_norm_quantize"):
        for n, d in ((1, 32), (2, 64), (4, 96), (5, 32), (33, 160)):
            yield case(kernel, f"{n} x {d}", normal(rng, n, d))
        yield case(
            kernel, "blocks of very different size", normal(rng, 3, 96) * np.repeat(np.float32([1, 1e-3, 30]), 32)
        )
        yield case(kernel, "a row of zeros", normal(rng, 3, 32) * np.float32([[1], [0], [1]]))
        yield case(kernel, "no whole block", normal(rng, 2, 33))
        copy = 3840  # of 5 rows of 128 values
        yield case(kernel, f"a copy for each of {MAX_THREADS} threads", normal(rng, 5, 128), stride=copy)
    yield case("quantize", "too small for a scale", np.full((1, 32), 1e-38, np.float32))
    yield case("quantize", "no rows", np.zeros((0, 32), np.float32))
    yield case("quantize", "one large number", with_value(np.zeros((2, 64), np.float32), 40, 3e38))
