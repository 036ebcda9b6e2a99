"""Cases for every kernel: odd sizes, zeros, extremes, NaN, wrong parameters, each with its reason. Runs anywhere.

The tests run all of them; a signed pack carries them with the references' answers (`health.py`), so that a pack is
checked where it will run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

BIG = 3e38  # close to the largest f32


@dataclass(frozen=True)
class Case:
    """Values for one call of one kernel (arrays without outputs and scratch, scalars)."""

    kernel: str
    reason: str
    values: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.kernel}: {self.reason}"


def _f32(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    return (rng.standard_normal(shape) * scale).astype(np.float32)


def _lora(rng: np.random.Generator, d: int, r: int) -> dict[str, Any]:
    return {
        "x": _f32(rng, d),
        "a": _f32(rng, r, d, scale=d**-0.5),
        "b": _f32(rng, r, d, scale=0.3),
        "d": d,
        "r": r,
        "scale": np.float32(0.7),
    }


def _with(array: np.ndarray, at: int, value: float) -> np.ndarray:
    out = array.copy()
    out.flat[at] = value
    return out


SHAPES = ((1, 1), (3, 2), (4, 1), (7, 3), (16, 2), (33, 5), (64, 2), (255, 16), (256, 2), (384, 2), (385, 7))


def _lora_cases(rng: np.random.Generator, kernel: str, extra: dict[str, Any]) -> Iterator[Case]:
    for d, r in SHAPES:
        yield Case(kernel, f"d={d} r={r}", {**_lora(rng, d, r), **extra})
    base = {**_lora(rng, 13, 3), **extra}
    yield Case(kernel, "zeros", {**base, **{n: np.zeros_like(base[n]) for n in ("x", "a", "b")}})
    yield Case(kernel, "smallest f32", {**base, "x": np.full(13, 1e-45, np.float32)})
    for at, name in ((0, "first"), (12, "last, in the scalar tail")):
        yield Case(kernel, f"NaN {name}", {**base, "x": _with(base["x"], at, np.nan)})
    yield Case(kernel, "infinite input", {**base, "x": _with(base["x"], 5, -np.inf)})
    pair = {**_lora(rng, 32, 2), **extra}  # rank 2 and a multiple of 16 have passes of their own
    for at, value in ((0, np.nan), (31, np.nan), (17, np.inf)):
        yield Case(kernel, f"paired rows, {value} at {at}", {**pair, "x": _with(pair["x"], at, value)})
    zeros = {n: np.zeros_like(pair[n]) for n in ("a", "b")}
    yield Case(kernel, "paired rows of zeros, NaN input", {**pair, **zeros, "x": _with(pair["x"], 9, np.nan)})
    yield Case(kernel, "paired rows, smallest f32", {**pair, "x": np.full(32, 1e-45, np.float32)})
    for d, r, why in ((0, 1, "no width"), (4, 0, "rank 0"), (4, 17, "rank 17")):
        yield Case(
            kernel,
            why,
            {
                **base,
                "x": np.zeros(d, np.float32),
                **{n: np.zeros((r, d), np.float32) for n in ("a", "b")},
                "d": d,
                "r": r,
            },
        )


def _forward(rng: np.random.Generator) -> Iterator[Case]:
    yield from _lora_cases(rng, "microlora_forward", {"residual": 1})
    base = {**_lora(rng, 19, 2), "residual": 1}
    yield Case("microlora_forward", "delta only", {**base, "residual": 0})
    yield Case(
        "microlora_forward",
        "output overflows",
        {**base, "b": np.full((2, 19), BIG, np.float32), "a": np.full((2, 19), 4, np.float32)},
    )
    pair = {**_lora(rng, 48, 2), "residual": 1}
    yield Case("microlora_forward", "paired rows, delta only", {**pair, "residual": 0})
    yield Case(
        "microlora_forward",
        "paired rows, one output of 48 overflows",
        {**pair, "b": _with(pair["b"], 95, BIG), "a": np.full((2, 48), 4, np.float32), "x": np.ones(48, np.float32)},
    )


def _blend(rng: np.random.Generator) -> Iterator[Case]:
    for case in _lora_cases(rng, "microlora_blend", {"weight": np.float32(0.3)}):
        shape = case.values["a"].shape
        yield Case(
            case.kernel,
            case.reason,
            {**case.values, "ca": _f32(rng, *shape, scale=0.2), "cb": _f32(rng, *shape, scale=0.2)},
        )
    base = {**_lora(rng, 9, 2), "ca": _f32(rng, 2, 9), "cb": _f32(rng, 2, 9)}
    for weight in (0.0, 1.0, -0.1, 1.5, np.nan):
        yield Case("microlora_blend", f"weight {weight}", {**base, "weight": np.float32(weight)})
    pair = {**_lora(rng, 32, 2), "ca": _f32(rng, 2, 32), "cb": _f32(rng, 2, 32), "x": np.ones(32, np.float32)}
    yield Case(
        "microlora_blend",
        "paired rows, the category's part overflows",
        {
            **pair,
            "weight": np.float32(0.5),
            "cb": np.full((2, 32), BIG, np.float32),
            "ca": np.full((2, 32), 4, np.float32),
        },
    )


def _adapt(rng: np.random.Generator) -> Iterator[Case]:
    options = {"lr": np.float32(0.05), "clip": np.float32(0)}
    for case in _lora_cases(rng, "microlora_adapt", options):
        yield Case(case.kernel, case.reason, {**case.values, "e": _f32(rng, case.values["x"].size)})
    base = {**_lora(rng, 21, 4), **options, "e": _f32(rng, 21)}
    yield Case("microlora_adapt", "clipped", {**base, "clip": np.float32(0.25)})
    yield Case("microlora_adapt", "clip above the gradient's norm", {**base, "clip": np.float32(1e6)})
    yield Case("microlora_adapt", "NaN gradient", {**base, "e": _with(base["e"], 20, np.nan)})
    yield Case(
        "microlora_adapt",
        "step too large to keep weights finite",
        {**base, "e": np.full(21, 1e37, np.float32), "lr": np.float32(100)},
    )
    pair = {**_lora(rng, 32, 2), **options, "e": _f32(rng, 32)}
    yield Case("microlora_adapt", "paired rows, clipped", {**pair, "clip": np.float32(0.25)})
    yield Case("microlora_adapt", "paired rows, NaN gradient", {**pair, "e": _with(pair["e"], 31, np.nan)})
    yield Case(
        "microlora_adapt",
        "paired rows, squares leave f32 but the step does not",
        {**pair, "e": pair["e"] * np.float32(1e20), "lr": np.float32(1e-20)},
    )
    yield Case(
        "microlora_adapt",
        "paired rows, step too large",
        {**pair, "e": np.full(32, 1e37, np.float32), "lr": np.float32(100)},
    )
    yield Case("microlora_adapt", "negative learning rate", {**base, "lr": np.float32(-1)})
    yield Case("microlora_adapt", "NaN learning rate", {**base, "lr": np.float32(np.nan)})


def _all_finite(rng: np.random.Generator) -> Iterator[Case]:
    for n in (0, 1, 3, 4, 5, 257):
        yield Case("all_finite", f"n={n}", {"x": _f32(rng, n), "n": n})
    yield Case("all_finite", "largest f32 does not count as infinite", {"x": np.full(9, BIG, np.float32), "n": 9})
    for at, value in ((0, np.nan), (3, np.inf), (8, -np.inf)):
        yield Case("all_finite", f"{value} at {at}", {"x": _with(_f32(rng, 9), at, value), "n": 9})


def _normalize(rng: np.random.Generator) -> Iterator[Case]:
    def case(reason: str, x: np.ndarray) -> Case:
        return Case("normalize", reason, {"x": x.astype(np.float32), "rows": x.shape[0], "d": x.shape[1]})

    for rows, d in ((0, 4), (1, 1), (2, 3), (5, 17), (3, 384)):
        yield case(f"{rows} x {d}", _f32(rng, rows, d))
    yield case("a row of zeros", _f32(rng, 3, 6) * [[1], [0], [1]])
    yield case("squares overflow f32", np.full((2, 7), BIG))
    yield case("squares underflow f32", np.full((2, 7), 1e-45))
    yield case(
        "a row with NaN, one with Inf, one good",
        np.stack([_with(_f32(rng, 6), 5, np.nan), _with(_f32(rng, 6), 0, np.inf), _f32(rng, 6)]),
    )


def _topk(rng: np.random.Generator) -> Iterator[Case]:
    # Small integers: products and sums are exact in f32, so equal scores are equal on every engine and the order is fully determined.
    def case(reason: str, m: np.ndarray, q: np.ndarray, k: int) -> Case:
        return Case(
            "topk_dot",
            reason,
            {"m": m.astype(np.float32), "q": q.astype(np.float32), "rows": m.shape[0], "d": m.shape[1], "k": k},
        )

    for rows, d, k in ((0, 4, 3), (1, 1, 1), (7, 3, 7), (50, 17, 5), (200, 384, 10)):
        yield case(f"{rows} x {d}, k={k}", rng.integers(-4, 5, (rows, d)), rng.integers(-4, 5, d), k)
    yield case("k above the number of rows", rng.integers(-4, 5, (3, 5)), rng.integers(-4, 5, 5), 8)
    yield case("all scores equal: lower rows first", np.ones((9, 5)), np.ones(5), 4)
    yield case(
        "rows with NaN and -Inf never match", np.array([[1, np.nan], [-np.inf, 1], [1, 1], [2, 1]]), np.ones(2), 4
    )
    yield case("a row of +Inf is first", np.array([[1, 1], [np.inf, 1]]), np.ones(2), 2)
    yield case("NaN in the query", np.ones((2, 5)), _with(np.ones(5), 4, np.nan), 2)
    yield case("k = 0", np.ones((2, 5)), np.ones(5), 0)


def all_cases() -> list[Case]:
    """Every case of every kernel, the same in each call (fixed seed)."""
    rng = np.random.default_rng(20250101)
    return [case for family in (_forward, _blend, _adapt, _all_finite, _normalize, _topk) for case in family(rng)]
