"""Runs Programs in NumPy, instruction by instruction through the kernels' references, in memory laid out as the Program says.

What the engine module computes is compared with this; it is far too slow for more than small models. Runs where NumPy does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from ..errors import WrongLength
from ..formats.blocks import dequantize
from ..graph import Program
from ..graph.program import Instruction, Weight
from ..kernels.codes import raise_for_code
from ..kernels.lm import layouts, table
from ..kernels.lm.cache import pack_pages
from ..kernels.lm.layouts import quantized_bytes
from ..kernels.lm.quantize import pack_rows
from ..kernels.lm.weights import keep
from .beside import judge_beside, state_bytes
from .face import Weights
from .hosted import DTYPES, Held, Hosted


@dataclass
class _Held(Held):
    """`regions`: name -> bytes (u8); `weights`: as kept, by index."""

    program: Program | None = None
    regions: dict[str, np.ndarray] = field(default_factory=dict)
    weights: list[Any] = field(default_factory=list)

    def view(self, region: str, offset: int, dtype: str, shape: tuple, sizes: Mapping[str, int]) -> np.ndarray:
        dims = [sizes[s] if isinstance(s, str) else s for s in shape]
        return self.regions[region][offset : offset + 4 * prod(dims)].view(DTYPES[dtype]).reshape(dims)


class NumpyEngine(Hosted):
    """The engine's face over Programs."""

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """Of the loaded Program."""
        return self.held[None].regions

    async def load(self, program: Program, weights: Weights) -> None:
        """Take a Program, judged first, and its weights. Raises InvalidProgram, WrongLength, NotFinite."""
        program.validate()
        kept = [self._kept(w, *weights(w.name)) for w in program.weights]
        kv, state = (np.zeros(program.regions.get(name, 0), np.uint8) for name in ("kv", "state"))
        self.held = {None: _held(program, kept, kv, state)}

    async def add(self, programs: Mapping[str, Program]) -> None:
        """Take more Programs over the same weights and cache."""
        loaded = self._of(None)
        slices = judge_beside(programs, loaded.program, self.held)
        state = np.zeros(state_bytes(programs.values()), np.uint8)
        for name, program in programs.items():
            pairs = zip(program.weights, slices[name], strict=True)
            kept = [_part(loaded.weights[at.index], w, at.offset) for w, at in pairs]
            self.held[name] = _held(program, kept, loaded.regions["kv"], state)

    def _kept(self, weight: Weight, kind: str, raw: bytes) -> Any:
        if kind != weight.type or len(raw) != weight.bytes:
            raise WrongLength(
                f"{weight.name} must be {weight.bytes} bytes of {weight.type}, found {len(raw)} of {kind}."
            )
        if len(weight.shape) == 1:
            return dequantize(kind, raw, 1, *weight.shape)[0]
        return keep(kind, raw, *weight.shape)

    async def run(self, program: str | None = None, **slots: int) -> None:
        """Every instruction once. Raises InvalidOption, KernelTrap."""
        it = self._sizes(program, slots)
        for instruction in it.program.code:
            row = table.op(instruction.op)
            values = self._values(it, row, instruction)
            code, outputs = row.reference(values)
            raise_for_code(code, row.name)
            for arg, place in zip(row.args, instruction.arguments, strict=True):
                if arg.name in outputs:
                    self._write(it, arg, place, outputs[arg.name], values)

    def _values(self, it: _Held, row: table.Op, instruction: Instruction) -> dict[str, Any]:
        """Arguments by name: numbers first, for arrays have shapes of them."""
        pairs = list(zip(row.args, instruction.arguments, strict=True))
        values = {a.name: it.sizes[v[1]] if isinstance(v, tuple) else v for a, v in pairs if a.kind == "value"}
        quantised = any(it.program.weights[v[1]].quantised for a, v in pairs if a.kind == "weight")
        for arg, place in pairs:
            if arg.kind not in ("value", "out", "scratch"):
                values[arg.name] = self._read(it, arg, place, values, quantised)
        return values

    def _read(self, it: _Held, arg: table.Arg, place: Any, values: dict[str, Any], quantised: bool) -> Any:
        if place == 0:
            return None
        region, offset = place
        if region == "weight":
            return it.weights[offset]
        if arg.dtype == "kv":
            return it.regions["kv"][offset : offset + table.extent(arg, values)]
        if arg.dtype == "q8" or (arg.dtype == "rows" and quantised):
            return it.regions[region][offset : offset + quantized_bytes(*(values[s] for s in arg.shape))]
        dtype = "f32" if arg.dtype == "rows" else arg.dtype
        return it.view(region, offset, dtype, arg.shape, values).copy()

    def _write(
        self, it: _Held, arg: table.Arg, place: tuple[str, int], result: np.ndarray, values: dict[str, Any]
    ) -> None:
        region, offset = place
        if arg.dtype == "kv":
            raw = pack_pages(result, values["kv_type"])
        else:
            raw = pack_rows(np.asarray(result, np.float32)) if arg.dtype == "q8" else result.astype(DTYPES[arg.dtype])
        raw = np.ascontiguousarray(raw).view(np.uint8).ravel()
        it.regions[region][offset : offset + len(raw)] = raw


def _held(program: Program, weights: list, kv: np.ndarray, state: np.ndarray) -> _Held:
    regions = {"arena": np.zeros(program.regions["arena"], np.uint8), "kv": kv, "state": state}
    regions["constants"] = np.frombuffer(program.constants, np.uint8)
    it = _Held(program.capacity.slots, {}, {}, program, regions, weights)
    it.buffers = {b.name: (it.view(b.region, b.offset, b.dtype, b.shape, it.most), b.shape) for b in program.buffers}
    return it


def _part(kept: Any, weight: Weight, offset: int) -> Any:
    """The rows of a loaded weight that an added Program reads, from a byte of it on."""
    if len(weight.shape) == 1:
        return kept[offset // 4 :][: weight.shape[0]]
    return replace(kept, data=kept.data[offset : offset + layouts.kept_bytes(weight.type, weight.shape)])
