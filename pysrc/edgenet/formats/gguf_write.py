"""Writing GGUF version 3: metadata and tensors as pieces of bytes, in order, never the whole file at once. Imports no NumPy; runs anywhere.

Source: the GGUF specification. All but the length of a tensor's data is checked before the first piece is given.
"""

import struct
import sys
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from math import prod

from ..errors import InvalidOption, WrongLength
from .cursor import ARRAY, SCALARS, STRING, type_name
from .gguf import ALIGNMENT, MAGIC, MAX_DIMENSIONS, MAX_KEY, MAX_NAME
from .types import TYPES, row_bytes

VERSION = 3
NUMBER = {type_name(number): number for number in (*SCALARS, STRING)}
_CODE = {name: code for name, code in SCALARS.values()}
_OF_CODE = {code: name for name, code in SCALARS.values() if name != "bool"}
_WHOLE = (("u32", 0, 1 << 32), ("i32", -(1 << 31), 0), ("u64", 0, 1 << 64), ("i64", -(1 << 63), 0))
_ITEMS = {bool: "bool", str: "string", float: "f32", int: "i32"}


@dataclass(frozen=True)
class Tensor:
    """A tensor to write. `shape` is NumPy's (rows, columns); `data`: bytes-like, or an iterable of bytes-like pieces.

    For `streamed`: an asynchronous iterable of them.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    data: object

    @property
    def bytes(self) -> int:
        """How many bytes `data` must have."""
        return row_bytes(self.type, self.shape[-1] if self.shape else 1) * prod(self.shape[:-1])


@dataclass(frozen=True)
class Plan:
    """A file of which all but the tensors' data is known. `head`: its bytes before the first tensor."""

    head: bytes
    tensors: list[Tensor]
    alignment: int

    @property
    def bytes(self) -> int:
        """How many the whole file will have."""
        return len(self.head) + sum(t.bytes + -t.bytes % self.alignment for t in self.tensors)

    def end(self, tensor: Tensor, written: int) -> bytes:
        """What fills up to the next tensor. Raises WrongLength unless `written` bytes make this one."""
        if written != tensor.bytes:
            raise WrongLength(f"{tensor.name}: {tensor.bytes} bytes make this tensor, and its data has {written}.")
        return bytes(-written % self.alignment)


def plan(metadata: dict, tensors: Iterable[Tensor], types: dict[str, str] | None = None) -> Plan:
    """A GGUF file to be. `types`: key → `u32`, `[f32]` …, as `Header.types` has them, where a Python value leaves it open.

    Without a type a whole number is u32 (i32 below 0, 64 bits beyond), in a list i32; a float is f32; `array.array` keeps its own.
    `general.alignment` in the metadata counts. Raises InvalidOption for what GGUF cannot hold.
    """
    tensors, types = list(tensors), types or {}
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 8 or alignment & (alignment - 1):
        raise InvalidOption(f"The alignment is {alignment!r}; it must be a power of two, 8 or more.")
    head = bytearray(MAGIC + struct.pack("<IQQ", VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        head += _text(key, MAX_KEY) + _value(key, value, types.get(key))
    head += _infos(tensors, alignment)
    return Plan(bytes(head + bytes(-len(head) % alignment)), tensors, alignment)


def pieces(metadata: dict, tensors: Iterable[Tensor], types: dict[str, str] | None = None) -> Iterator[bytes]:
    """The bytes of a GGUF file. Arguments and errors as of `plan`, before the first piece; WrongLength for a tensor's data."""
    return _pieces(plan(metadata, tensors, types))


def _pieces(made: Plan) -> Iterator[bytes]:
    yield made.head
    for tensor in made.tensors:
        written = 0
        for piece in _parts(tensor.data):
            written += len(piece)
            yield piece
        yield made.end(tensor, written)


async def streamed(made: Plan) -> AsyncIterator[bytes]:
    """As `pieces`, where the tensors' data has to be waited for. Raises WrongLength."""
    yield made.head
    for tensor in made.tensors:
        written = 0
        async for piece in tensor.data:
            written += len(piece)
            yield piece
        yield made.end(tensor, written)


def _parts(data) -> Iterator[bytes]:
    if isinstance(data, bytes | bytearray | memoryview):
        yield bytes(data)
    else:
        yield from map(bytes, data)


def _infos(tensors: list[Tensor], alignment: int) -> bytes:
    names, raw, offset = set(), bytearray(), 0
    for tensor in tensors:
        if tensor.name in names or len(tensor.shape) > MAX_DIMENSIONS or 0 in tensor.shape or tensor.type not in TYPES:
            raise InvalidOption(
                f"Tensor {tensor.name!r} of type {tensor.type!r} and shape {tensor.shape} cannot be in a GGUF file: its name "
                f"must be its own, its type one of ggml's, and it has at most {MAX_DIMENSIONS} sides, none of them 0."
            )
        names.add(tensor.name)
        sides = tuple(reversed(tensor.shape))
        numbers = struct.pack(f"<I{len(sides)}QIQ", len(sides), *sides, TYPES[tensor.type].id, offset)
        raw += _text(tensor.name, MAX_NAME) + numbers
        offset += tensor.bytes + -tensor.bytes % alignment
    return bytes(raw)


def _text(value: str, limit: int = 1 << 32) -> bytes:
    raw = value.encode()
    if len(raw) > limit:
        raise InvalidOption(f"{value[:40]!r}… has {len(raw)} bytes; {limit} is the most.")
    return struct.pack("<Q", len(raw)) + raw


def _value(key: str, value, given: str | None) -> bytes:
    kind = given or _kind(key, value)
    try:
        if not kind.startswith("["):
            return struct.pack("<I", NUMBER[kind]) + _scalar(kind, value)
        item = kind[1:-1]
        return struct.pack("<IIQ", ARRAY, NUMBER[item], len(value)) + _items(item, value)
    except (struct.error, TypeError, AttributeError, KeyError, OverflowError, UnicodeEncodeError) as error:
        raise InvalidOption(f"Metadata {key!r} cannot be written as {kind}: {error}.", key=key, type=kind) from error


def _kind(key: str, value) -> str:
    """The type that a Python value has when nobody says."""
    if isinstance(value, array) and value.typecode in _OF_CODE:
        return f"[{_OF_CODE[value.typecode]}]"
    if isinstance(value, list | tuple) and value and type(value[0]) in _ITEMS:
        return f"[{_ITEMS[type(value[0])]}]"
    if type(value) is int:
        return next((name for name, low, high in _WHOLE if low <= value < high), "u64")
    if type(value) in _ITEMS:
        return _ITEMS[type(value)]
    raise InvalidOption(f"Metadata {key!r} is a {type(value).__name__}; say its type in `types`.", key=key)


def _scalar(kind: str, value) -> bytes:
    return _text(value) if kind == "string" else struct.pack("<" + _CODE[kind], value)


def _items(kind: str, values) -> bytes:
    if kind == "string":
        return b"".join(map(_text, values))
    if not isinstance(values, array) or values.typecode != _CODE[kind]:
        values = array(_CODE[kind], values)
    if sys.byteorder == "big":
        values = array(values.typecode, values)
        values.byteswap()
    return values.tobytes()
