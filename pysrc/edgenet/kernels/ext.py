"""Extension kernels that EdgeNet ships: parameter blocks, references, cases (rmsnorm_f32, lora_apply_f32, swiglu_f32). Runs anywhere."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .codes import INVALID_INPUT, INVALID_OUTPUT, INVALID_PARAMS, OK, OUT_OF_MEMORY

F32 = np.dtype("<f4")


@dataclass(frozen=True)
class Extension:
    """One extension kernel: its parameter block as (name, struct format) and its reference (call → code, output, scratch)."""

    id: str
    category: str
    params: tuple[tuple[str, str], ...]
    reference: Callable[[ExtCall], tuple[int, np.ndarray, np.ndarray]]
    tolerance: float
    keeps_scratch: bool = False  # whether what is left in scratch is a result

    def pack_params(self, **values: Any) -> bytes:
        """The parameter block's bytes, little-endian in the table's order."""
        return b"".join(struct.pack("<" + form, values[name]) for name, form in self.params)


@dataclass(frozen=True)
class ExtCall:
    """One call: inputs a and b (flat f32), params (bytes), the output's values before the call, floats of scratch."""

    kernel: str
    params: bytes
    a: np.ndarray
    b: np.ndarray
    out: np.ndarray
    scratch: int = 0
    reason: str = field(default="", compare=False)

    def __str__(self) -> str:
        return f"{self.kernel}: {self.reason}"


def _unpack(call: ExtCall) -> tuple | None:
    form = "<" + "".join(f for _, f in EXTENSIONS[call.kernel].params)
    return struct.unpack(form, call.params) if len(call.params) == struct.calcsize(form) else None


def _rmsnorm(call: ExtCall) -> tuple[int, np.ndarray, np.ndarray]:
    """y = x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019); scratch of rows floats or more receives each row's rms."""
    scratch, params = np.zeros(call.scratch, F32), _unpack(call)
    if not params or not params[0] >= 0 or not params[1] or not params[2]:
        return INVALID_PARAMS, call.out, scratch
    eps, hidden, rows = params
    if call.a.size != rows * hidden or call.b.size != hidden:
        return INVALID_INPUT, call.out, scratch
    if call.out.size != rows * hidden:
        return INVALID_OUTPUT, call.out, scratch
    x = call.a.astype(np.float64).reshape(rows, hidden)
    rms = np.sqrt((x**2).mean(axis=1) + eps)
    if call.scratch >= rows:
        scratch[:rows] = rms
    return OK, (x / rms[:, None] * call.b).astype(F32).ravel(), scratch


def _lora_apply(call: ExtCall) -> tuple[int, np.ndarray, np.ndarray]:
    """y += scale * (x A) B for rows of x."""
    scratch, params = np.zeros(call.scratch, F32), _unpack(call)
    if not params or 0 in params[:4]:
        return INVALID_PARAMS, call.out, scratch
    rows, d_in, r, d_out, scale = params
    if call.a.size != rows * d_in or call.b.size != d_in * r + r * d_out:
        return INVALID_INPUT, call.out, scratch
    if call.out.size != rows * d_out:
        return INVALID_OUTPUT, call.out, scratch
    if call.scratch < r:
        return OUT_OF_MEMORY, call.out, scratch
    both = call.b.astype(np.float64)
    a, b = both[: d_in * r].reshape(d_in, r), both[d_in * r :].reshape(r, d_out)
    y = call.out.reshape(rows, d_out) + scale * (call.a.astype(np.float64).reshape(rows, d_in) @ a @ b)
    return OK, y.astype(F32).ravel(), scratch


def _swiglu(call: ExtCall) -> tuple[int, np.ndarray, np.ndarray]:
    """y = x * gate * sigmoid(beta * gate) (Shazeer 2020)."""
    scratch, params = np.zeros(call.scratch, F32), _unpack(call)
    if not params or 0 in params[:2] or not np.isfinite(params[2]):
        return INVALID_PARAMS, call.out, scratch
    rows, hidden, beta = params
    if call.a.size != rows * hidden or call.b.size != call.a.size:
        return INVALID_INPUT, call.out, scratch
    if call.out.size != rows * hidden:
        return INVALID_OUTPUT, call.out, scratch
    x, gate = call.a.astype(np.float64), call.b.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        y = x * gate / (1 + np.exp(-beta * gate))
        return OK, y.astype(F32), scratch


EXTENSIONS: dict[str, Extension] = {
    e.id: e
    for e in (
        Extension(
            "rmsnorm_f32",
            "normalization",
            (("eps", "f"), ("hidden", "I"), ("rows", "I")),
            _rmsnorm,
            2e-7,
            keeps_scratch=True,
        ),
        Extension(
            "lora_apply_f32",
            "adapter",
            (("rows", "I"), ("d_in", "I"), ("r", "I"), ("d_out", "I"), ("scale", "f")),
            _lora_apply,
            1e-5,
        ),
        Extension("swiglu_f32", "activation", (("rows", "I"), ("hidden", "I"), ("beta", "f")), _swiglu, 2e-7),
    )
}


def _f32(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal(n).astype(F32)


def _rmsnorm_cases(rng: np.random.Generator) -> list[ExtCall]:
    def case(reason: str, rows: int, hidden: int, eps: float = 1e-6, scratch: int = 0, **change: Any) -> ExtCall:
        params = EXTENSIONS["rmsnorm_f32"].pack_params(eps=eps, hidden=hidden, rows=rows)
        call = {
            "params": params,
            "a": _f32(rng, rows * hidden),
            "b": _f32(rng, hidden),
            "out": np.zeros(rows * hidden, F32),
            "scratch": scratch,
        }
        return ExtCall("rmsnorm_f32", **{**call, **change}, reason=reason)

    return [
        case("one value", 1, 1),
        case("odd width", 3, 7),
        case("a model's width", 2, 384),
        case("rms kept in scratch", 5, 33, scratch=5),
        case("scratch too small to keep rms", 5, 33, scratch=4),
        case("zeros", 2, 5, a=np.zeros(10, F32)),
        case("squares overflow f32", 2, 6, a=np.full(12, 1e30, F32)),
        case("NaN stays in its row", 2, 4, a=np.array([1, np.nan, 1, 1, 1, 2, 3, 4], F32)),
        case("input too short", 2, 5, a=np.zeros(9, F32)),
        case("output too long", 2, 5, out=np.zeros(11, F32)),
        case("parameter block too short", 2, 5, params=b"\0" * 8),
        case("negative eps", 1, 4, eps=-1.0),
        case("no width", 2, 0),
    ]


def _lora_cases(rng: np.random.Generator) -> list[ExtCall]:
    def case(reason: str, rows: int, d_in: int, r: int, d_out: int, **change: Any) -> ExtCall:
        params = EXTENSIONS["lora_apply_f32"].pack_params(rows=rows, d_in=d_in, r=r, d_out=d_out, scale=0.5)
        call = {
            "params": params,
            "a": _f32(rng, rows * d_in),
            "b": _f32(rng, d_in * r + r * d_out),
            "out": _f32(rng, rows * d_out),
            "scratch": r,
        }
        return ExtCall("lora_apply_f32", **{**call, **change}, reason=reason)

    return [
        case("all ones", 1, 1, 1, 1),
        case("odd sizes", 3, 7, 2, 5),
        case("wide", 2, 384, 4, 384),
        case("factors of another length", 1, 4, 2, 4, b=np.zeros(15, F32)),
        case("scratch too small", 1, 4, 2, 4, scratch=1),
        case("rank 0", 1, 4, 0, 4),
    ]


def _swiglu_cases(rng: np.random.Generator) -> list[ExtCall]:
    def case(reason: str, rows: int, hidden: int, beta: float = 1.0, **change: Any) -> ExtCall:
        params, n = EXTENSIONS["swiglu_f32"].pack_params(rows=rows, hidden=hidden, beta=beta), rows * hidden
        call = {"params": params, "a": _f32(rng, n), "b": _f32(rng, n), "out": np.zeros(n, F32)}
        return ExtCall("swiglu_f32", **{**call, **change}, reason=reason)

    def each(*values: float) -> np.ndarray:
        return np.array(values, F32)

    ones = np.ones(8, F32)
    return [
        case("one value", 1, 1),
        case("odd size", 3, 7),
        case("a model's width", 2, 384),
        case("another beta", 2, 9, beta=1.702),
        case("beta 0: half of x * gate", 2, 5, beta=0.0),
        case("negative beta", 2, 5, beta=-3.0),
        case("zeros", 1, 6, b=np.zeros(6, F32)),
        case("gates far from 0", 1, 8, a=ones, b=each(-1e3, -708, -90, -30, 30, 90, 708, 1e3)),
        case(
            "gates around the rounding of e^t",
            1,
            8,
            a=ones,
            b=each(-0.3466, -0.3465, -0.6932, 0.3466, 1e-8, -1e-8, -1.04, 2),
        ),
        case("small answers keep their digits", 1, 2, a=each(1, 1), b=each(-20, -21)),
        case("products overflow f32", 1, 4, a=each(3e38, -3e38, 3e38, 1), b=each(3e38, 3e38, -3e38, 1)),
        case(
            "NaN and infinity stay where they are",
            1,
            6,
            a=each(1, np.nan, 1, 1, 2, 3),
            b=each(np.nan, 1, np.inf, -np.inf, 2, 3),
        ),
        case("sizes that differ", 2, 5, b=np.zeros(9, F32)),
        case("inputs of another size than rows x hidden", 2, 5, a=np.zeros(8, F32), b=np.zeros(8, F32)),
        case("output too short", 2, 5, out=np.zeros(9, F32)),
        case("parameter block too long", 2, 5, params=b"\0" * 16),
        case("beta is NaN", 1, 4, beta=np.nan),
        case("no rows", 0, 4),
    ]


def ext_cases() -> list[ExtCall]:
    """Every case of every extension kernel, the same in each call (fixed seed)."""
    rng = np.random.default_rng(20250102)
    return _rmsnorm_cases(rng) + _lora_cases(rng) + _swiglu_cases(rng)
