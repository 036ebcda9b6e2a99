"""Vectors of language-model kernels, for JavaScript and for the health check of a pack. Runs anywhere with NumPy.

A vector: {"kernel", "reason", "tolerance", "code", "words": {name: u32}, "arrays": {name: {"bytes", "data"?, "code"?}}, "outputs": {name:
base64}}: arguments as words, arrays as base64 of what lies in memory, the reference's answers; an argument in neither is absent (0).
Answers in a packed form (8-bit caches, quantised rows) are compared by the tests in Python alone.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..codes import OK
from .cases import Case, all_cases
from .record import DTYPES, plan
from .table import KV_F32, Arg, op

ABOUT = 600  # bytes of a vector of the health file


def plain_dtype(arg: Arg, kv_type: int = KV_F32) -> str | None:
    """The dtype of an output as any language can read it, None where it is packed."""
    if arg.dtype == "kv":
        return "f32" if kv_type == KV_F32 else None
    return arg.dtype if arg.dtype in DTYPES else None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _word(arg: Arg, value: Any) -> int:
    return struct.unpack("<I", struct.pack("<f" if arg.dtype == "f32" else "<i", value))[0]


def _vector(case: Case) -> dict[str, Any] | None:
    row, values = op(case.kernel), case.values
    dtypes = {n: plain_dtype(row.arg(n), values.get("kv_type", KV_F32)) for n in row.outputs()}
    if None in dtypes.values():
        return None
    code, outputs = row.reference(values)
    arrays: dict[str, dict] = {}
    for placed in plan(row, values, 0).arrays:
        name = placed.arg.name
        arrays[name] = {"bytes": placed.size} | ({} if placed.data is None else {"data": _base64(placed.data)})
        if placed.arg.kind == "weight":
            arrays[name]["code"] = values[name].code
    return {
        "kernel": case.kernel,
        "reason": case.reason,
        "tolerance": case.tolerance or row.tolerance,
        "code": code,
        "words": {a.name: _word(a, values[a.name]) for a in row.args if a.kind == "value"},
        "arrays": arrays,
        "outputs": {n: _base64(np.ascontiguousarray(a, DTYPES[dtypes[n]]).tobytes()) for n, a in outputs.items()},
    }


def record_vectors() -> Iterator[dict[str, Any]]:
    """Every case whose answers are plain, the same in each call."""
    return filter(None, map(_vector, all_cases()))


def health_records() -> list[dict[str, Any]]:
    """For each kernel a case that it answers and one that it refuses, those nearest to ABOUT bytes: little to fetch, quick to run."""
    chosen: dict[tuple[str, bool], dict] = {}
    for vector in record_vectors():
        key = vector["kernel"], vector["code"] == OK
        if key[1] and not any(vector["outputs"].values()):
            continue  # answers nothing
        if key not in chosen or _distance(vector) < _distance(chosen[key]):
            chosen[key] = vector
    return list(chosen.values())


def _distance(vector: dict[str, Any]) -> int:
    return abs(sum(a["bytes"] for a in vector["arrays"].values()) - ABOUT)
