"""Program -> the u32 records that the interpreter walks. Runs anywhere.

A record is `op code | words << 16`, `sync`, slot mask (bit i: argument word i is the number of a slot), then the argument words; the word
0xFFFFFFFF ends the program. A float is its f32 bits; a matrix is its address and the code of its layout.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from ..kernels.lm import table
from ..kernels.lm.interpreter import END
from .program import Instruction, Program


def lower(program: Program, addresses: dict[str, Any], layouts: Sequence[int]) -> bytes:
    """The records of a validated Program, little endian.

    `addresses`: where the regions lie ("arena", "kv", "constants", "state") and, by index, the "weights"; `layouts`: each weight's
    layout code (not looked at for a weight that is read as plain f32).
    """
    slots = {name: i for i, name in enumerate(program.capacity.slots)}
    words: list[int] = []
    for instruction in program.code:
        words += _record(instruction, slots, addresses, layouts)
    return struct.pack(f"<{len(words) + 1}I", *words, END)


def _record(
    instruction: Instruction, slots: dict[str, int], addresses: dict[str, Any], layouts: Sequence[int]
) -> list[int]:
    words: list[int] = []
    mask = 0
    for arg, value in zip(table.op(instruction.op).args, instruction.arguments, strict=True):
        match value:
            case ("slot", name):
                mask |= 1 << len(words)
                words.append(slots[name])
            case ("weight", index):
                words += [addresses["weights"][index], layouts[index]][: arg.words]
            case (region, offset):
                words.append(addresses[region] + offset)
            case number:
                words.append(_bits(number, arg.dtype) if arg.kind == "value" else 0)
    return [table.CODES[instruction.op] | len(words) << 16, int(instruction.sync), mask, *words]


def _bits(number: float, dtype: str) -> int:
    return struct.unpack("<I", struct.pack("<f" if dtype == "f32" else "<i", number))[0]
