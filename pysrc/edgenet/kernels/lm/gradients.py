"""References and cases of the small parts of a backward pass: f64, rounded once. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .elementwise import EXTREMES, SIZES, erf_of
from .table import ACT_NAMES

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def _logistic(u: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-u))


def _gelu(x: np.ndarray) -> np.ndarray:
    # Beyond 16 the slope is 0 or 1; what it is made of would be infinity times 0.
    x = np.clip(x, -16, 16)
    u, slope = (np.sqrt(8 / np.pi) * part for part in (x + 0.044715 * x**3, 1 + 3 * 0.044715 * x**2))
    return _logistic(u) + x * slope * _logistic(u) * _logistic(-u)


SLOPES: tuple[Callable[[np.ndarray], np.ndarray], ...] = (  # of elementwise.ACTS
    np.ones_like,
    lambda x: _logistic(x) + x * _logistic(x) * _logistic(-x),
    _gelu,
    lambda x: (1 + erf_of(x / np.sqrt(2))) / 2 + x * np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi),
    lambda x: np.where(x <= 0, 0.0, 1.0),
)


def _made(v: Values, f: Callable[..., np.ndarray], bad: bool) -> Outcome:
    if bad or v["n"] < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    with np.errstate(all="ignore"):
        return OK, {"out": (f(np.asarray(v["x"], np.float64)) * v["dy"]).astype(np.float32)}


def activation_grad(v: Values) -> Outcome:
    """out (n, d) = dy * act'(x); relu's slope at 0 is 0."""
    return _made(v, lambda x: SLOPES[v["act"]](x), not 0 <= v["act"] < len(SLOPES))


def softcap_grad(v: Values) -> Outcome:
    """out (n, d) = dy * (1 - tanh(x / cap)^2)."""
    cap = float(v["cap"])
    return _made(v, lambda x: np.cosh(np.minimum(np.abs(x / cap), 700)) ** -2.0, not cap > 0)


def accumulate(v: Values) -> Outcome:
    """into (r, d) + x."""
    if v["r"] < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    return OK, {"into": v["into"] + v["x"]}


def columns(v: Values) -> Outcome:
    """y (n, width) = x[:, first : first + width]."""
    first, width = v["first"], v["width"]
    if min(v["n"], first) < 0 or width <= 0 or first + width > v["d"]:
        return INVALID_PARAMS, {}
    return OK, {"y": np.ascontiguousarray(v["x"][:, first : first + width])}


_KERNELS: dict[str, dict[str, Any]] = {
    "softcap_grad": {"cap": np.float32(1.5)},
    **{f"activation_grad {act}": {"act": act} for act in range(len(SLOPES))},
}


def _pair_cases(rng: np.random.Generator, kernel: str, name: str, more: dict[str, Any]) -> Iterator[Case]:
    for n, d in SIZES:
        x, dy = normal(rng, n, d, scale=3), normal(rng, n, d)
        yield Case(kernel, f"{name}{n} x {d}", {"x": x, "dy": dy, "n": n, "d": d} | more)
    for x in EXTREMES.T:  # one by one: a tolerance belongs to the largest output
        one = {"x": x[None], "dy": np.ones((1, 1), np.float32), "n": 1, "d": 1}
        yield Case(kernel, f"{name}{x[0]:g}", one | more)
    x, dy = normal(rng, 2, 7), normal(rng, 2, 7)
    yield Case(kernel, f"{name}NaN stays where it is", {"x": with_value(x, 9, np.nan), "dy": dy, "n": 2, "d": 7} | more)
    yield Case(kernel, f"{name}NaN of a gradient", {"x": x, "dy": with_value(dy, 3, np.nan), "n": 2, "d": 7} | more)
    none = np.zeros((2, 0), np.float32)
    yield Case(kernel, f"{name}no width", {"x": none, "dy": none, "n": 2, "d": 0} | more)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for key, more in _KERNELS.items():
        yield from _pair_cases(rng, key.split()[0], f"{ACT_NAMES[more['act']]}, " if "act" in more else "", more)
    one = {"x": np.ones((1, 1), np.float32), "dy": np.ones((1, 1), np.float32), "n": 1, "d": 1}
    yield Case("activation_grad", "an unknown activation", one | {"act": 5})
    for cap in (0, -1, np.nan):
        yield Case("softcap_grad", f"a cap of {cap}", one | {"cap": np.float32(cap)})
    for r, d in SIZES:
        yield Case("accumulate", f"{r} x {d}", {"into": normal(rng, r, d), "x": normal(rng, r, d), "r": r, "d": d})
    yield Case("accumulate", "no width", {"into": np.zeros(0), "x": np.zeros(0), "r": 2, "d": 0})
    for n, d, first, width in (
        (0, 5, 1, 2), (3, 5, 0, 5), (3, 5, 4, 1), (2, 33, 7, 9),  # fine
        (2, 5, 3, 3), (2, 5, -1, 2), (2, 5, 1, 0), (2, 5, 0x7FFFFFFF, 1),  # not of x
    ):  # fmt: skip
        values = {"x": normal(rng, n, d), "n": n, "d": d, "first": first, "width": width}
        yield Case("columns", f"{width} from {first} on of {n} x {d}", values)
