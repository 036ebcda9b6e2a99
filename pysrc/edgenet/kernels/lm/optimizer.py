"""References and cases of optimisers and of a gradient's norm: f64, rounded once. Runs anywhere with NumPy.

AdamW: Loshchilov & Hutter 2019, as torch.optim.AdamW; SGD with momentum as torch.optim.SGD, weight decay apart from the gradient; clipping
by the norm as torch.nn.utils.clip_grad_norm_.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .training_table import HYPER, HYPER_NAMES

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def hyper(
    rate: float,
    *,
    step: int = 1,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    decay: float = 0.0,
    clip: float = 0.0,
    factor: float = 1.0,
    momentum: float = 0.0,
) -> np.ndarray:
    """f32 (16,): the words of one update; steps count from 1. Gradients are multiplied by `factor` (1 / what they were summed over), then
    clipped to a norm of `clip` (0: not). `rest1` and `rest2` are 1 - beta: taken from betas in f32 they would be off by 1e-5.
    """
    words = [rate, beta1, beta2, epsilon, decay, clip, 1 - beta1**step, 1 - beta2**step, factor, momentum]
    words += [1 - beta1, 1 - beta2]
    return np.array(words + [0.0] * (HYPER - len(words)), np.float32)


def norm(v: Values) -> Outcome:
    """y (1,) = sqrt(sum x^2)."""
    if v["count"] < 0:
        return INVALID_PARAMS, {}
    return OK, {"y": np.sqrt((np.asarray(v["x"], np.float64) ** 2).sum(keepdims=True)).astype(np.float32)}


def _begun(v: Values) -> tuple[dict[str, float], np.ndarray, np.ndarray]:
    """(hyper by name, the gradient that counts, parameters after decay)."""
    h = dict(zip(HYPER_NAMES, np.asarray(v["hyper"], np.float64), strict=False))
    most = h["clip"] / (float(v["norm"][0]) * h["factor"] + 1e-6)
    gradient = np.asarray(v["gradients"], np.float64) * h["factor"]
    if h["clip"] > 0 and not most >= 1:
        gradient = gradient * most
    return h, gradient, np.asarray(v["parameters"], np.float64) * (1 - h["rate"] * h["decay"])


def _refusal(v: Values) -> int:
    """Numbers that would destroy the parameters are refused before any is changed."""
    if v["count"] < 0:
        return INVALID_PARAMS
    return OK if np.isfinite([*v["hyper"], *v["norm"]]).all() else INVALID_INPUT


def _division(v: Values) -> int:
    """What AdamW divides by must leave numbers: 0 / 0 of a parameter without gradient would be none."""
    h = dict(zip(HYPER_NAMES, np.asarray(v["hyper"], np.float32), strict=False))
    with np.errstate(all="ignore"):
        quotients = [h["rate"] / h["correction1"], 1 / np.sqrt(h["correction2"]), 1 / h["epsilon"]]
    return OK if np.isfinite(quotients).all() else INVALID_INPUT


def _done(v: Values, **changed: np.ndarray) -> Outcome:
    states = {name: array.astype(np.float32) for name, array in changed.items()}
    return OK, states | {"gradients": np.zeros(v["count"], np.float32)}


def adamw(v: Values) -> Outcome:
    """parameters, gradients (0 now), first, second: (count,) each."""
    if refused := _refusal(v) or _division(v):
        return refused, {}
    h, g, p = _begun(v)
    with np.errstate(all="ignore"):
        first = h["beta1"] * v["first"] + h["rest1"] * g
        second = h["beta2"] * v["second"] + h["rest2"] * g**2
        p = p - h["rate"] * (first / h["correction1"]) / (np.sqrt(second / h["correction2"]) + h["epsilon"])
    return _done(v, parameters=p, first=first, second=second)


def sgd(v: Values) -> Outcome:
    """parameters, gradients (0 now), momentum: (count,) each."""
    if refused := _refusal(v):
        return refused, {}
    h, g, p = _begun(v)
    momentum = h["momentum"] * np.asarray(v["momentum"], np.float64) + g
    return _done(v, parameters=p - h["rate"] * momentum, momentum=momentum)


def _with(**words: float) -> np.ndarray:
    """The words of a first step, some of them others."""
    named = dict(zip(HYPER_NAMES, hyper(1e-2), strict=False)) | words
    return np.array([*named.values()] + [0.0] * (HYPER - len(named)), np.float32)


_HYPERS = (
    ("a first step", hyper(1e-2)),
    ("a later step, with decay", hyper(3e-4, step=100, decay=0.1)),
    ("gradients summed over 37 rows", hyper(1e-3, step=3, factor=1 / 37, momentum=0.9)),
    ("clipped", hyper(1e-2, step=2, clip=0.5, factor=0.25, momentum=0.5)),
    ("short enough not to be clipped", hyper(1e-2, clip=1e4)),
)

_DIVIDED = (  # words that AdamW divides by
    ("words that nobody wrote", np.zeros(HYPER, np.float32)),
    ("a correction of 0 for the first", _with(correction1=0)),
    ("a correction of 0 for the second", _with(correction2=0)),
    ("a correction below 0 for the second", _with(correction2=-1)),
    ("a correction too small for the rate", _with(correction1=1e-45)),
    ("an epsilon of 0", _with(epsilon=0)),
)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for count in (0, 1, 7, 64, 1023):
        yield Case("norm", f"{count} numbers", {"x": normal(rng, count), "count": count})
    yield Case("norm", "squares leave the range of f32", {"x": normal(rng, 9, scale=1e25), "count": 9})
    yield Case("norm", "NaN", {"x": with_value(normal(rng, 9), 4, np.nan), "count": 9})
    yield Case("norm", "fewer than none", {"x": np.zeros(0), "count": -1})
    for kernel, states in (("adamw", ("first", "second")), ("sgd", ("momentum",))):

        def case(reason: str, count: int, words: np.ndarray, kernel=kernel, states=states, **more: Any) -> Case:
            values = {n: normal(rng, count) for n in ("parameters", "gradients", *states)} | more
            values |= {"second": np.abs(values["second"])} if "second" in values else {}
            length = np.sqrt((values["gradients"] ** 2).sum(keepdims=True))
            return Case(kernel, reason, values | {"norm": length, "hyper": words, "count": count})

        for count in (0, 1, 7, 64, 131):
            yield case(f"{count} parameters", count, hyper(1e-2, step=5, momentum=0.9, decay=0.01))
        for reason, words in _HYPERS:
            yield case(reason, 21, words)
        zeros = np.zeros(9, np.float32)
        yield case("gradients of 0", 9, hyper(1e-2, clip=1.0), gradients=zeros, **dict.fromkeys(states, zeros))
        spoiled = with_value(normal(rng, 9), 2, np.nan)
        yield case("a gradient of NaN destroys nothing", 9, hyper(1e-2), gradients=spoiled)
        yield case("a rate of NaN destroys nothing", 9, hyper(np.nan))
        for reason, words in _DIVIDED if kernel == "adamw" else ():
            yield case(f"{reason}, which destroys nothing", 9, words, gradients=zeros, **dict.fromkeys(states, zeros))
        yield Case(kernel, "fewer than none", case("", 0, hyper(1e-2)).values | {"count": -1})
