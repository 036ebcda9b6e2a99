"""All cases of language-model kernels: odd sizes, zeros, extremes, NaN, bad indices. Runs anywhere with NumPy.

A module with references has `cases(rng)`. An array that is longer than a case's sizes say would not be noticed: `record.plan` checks each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from .table import OPS

MODULES = tuple(dict.fromkeys(op.module for op in OPS))


@dataclass(frozen=True)
class Case:
    """One call: values by argument name. `tolerance` replaces the row's where a result is rounded coarsely (8-bit caches)."""

    kernel: str
    reason: str
    values: dict[str, Any]
    tolerance: float | None = None

    def __str__(self) -> str:
        return f"{self.kernel}: {self.reason}"


def normal(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> np.ndarray:
    """f32 from N(0, scale^2)."""
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def with_value(array: np.ndarray, at: int, value: float) -> np.ndarray:
    """A copy with one element replaced."""
    out = array.copy()
    out.flat[at] = value
    return out


def all_cases(modules: tuple[str, ...] = MODULES) -> Iterator[Case]:
    """Every case of every kernel, the same in each call (fixed seeds)."""
    for module in modules:
        yield from import_module(f"{__package__}.{module}").cases(np.random.default_rng(20261121))
