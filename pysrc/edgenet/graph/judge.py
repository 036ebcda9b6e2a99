"""Judges a Program as hostile input: form, sizes, every byte of every array, weights, barriers. Pure; runs anywhere.

Twin of `web/engine/lm/judge.js`: the same order of judgement, the same codes. What passes can make no kernel read or write outside its
region for any legal slot value, and its result does not depend on the number of threads.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from math import isfinite, prod
from typing import Any, NamedTuple, NoReturn

from ..errors import InvalidGraph, InvalidProgram, OpsetUnsupported, ProgramTooLarge, UnknownOp
from ..fields import BOOL, COUNT, OBJECT, POSITIVE, TEXT, Check, Field, brief, check_fields, matching
from ..formats.types import TYPES as FILE_TYPES
from ..kernels.lm import layouts, table
from .capacity import SLOTS, Capacity
from .schedule import IN_PLACE, MAX_PENDING

MAX_MEMORY = 1 << 32  # bytes of wasm32's address space
MAX_ELEMENTS = 1 << 40  # of a weight: beyond it sizes are no longer worth being exact about
MAX_INSTRUCTIONS, MAX_WEIGHTS, MAX_BUFFERS = 1 << 16, 1 << 14, 256
INT_LIMIT, F32_LIMIT = 1 << 31, 3.4028234663852886e38
REGIONS = ("arena", "kv", "constants", "state")  # a Program without state may leave the last one out

_STRING = Check("a string", lambda v: isinstance(v, str))
_LIST = Check("an array", lambda v: isinstance(v, list))
_SHAPE = Check(
    "one or two sizes from 1", lambda v: isinstance(v, list) and 1 <= len(v) <= 2 and all(map(POSITIVE.test, v))
)
_SLOTTED = Check(
    "one or two sizes from 1, or slots",
    lambda v: (
        isinstance(v, list)
        and 1 <= len(v) <= 2
        and all(POSITIVE.test(s) or (isinstance(s, str) and s in SLOTS) for s in v)
    ),
)
_DTYPE = Check("f32, i32 or u32", lambda v: isinstance(v, str) and v in ("f32", "i32", "u32"))
_BASE64 = matching("base64 with padding", r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_HOSTED = Check("arena, state", lambda v: isinstance(v, str) and v in ("arena", "state"))
PROGRAM = (
    Field("name", _STRING, True),
    Field("capacity", OBJECT, True),
    Field("slots", OBJECT, True),
    Field("regions", OBJECT, True),
    Field("constants", _BASE64, True),
    Field("weights", _LIST, True),
    Field("buffers", _LIST, True),
    Field("code", _LIST, True),
)
CAPACITY = (*(Field(n, POSITIVE, True) for n in ("rows", "wanted", "sequences", "context", "page", "pages")),
            Field("kv", TEXT, True), Field("sample", BOOL, True),
            Field("dots", TEXT), Field("adapters", OBJECT))  # fmt: skip
WEIGHT = (
    Field("name", TEXT, True),
    Field("artifact", TEXT, True),
    Field("offset", COUNT, True),
    Field("bytes", COUNT, True),
    Field("type", TEXT, True),
    Field("shape", _SHAPE, True),
)
BUFFER = (
    Field("name", TEXT, True),
    Field("region", _HOSTED, True),
    Field("offset", COUNT, True),
    Field("dtype", _DTYPE, True),
    Field("shape", _SLOTTED, True),
)


class Range(NamedTuple):
    """Bytes that one argument touches. `key`: not empty for private copies, which threads share with no one."""

    region: str
    start: int
    end: int
    writes: bool
    key: tuple
    arg: str


def _refuse(where: str, what: str, kind: type[InvalidProgram] = InvalidProgram) -> NoReturn:
    raise kind(f"program {where}: {what}", where=where)


def judge(doc: Mapping[str, Any]) -> bytes:
    """The constants of a Program that passes. Raises InvalidProgram, UnknownOp, OpsetUnsupported or ProgramTooLarge."""
    if doc.get("format") != "edgenet-program" or doc.get("version") != 1 or isinstance(doc.get("version"), bool):
        _refuse(
            "", f'expected format "edgenet-program", version 1; found {brief([doc.get("format"), doc.get("version")])}'
        )
    if doc.get("opset") != table.OPSET or isinstance(doc.get("opset"), bool):
        _refuse(
            "opset",
            f"this engine has version {table.OPSET}, found {brief(doc.get('opset'))}; compile the model anew",
            OpsetUnsupported,
        )
    check_fields(doc, PROGRAM, "program", InvalidProgram)
    capacity = _capacity(doc)
    constants = _regions(doc)
    regions = sizes(doc)
    _memory(regions, _weights(doc["weights"]))
    _buffers(doc["buffers"], capacity, regions)
    _limit("code", doc["code"], MAX_INSTRUCTIONS)
    race = _Race()
    for i, instruction in enumerate(doc["code"]):
        judged = _Judged(f"code[{i}]", instruction, capacity, regions, doc["weights"])
        race.step(f"code[{i}]", judged.ranges(), IN_PLACE.get(judged.row.name, ()), instruction[2])
    return constants


def _limit(where: str, items: list, most: int) -> None:
    if len(items) > most:
        _refuse(where, f"{len(items)} items, more than {most}", ProgramTooLarge)


def _capacity(doc: Mapping[str, Any]) -> Capacity:
    given = doc["capacity"]
    check_fields(given, CAPACITY, "program capacity", InvalidProgram)
    try:
        capacity = Capacity(**{f.name: given[f.name] for f in CAPACITY if f.name in given})
    except InvalidGraph as error:
        raise InvalidProgram(f"program capacity: {error.message}") from error
    check_fields(doc["slots"], tuple(Field(n, POSITIVE, True) for n in SLOTS), "program slots", InvalidProgram)
    if doc["slots"] != capacity.slots:
        _refuse("slots", f"must be those of the capacity, {capacity.slots}, found {brief(doc['slots'])}")
    return capacity


def _regions(doc: Mapping[str, Any]) -> bytes:
    fields = tuple(Field(n, COUNT, n != "state") for n in REGIONS)
    check_fields(doc["regions"], fields, "program regions", InvalidProgram)
    for name, size in sizes(doc).items():
        if size >= MAX_MEMORY:
            _refuse(f"regions.{name}", f"{size} bytes do not fit in 4 GiB", ProgramTooLarge)
    constants = base64.b64decode(doc["constants"])
    if len(constants) != doc["regions"]["constants"]:
        _refuse("constants", f"{len(constants)} bytes, but regions.constants is {doc['regions']['constants']}")
    return constants


def sizes(doc: Mapping[str, Any]) -> dict[str, int]:
    """Bytes of every region."""
    return {name: doc["regions"].get(name, 0) for name in REGIONS}


def _weights(items: list) -> int:
    """Bytes of all weights as the engine keeps them: a matrix in its layout, a vector as f32."""
    _limit("weights", items, MAX_WEIGHTS)
    total = 0
    for i, weight in enumerate(items):
        where = f"weights[{i}]"
        check_fields(weight, WEIGHT, f"program {where}", InvalidProgram)
        shape, name = weight["shape"], weight["type"]
        if name not in layouts.TYPES:
            _refuse(where, f"no kernel reads weights of type {brief(name)}; known: {', '.join(layouts.TYPES)}")
        if prod(shape) >= MAX_ELEMENTS:
            _refuse(where, f"{shape} is more than any engine can hold", ProgramTooLarge)
        kind = FILE_TYPES[name]
        size = prod(shape) // kind.elements * kind.bytes
        if shape[-1] % kind.elements or size != weight["bytes"]:
            _refuse(
                where, f"{shape} {name} takes {size} bytes in whole blocks of {kind.elements}, found {weight['bytes']}"
            )
        total += layouts.kept_bytes(name, shape)
    return total


def _memory(regions: Mapping[str, int], weights: int) -> None:
    total = sum(regions.values()) + weights
    if total >= MAX_MEMORY:
        _refuse("", f"regions and weights need {total} bytes, more than the 4 GiB an engine can have", ProgramTooLarge)


def _buffers(items: list, capacity: Capacity, regions: Mapping[str, int]) -> None:
    _limit("buffers", items, MAX_BUFFERS)
    names = set()
    for i, buffer in enumerate(items):
        where = f"buffers[{i}]"
        check_fields(buffer, BUFFER, f"program {where}", InvalidProgram)
        size = 4 * prod(capacity.slots[s] if isinstance(s, str) else s for s in buffer["shape"])
        _inside(where, buffer["region"], buffer["offset"], size, regions)
        if buffer["name"] in names:
            _refuse(where, f"the name {brief(buffer['name'])} is there twice")
        names.add(buffer["name"])


def _inside(where: str, region: str, offset: Any, size: int, regions: Mapping[str, int]) -> None:
    if not COUNT.test(offset) or offset % 4 or offset + size > regions[region]:
        _refuse(
            where, f"{size} bytes at {brief(offset)} must lie in {region} ({regions[region]} bytes) at a multiple of 4"
        )


class _Judged:
    """One instruction: its values first, then every array by the kernel's row."""

    def __init__(self, where: str, item: Any, capacity: Capacity, regions: Mapping[str, int], weights: list):
        self.where, self.capacity, self.regions, self.weights = where, capacity, regions, weights
        if not (isinstance(item, list) and len(item) == 3 and isinstance(item[1], list)):
            _refuse(where, f"must be [op, [arguments], sync], found {brief(item)}")
        op, arguments, sync = item
        if not isinstance(op, str) or op not in table.CODES:
            _refuse(where, f"there is no op {brief(op)}; known: {', '.join(table.CODES)}", UnknownOp)
        self.row = table.op(op)
        if len(arguments) != len(self.row.args):
            _refuse(where, f"{op} takes {len(self.row.args)} arguments, found {len(arguments)}")
        if not COUNT.test(sync) or sync > 1:
            _refuse(where, f"sync must be 0 or 1, found {brief(sync)}")
        self.arguments = list(zip(self.row.args, arguments, strict=True))
        self.values = {arg.name: self._value(arg, v) for arg, v in self.arguments if arg.kind == "value"}
        self.quantised = self._matrices()

    def _value(self, arg: table.Arg, value: Any) -> float:
        """A scalar, or the largest a slot may be."""
        where = f"{self.where} {self.row.name}.{arg.name}"
        if isinstance(value, list):
            if len(value) == 2 and value[0] == "slot" and value[1] in SLOTS and arg.name in SLOTS:
                return self.capacity.slots[value[1]]
            _refuse(where, f"must be a number{' or a slot' * (arg.name in SLOTS)}, found {brief(value)}")
        number = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        if arg.dtype == "f32":
            if not number or abs(value) > F32_LIMIT:
                _refuse(where, f"must be a finite f32, found {brief(value)}")
        elif not number or not isinstance(value, int) or not 0 <= value < INT_LIMIT:
            _refuse(where, f"must be an integer from 0 to 2^31 - 1, found {brief(value)}")
        return value

    def _matrices(self) -> bool:
        """Whether the op's matrices want quantised rows; their shapes are judged."""
        found = set()
        for arg, value in self.arguments:
            if arg.kind == "weight":
                where = f"{self.where} {self.row.name}.{arg.name}"
                weight = self._weight(where, value, [self.values[s] for s in arg.shape])
                found.add(layouts.layout_of(weight["type"]).quantized)
        if len(found) > 1:
            _refuse(self.where, f"the matrices of {self.row.name} must all want quantised rows, or none")
        return found == {True}

    def _weight(self, where: str, value: Any, shape: list) -> dict:
        if not (isinstance(value, list) and len(value) == 2 and value[0] == "weight"):
            _refuse(where, f'must be ["weight", index], found {brief(value)}')
        if not COUNT.test(value[1]) or value[1] >= len(self.weights):
            _refuse(where, f"there is no weight {brief(value[1])}, only {len(self.weights)}")
        weight = self.weights[value[1]]
        if weight["shape"] != shape:
            _refuse(where, f"the weight {brief(weight['name'])} has the shape {weight['shape']}, but {shape} is read")
        return weight

    def ranges(self) -> list[Range]:
        """What the instruction touches of arena, KV and state; every array judged."""
        found = [self._range(arg, v) for arg, v in self.arguments if arg.kind not in ("value", "weight")]
        return [r for r in found if r]

    def _range(self, arg: table.Arg, value: Any) -> Range | None:
        where = f"{self.where} {self.row.name}.{arg.name}"
        if arg.optional and value == 0 and not isinstance(value, list | bool):
            return None
        reads = arg.kind == "in"
        if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)):
            _refuse(where, f"must be [region, offset]{' or 0' * arg.optional}, found {brief(value)}")
        if value[0] == "weight" and reads and arg.dtype == "f32" and len(arg.shape) == 1:
            self._weight(where, value, [self._size(s) for s in arg.shape])
            return None
        allowed = ("kv",) if arg.dtype == "kv" else ("arena", "state", *["constants"] * reads)
        if value[0] not in allowed:
            _refuse(where, f"must lie in {' or '.join(allowed)}, found {brief(value)}")
        size, key = self._extent(where, arg, value[1])
        _inside(where, value[0], value[1], size, self.regions)
        return Range(value[0], value[1], value[1] + size, not reads, key, arg.name) if value[0] != "constants" else None

    def _size(self, name: str | int) -> float:
        return self.values[name] if isinstance(name, str) else name

    def _extent(self, where: str, arg: table.Arg, offset: Any) -> tuple[int, tuple]:
        """(bytes from the offset on, key of private copies)."""
        shape = [self._size(s) for s in arg.shape]
        if arg.dtype == "kv":
            if self.values["kv_type"] >= len(table.KV_BITS):
                _refuse(where, f"there is no kv_type {self.values['kv_type']}")
            return shape[0] * table.kv_page_bytes(*shape[1:], self.values["kv_type"]), ()
        rows = arg.dtype == "q8" or (arg.dtype == "rows" and self.quantised)
        stride = self.values.get("stride", 0) if rows or arg.dtype == "rows" else 0
        if not rows:
            if stride:
                _refuse(where, f"rows that are not quantised have stride 0, found {stride}")
            return 4 * prod(shape), ()
        if shape[1] % layouts.BLOCK:
            _refuse(where, f"quantised rows have a multiple of {layouts.BLOCK} values, found {shape[1]}")
        one = layouts.quantized_bytes(*shape)
        if not stride:
            return one, ()
        if stride % 16 or stride < one:
            _refuse(where, f"stride must be a multiple of 16 and at least the {one} bytes of one copy, found {stride}")
        return (table.MAX_THREADS - 1) * stride + one, (offset, stride)


class _Race:
    """What was touched since the last barrier: nobody may touch it otherwise before the next."""

    def __init__(self):
        self.pending: list[Range] = []

    def step(self, where: str, ranges: list[Range], in_place: tuple[str, ...], sync: int) -> None:
        for i, mine in enumerate(ranges):
            for other in ranges[:i]:
                same = mine[:3] == other[:3] and mine.writes != other.writes
                if _overlap(mine, other) and not (same and {mine.arg, other.arg} & set(in_place)):
                    _refuse(where, f"{mine.arg} and {other.arg} overlap, and one of them is written")
            if any(_overlap(mine, other) for other in self.pending):
                _refuse(where, "touches what another thread may still be using; a barrier (sync) is missing before it")
        self.pending = [] if sync else self.pending + ranges
        if len(self.pending) > MAX_PENDING:
            _refuse(where, f"more than {MAX_PENDING} arrays without a barrier (sync)", ProgramTooLarge)


def _overlap(a: Range, b: Range) -> bool:
    """Whether two accesses could be of one byte by two threads, one of them writing."""
    if not (a.writes or b.writes) or a.region != b.region or (a.key and a.key == b.key):
        return False
    return a.start < b.end and b.start < a.end
