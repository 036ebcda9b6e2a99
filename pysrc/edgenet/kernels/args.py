"""Argument blocks of engine kernels: where each array lies in the engine's memory, and the block's bytes. Pure; runs anywhere."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InvalidParameters, ShapeMismatch
from .ops import DTYPES, Arg, Kernel, Values

ALIGN = 16
_FORMATS = {"f32": "<f", "i32": "<i", "u32": "<I"}


def align(offset: int) -> int:
    """The next multiple of 16."""
    return (offset + ALIGN - 1) & ~(ALIGN - 1)


@dataclass(frozen=True)
class Placed:
    """One array of a call in engine memory. `data` is None for outputs and scratch."""

    arg: Arg
    offset: int
    shape: tuple[int, ...]
    data: bytes | None

    @property
    def size(self) -> int:
        """Bytes."""
        return 4 * int(np.prod(self.shape))


@dataclass(frozen=True)
class Plan:
    """A call laid out above `base`: the block's bytes at `block_at`, then the arrays; `end` is the first free byte."""

    block: bytes
    block_at: int
    arrays: tuple[Placed, ...]
    end: int


def _array_bytes(kernel: Kernel, arg: Arg, values: Values, shape: tuple[int, ...]) -> bytes | None:
    if arg.kind not in ("in", "inout"):
        return None
    if arg.name not in values:
        raise InvalidParameters(
            f'{kernel.name}: the array "{arg.name}" is missing. It takes {[a.name for a in kernel.args]}.',
            kernel=kernel.name,
            name=arg.name,
        )
    array = np.asarray(values[arg.name])
    if array.shape != shape:
        raise ShapeMismatch(
            f'{kernel.name}: "{arg.name}" has the shape {list(array.shape)}, wanted {list(shape)} {list(arg.shape)}.',
            kernel=kernel.name,
            name=arg.name,
        )
    return np.ascontiguousarray(array, DTYPES[arg.dtype]).tobytes()


def _scalar(kernel: Kernel, arg: Arg, values: Values) -> bytes:
    try:
        return struct.pack(_FORMATS[arg.dtype], values[arg.name])
    except (KeyError, struct.error, TypeError, OverflowError) as error:
        found: Any = values.get(arg.name, "nothing")
        raise InvalidParameters(
            f'{kernel.name}: "{arg.name}" must be a {arg.dtype}, found {found!r}.', kernel=kernel.name, name=arg.name
        ) from error


def plan(kernel: Kernel, values: Values, base: int, threads: int = 1) -> Plan:
    """Lay a call out. Raises InvalidParameters (missing or untyped argument) and ShapeMismatch."""
    block_at, words, arrays = align(base), [], []
    at = align(block_at + 4 * len(kernel.args))
    for arg in kernel.args:
        if arg.kind == "value":
            words.append(_scalar(kernel, arg, values))
            continue
        shape = kernel.shape(arg, values, threads)
        placed = Placed(arg, at, shape, _array_bytes(kernel, arg, values, shape))
        arrays.append(placed)
        words.append(struct.pack("<I", at))
        at = align(at + placed.size)
    return Plan(b"".join(words), block_at, tuple(arrays), at)
