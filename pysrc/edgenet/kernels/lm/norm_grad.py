"""References and cases of norms of heads and of the gradients of norms: f64, rounded once. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .norm import rms_rows

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def _is_bad(v: Values) -> bool:
    return v["n"] < 0 or v.get("heads", 1) <= 0 or v["d"] <= 0


def head_norm(v: Values) -> Outcome:
    """y (n, heads, d): RMSNorm of each head."""
    if _is_bad(v):
        return INVALID_PARAMS, {}
    return OK, {"y": rms_rows(v["x"], v.get("weight"), v["eps"]).astype(np.float32)}


def norm_grad(x: np.ndarray, weight: np.ndarray | None, dy: np.ndarray, eps: float, centred: bool) -> np.ndarray:
    """(…, d) f64: the gradient with respect to x of sum(dy * y), where y is LayerNorm of x if `centred`, else RMSNorm."""
    x, dy = np.asarray(x, np.float64), np.asarray(dy, np.float64)
    x = x - x.mean(axis=-1, keepdims=True) if centred else x
    inverse = 1 / np.sqrt((x**2).mean(axis=-1, keepdims=True) + float(np.float32(eps)))
    g, h = dy if weight is None else dy * weight, x * inverse
    shift = g.mean(axis=-1, keepdims=True) if centred else 0
    return inverse * (g - shift - h * (g * h).mean(axis=-1, keepdims=True))


def _gradient(v: Values, centred: bool) -> Outcome:
    if _is_bad(v):
        return INVALID_PARAMS, {}
    return OK, {"dx": norm_grad(v["x"], v.get("weight"), v["dy"], v["eps"], centred).astype(np.float32)}


def rms_norm_grad(v: Values) -> Outcome:
    """dx (n, heads, d)."""
    return _gradient(v, centred=False)


def layer_norm_grad(v: Values) -> Outcome:
    """dx (n, d)."""
    return _gradient(v, centred=True)


def _kernel_cases(rng: np.random.Generator, kernel: str, heads: bool) -> Iterator[Case]:
    def case(reason: str, x: np.ndarray, weight: bool = True) -> Case:
        n, *inner, d = x.shape
        values = {"x": x, "weight": normal(rng, d) + 1 if weight else None, "eps": np.float32(1e-5), "n": n, "d": d}
        values |= {"heads": inner[0]} if heads else {}
        return Case(kernel, reason, values | ({"dy": normal(rng, *x.shape)} if kernel != "head_norm" else {}))

    middle = (3,) if heads else ()
    for n, d in ((0, 4), (1, 1), (2, 2), (2, 5), (3, 16), (2, 63), (5, 384)):
        yield case(f"{n} x {d}", normal(rng, n, *middle, d))
    yield case("a row of zeros", normal(rng, 2, *middle, 6) * np.float32([0, 1]).reshape(2, *(1 for _ in middle), 1))
    yield case("squares leave the range of f32", normal(rng, 2, *middle, 9, scale=1e30))
    yield case("tiny numbers: eps decides", normal(rng, 2, *middle, 9, scale=1e-30))
    yield case("a large mean", normal(rng, 2, *middle, 33, scale=1e-2) + np.float32(100))
    yield case("NaN spoils its own row only", with_value(normal(rng, 3, *middle, 9), 13, np.nan))
    yield case("no width", np.zeros((2, *middle, 0), np.float32))
    if heads:
        yield case("without a weight", normal(rng, 3, 2, 21), weight=False)
        yield case("no heads", np.zeros((2, 0, 4), np.float32))


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for kernel, heads in (("head_norm", True), ("rms_norm_grad", True), ("layer_norm_grad", False)):
        yield from _kernel_cases(rng, kernel, heads)
