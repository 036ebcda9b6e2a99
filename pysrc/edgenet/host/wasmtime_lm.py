"""The language engine in wasmtime, for CPython: the same bytes as in the browser, one thread, under an epoch deadline."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import KernelTrap, ModelInvalid, ModelTooLarge, WrongLength
from ..formats.types import TYPES as FILE_TYPES
from ..graph import Program
from ..graph.program import Weight
from ..kernels.codes import code_name
from ..kernels.lm import layouts
from ..kernels.lm.record import CONTROL_BYTES, Plan, align, plan, view
from ..kernels.lm.table import op
from ..run.face import Weights
from ..run.hosted import DTYPES, Hosted
from .wasmtime_engine import PAGE, Instance, WasmtimeRuntime, _Revived

LIMIT = (1 << 32) - PAGE  # what 32-bit WebAssembly addresses, less the page that engines refuse
STAGING = 1 << 20  # bytes of a weight repacked at once
SLOTS_AT = 192  # byte of the slots in the control words


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
        return code, {n: view(row.arg(n), values, self.instance.read(at[n].offset, at[n].size)) for n in row.outputs()}


@dataclass(frozen=True)
class Places:
    """Where everything lies in the engine's memory: planned once from the Program, before anything is written."""

    control: int
    program: int
    regions: dict[str, int]
    weights: tuple[int, ...]
    layouts: tuple[layouts.Layout, ...]
    staging: int  # over arena and cache, which are empty while weights come
    end: int


def kept_layout(weight: Weight) -> layouts.Layout:
    """How the engine keeps a weight; one of a single axis is f32."""
    return layouts.LAYOUTS["f32"] if len(weight.shape) == 1 else layouts.layout_of(weight.type)


def plan_memory(program: Program, base: int) -> Places:
    """Lay a Program out above `base`. Raises ModelTooLarge, with the numbers."""
    end = align(base)

    def place(size: int) -> int:
        nonlocal end
        at, end = end, align(end + size)
        return at

    forms = tuple(kept_layout(w) for w in program.weights)
    control, code = place(CONTROL_BYTES), place(4 * (2 + sum(3 + 2 * len(i.arguments) for i in program.code)))
    constants = place(program.regions["constants"])
    pairs = zip(program.weights, forms, strict=True)
    weights = tuple(place(layouts.bytes(f.name, *(1, *w.shape)[-2:])) for w, f in pairs)
    staging = end
    regions = {"constants": constants, "arena": place(program.regions["arena"]), "kv": place(program.regions["kv"])}
    groups = (f.rows * (w.bytes // (1, *w.shape)[-2]) for w, f in zip(program.weights, forms, strict=True))
    end = max(end, staging + max(STAGING, *groups, 0))
    if end > LIMIT:
        raise ModelTooLarge(
            f"{program.name} needs {end} bytes of engine memory, of which {program.regions['kv']} are the cache for a context of "
            f"{program.capacity.context}; WebAssembly has {LIMIT}. Take a smaller quantization, or a smaller context.",
            needed=end,
            limit=LIMIT,
        )
    return Places(control, code, regions, weights, forms, staging, end)


class WasmtimeLm(Hosted):
    """The engine's face over the engine module (a build with its own memory). `budget`: epoch ticks that one run may take.

    A run that traps or passes its deadline ends the engine's life: its memory is thrown away and a model must be loaded anew.
    """

    name = "wasmtime"

    def __init__(self, runtime: WasmtimeRuntime, data: bytes, *, budget: int = 6000):
        super().__init__()
        self._runtime, self._module, self._budget = runtime, runtime.compile(data), budget
        self._instance: Instance | None = None

    async def load(self, program: Program, weights: Weights) -> None:
        """Take a Program, judged first, and its weights. Raises InvalidProgram, ModelTooLarge, WrongLength, ModelInvalid."""
        program.validate()
        pages = LIMIT // PAGE
        it = self._instance = Instance(self._runtime, self._module, "The engine module", pages, self._budget)
        at = self.places = plan_memory(program, it.heap_base)
        it.reserve(at.end)
        self._memory = np.frombuffer(it.memory.get_buffer_ptr(it.store), np.uint8)  # memory grows no more from here on
        for weight, address, form in zip(program.weights, at.weights, at.layouts, strict=True):
            self._repack(weight, address, form, *weights(weight.name))
        self._memory[at.regions["arena"] : at.end] = 0
        it.write(at.regions["constants"], program.constants)
        addresses = {**at.regions, "weights": at.weights}
        it.write(at.program, struct.pack("<I", at.control) + program.lower(addresses, [f.code for f in at.layouts]))
        self.program, self.most = program, program.capacity.slots
        self.buffers = {b.name: (self._view(b), b.shape) for b in program.buffers}

    def _repack(self, weight: Weight, address: int, form: layouts.Layout, kind: str, raw: bytes) -> None:
        """A weight's bytes to the engine's layout, some groups of rows at a time through the staging buffer."""
        if kind != weight.type or len(raw) != weight.bytes:
            raise WrongLength(
                f"{weight.name} must be {weight.bytes} bytes of {weight.type}, found {len(raw)} of {kind}."
            )
        rows, columns = (1, *weight.shape)[-2:]
        size, source = weight.bytes // rows, memoryview(raw)
        most = max(STAGING // size // form.rows * form.rows, form.rows)
        it, staging = self._instance, self.places.staging
        for first in range(0, rows, most):
            count = min(most, rows - first)
            self._memory[staging : staging + count * size] = np.frombuffer(
                source[first * size : (first + count) * size], np.uint8
            )
            code = it.call("repack", FILE_TYPES[kind].id, form.code, staging, address, rows, columns, first, count)
            if code:
                raise ModelInvalid(
                    f"Rows {first} to {first + count} of {weight.name} are no finite {kind} weights ({code_name(code)}). "
                    "Get the file again.",
                    weight=weight.name,
                )

    def _view(self, buffer) -> np.ndarray:
        shape = [self.most[s] if isinstance(s, str) else s for s in buffer.shape]
        at, size = self.places.regions[buffer.region] + buffer.offset, 4 * int(np.prod(shape))
        return self._memory[at : at + size].view(DTYPES[buffer.dtype]).reshape(shape)

    async def run(self, **slots: int) -> None:
        """Run once. Raises InvalidOption, KernelTrap (a kernel's code, e.g. for a token id out of range), or a trap's error."""
        sizes = self._sizes(slots)
        self._instance.write(self.places.control + SLOTS_AT, struct.pack(f"<{len(sizes)}I", *sizes.values()))
        try:
            code = self._instance.call("run", self.places.program, 0, 1)
        finally:
            if self._instance.dead:
                self._free()
        if code:
            raise KernelTrap(
                f"A kernel of {self.program.name} returned {code} ({code_name(code)}). Check token ids, positions and pages.",
                returned=code,
                name=code_name(code),
            )

    def copy_page(self, source: int, target: int) -> None:
        """Copy a page of keys and values in every layer, for a host that shares pages and must write to one."""
        self._ready()
        for part in self.program.caches():
            at, size = self.places.regions["kv"] + part["offset"], part["page"]
            self._memory[at + target * size : at + (target + 1) * size] = self._memory[
                at + source * size : at + (source + 1) * size
            ]

    def _free(self) -> None:
        self.buffers = self._memory = self._instance = None  # views first: the store owns the memory

    async def dispose(self) -> None:
        """Free the engine's memory."""
        await super().dispose()
        self._free()
