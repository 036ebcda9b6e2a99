"""Runs a Program in NumPy, instruction by instruction through the kernels' references, in memory laid out as the Program says.

What the engine module computes is compared with this; it is far too slow for more than small models. Runs where NumPy does.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from ..errors import WrongLength
from ..formats.blocks import dequantize
from ..graph import Program
from ..graph.program import Instruction, Weight
from ..kernels.codes import raise_for_code
from ..kernels.lm import table
from ..kernels.lm.cache import pack_pages
from ..kernels.lm.layouts import quantized_bytes
from ..kernels.lm.quantize import pack_rows
from ..kernels.lm.weights import keep
from .face import Weights
from .hosted import DTYPES, Hosted


class NumpyEngine(Hosted):
    """The engine's face over a Program."""

    async def load(self, program: Program, weights: Weights) -> None:
        """Take a Program, judged first, and its weights. Raises InvalidProgram, WrongLength, NotFinite."""
        program.validate()
        self.program, self.most = program, program.capacity.slots
        self.regions = {n: np.zeros(program.regions[n], np.uint8) for n in ("arena", "kv")}
        self.regions["constants"] = np.frombuffer(program.constants, np.uint8)
        self.weights = [self._kept(w, *weights(w.name)) for w in program.weights]
        self.buffers = {
            b.name: (self._view(b.region, b.offset, b.dtype, b.shape, self.most), b.shape) for b in program.buffers
        }

    def _kept(self, weight: Weight, kind: str, raw: bytes) -> Any:
        if kind != weight.type or len(raw) != weight.bytes:
            raise WrongLength(
                f"{weight.name} must be {weight.bytes} bytes of {weight.type}, found {len(raw)} of {kind}."
            )
        if len(weight.shape) == 1:
            return dequantize(kind, raw, 1, *weight.shape)[0]
        return keep(kind, raw, *weight.shape)

    def _view(self, region: str, offset: int, dtype: str, shape: tuple, sizes: dict[str, int]) -> np.ndarray:
        dims = [sizes[s] if isinstance(s, str) else s for s in shape]
        return self.regions[region][offset : offset + 4 * prod(dims)].view(DTYPES[dtype]).reshape(dims)

    async def run(self, **slots: int) -> None:
        """Every instruction once. Raises InvalidOption, KernelTrap."""
        sizes = self._sizes(slots)
        for instruction in self.program.code:
            row = table.op(instruction.op)
            values = self._values(row, instruction, sizes)
            code, outputs = row.reference(values)
            raise_for_code(code, row.name)
            for arg, place in zip(row.args, instruction.arguments, strict=True):
                if arg.name in outputs:
                    self._write(arg, place, outputs[arg.name], values)

    def _values(self, row: table.Op, instruction: Instruction, sizes: dict[str, int]) -> dict[str, Any]:
        """Arguments by name: numbers first, for arrays have shapes of them."""
        pairs = list(zip(row.args, instruction.arguments, strict=True))
        values = {a.name: sizes[v[1]] if isinstance(v, tuple) else v for a, v in pairs if a.kind == "value"}
        quantised = any(self.program.weights[v[1]].quantised for a, v in pairs if a.kind == "weight")
        for arg, place in pairs:
            if arg.kind not in ("value", "out", "scratch"):
                values[arg.name] = self._read(arg, place, values, quantised)
        return values

    def _read(self, arg: table.Arg, place: Any, values: dict[str, Any], quantised: bool) -> Any:
        if place == 0:
            return None
        region, offset = place
        if region == "weight":
            return self.weights[offset]
        if arg.dtype == "kv":
            return self.regions["kv"][offset : offset + table.extent(arg, values)]
        if arg.dtype == "rows" and quantised:
            return self.regions[region][offset : offset + quantized_bytes(values["n"], values["in"])]
        dtype = "f32" if arg.dtype == "rows" else arg.dtype
        return self._view(region, offset, dtype, arg.shape, values).copy()

    def _write(self, arg: table.Arg, place: tuple[str, int], result: np.ndarray, values: dict[str, Any]) -> None:
        region, offset = place
        if arg.dtype == "kv":
            raw = pack_pages(result, values["kv_type"])
        else:
            raw = pack_rows(np.asarray(result, np.float32)) if arg.dtype == "q8" else result.astype(DTYPES[arg.dtype])
        raw = np.ascontiguousarray(raw).view(np.uint8).ravel()
        self.regions[region][offset : offset + len(raw)] = raw
