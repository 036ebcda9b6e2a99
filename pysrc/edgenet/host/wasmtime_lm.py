"""The language engine in wasmtime, for CPython: the same bytes as in the browser, one thread, under an epoch deadline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..kernels.lm.record import CONTROL_BYTES, Plan, plan, view
from ..kernels.lm.table import op
from .wasmtime_engine import Instance, WasmtimeRuntime, _Revived


class LmKernels:
    """Single kernels of language models, each run as a program of one record: for tests and health checks.

    All memory of a call is first filled with `poison`, so that what a kernel reads or writes beside its arrays shows.
    """

    def __init__(self, runtime: WasmtimeRuntime, data: bytes, *, poison: int = 0xFF):
        module = runtime.compile(data)
        self.poison = poison
        self._live = _Revived(lambda: Instance(runtime, module, "The engine module", runtime.pages))
        self._live.get()

    @property
    def instance(self) -> Instance:
        """The live instance; a trap ends it and the next use makes another."""
        return self._live.get()

    def place(self, at: Plan, base: int) -> None:
        """Write a planned call into memory."""
        it = self.instance
        it.reserve(at.end)
        it.write(base, bytes([self.poison]) * (at.end - base))
        it.write(at.control_at, bytes(CONTROL_BYTES))
        it.write(at.program_at, at.program)
        for array in at.arrays:
            if array.data is not None:
                it.write(array.offset, array.data)

    def call(self, name: str, values: Mapping[str, Any]) -> tuple[int, dict[str, np.ndarray]]:
        """(return code, outputs as new arrays). Raises InvalidParameters, ShapeMismatch, AllocationFailed or a trap's error."""
        base = self.instance.heap_base
        row, at = op(name), plan(op(name), values, base)
        self.place(at, base)
        code = self.instance.call("run", at.program_at, 0, 1)
        outputs = {n: view(row.arg(n), values, bytes(self.instance.read(at[n].offset, at[n].size))) for n in row.outputs()}
        return code, outputs
