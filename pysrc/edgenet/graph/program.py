"""Program v1: a compiled model as plain data, and its JSON. Runs anywhere; imports no NumPy.

A Program names no address and no layout: it is lowered by the engine that will run it. It is hostile input until `validate` has passed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidProgram
from ..fields import load_object, to_base64
from ..kernels.lm import table
from ..kernels.lm.layouts import layout_of
from .capacity import Capacity
from .judge import judge, sizes
from .sizes import Shape

FORMAT, VERSION = "edgenet-program", 1


@dataclass(frozen=True)
class Weight:
    """A tensor of a file: `bytes` from `offset` of `artifact`, of ggml's type `type`; `shape` is (out, in) or (width,)."""

    name: str
    artifact: str
    offset: int
    bytes: int
    type: str
    shape: tuple[int, ...]

    @property
    def quantised(self) -> bool:
        """Whether a matmul by it takes quantised rows."""
        return layout_of(self.type).quantized

    def to_data(self) -> dict:
        return {**self.__dict__, "shape": list(self.shape)}


@dataclass(frozen=True)
class Buffer:
    """What the host writes or reads: 4-byte values of `dtype` (f32, i32, u32); `shape` may name slots."""

    name: str
    region: str
    offset: int
    dtype: str
    shape: Shape

    def to_data(self) -> dict:
        return {**self.__dict__, "shape": list(self.shape)}


@dataclass(frozen=True)
class Instruction:
    """One kernel call. An argument is a number, ("slot", name), ("weight", index), (region, offset), or 0 for an absent array.
    `sync`: all threads meet after it.
    """

    op: str
    arguments: tuple[Any, ...]
    sync: bool

    def to_data(self) -> list:
        return [self.op, [list(a) if isinstance(a, tuple) else a for a in self.arguments], int(self.sync)]


@dataclass(frozen=True)
class Program:
    """A compiled model. `regions`: bytes of the arena, the KV pages, the constants, and the state where it has any."""

    name: str
    capacity: Capacity
    regions: dict[str, int]
    constants: bytes
    weights: tuple[Weight, ...]
    buffers: tuple[Buffer, ...]
    code: tuple[Instruction, ...]
    opset: int = table.OPSET

    @property
    def peak(self) -> int:
        """Bytes of the arena: the most that lives at once, in whole cache lines."""
        return self.regions["arena"]

    def buffer(self, name: str) -> Buffer:
        """The buffer of this name. Raises InvalidProgram."""
        found = next((b for b in self.buffers if b.name == name), None)
        if found is None:
            raise InvalidProgram(
                f"The Program has no buffer {name!r}; it has {', '.join(b.name for b in self.buffers)}."
            )
        return found

    def caches(self) -> list[dict[str, int]]:
        """K and V of each layer: byte `offset` in the region "kv" and bytes of a `page`, in the order of their offsets."""
        found: dict[int, int] = {}
        for instruction in self.code:
            row = table.op(instruction.op)
            values = {a.name: v for a, v in zip(row.args, instruction.arguments, strict=True)}
            for arg in row.args:
                if arg.dtype == "kv":
                    sizes = (values[k] for k in ("kv_heads", "page", "head_dim", "kv_type"))
                    found[values[arg.name][1]] = table.kv_page_bytes(*sizes)
        return [{"offset": offset, "page": size} for offset, size in sorted(found.items())]

    def validate(self) -> None:
        """Judge everything as hostile input. Raises InvalidProgram or one of its kinds."""
        judge(self.to_data())

    def to_data(self) -> dict:
        """The document as JSON data; see manifests/schema/program-v1.json."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "opset": self.opset,
            "name": self.name,
            "capacity": self.capacity.to_data(),
            "slots": self.capacity.slots,
            "regions": self.regions,
            "constants": to_base64(self.constants),
            "weights": [w.to_data() for w in self.weights],
            "buffers": [b.to_data() for b in self.buffers],
            "code": [i.to_data() for i in self.code],
        }

    def to_json(self) -> bytes:
        """The document in UTF-8."""
        return json.dumps(self.to_data(), separators=(",", ":"), ensure_ascii=False).encode()

    @staticmethod
    def from_json(data: bytes | str | dict) -> Program:
        """The Program of a document that anyone may have written. Raises InvalidProgram or one of its kinds."""
        doc = load_object(data, "program", InvalidProgram, InvalidProgram)
        constants = judge(doc)
        fields = Capacity.__dataclass_fields__
        regions = {name: size for name, size in sizes(doc).items() if size or name != "state"}
        return Program(
            doc["name"],
            Capacity(**{k: v for k, v in doc["capacity"].items() if k in fields}),
            regions,
            constants,
            tuple(Weight(*(_frozen(w[f]) for f in Weight.__dataclass_fields__)) for w in doc["weights"]),
            tuple(Buffer(*(_frozen(b[f]) for f in Buffer.__dataclass_fields__)) for b in doc["buffers"]),
            tuple(Instruction(op, tuple(map(_frozen, args)), bool(sync)) for op, args, sync in doc["code"]),
        )


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
