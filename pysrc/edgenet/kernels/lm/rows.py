"""References and cases of ops on whole rows: picking, pooling, LoRA. f64, rounded once. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .table import CLS, LAST, MAX_RANK, MEAN, POOL_NAMES

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def _outside(index: np.ndarray, limit: int) -> bool:
    return bool(((index < 0) | (index >= limit)).any())


def rows(v: Values) -> Outcome:
    """y (m, d) = x[wanted]."""
    if min(v["n"], v["m"]) < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    return (INVALID_INPUT, {}) if _outside(v["wanted"], v["n"]) else (OK, {"y": v["x"][v["wanted"]]})


def pool(v: Values) -> Outcome:
    """y (s, d): the mean, first or last row of each sequence, of unit length if wanted. A sequence without rows is zeros."""
    if min(v["n"], v["s"]) < 0 or v["d"] <= 0 or v["mode"] not in (MEAN, CLS, LAST):
        return INVALID_PARAMS, {}
    if _outside(v["sequences"], v["s"]):
        return INVALID_INPUT, {}
    y, x = np.zeros((v["s"], v["d"])), np.asarray(v["x"], np.float64)
    for i in set(v["sequences"].tolist()):
        own = x[v["sequences"] == i]
        y[i] = (own.mean(axis=0), own[0], own[-1])[v["mode"]]
    if v["normalize"]:
        length = np.sqrt((y**2).sum(axis=1, keepdims=True))
        y /= np.where(length == 0, 1, length)
    return OK, {"y": y.astype(np.float32)}


def lora(v: Values) -> Outcome:
    """y (n, out) + scale * (x a') b' (Hu et al. 2021)."""
    if v["n"] < 0 or min(v["in"], v["out"]) <= 0 or not 0 < v["r"] <= MAX_RANK:
        return INVALID_PARAMS, {}
    x, a, b, y = (np.asarray(v[n], np.float64) for n in ("x", "a", "b", "y"))
    return OK, {"y": (y + float(v["scale"]) * ((x @ a.T) @ b.T)).astype(np.float32)}


def _pool(
    rng: np.random.Generator, reason: str, sequences: list[int], s: int, d: int, mode: int, normalize: int
) -> Case:
    values = {"x": normal(rng, len(sequences), d), "sequences": np.array(sequences, np.int32), "n": len(sequences)}
    return Case("pool", reason, values | {"s": s, "d": d, "mode": mode, "normalize": normalize})


def cases(rng: np.random.Generator) -> Iterator[Case]:
    def picked(reason: str, n: int, d: int, wanted: list[int]) -> Case:
        values = {"x": normal(rng, n, d), "wanted": np.array(wanted, np.int32), "n": n, "m": len(wanted), "d": d}
        return Case("rows", reason, values)

    yield picked("none wanted", 3, 5, [])
    yield picked("in any order, twice", 4, 7, [3, 0, 3])
    yield picked("one of one", 1, 1, [0])
    for row in (4, -1, 1 << 30):
        yield picked(f"row {row} of 4", 4, 3, [0, row])
    yield picked("no width", 2, 0, [1])
    for mode, name in enumerate(POOL_NAMES):
        for normalize in (0, 1):
            yield _pool(rng, f"{name}, normalize {normalize}", [0, 0, 0, 1, 2, 2], 3, 33, mode, normalize)
        yield _pool(rng, f"{name}, a sequence without rows", [2, 0, 2], 4, 6, mode, 1)
    yield _pool(rng, "many rows", [0] * 300, 1, 384, MEAN, 1)
    yield _pool(rng, "a sequence that is not there", [0, 3], 3, 4, MEAN, 0)
    yield _pool(rng, "a negative sequence", [-1, 0], 3, 4, MEAN, 0)
    yield _pool(rng, "an unknown mode", [0], 1, 4, 3, 0)
    zeros = _pool(rng, "", [0, 1], 2, 9, MEAN, 1).values
    yield Case("pool", "a row of zeros stays zeros", zeros | {"x": zeros["x"] * np.float32([[0], [1]])})
    yield Case("pool", "NaN spoils its own sequence only", zeros | {"x": with_value(zeros["x"], 3, np.nan)})

    def adapted(reason: str, n: int, d: int, out: int, r: int) -> Case:
        values = {"x": normal(rng, n, d), "a": normal(rng, r, d), "b": normal(rng, out, r), "y": normal(rng, n, out)}
        return Case("lora", reason, values | {"n": n, "in": d, "out": out, "r": r, "scale": np.float32(0.7)})

    for n, d, out, r in (
        (0, 3, 3, 1),
        (1, 1, 1, 1),
        (2, 33, 17, 3),
        (3, 64, 128, 16),
        (1, 100, 7, 256),
        (17, 33, 70, 200),
    ):
        yield adapted(f"{n} rows, {d} to {out}, rank {r}", n, d, out, r)
    yield adapted("rank 257", 1, 4, 4, 257)
    yield adapted("rank 0", 1, 4, 4, 0)
