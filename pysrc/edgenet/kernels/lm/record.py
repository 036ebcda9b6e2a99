"""One kernel call as a lowered program of one record: where its arrays lie in engine memory, and the words. For tests and health checks;
whole programs are lowered by the graph. Pure; runs anywhere with NumPy.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InvalidParameters, ShapeMismatch
from .interpreter import ALIGN, CONTROL_BYTES, END, align
from .table import CODES, OPS, Arg, Op, extent

DTYPES = {"f32": np.dtype("<f4"), "u32": np.dtype("<u4"), "i32": np.dtype("<i4")}


@dataclass(frozen=True)
class Weight:
    """A matrix as the engine keeps it: bytes in the layout of this code; `type` is what the file calls it."""

    data: bytes
    code: int
    type: str = "f32"


@dataclass(frozen=True)
class Placed:
    """An array of the call at `offset`; `data` is None for outputs and scratch."""

    arg: Arg
    offset: int
    size: int
    data: bytes | None


@dataclass(frozen=True)
class Plan:
    """`program` (bytes) goes to `program_at`, arrays to their places; the control words lie at `control_at`, zeroed; `end` is free."""

    control_at: int
    program_at: int
    program: bytes
    arrays: tuple[Placed, ...]
    end: int

    def __getitem__(self, name: str) -> Placed:
        return next(a for a in self.arrays if a.arg.name == name)


def plan(op: Op, values: Mapping[str, Any], base: int) -> Plan:
    """Lay the call out above `base`, with a line between two arrays: what is written beside one is found there.

    Raises InvalidParameters (no value) and ShapeMismatch (an array of the wrong size).
    """
    at, words, arrays = _first(op, base), [], []
    for arg in op.args:
        if arg.kind == "value":
            words.append(_scalar(op, arg, values))
        elif arg.kind != "scratch" and arg.kind != "out" and values.get(arg.name) is None:
            words.append(_absent(op, arg))
        else:
            data, more = _content(op, arg, values)
            size = len(data) if arg.kind == "weight" else _extent(op, arg, values)
            arrays.append(Placed(arg, at, size, data))
            words.append(struct.pack("<I", at) + more)
            at = align(at + size) + ALIGN
    return _plan(op, base, words, arrays, at)


def plan_vector(vector: Mapping[str, Any], base: int) -> Plan:
    """Lay out a vector of `health.py` above `base`."""
    op, arrays, words = OPS[CODES[vector["kernel"]]], [], []
    at = _first(op, base)
    for arg in op.args:
        array = vector["arrays"].get(arg.name)
        if array is None:
            words.append(struct.pack("<I", vector["words"].get(arg.name, 0)))
            continue
        data = base64.b64decode(array["data"]) if "data" in array else None
        arrays.append(Placed(arg, at, array["bytes"], data))
        words.append(struct.pack("<I", at) + (struct.pack("<I", array["code"]) if "code" in array else b""))
        at = align(at + array["bytes"]) + ALIGN
    return _plan(op, base, words, arrays, at)


def _first(op: Op, base: int) -> int:
    """Where the first array goes: behind the control words and the program."""
    return align(align(base) + CONTROL_BYTES + 4 * (op.words + 8)) + ALIGN


def _plan(op: Op, base: int, words: list[bytes], arrays: list[Placed], end: int) -> Plan:
    record = struct.pack("<III", CODES[op.name] | op.words << 16, 1, 0) + b"".join(words)
    program = struct.pack("<I", align(base)) + record + struct.pack("<I", END)
    return Plan(align(base), align(base) + CONTROL_BYTES, program, tuple(arrays), end)


def _scalar(op: Op, arg: Arg, values: Mapping[str, Any]) -> bytes:
    try:
        return struct.pack("<f" if arg.dtype == "f32" else "<i", values[arg.name])
    except (KeyError, struct.error, TypeError) as error:
        found = values.get(arg.name, "nothing")
        raise InvalidParameters(f'{op.name}: "{arg.name}" must be a {arg.dtype}, found {found!r}.') from error


def _absent(op: Op, arg: Arg) -> bytes:
    if not arg.optional:
        raise InvalidParameters(f'{op.name}: the array "{arg.name}" is missing. It takes {[a.name for a in op.args]}.')
    return bytes(4)


def _extent(op: Op, arg: Arg, values: Mapping[str, Any]) -> int:
    types = [values[a.name].type for a in op.args if a.kind == "weight"]
    return max(0, extent(arg, values, *types[:1]))  # a size below 0, which a kernel refuses, is of no bytes


def _content(op: Op, arg: Arg, values: Mapping[str, Any]) -> tuple[bytes | None, bytes]:
    """(bytes of the array, None when the kernel makes them; further words)."""
    if arg.kind == "weight":
        found = values[arg.name]
        return found.data, struct.pack("<I", found.code)
    if arg.kind in ("out", "scratch"):
        return None, b""
    data = np.ascontiguousarray(values[arg.name], DTYPES.get(arg.dtype)).tobytes()
    if len(data) != (want := _extent(op, arg, values)):
        raise ShapeMismatch(f'{op.name}: "{arg.name}" has {len(data)} bytes, wanted {want} for {list(arg.shape)}.')
    return data, b""


def view(arg: Arg, values: Mapping[str, Any], data: bytes) -> np.ndarray:
    """An output's bytes as an array of its shape; pages of a cache as what they stand for, f32."""
    if arg.dtype == "kv":
        from .cache import unpack_pages

        return unpack_pages(data, values)
    if arg.dtype in DTYPES:
        return np.frombuffer(data, DTYPES[arg.dtype]).reshape(
            [values[s] if isinstance(s, str) else s for s in arg.shape]
        )
    from .quantize import unpack_rows

    return unpack_rows(data, values)
