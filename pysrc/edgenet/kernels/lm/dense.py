"""References and cases of the thin products of adapters: f32 matrices, one side a rank. f64, rounded once. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .norm import Outcome, Values

# Kernel -> its two operands and the names of their axes.
OPERANDS = {
    "dense": {"x": ("n", "in"), "w": ("out", "in")},
    "dense_t": {"x": ("n", "out"), "w": ("out", "in")},
    "outer": {"x": ("n", "a"), "y": ("n", "b")},
}


def _operands(v: Values, kernel: str) -> list[np.ndarray] | None:
    """Both in f64, None where a size cannot be."""
    axes = {axis for names in OPERANDS[kernel].values() for axis in names}
    if any(v[axis] < (axis != "n") for axis in axes):
        return None
    return [np.asarray(v[k], np.float64).reshape([v[axis] for axis in names]) for k, names in OPERANDS[kernel].items()]


def dense(v: Values) -> Outcome:
    """y (n, out) = factor * x w'."""
    if (found := _operands(v, "dense")) is None:
        return INVALID_PARAMS, {}
    x, w = found
    return OK, {"y": (float(v["factor"]) * (x @ w.T)).astype(np.float32)}


def dense_t(v: Values) -> Outcome:
    """y (n, in) = factor * x w + residual."""
    if (found := _operands(v, "dense_t")) is None:
        return INVALID_PARAMS, {}
    x, w = found
    residual = 0 if v.get("residual") is None else v["residual"]
    return OK, {"y": (float(v["factor"]) * (x @ w) + residual).astype(np.float32)}


def outer(v: Values) -> Outcome:
    """out (a, b) = factor * x' y; zeros where there are no rows."""
    if (found := _operands(v, "outer")) is None:
        return INVALID_PARAMS, {}
    x, y = found
    return OK, {"out": (float(v["factor"]) * (x.T @ y)).astype(np.float32)}


def _case(rng: np.random.Generator, kernel: str, reason: str, sizes: tuple[int, int, int], **more: Any) -> Case:
    """`sizes`: n and the two others in the order of the row."""
    named = dict(zip(("n", "a", "b") if kernel == "outer" else ("n", "out", "in"), sizes, strict=True))
    arrays = {k: normal(rng, *(named[axis] for axis in axes)) for k, axes in OPERANDS[kernel].items()}
    return Case(kernel, reason, {**arrays, **named, "factor": np.float32(0.7), **more})


# Ranks from 1 on either side; tails of rows by fours, of columns by twelve and 96, of a depth of 64, more rows than meet a piece at once.
SIZES = ((1, 1, 1), (3, 4, 101), (5, 101, 4), (33, 3, 65), (6, 130, 16), (129, 4, 40), (2, 256, 7), (1, 7, 256))


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for kernel in OPERANDS:
        for sizes in SIZES:
            yield _case(rng, kernel, " x ".join(map(str, sizes)), sizes)
        yield _case(rng, kernel, "no rows", (0, 5, 7))
        spoiled = _case(rng, kernel, "NaN stays where it is", (6, 5, 7)).values
        yield Case(kernel, "NaN stays where it is", {**spoiled, "x": with_value(spoiled["x"], 8, np.nan)})
        yield _case(rng, kernel, "no width", (2, 0, 3))
    yield _case(rng, "dense_t", "a residual", (5, 4, 33), residual=normal(rng, 5, 33))
