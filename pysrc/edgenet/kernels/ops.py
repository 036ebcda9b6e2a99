"""The one table of the engine's kernels: name, argument layout, shapes, dtypes, NumPy reference, tolerance. Runs anywhere.

A reference computes in float64 and rounds once, so it defines what is right; a kernel may differ by its tolerance,
never by its return code.
Adding a kernel is a row here and one C function in wasm/ops; the tests take their cases from `cases.py` and run
every engine against this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidParameters, KernelNotFound
from .codes import INTERNAL_ERROR, INVALID_INPUT, INVALID_OUTPUT, INVALID_PARAMS, OK, raise_for_code

MAX_RANK = 16
MAX_STEP = np.float32(1e30)  # largest entry of one adapt step; see wasm/ops/microlora.c
NO_ROW = 0xFFFFFFFF

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]
_QUIET = {"over": "ignore", "invalid": "ignore", "under": "ignore"}


@dataclass(frozen=True)
class Arg:
    """One 4-byte word of an argument block: a scalar (kind "value") or a pointer to an array of `shape`."""

    name: str
    kind: str  # "value", "in", "out", "inout", "scratch"
    dtype: str = "f32"  # f32, u32, i32
    shape: tuple[str | int, ...] = ()  # names of scalar arguments, or integers; "threads" is the number of threads


@dataclass(frozen=True)
class Kernel:
    """A row of the table. `tolerance` is relative to the largest magnitude of the reference's output; integer outputs are exact."""

    name: str
    args: tuple[Arg, ...]
    reference: Callable[[Values], Outcome]
    tolerance: float

    def outputs(self) -> list[str]:
        """Names of the arrays a caller gets back."""
        return [a.name for a in self.args if a.kind in ("out", "inout")]

    def shape(self, arg: Arg, values: Values, threads: int = 1) -> tuple[int, ...]:
        """The array's shape for these scalar values. Raises InvalidParameters when a size is missing, no integer, or negative."""
        try:
            sizes = {"threads": threads, "2r": 2 * int(values.get("r", 0)), **values}
            shape = tuple(int(sizes[s]) if isinstance(s, str) else s for s in arg.shape)
            if min(shape, default=0) >= 0:
                return shape
        except (KeyError, TypeError, ValueError):
            pass
        found = {s: values.get(s) for s in arg.shape if isinstance(s, str)}
        raise InvalidParameters(
            f'{self.name}: "{arg.name}" has the shape {list(arg.shape)}, whose sizes must be integers from 0, found {found}.',
            kernel=self.name,
        )


DTYPES = {"f32": np.dtype("<f4"), "u32": np.dtype("<u4"), "i32": np.dtype("<i4")}


def _f64(values: Values, *names: str) -> list[np.ndarray]:
    return [np.asarray(values[n], np.float64) for n in names]


def _finite(*arrays: np.ndarray) -> bool:
    return all(np.isfinite(a).all() for a in arrays)


def _bad_shape(v: Values) -> bool:
    return v["d"] <= 0 or not 1 <= v["r"] <= MAX_RANK


def _checked_output(y: np.ndarray, **more: np.ndarray) -> Outcome:
    with np.errstate(**_QUIET):
        y = y.astype(np.float32)
    return (OK if _finite(y) else INVALID_OUTPUT), {"y": y, **more}


def microlora_forward(v: Values) -> Outcome:
    """y = x + scale * (x A) B, or only the second term when residual is 0 (Hu et al. 2021, LoRA, for one row)."""
    if _bad_shape(v):
        return INVALID_PARAMS, {}
    x, a, b = _f64(v, "x", "a", "b")
    if not _finite(x):
        return INVALID_INPUT, {}
    return _checked_output((x if v["residual"] else 0) + float(v["scale"]) * ((a @ x) @ b))


def microlora_blend(v: Values) -> Outcome:
    """y = x + scale * (w * (x A) B + (1 - w) * (x CA) CB): a scope's adapter blended with its category's."""
    if _bad_shape(v) or not 0 <= v["weight"] <= 1:
        return INVALID_PARAMS, {}
    x, a, b, ca, cb = _f64(v, "x", "a", "b", "ca", "cb")
    if not _finite(x):
        return INVALID_INPUT, {}
    w, scale = float(v["weight"]), float(v["scale"])
    return _checked_output(x + scale * (w * ((a @ x) @ b) + (1 - w) * ((ca @ x) @ cb)))


def microlora_adapt(v: Values) -> Outcome:
    """One gradient step for dL/dy = e at x: dB = scale h^T e, dA = scale x^T (e B^T), both from the old weights,
    clipped by their joint norm.
    """
    if _bad_shape(v) or not v["lr"] >= 0:
        return INVALID_PARAMS, {}
    x, e, a, b = _f64(v, "x", "e", "a", "b")
    if not _finite(x, e):
        return INVALID_INPUT, {}
    da, db = float(v["scale"]) * np.outer(b @ e, x), float(v["scale"]) * np.outer(a @ x, e)
    norm = np.sqrt((da**2).sum() + (db**2).sum())
    step = float(v["lr"]) * (v["clip"] / norm if 0 < v["clip"] < norm else 1.0)
    if not max(np.abs(step * da).max(), np.abs(step * db).max()) <= MAX_STEP:
        return INTERNAL_ERROR, {}
    return OK, {"a": (a - step * da).astype(np.float32), "b": (b - step * db).astype(np.float32)}


def all_finite(v: Values) -> Outcome:
    """INVALID_INPUT when x holds NaN or Inf."""
    return (OK if _finite(np.asarray(v["x"])) else INVALID_INPUT), {}


def normalize(v: Values) -> Outcome:
    """Rows divided by their Euclidean length. Zero rows stay zero; rows with NaN or Inf become zero and the code is INVALID_INPUT."""
    if v["rows"] < 0 or v["d"] <= 0:
        return INVALID_PARAMS, {}
    (x,) = _f64(v, "x")
    good = np.isfinite(x).all(axis=1, keepdims=True)
    x = np.where(good, x, 0)
    norm = np.sqrt((x**2).sum(axis=1, keepdims=True))
    return (OK if good.all() else INVALID_INPUT), {"y": (x / np.where(norm == 0, 1, norm)).astype(np.float32)}


def topk_dot(v: Values) -> Outcome:
    """The k rows with the largest m @ q, best first, ties to the lower row; NaN and -Inf scores never enter;
    unused places are NO_ROW, -Inf.
    """
    k = int(v["k"])
    if v["rows"] < 0 or v["d"] <= 0 or k <= 0:
        return INVALID_PARAMS, {}
    index, score = np.full((1, k), NO_ROW, np.uint32), np.full((1, k), -np.inf, np.float32)
    m, q = _f64(v, "m", "q")
    if not _finite(q):
        return INVALID_INPUT, {"index": index, "score": score}
    with np.errstate(**_QUIET):
        s = (m @ q).astype(np.float32)
    s = np.where(np.isnan(s), -np.inf, s)
    best = [i for i in np.argsort(-s, kind="stable")[:k] if s[i] > -np.inf]
    index[0, : len(best)], score[0, : len(best)] = best, s[best]
    return OK, {"index": index, "score": score}


def _array(kind: str, name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, kind, dtype, shape)


def _scalars(*names: str, dtype: str = "i32") -> tuple[Arg, ...]:
    return tuple(Arg(n, "value", dtype) for n in names)


# Tolerances: d products of f32 summed in f32 in another order differ by about sqrt(d) * 6e-8; 1e-5 covers d up to 4096 with margin.
# Normalize computes in f64 and rounds once, so it is right to one unit in the last place (6e-8).
KERNELS: dict[str, Kernel] = {
    k.name: k
    for k in (
        Kernel(
            "microlora_forward",
            (
                _array("in", "x", "d"),
                _array("in", "a", "r", "d"),
                _array("in", "b", "r", "d"),
                _array("out", "y", "d"),
                _array("scratch", "h", "r"),
                *_scalars("d", "r"),
                *_scalars("scale", dtype="f32"),
                *_scalars("residual"),
            ),
            microlora_forward,
            1e-5,
        ),
        Kernel(
            "microlora_blend",
            (
                _array("in", "x", "d"),
                _array("in", "a", "r", "d"),
                _array("in", "b", "r", "d"),
                _array("in", "ca", "r", "d"),
                _array("in", "cb", "r", "d"),
                _array("out", "y", "d"),
                _array("scratch", "h", "r"),
                *_scalars("d", "r"),
                *_scalars("scale", "weight", dtype="f32"),
            ),
            microlora_blend,
            1e-5,
        ),
        Kernel(
            "microlora_adapt",
            (
                _array("in", "x", "d"),
                _array("in", "e", "d"),
                _array("inout", "a", "r", "d"),
                _array("inout", "b", "r", "d"),
                _array("scratch", "h", "2r"),
                *_scalars("d", "r"),
                *_scalars("scale", "lr", "clip", dtype="f32"),
            ),
            microlora_adapt,
            1e-5,
        ),
        Kernel("all_finite", (_array("in", "x", "n"), *_scalars("n")), all_finite, 0.0),
        Kernel(
            "normalize",
            (_array("in", "x", "rows", "d"), _array("out", "y", "rows", "d"), *_scalars("rows", "d")),
            normalize,
            2e-7,
        ),
        Kernel(
            "topk_dot",
            (
                _array("in", "m", "rows", "d"),
                _array("in", "q", "d"),
                _array("out", "index", "threads", "k", dtype="u32"),
                _array("out", "score", "threads", "k"),
                *_scalars("rows", "d", "k"),
            ),
            topk_dot,
            1e-5,
        ),
    )
}


def layouts() -> dict[str, list[list]]:
    """The argument blocks as plain data: {kernel: [[name, kind, dtype, [shape…]], …]}. JavaScript reads it from the module itself."""
    return {k.name: [[a.name, a.kind, a.dtype, list(a.shape)] for a in k.args] for k in KERNELS.values()}


def kernel(name: str) -> Kernel:
    """The table's row. Raises KernelNotFound."""
    if name not in KERNELS:
        raise KernelNotFound(f'There is no kernel "{name}". Known: {", ".join(KERNELS)}.')
    return KERNELS[name]


class NumpyEngine:
    """Runs the references: the last fallback of a Python host, and what `learn/` uses when it is given no engine."""

    name = "numpy"

    def call(self, name: str, /, **values: Any) -> Outcome:
        """(return code, outputs as new arrays) of one kernel. Raises KernelNotFound."""
        return kernel(name).reference(values)

    def run(self, name: str, /, **values: Any) -> dict[str, np.ndarray]:
        """Outputs of one kernel, as new arrays. Raises KernelNotFound, and KernelTrap for a return code other than OK."""
        code, outputs = self.call(name, **values)
        raise_for_code(code, name)
        return outputs
