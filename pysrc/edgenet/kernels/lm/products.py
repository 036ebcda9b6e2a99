"""References and cases of products of f32 rows with any weight, and of rows with a weight's transpose. Runs anywhere with NumPy.

A reference multiplies in f64. A kernel's sum is one chain in f32, off by about sqrt(depth) * 6e-8 of the largest product. `matmul_t_int8`
quantises the weight anew; that is part of its definition (`turned`), exact to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .layouts import BLOCK, LAYOUTS, TYPES, quantized_bytes
from .matmul import ACTIVATIONS, random_weight
from .norm import Outcome, Values
from .quantize import SMALLEST, pack_rows, values_of
from .table import MAX_THREADS, NONE, RELU
from .weights import numbers

TURNED_LARGEST = np.float32(63)  # 7-bit weights


def turned(w: np.ndarray) -> np.ndarray:
    """What `matmul_t_int8` takes for w, and `matmul_int8` for its transpose, f32 (out, in): for each column of 32 rows the scale
    s = max|w| / 63 and integers w * (63 / max|w|), rounded to the nearest, ties to even. Where max|w| < 2^-100 they are 0.
    """
    blocks = w.reshape(-1, BLOCK, w.shape[1])
    most = np.abs(blocks).max(axis=1, keepdims=True)
    zero = most < SMALLEST
    integers = np.rint(blocks * (TURNED_LARGEST / np.where(zero, np.float32(1), most)))
    return np.where(zero, np.float32(0), integers * (most / TURNED_LARGEST)).reshape(w.shape)


def _bad(v: Values) -> bool:
    layout = next((f for f in LAYOUTS.values() if f.code == v["w"].code), None)
    return min(v["out"], v["in"]) <= 0 or v["n"] < 0 or layout is None or v["in"] % layout.columns != 0


def _weight(v: Values) -> np.ndarray:
    return numbers(v["w"], v["out"], v["in"])


def _residual(v: Values) -> Any:
    return 0 if v.get("residual") is None else v["residual"]


def matmul_f32(v: Values) -> Outcome:
    """y (n, out) = act(x w' + bias) + residual."""
    if _bad(v) or v["act"] > RELU:
        return INVALID_PARAMS, {}
    y = np.asarray(v["x"], np.float64).reshape(v["n"], v["in"]) @ _weight(v).T
    y = ACTIVATIONS[v["act"]](y + (0 if v.get("bias") is None else v["bias"])) + _residual(v)
    return OK, {"y": y.astype(np.float32)}


def matmul_t(v: Values) -> Outcome:
    """y (n, in) = x w + residual."""
    if _bad(v):
        return INVALID_PARAMS, {}
    y = np.asarray(v["x"], np.float64).reshape(v["n"], v["out"]) @ _weight(v) + _residual(v)
    return OK, {"y": y.astype(np.float32)}


def matmul_t_int8(v: Values) -> Outcome:
    """As `matmul_t`, of quantised rows with `turned` weights."""
    if _bad(v) or v["out"] % BLOCK:
        return INVALID_PARAMS, {}
    n, out = v["n"], v["out"]
    x = values_of(np.asarray(v["x"])[: quantized_bytes(n, out)].tobytes(), n, out).astype(np.float64)
    return OK, {"y": (x @ turned(_weight(v)) + _residual(v)).astype(np.float32)}


def matmul_int8(v: Values) -> Outcome:
    """y (n, out) = x w' + bias + residual, of quantised rows with weights `turned` along their rows."""
    if _bad(v) or v["in"] % BLOCK:
        return INVALID_PARAMS, {}
    n, width = v["n"], v["in"]
    x = values_of(np.asarray(v["x"])[: quantized_bytes(n, width)].tobytes(), n, width).astype(np.float64)
    y = x @ turned(np.ascontiguousarray(_weight(v).T)) + (0 if v.get("bias") is None else v["bias"]) + _residual(v)
    return OK, {"y": y.astype(np.float32)}


Shape = tuple[int, int, int]  # n, out, in

# Tails of what the kernels work in: rows by fours and 128 at once, pieces of the weight that are 64 deep and 96 wide (int8: 256
# and 32). "plain": for weights that are no blocks, so that any width will do. "wide": for types whose blocks have 256 columns.
SHAPES: dict[str, dict[str, tuple[Shape, ...]]] = {
    "matmul_f32": {
        "block": ((1, 7, 96), (3, 13, 96), (5, 101, 96), (131, 5, 32)),
        "plain": ((1, 3, 1), (2, 5, 3), (4, 1, 6), (5, 65, 33), (6, 26, 131)),
        "wide": ((3, 6, 256),),
    },
    "matmul_t": {
        "block": ((1, 7, 96), (3, 66, 96), (5, 9, 160), (131, 5, 32)),
        "plain": ((1, 3, 1), (2, 5, 3), (4, 1, 6), (5, 65, 33), (6, 26, 131)),
        "wide": ((3, 6, 256),),
    },
    "matmul_t_int8": {
        "block": ((1, 32, 96), (3, 288, 64), (33, 64, 32)),
        "plain": ((1, 32, 1), (2, 32, 3), (5, 64, 33), (6, 32, 70)),
        "wide": ((3, 32, 256),),
    },
    "matmul_int8": {
        "block": ((1, 96, 32), (3, 64, 288), (33, 37, 64)),
        "plain": ((1, 1, 32), (2, 3, 32), (5, 33, 64), (6, 70, 32)),
        "wide": ((3, 6, 256),),
    },
}
ALONG = ("matmul_f32", "matmul_int8")  # their sums run along the rows of the weight


def _case(rng: np.random.Generator, kernel: str, reason: str, kind: str, shape: Shape, **more: Any) -> Case:
    n, out, width = shape
    x = normal(rng, n, width if kernel in ALONG else out)
    own = {"matmul_f32": {"act": NONE}, "matmul_t": {}}.get(kernel, {"stride": 0})
    own |= {"x": pack_rows(x) if "stride" in own else x, "w": random_weight(rng, kind, out, width)}
    return Case(kernel, f"{kind} {reason}", {**own, "n": n, "out": out, "in": width, **more})


def _sized(kernel: str, kind: str) -> tuple[Shape, ...]:
    layout = LAYOUTS[TYPES[kind]]
    return SHAPES[kernel]["wide" if kind.endswith("_k") else "block" if layout.quantized else "plain"]


def _of_all(rng: np.random.Generator, kernel: str) -> Iterator[Case]:
    for kind in TYPES:
        for shape in _sized(kernel, kind):
            yield _case(rng, kernel, "{} rows, weight {} x {}".format(*shape), kind, shape)
    square, residual = (3, 64, 64), normal(rng, 3, 64)
    yield _case(rng, kernel, "a residual", "q8_0", square, residual=residual)
    yield _case(rng, kernel, "NaN of a residual stays", "f16", square, residual=with_value(residual, 70, np.nan))
    yield _case(rng, kernel, "no rows", "q4_0", (0, 32, 32))
    none = {"matmul_f32": {"x": normal(rng, 1, 0)}, "matmul_int8": {"x": pack_rows(normal(rng, 1, 0))}}.get(kernel, {})
    yield _case(rng, kernel, "no width", "f32", (1, 32, 32), **none, **{"in": 0})


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for kernel in SHAPES:
        yield from _of_all(rng, kernel)
    for act in range(NONE, RELU + 1):
        full = {"bias": normal(rng, 13), "residual": normal(rng, 3, 13), "act": act}
        yield _case(rng, "matmul_f32", f"bias, activation {act}, residual", "q4_0", (3, 13, 96), **full)
    yield _case(rng, "matmul_f32", "no such activation", "f32", (1, 4, 8), act=RELU + 1)
    for kernel in ("matmul_f32", "matmul_t"):
        x = normal(rng, 3, 64)
        yield _case(rng, kernel, "NaN spoils its row alone", "q4_0", (3, 64, 64), x=with_value(x, 70, np.nan))
    yield _case(rng, "matmul_f32", "no whole block", "q4_0", (1, 32, 32), x=normal(rng, 1, 33), **{"in": 33})
    yield _case(rng, "matmul_t", "no whole block", "q4_0", (1, 32, 32), **{"in": 33})
    yield _case(rng, "matmul_t_int8", "a sum over no whole block", "f32", (1, 32, 32), out=33)
    yield _case(
        rng,
        "matmul_int8",
        "a bias and a residual",
        "q8_0",
        (3, 13, 288),
        bias=normal(rng, 13),
        residual=normal(rng, 3, 13),
    )
    yield _case(rng, "matmul_int8", "a sum over no whole block", "f32", (1, 32, 32), **{"in": 33})
    copies = {"x": np.tile(pack_rows(normal(rng, 5, 64)), MAX_THREADS), "stride": quantized_bytes(5, 64)}
    yield _case(rng, "matmul_t_int8", "a copy of x for each thread", "q4_0", (5, 64, 96), **copies)
    tiny = random_weight(rng, "f32", 64, 40)
    zeros = np.frombuffer(tiny.data, "<f4").reshape(64, 40) * np.float32([1, 0, 2.0**-110, 1e-20] * 10)
    yield _case(
        rng,
        "matmul_t_int8",
        "columns of zeros and of tiny numbers",
        "f32",
        (3, 64, 40),
        w=replace(tiny, data=zeros.tobytes()),
    )
