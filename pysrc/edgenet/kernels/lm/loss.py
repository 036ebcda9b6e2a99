"""References and cases of cross-entropy over a vocabulary that comes in chunks: f64, rounded once. Runs anywhere with NumPy.

`stats` (n, 4): the largest logit, the sum of e^(logit - largest), the target's logit, 1 once it has come (Milakov & Gimelshein 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cases import Case, normal, with_value

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]
NOTHING = np.array([-np.inf, 0, 0, 0])


def _origin(most: np.ndarray) -> np.ndarray:
    return np.where(np.isneginf(most), 0, most)


def _here(v: Values) -> tuple[np.ndarray, np.ndarray]:
    """Rows whose target lies in this chunk, and its place there."""
    places = v["targets"].astype(np.int64) - v["first"]
    rows = np.flatnonzero((v["targets"] >= 0) & (places >= 0) & (places < v["v"]))
    return rows, places[rows]


def token_stats(v: Values) -> Outcome:
    """stats (n, 4): what `before` knew (nothing where absent), and logits of tokens first … first + v - 1."""
    if min(v["n"], v["first"]) < 0 or v["v"] <= 0:
        return INVALID_PARAMS, {}
    if (v["targets"] < -1).any():
        return INVALID_INPUT, {}
    x = np.asarray(v["logits"], np.float64)
    before = np.tile(NOTHING, (v["n"], 1)) if v.get("before") is None else np.asarray(v["before"], np.float64)
    with np.errstate(all="ignore"):
        most = np.maximum(before[:, 0], x.max(axis=1))
        known = np.where(before[:, 1] == 0, 0, before[:, 1] * np.exp(before[:, 0] - _origin(most)))
        total = known + np.exp(x - _origin(most)[:, None]).sum(axis=1)
    stats = np.stack([most, total, before[:, 2], before[:, 3]], axis=1)
    rows, places = _here(v)
    stats[rows, 2], stats[rows, 3] = x[rows, places], 1
    return OK, {"stats": stats.astype(np.float32)}


def _unmet(v: Values) -> bool:
    return bool(((v["targets"] < -1) | ((v["targets"] >= 0) & (v["stats"][:, 3] != 1))).any())


def cross_entropy(v: Values) -> Outcome:
    """y (n,) = weight * (largest + ln sum - the target's logit); a target of -1 has none."""
    if v["n"] < 0:
        return INVALID_PARAMS, {}
    if _unmet(v):
        return INVALID_INPUT, {}
    most, total, target, _ = np.asarray(v["stats"], np.float64).T
    with np.errstate(all="ignore"):
        losses = v["weights"] * (most - target + np.log(total))
    return OK, {"y": np.where(v["targets"] < 0, 0, losses).astype(np.float32)}


def cross_entropy_grad(v: Values) -> Outcome:
    """out (n, v) = weight * (softmax - onehot) of this chunk."""
    if min(v["n"], v["first"]) < 0 or v["v"] <= 0:
        return INVALID_PARAMS, {}
    if _unmet(v):
        return INVALID_INPUT, {}
    stats, weights = np.asarray(v["stats"], np.float64), np.asarray(v["weights"], np.float64)[:, None]
    with np.errstate(all="ignore"):
        out = weights * np.exp(v["logits"] - _origin(stats[:, :1])) / stats[:, 1:2]
    rows, places = _here(v)
    out[rows, places] -= weights[rows, 0]
    out[v["targets"] < 0] = 0
    return OK, {"out": out.astype(np.float32)}


def _chunk(
    rng: np.random.Generator, n: int, v: int, first: int = 0, targets: list[int] | None = None
) -> dict[str, Any]:
    targets = targets or [first + (7 * i) % v for i in range(n)]
    return {
        "logits": normal(rng, n, v, scale=3),
        "targets": np.array(targets, np.int32),
        "n": n,
        "v": v,
        "first": first,
    }


def _known(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return token_stats(values)[1]


def _stats_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, v in ((0, 3), (1, 1), (3, 5), (2, 64), (3, 1021)):
        yield Case("token_stats", f"{n} x {v}", _chunk(rng, n, v))
    first = _chunk(rng, 4, 33, 0, [0, 32, 33, -1])
    yield Case("token_stats", "targets here, in the next chunk, none", first)
    second = _chunk(rng, 4, 9, 33, [0, 32, 33, -1])
    for reason, logits in (
        ("a second chunk", second["logits"]),
        ("a second chunk of larger logits", second["logits"] + np.float32(60)),
        ("a second chunk of smaller logits", second["logits"] - np.float32(300)),
    ):
        yield Case("token_stats", reason, second | {"before": _known(first)["stats"], "logits": logits})
    nothing = np.full((4, 9), -np.inf, np.float32)
    yield Case("token_stats", "nothing but -Inf", second | {"logits": nothing})
    masked = _known(second | {"logits": nothing})["stats"]
    yield Case("token_stats", "something after nothing but -Inf", second | {"before": masked})
    nan = with_value(second["logits"], 20, np.nan)
    yield Case("token_stats", "NaN spoils its own row only", second | {"logits": nan, "before": None})
    spoiled = _known(second | {"logits": nan})["stats"]
    yield Case("token_stats", "NaN of an earlier chunk stays", second | {"before": spoiled})
    yield Case("token_stats", "a target of -2", second | {"targets": np.array([0, -2, 1, 1], np.int32)})
    yield Case("token_stats", "the least target", second | {"targets": np.array([0, -(2**31), 1, 1], np.int32)})
    yield Case("token_stats", "a negative first token", second | {"first": -1})
    yield Case("token_stats", "no logits", _chunk(rng, 2, 1) | {"logits": np.zeros((2, 0), np.float32), "v": 0})


def _entropy_cases(rng: np.random.Generator) -> Iterator[Case]:
    for n, v in ((0, 3), (1, 2), (5, 9), (3, 1021)):
        values = _chunk(rng, n, v)
        values |= _known(values) | {"weights": np.abs(normal(rng, n))}
        yield from (Case(kernel, f"{n} x {v}", values) for kernel in ("cross_entropy", "cross_entropy_grad"))
    good = _chunk(rng, 4, 9, 30, [33, -1, 38, 30])
    good |= _known(good) | {"weights": np.array([1, np.nan, 0, 2], np.float32)}
    unmet, nan = with_value(good["stats"], 3, 0), with_value(good["stats"], 9, np.nan)
    for kernel in ("cross_entropy", "cross_entropy_grad"):
        yield Case(kernel, "a row without a target; a weight of 0", good)
        yield Case(kernel, "a target that no chunk held", good | {"stats": unmet})
        yield Case(kernel, "a target of -2", good | {"targets": np.array([33, -2, 38, 30], np.int32)})
        yield Case(kernel, "a sum that is NaN makes its loss NaN", good | {"stats": nan})
    other = good | {"logits": normal(rng, 4, 9), "first": 0}
    yield Case("cross_entropy_grad", "a chunk without a target", other)
    yield Case(
        "cross_entropy_grad", "NaN stays where it is", other | {"logits": with_value(other["logits"], 1, np.nan)}
    )
    yield Case(
        "cross_entropy_grad", "-Inf has no gradient", other | {"logits": with_value(other["logits"], 1, -np.inf)}
    )


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _stats_cases(rng)
    yield from _entropy_cases(rng)
