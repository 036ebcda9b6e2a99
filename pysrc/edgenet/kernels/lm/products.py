"""References and cases of the products that training adds: f32 rows with any weight, and rows with a weight's transpose. Runs anywhere with NumPy.

A reference multiplies in f64. A kernel's sum is one chain in f32, off by about sqrt(depth) * 6e-8 of the largest product. `matmul_t_int8`
quantises the weight anew; that is part of its definition (`turned`), exact to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .layouts import BLOCK, LAYOUTS, TYPES
from .matmul import ACTIVATIONS, random_weight
from .norm import Outcome, Values
from .quantize import SMALLEST, pack_rows, quantized_size, values_of
from .table import GELU, MAX_THREADS, NONE, RELU
from .weights import numbers

TURNED_LARGEST = np.float32(63)  # 7-bit weights


def turned(w: np.ndarray) -> np.ndarray:
    """What `matmul_t_int8` takes for w, f32 (out, in): for each column of 32 rows the scale s = max|w| / 63 and integers w * (63 / max|w|), rounded
    to the nearest, ties to even. Where max|w| < 2^-100 they are 0.
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


Shape = tuple[int, int, int]  # n, out, in


def _values(rng: np.random.Generator, kernel: str, kind: str, shape: Shape, **more: Any) -> dict[str, Any]:
    n, out, width = shape
    x = normal(rng, n, width if kernel == "matmul_f32" else out)
    own = {"matmul_f32": {"act": NONE}, "matmul_t": {}, "matmul_t_int8": {"stride": 0}}[kernel]
    values = {"x": pack_rows(x) if kernel == "matmul_t_int8" else x, "w": random_weight(rng, kind, out, width)}
    return values | {"n": n, "out": out, "in": width} | own | more


# What each kernel does differently by shape: pieces are 64 deep and 96 wide, or 256 and 32; rows go by fours, and 128 at once.
SHAPES: dict[str, tuple[tuple[str, Shape], ...]] = {
    "matmul_f32": (
        ("one row", (1, 7, 96)),
        ("a row of four is missing", (3, 13, 96)),
        ("more outputs than a piece has", (5, 101, 96)),
        ("more rows than meet a piece at once", (131, 5, 32)),
    ),
    "matmul_t": (
        ("one row", (1, 7, 96)),
        ("a row of four is missing", (3, 66, 96)),
        ("more columns than a piece has", (5, 9, 160)),
        ("more rows than meet a piece at once", (131, 5, 32)),
    ),
    "matmul_t_int8": (
        ("one row", (1, 32, 96)),
        ("a row of four is missing", (3, 288, 64)),
        ("33 rows", (33, 64, 32)),
    ),
}
TAILS = ((1, 3, 1), (2, 5, 3), (4, 1, 6), (5, 65, 33), (6, 70, 97))


def _of_all_kinds(rng: np.random.Generator, kernel: str) -> Iterator[Case]:
    out = 32 if kernel == "matmul_t_int8" else 6
    for kind in TYPES:
        wide = kind.endswith("_k")
        for reason, shape in ((f"3 rows, {out} outputs", (3, out, 256)),) if wide else SHAPES[kernel]:
            yield Case(kernel, f"{kind} {reason}", _values(rng, kernel, kind, shape))


def _of_plain_kinds(rng: np.random.Generator, kernel: str) -> Iterator[Case]:
    for kind in ("f32", "f16", "bf16"):
        for n, out, width in TAILS:
            out = -(-out // BLOCK) * BLOCK if kernel == "matmul_t_int8" else out
            yield Case(kernel, f"{kind} {n} rows, {out} x {width}", _values(rng, kernel, kind, (n, out, width)))


def _of_all_kernels(rng: np.random.Generator, kernel: str) -> Iterator[Case]:
    def case(reason: str, shape: Shape, kind: str = "q4_0", **more: Any) -> Case:
        return Case(kernel, reason, _values(rng, kernel, kind, shape, **more))

    width = 34 if kernel == "matmul_f32" else 64
    yield from _of_all_kinds(rng, kernel)
    yield from _of_plain_kinds(rng, kernel)
    yield case("a residual", (5, 34, 64) if kernel != "matmul_t_int8" else (5, 64, 64), residual=normal(rng, 5, width))
    yield case("no rows", (0, 32, 32))
    yield case("no outputs", (1, 32, 32)) if False else Case(kernel, "no width", _empty(kernel))


def _empty(kernel: str) -> dict[str, Any]:
    return {}
