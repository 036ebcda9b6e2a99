"""References and cases of RMSNorm and LayerNorm: f64, rounded once. Runs anywhere with NumPy.

RMSNorm: Zhang & Sennrich 2019; LayerNorm: Ba et al. 2016.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def rms_rows(x: np.ndarray, weight: np.ndarray | None, eps: float) -> np.ndarray:
    """(…, d) f64: x / sqrt(mean(x^2) + eps) * weight."""
    x = np.asarray(x, np.float64)
    y = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + float(np.float32(eps)))
    return y if weight is None else y * weight


def rms_norm(v: Values) -> Outcome:
    """y (n, d)."""
    if v["n"] < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    return OK, {"y": rms_rows(v["x"], v.get("weight"), v["eps"]).astype(np.float32)}


def layer_norm(v: Values) -> Outcome:
    """y (n, d): (x - mean) / sqrt(variance + eps) * weight + bias."""
    if v["n"] < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    x = np.asarray(v["x"], np.float64)
    x = x - x.mean(axis=1, keepdims=True)
    y = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + float(np.float32(v["eps"]))) * v["weight"]
    return OK, {"y": (y if v.get("bias") is None else y + v["bias"]).astype(np.float32)}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(kernel: str, reason: str, x: np.ndarray, weight: bool = True, bias: bool = True) -> Case:
        n, d = x.shape
        values = {"x": x, "n": n, "d": d, "eps": np.float32(1e-5), "weight": normal(rng, d) + 1 if weight else None}
        return Case(kernel, reason, values | ({"bias": normal(rng, d)} if kernel == "layer_norm" and bias else {}))

    for kernel in ("rms_norm", "layer_norm"):
        for n, d in ((0, 4), (1, 1), (1, 3), (2, 5), (3, 16), (2, 63), (5, 384), (2, 897)):
            yield case(kernel, f"{n} x {d}", normal(rng, n, d))
        yield case(kernel, "a row of zeros", normal(rng, 3, 6) * np.float32([[1], [0], [1]]))
        yield case(kernel, "squares leave the range of f32", normal(rng, 2, 9, scale=1e30))
        yield case(kernel, "tiny numbers: eps decides", normal(rng, 2, 9, scale=1e-30))
        yield case(kernel, "NaN spoils its own row only", with_value(normal(rng, 3, 9), 13, np.nan))
        yield case(
            kernel,
            "a large mean",
            normal(rng, 2, 33, scale=1e-2) + np.float32(100) if kernel == "layer_norm" else normal(rng, 2, 33),
        )
        yield Case(kernel, "no width", {**case(kernel, "", np.zeros((2, 0), np.float32)).values, "eps": np.float32(1)})
    yield case("rms_norm", "without a weight", normal(rng, 3, 21), weight=False)
    yield case("layer_norm", "without a bias", normal(rng, 3, 21), bias=False)
