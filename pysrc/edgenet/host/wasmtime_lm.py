"""The language engine in wasmtime, for CPython: the same bytes as in the browser, one thread, under an epoch deadline."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import KernelTrap, ModelInvalid, WrongLength
from ..formats.types import TYPES as FILE_TYPES
from ..graph import Program
from ..graph.lowering import lower
from ..graph.program import Buffer, Weight
from ..kernels.codes import code_name
from ..kernels.lm import layouts
from ..kernels.lm.interpreter import CONTROL_BYTES, SLOTS_AT
from ..kernels.lm.record import Plan, plan, view
from ..kernels.lm.table import op
from ..run.beside import Slice, judge_beside, state_bytes
from ..run.face import Weights
from ..run.heap import Heap
from ..run.hosted import DTYPES, Held, Hosted
from .lm_memory import LIMIT, STAGING, Added, place_beside, plan_memory
from .wasmtime_engine import PAGE, Instance, Revived, WasmtimeRuntime


class LmKernels:
    """Single kernels of language models, each run as a program of one record: for tests and health checks.

    All memory of a call is first filled with `poison`, so that what a kernel reads or writes beside its arrays shows.
    """

    def __init__(self, runtime: WasmtimeRuntime, data: bytes, *, poison: int = 0xFF):
        module = runtime.compile(data)
        self.poison = poison
        self._live = Revived(lambda: Instance(runtime, module, "The engine module", runtime.pages))
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


@dataclass
class _Held(Held):
    """`at`: where its records and regions lie."""

    program: Program | None = None
    at: Added | None = None


class WasmtimeLm(Hosted):
    """The engine's face over the engine module (a build with its own memory). `budget`: epoch ticks that one run may take.

    A run that traps or passes its deadline ends the engine's life: its memory is thrown away and a model must be loaded anew.
    """

    name = "wasmtime"

    def __init__(self, runtime: WasmtimeRuntime, data: bytes, *, budget: int = 6000):
        super().__init__()
        self._runtime, self._module, self._budget = runtime, runtime.compile(data), budget
        self._instance: Instance | None = None

    @property
    def program(self) -> Program:
        """The loaded one."""
        return self._of(None).program

    @property
    def memory_bytes(self) -> int:
        """Of the engine's whole memory."""
        return self._instance.bytes if self._instance else 0

    async def load(self, program: Program, weights: Weights) -> None:
        """Take a Program, judged first, and its weights. Raises InvalidProgram, ModelTooLarge; WrongLength, ModelInvalid and what
        `weights` raises, after which the engine holds none.
        """
        program.validate()
        it = Instance(self._runtime, self._module, "The engine module", LIMIT // PAGE, self._budget)
        at = plan_memory(program, it.heap_base)
        self._lose()
        self._instance, self.places, self._heap = it, at, Heap(at.end)
        try:
            self._pour(program, weights)
        except BaseException:
            self._lose()
            raise

    def _pour(self, program: Program, weights: Weights) -> None:
        """The first Program and its weights, where they lie."""
        at = self.places
        self._instance.reserve(at.end)
        self.held = {None: _Held(program.capacity.slots, program=program, at=Added(at.program, at.regions))}
        self._see()
        for weight, address, form in zip(program.weights, at.weights, at.layouts, strict=True):
            self._repack(weight, address, form, *weights(weight.name))
        self._memory[at.staging : at.end] = 0
        self._fill(self.held[None], [Slice(i, 0) for i in range(len(program.weights))])

    async def add(self, programs: Mapping[str, Program]) -> None:
        """Take more Programs, judged first, over the same weights and cache."""
        slices = judge_beside(programs, self.program, self.held)
        added = place_beside(programs, self._heap, self.places.regions["kv"], self._instance.reserve)
        self.held.update({n: _Held(p.capacity.slots, program=p, at=added[n]) for n, p in programs.items()})
        self._see()
        for name, program in programs.items():
            for region, size in (("arena", program.regions["arena"]), ("state", state_bytes(programs.values()))):
                first = added[name].regions[region]
                self._memory[first : first + size] = 0
            self._fill(self.held[name], slices[name])

    def _fill(self, held: _Held, weights: Sequence[Slice]) -> None:
        """Constants and records, where they lie."""
        it, at = self._instance, self.places
        it.write(held.at.regions["constants"], held.program.constants)
        addresses = {**held.at.regions, "weights": [at.weights[w.index] + w.offset for w in weights]}
        records = lower(held.program, addresses, [at.layouts[w.index].code for w in weights])
        it.write(held.at.code, struct.pack("<I", at.control) + records)

    def _free(self, held: _Held) -> None:
        self._heap.give(held.at.code)
        state = held.at.regions["state"]
        if state and sum(h.at.regions["state"] == state for h in self.held.values()) == 1:
            self._heap.give(state)

    def _see(self) -> None:
        """Views of all buffers, anew: a memory that grew is another array."""
        self._memory = np.frombuffer(self._instance.memory.get_buffer_ptr(self._instance.store), np.uint8)
        for held in self.held.values():
            held.buffers = {b.name: (self._view(held, b), b.shape) for b in held.program.buffers}

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

    def _view(self, held: _Held, buffer: Buffer) -> np.ndarray:
        shape = [held.most[s] if isinstance(s, str) else s for s in buffer.shape]
        at, size = held.at.regions[buffer.region] + buffer.offset, 4 * int(np.prod(shape))
        return self._memory[at : at + size].view(DTYPES[buffer.dtype]).reshape(shape)

    async def run(self, program: str | None = None, **slots: int) -> None:
        """Run once. Raises InvalidOption, KernelTrap (a kernel's code, e.g. for a token id out of range), or a trap's error."""
        held = self._sizes(program, slots)
        self._instance.write(self.places.control + SLOTS_AT, struct.pack(f"<{len(held.sizes)}I", *held.sizes.values()))
        try:
            code = self._instance.call("run", held.at.code, 0, 1)
        finally:
            if self._instance.dead:
                self._lose()
        if code:
            raise KernelTrap(
                f"A kernel of {held.program.name} returned {code} ({code_name(code)}). Check token ids, positions and pages.",
                returned=code,
                name=code_name(code),
            )

    def copy_page(self, source: int, target: int) -> None:
        """Copy a page of keys and values in every layer, for a host that shares pages and must write to one."""
        for part in self.program.caches():
            at, size = self.places.regions["kv"] + part["offset"], part["page"]
            self._memory[at + target * size : at + (target + 1) * size] = self._memory[
                at + source * size : at + (source + 1) * size
            ]

    def _lose(self) -> None:
        self.held = {}
        self._memory = self._instance = None  # views first: the store owns the memory

    async def dispose(self) -> None:
        """Free the engine's memory."""
        await super().dispose()
        self._lose()
