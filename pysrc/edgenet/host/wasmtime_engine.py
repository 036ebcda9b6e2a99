"""Kernels in wasmtime, for CPython: the same bytes as in the browser, with an epoch deadline and a memory limit.
An instance that trapped is thrown away.

A Runtime owns the compiler and the thread that advances the epoch; engines and extensions are made by it. Close it (or use `with`).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import wasmtime as wt

from ..errors import (
    AllocationFailed,
    EpochDeadline,
    IndirectCallTypeMismatch,
    InitializationFailed,
    IntegerOverflow,
    InvalidPack,
    KernelNotFound,
    KernelTrap,
    MemoryAccessViolation,
    StackOverflow,
    Unreachable,
)
from ..kernels import descriptor
from ..kernels.args import plan
from ..kernels.codes import OK, raise_for_code
from ..kernels.ext import ExtCall
from ..kernels.lm.interpreter import CONTROL_BYTES
from ..kernels.lm.record import plan_vector
from ..kernels.ops import DTYPES, Outcome, kernel

PAGE = 65536
FEATURES = frozenset({"simd", "relaxed-simd", "bulk-memory"})

TRAPS: dict[wt.TrapCode, type] = {
    wt.TrapCode.INTERRUPT: EpochDeadline,
    wt.TrapCode.MEMORY_OUT_OF_BOUNDS: MemoryAccessViolation,
    wt.TrapCode.HEAP_MISALIGNED: MemoryAccessViolation,
    wt.TrapCode.UNREACHABLE: Unreachable,
    wt.TrapCode.STACK_OVERFLOW: StackOverflow,
    wt.TrapCode.INTEGER_OVERFLOW: IntegerOverflow,
    wt.TrapCode.INTEGER_DIVISION_BY_ZERO: IntegerOverflow,
    wt.TrapCode.BAD_CONVERSION_TO_INTEGER: IntegerOverflow,
    wt.TrapCode.BAD_SIGNATURE: IndirectCallTypeMismatch,
    wt.TrapCode.INDIRECT_CALL_TO_NULL: IndirectCallTypeMismatch,
    wt.TrapCode.TABLE_OUT_OF_BOUNDS: IndirectCallTypeMismatch,
}


def trap_error(trap: wt.Trap, what: str) -> Exception:
    """The named error of a trap."""
    found = TRAPS.get(trap.trap_code, KernelTrap) if isinstance(trap, wt.Trap) else KernelTrap
    last = str(trap).strip().splitlines()[-1].strip()
    return found(f"{what} was stopped ({last}). Its memory was thrown away; the next call starts afresh.", kernel=what)


class WasmtimeRuntime:
    """Compiles modules and advances the epoch every `tick_ms` (default 10 ms). `budget` is the ticks one call may
    take (default 1000: 10 s).
    """

    def __init__(self, *, tick_ms: float = 10, budget: int = 1000, pages: int = 1024):
        config = wt.Config()
        config.epoch_interruption = True
        config.wasm_relaxed_simd = True
        self.budget, self.pages, self.features = budget, pages, FEATURES
        self.compiler = wt.Engine(config)
        self._stop = threading.Event()
        threading.Thread(target=self._tick, args=(tick_ms / 1000,), name="edgenet-epoch", daemon=True).start()

    def _tick(self, seconds: float) -> None:
        while not self._stop.wait(seconds):
            self.compiler.increment_epoch()

    def close(self) -> None:
        """Stop the clock. Trap: after this, a runaway kernel is no longer stopped."""
        self._stop.set()

    def __enter__(self) -> WasmtimeRuntime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def compile(self, data: bytes) -> wt.Module:
        """Raises InvalidPack when the bytes are not a module that this runtime accepts."""
        try:
            return wt.Module(self.compiler, data)
        except wt.WasmtimeError as error:
            raise InvalidPack(
                f"A kernel module of {len(data)} bytes could not be compiled: {str(error).splitlines()[0]}."
            ) from error

    def engine(self, data: bytes) -> WasmtimeEngine:
        """The engine module as something with `call` and `run`."""
        return WasmtimeEngine(self, data)

    def extension(self, data: bytes, kernel_id: str, pages: int = 256, budget: int | None = None) -> WasmtimeExtension:
        """An extension kernel, alone in a memory of at most `pages`, stopped after `budget` ticks."""
        return WasmtimeExtension(self, data, kernel_id, pages=pages, budget=budget)


class Instance:
    """One instance of a module with a memory of its own: read, write, grow, call under a deadline."""

    def __init__(self, runtime: WasmtimeRuntime, module: wt.Module, what: str, pages: int, budget: int | None = None):
        self.budget, self.what, self.dead = budget or runtime.budget, what, False
        self.store = wt.Store(runtime.compiler)
        self.store.set_limits(memory_size=pages * PAGE, memories=1, instances=1, tables=1, table_elements=1024)
        self.store.set_epoch_deadline(self.budget)
        try:
            self.exports = wt.Instance(self.store, module, []).exports(self.store)
        except (wt.WasmtimeError, wt.Trap) as error:
            raise InitializationFailed(
                f"{what} could not be instantiated within {pages} pages: {str(error).splitlines()[0]}."
            ) from error
        if not isinstance(self.exports.get("memory"), wt.Memory) or not isinstance(
            self.exports.get("__heap_base"), wt.Global
        ):
            raise InitializationFailed(
                f"{what} must export `memory` and `__heap_base`. Link it with --export=__heap_base."
            )
        self.memory: wt.Memory = self.exports["memory"]
        self.heap_base: int = self.exports["__heap_base"].value(self.store)

    @property
    def bytes(self) -> int:
        """The memory's present size."""
        return self.memory.data_len(self.store)

    def reserve(self, end: int) -> None:
        """Grow memory to at least `end` bytes. Raises AllocationFailed at the limit."""
        missing = -(-(end - self.bytes) // PAGE)
        try:
            if missing > 0:
                self.memory.grow(self.store, missing)
        except wt.WasmtimeError as error:
            raise AllocationFailed(
                f"{self.what} needs {end} bytes, more than its limit. Use smaller inputs or raise `pages`.", bytes=end
            ) from error

    def write(self, offset: int, data: bytes) -> None:
        self.memory.write(self.store, data, offset)

    def read(self, offset: int, size: int) -> bytearray:
        return self.memory.read(self.store, offset, offset + size)

    def call(self, name: str, *args: int) -> int:
        """The function's return code. Raises KernelNotFound, or the named error of a trap; then this instance is dead."""
        function = self.exports.get(name)
        if not isinstance(function, wt.Func):
            raise KernelNotFound(f'{self.what} exports no function "{name}".', kernel=name)
        self.store.set_epoch_deadline(self.budget)
        try:
            return function(self.store, *args)
        except (wt.Trap, wt.WasmtimeError) as error:
            self.dead = True
            raise trap_error(error, self.what) from error


class Revived:
    """Keeps one live instance of a module; after a trap the next use makes a new one."""

    def __init__(self, make: Callable[[], Instance]):
        self._make, self._now = make, None

    def get(self) -> Instance:
        if self._now is None or self._now.dead:
            self._now = self._make()
        return self._now


class WasmtimeEngine:
    """The engine module. `call` and `run` are those of NumpyEngine; inputs and outputs are copied."""

    name = "wasmtime"

    def __init__(self, runtime: WasmtimeRuntime, data: bytes):
        module = runtime.compile(data)
        self._live = Revived(lambda: Instance(runtime, module, "The engine module", runtime.pages))
        self._live.get()

    def call(self, name: str, /, **values: Any) -> Outcome:
        """(return code, outputs as new arrays). Raises KernelNotFound, ShapeMismatch, InvalidParameters,
        AllocationFailed or a trap's error.
        """
        row, instance = kernel(name), self._live.get()
        at = plan(row, values, instance.heap_base)
        instance.reserve(at.end)
        instance.write(at.block_at, at.block)
        for array in at.arrays:
            instance.write(array.offset, array.data if array.data is not None else bytes(array.size))
        code = instance.call(name, at.block_at, 0, 1)
        wanted = [a for a in at.arrays if a.arg.kind in ("out", "inout")]
        return code, {
            a.arg.name: np.frombuffer(instance.read(a.offset, a.size), DTYPES[a.arg.dtype]).reshape(a.shape)
            for a in wanted
        }

    def call_record(self, vector: dict[str, Any]) -> tuple[int, dict[str, bytes]]:
        """(return code, bytes of its outputs) of a health vector of a language-model kernel, run as a program of one record."""
        instance = self._live.get()
        at = plan_vector(vector, instance.heap_base)
        instance.reserve(at.end)
        instance.write(at.control_at, bytes(CONTROL_BYTES))
        instance.write(at.program_at, at.program)
        for array in at.arrays:
            instance.write(array.offset, array.data if array.data is not None else bytes(array.size))
        code = instance.call("run", at.program_at, 0, 1)
        return code, {n: bytes(instance.read(at[n].offset, at[n].size)) for n in vector["outputs"]}

    def run(self, name: str, /, **values: Any) -> dict[str, np.ndarray]:
        """As `call`, but a return code other than OK raises KernelTrap."""
        code, outputs = self.call(name, **values)
        raise_for_code(code, name)
        return outputs


class WasmtimeExtension:
    """One extension kernel: its own module, its own memory, ADR-005's descriptor at byte 0."""

    def __init__(
        self, runtime: WasmtimeRuntime, data: bytes, kernel_id: str, *, pages: int = 256, budget: int | None = None
    ):
        module = runtime.compile(data)
        self.id = kernel_id
        self._live = Revived(lambda: Instance(runtime, module, f'The kernel "{kernel_id}"', pages, budget))
        self._live.get()

    def call(self, call: ExtCall) -> tuple[int, np.ndarray, np.ndarray]:
        """(return code, output f32, scratch f32) of `kernel_forward`. Raises as `Instance.call`; nothing of an
        earlier call is left in scratch.
        """
        instance = self._live.get()
        parts = {
            "params": call.params,
            "a": call.a.tobytes(),
            "b": call.b.tobytes(),
            "out": call.out.tobytes(),
            "scratch": bytes(4 * call.scratch),
        }
        where = descriptor.layout({name: len(data) for name, data in parts.items()}, instance.heap_base)
        instance.reserve(max(r.end for r in where.regions().values()))
        where.check(instance.bytes)
        for name, region in where.regions().items():
            instance.write(region.offset, parts[name])
        instance.write(0, where.pack())
        code = self._init(instance, where) or instance.call("kernel_forward", 0)
        return code, self._floats(instance, where.out), self._floats(instance, where.scratch)

    def _init(self, instance: Instance, where: descriptor.Descriptor) -> int:
        return (
            instance.call("kernel_init", where.params.offset, where.params.size)
            if "kernel_init" in dict(instance.exports)
            else OK
        )

    def _floats(self, instance: Instance, region: descriptor.Region) -> np.ndarray:
        return np.frombuffer(instance.read(region.offset, region.size), "<f4")

    def info(self) -> dict[str, int]:
        """What `kernel_info` says: ABI version, parameter bytes, scratch bytes, whether there is a backward."""
        instance = self._live.get()
        at = descriptor.layout({"out": 16}, instance.heap_base).out
        instance.reserve(at.end)
        raise_for_code(instance.call("kernel_info", at.offset), self.id)
        return dict(
            zip(
                ("abi", "params_size", "scratch_size", "has_backward"),
                struct.unpack("<4I", instance.read(at.offset, 16)),
                strict=True,
            )
        )
