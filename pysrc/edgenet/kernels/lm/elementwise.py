"""References and cases of the ops that work element by element: f64, rounded once. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import erf
from typing import Any

import numpy as np

from ..codes import INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .table import ACT_NAMES

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]

erf_of = np.vectorize(erf, otypes=[np.float64])
ACTS: tuple[Callable[[np.ndarray], np.ndarray], ...] = (
    lambda x: x,
    lambda x: x / (1 + np.exp(-x)),
    lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),  # Hendrycks & Gimpel 2016
    lambda x: 0.5 * x * (1 + erf_of(x / np.sqrt(2))),
    lambda x: np.maximum(x, 0),
)


def _made(v: Values, f: Callable[..., np.ndarray], *names: str, bad: bool = False) -> Outcome:
    if bad or v["n"] < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    with np.errstate(all="ignore"):
        return OK, {"out": f(*(np.asarray(v[n], np.float64) for n in names)).astype(np.float32)}


def _unknown_act(v: Values) -> bool:
    return not 0 <= v["act"] < len(ACTS)


def add(v: Values) -> Outcome:
    """out (n, d) = x + y."""
    return _made(v, np.add, "x", "y")


def mul(v: Values) -> Outcome:
    """out (n, d) = x * y."""
    return _made(v, np.multiply, "x", "y")


def scale(v: Values) -> Outcome:
    """out (n, d) = x * factor."""
    return _made(v, lambda x: x * float(v["factor"]), "x")


def softcap(v: Values) -> Outcome:
    """out (n, d) = cap tanh(x / cap)."""
    cap = float(v["cap"])
    return _made(v, lambda x: cap * np.tanh(x / cap), "x", bad=not cap > 0)


def activation(v: Values) -> Outcome:
    """out (n, d) = act(x)."""
    return _made(v, lambda x: ACTS[v["act"]](x), "x", bad=_unknown_act(v))


def glu(v: Values) -> Outcome:
    """out (n, d) = act(gate) * up (Shazeer 2020)."""
    return _made(v, lambda gate, up: ACTS[v["act"]](gate) * up, "gate", "up", bad=_unknown_act(v))


SIZES = ((0, 3), (1, 1), (1, 3), (2, 5), (3, 64), (5, 897))
EXTREMES = np.array([[0, -0.0, 1e-38, -1e-38, 88, -88, 200, -200, 0.6249, -0.6251, 1e30, -1e30, 3.4e38]], np.float32)
_KERNELS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "add": (("x", "y"), {}),
    "mul": (("x", "y"), {}),
    "scale": (("x",), {"factor": np.float32(0.31)}),
    "softcap": (("x",), {"cap": np.float32(1.5)}),
    **{f"activation {act}": (("x",), {"act": act}) for act in range(len(ACTS))},
    **{f"glu {act}": (("gate", "up"), {"act": act}) for act in range(len(ACTS))},
}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for key, (names, more) in _KERNELS.items():
        kernel, act = key.split()[0], f"{ACT_NAMES[more['act']]}, " if "act" in more else ""
        for n, d in SIZES:
            values = {name: normal(rng, n, d, scale=3) for name in names}
            yield Case(kernel, f"{act}{n} x {d}", values | more | {"n": n, "d": d})
        for x in EXTREMES.T:  # one by one: a tolerance belongs to the largest output
            values = {name: np.full((1, 1), x[0] if name == names[0] else 1) for name in names}
            yield Case(kernel, f"{act}{x[0]:g}", values | more | {"n": 1, "d": 1})
        values = {name: with_value(normal(rng, 2, 7), 9, np.nan) for name in names}
        yield Case(kernel, f"{act}NaN stays where it is", values | more | {"n": 2, "d": 7})
        yield Case(
            kernel, f"{act}no width", {name: np.zeros((2, 0), np.float32) for name in names} | more | {"n": 2, "d": 0}
        )
    one = {"x": np.ones((1, 1), np.float32), "n": 1, "d": 1}
    yield Case("activation", "an unknown activation", one | {"act": 5})
    yield Case("glu", "an unknown activation", {"gate": one["x"], "up": one["x"], "n": 1, "d": 1, "act": -1})
    for cap in (0, -1, np.nan):
        yield Case("softcap", f"a cap of {cap}", one | {"cap": np.float32(cap)})
