"""References and cases of the kernels that read matrices: embedding look-up, products, gated products. Runs anywhere with NumPy.

A reference multiplies in f64 what rows and weights stand for (`quantize.values_of`, `weights.numbers`). A kernel sums a block's integers
exactly and blocks in f32, so it differs by about sqrt(blocks) * 6e-8 of the largest product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...formats.blocks import BLOCKS, QUANTIZED, quantize
from ...formats.types import row_bytes
from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cases import Case, normal
from .layouts import BLOCK, LAYOUTS, TYPES
from .norm import Outcome, Values
from .quantize import pack_rows, values_of
from .record import Weight
from .table import GELU, MAX_THREADS, NONE, RELU, SILU
from .weights import keep, numbers


def _erf(x: np.ndarray) -> np.ndarray:
    from math import erf

    return np.vectorize(erf, otypes=[np.float64])(x)


ACTIVATIONS = (
    lambda x: x,
    lambda x: x / (1 + np.exp(-x)),
    lambda x: x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    lambda x: x / 2 * (1 + _erf(x / np.sqrt(2))),
    lambda x: np.maximum(x, 0),
)


def embed(v: Values) -> Outcome:
    """y (n, d): rows of the table times `scale`."""
    ids = np.asarray(v["ids"])
    if v["n"] < 0 or v["d"] <= 0 or _unfit(v["table"], v["d"]):
        return INVALID_PARAMS, {}
    if ((ids < 0) | (ids >= v["vocab"])).any():
        return INVALID_INPUT, {}
    return OK, {"y": (numbers(v["table"], v["vocab"], v["d"])[ids] * np.float32(v["scale"])).astype(np.float32)}


def _unfit(weight: Weight, columns: int) -> bool:
    return any(f.code == weight.code and columns % f.columns for f in LAYOUTS.values())


def _rows(v: Values, weight: Weight) -> np.ndarray:
    """x as f64 (n, in)."""
    layout = next(f for f in LAYOUTS.values() if f.code == weight.code)
    n, width = v["n"], v["in"]
    if not layout.quantized:
        return np.asarray(v["x"], np.float64).reshape(n, width)
    size = len(pack_rows(np.zeros((n, width), np.float32)))
    return values_of(np.asarray(v["x"])[:size].tobytes(), n, width, fine=layout.name == "q8").astype(np.float64)


def _product(v: Values, name: str) -> np.ndarray:
    return _rows(v, v[name]) @ numbers(v[name], v["out"], v["in"]).astype(np.float64).T


def _bad(v: Values, *weights: str) -> bool:
    return min(v["out"], v["in"]) <= 0 or v["n"] < 0 or v["act"] > RELU or any(_unfit(v[w], v["in"]) for w in weights)


def matmul(v: Values) -> Outcome:
    """y (n, out) = act(x w' + bias) + residual."""
    if _bad(v, "w"):
        return INVALID_PARAMS, {}
    y = _product(v, "w") + (0 if v.get("bias") is None else v["bias"])
    y = ACTIVATIONS[v["act"]](y) + (0 if v.get("residual") is None else v["residual"])
    return OK, {"y": y.astype(np.float32)}


def gated(v: Values) -> Outcome:
    """y (n, out) = act(x gate') * (x up')."""
    if _bad(v, "gate", "up"):
        return INVALID_PARAMS, {}
    return OK, {"y": (ACTIVATIONS[v["act"]](_product(v, "gate")) * _product(v, "up")).astype(np.float32)}


def random_weight(rng: np.random.Generator, kind: str, rows: int, columns: int) -> Weight:
    """A kept matrix of a file type, entries about N(0, 1 / columns). Types that only llama.cpp writes get random bits and scales that are
    powers of two, so that their products are exact in f16.
    """
    if kind in QUANTIZED:
        return keep(kind, quantize(kind, normal(rng, rows, columns, scale=columns**-0.5)), rows, columns)
    raw = rng.integers(0, 256, rows * row_bytes(kind, columns), np.uint8)
    blocks = raw.view(BLOCKS[kind])
    blocks["d"] = 2.0**-14
    if "dmin" in blocks.dtype.names:
        blocks["dmin"] = 2.0**-12
    return keep(kind, raw.tobytes(), rows, columns)


def _x(rng: np.random.Generator, kind: str, n: int, width: int, copies: int = 1) -> np.ndarray:
    x = normal(rng, n, width)
    return np.tile(pack_rows(x), copies) if LAYOUTS[TYPES[kind]].quantized else x


def _matmul(rng: np.random.Generator, reason: str, kind: str, n: int, out: int, width: int, **more: Any) -> Case:
    values = {"x": _x(rng, kind, n, width), "w": random_weight(rng, kind, out, width), "n": n, "out": out, "in": width}
    return Case("matmul", f"{kind} {reason}", {**values, "act": NONE, "stride": 0, **more})


def _gated(rng: np.random.Generator, reason: str, kind: str, n: int, out: int, width: int, **more: Any) -> Case:
    weights = {name: random_weight(rng, kind, out, width) for name in ("gate", "up")}
    values = {"x": _x(rng, kind, n, width), **weights, "n": n, "out": out, "in": width}
    return Case("gated", f"{kind} {reason}", {**values, "act": SILU, "stride": 0, **more})


def _embed(rng: np.random.Generator, reason: str, kind: str, ids: list[int], vocab: int, d: int) -> Case:
    values = {"table": random_weight(rng, kind, vocab, d), "ids": np.int32(ids), "n": len(ids), "vocab": vocab, "d": d}
    return Case("embed", f"{kind} {reason}", {**values, "scale": np.float32(1.5)})


def _all_kinds(rng: np.random.Generator) -> Iterator[Case]:
    for kind in TYPES:
        width = 512 if kind.endswith("_k") else 96
        for n, out in ((1, 4), (2, 7), (4, 1), (5, 8), (8, 5), (9, 12), (33, 10)):
            yield _matmul(rng, f"{n} rows, {out} outputs", kind, n, out, width)
        full = {"bias": normal(rng, 6), "residual": normal(rng, 3, 6), "act": GELU}
        yield _matmul(rng, "bias, activation, residual", kind, 3, 6, width, **full)
        yield _gated(rng, "11 rows", kind, 11, 6, width)
        yield _embed(rng, "first, last and repeated rows", kind, [0, 6, 3, 3], 7, width)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _all_kinds(rng)
    for width in (1, 3, 6, 33):
        for kind in ("f32", "f16", "bf16"):
            yield _matmul(rng, f"{width} columns: a tail", kind, 5, 6, width)
    for act in range(NONE, RELU + 1):
        yield _matmul(rng, f"activation {act}", "q8_0", 2, 5, 32, act=act)
    yield _matmul(rng, "no rows", "q4_0", 0, 4, 32)
    copies = {"x": _x(rng, "q4_0", 4, 32 * 16, MAX_THREADS), "stride": 480 * 16}
    yield _matmul(rng, "a copy of x for each thread", "q4_0", 4, 9, 32 * 16, **copies)
    yield _matmul(rng, "no such activation", "f32", 1, 4, 8, act=RELU + 1)
    yield _embed(rng, "an id behind the last", "q4_0", [1, 7], 7, 32)
    yield _embed(rng, "a negative id", "f16", [-1], 7, 32)
    yield _matmul(rng, f"{BLOCK * 152} columns", "q4_0", 2, 4, BLOCK * 152)
