"""A row of the table of kernels, and its words in a notation short enough to read a row at a glance. Imports no NumPy; runs anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Arg:
    """One argument. Words: 2 for a weight (address, layout code), else 1.

    kind: "value", or an array that is "in", "out", "inout", "scratch", or a "weight" (a matrix in a layout of the engine's choice).
    dtype: f32 i32 u32; "q8" quantised rows; "rows" f32 rows for f32 and f16 weights, else quantised rows; "kv" pages of a cache.
    shape: names of value arguments, or integers.
    """

    name: str
    kind: str
    dtype: str = "f32"
    shape: tuple[str | int, ...] = ()
    optional: bool = False  # the address may be 0: the array is absent

    @property
    def words(self) -> int:
        return 2 if self.kind == "weight" else 1


@dataclass(frozen=True)
class Op:
    """A row: `module` of this package has the reference. `tolerance` is relative to the largest magnitude of the reference's output;
    what is not f32 is exact.
    """

    name: str
    module: str
    tolerance: float
    args: tuple[Arg, ...]

    @property
    def words(self) -> int:
        """Argument words of a record."""
        return sum(a.words for a in self.args)

    @property
    def reference(self) -> Callable[[Mapping[str, Any]], tuple[int, dict]]:
        """What defines right: values by argument name to (return code, outputs). Needs NumPy."""
        return getattr(import_module(f"{__package__}.{self.module}"), self.name)

    def outputs(self) -> list[str]:
        """Names of the arrays that the kernel writes for others to read."""
        return [a.name for a in self.args if a.kind in ("out", "inout")]

    def arg(self, name: str) -> Arg:
        return next(a for a in self.args if a.name == name)


def reads(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    """An input; "?" after the name: it may be absent."""
    return Arg(name.rstrip("?"), "in", dtype, shape, name.endswith("?"))


def writes(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, "out", dtype, shape)


def updates(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, "inout", dtype, shape)


def scratch(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, "scratch", dtype, shape)


def weight(name: str, rows: str, columns: str) -> Arg:
    return Arg(name, "weight", "any", (rows, columns))


def values(names: str) -> tuple[Arg, ...]:
    """Scalars: i32, or f32 when the name ends in ":f"."""
    return tuple(Arg(n.removesuffix(":f"), "value", "f32" if n.endswith(":f") else "i32") for n in names.split())


def indices(*names: str) -> tuple[Arg, ...]:
    return tuple(reads(n, "n", dtype="i32") for n in names)
