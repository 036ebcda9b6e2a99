"""GGUF versions 2 and 3: the header, read by range and judged as hostile input. Imports no NumPy, opens nothing; runs anywhere.

Source: the GGUF specification (ggml, docs/gguf.md). `header_steps` asks for ranges and knows no file; `read_header` and
`read_header_async` drive it. Nothing is believed: every count is held against the bytes that are there before anything is made of it.
"""

from array import array
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from math import prod

from ..errors import InvalidGguf, UnsupportedTensorType
from ..fields import brief
from .cursor import ARRAY, LEAST, MAX_HEADER, Cursor, Short, type_name
from .types import BY_ID

MAGIC = b"GGUF"
VERSIONS = (2, 3)
ALIGNMENT = 32
MAX_KEYS = MAX_TENSORS = 10_000
MAX_NAME, MAX_KEY, MAX_DIMENSIONS = 64, 65_535, 4
FIRST, GROWTH = 1 << 20, 4  # bytes asked for first; how the window grows while the header goes on

_KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", list: "an array"}


@dataclass(frozen=True)
class TensorInfo:
    """One tensor. `shape` is NumPy's: the file's `ne` reversed, so a matrix is (rows, columns) and a row is contiguous.

    `offset` counts bytes from the start of the file number `part` (0 where the model is one file); `bytes` is its length there.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    bytes: int
    part: int = 0


@dataclass(frozen=True)
class Header:
    """What a GGUF file says before its weights.

    metadata: key → int, float, bool, str, list of str or bool, or an `array.array` of numbers; types: key → `u32`, `string`, `[f32]` …
    length: bytes of the header itself; data_offset: where the weights begin; size: bytes of the file.
    """

    version: int
    metadata: dict
    types: dict[str, str]
    tensors: dict[str, TensorInfo]
    alignment: int
    length: int
    data_offset: int
    size: int

    @property
    def architecture(self) -> str:
        """`general.architecture`, such as "qwen2". Raises InvalidGguf if the file does not say it."""
        return self.get("general.architecture", str)

    def get(self, key: str, kind: type, default=...):
        """The metadata value of `key`, of the Python type `kind` (list for any array); a leading dot stands for the architecture.

        Raises InvalidGguf if it is of another type, or absent without a default.
        """
        key = self.architecture + key if key.startswith(".") else key
        if key not in self.metadata and default is not ...:
            return default
        value = self.metadata.get(key)
        value = float(value) if kind is float and type(value) is int else value
        if type(value) is kind or (kind is list and isinstance(value, array)):
            return value
        found = f"it is {self.types[key]}" if key in self.types else "it is not there"
        raise InvalidGguf(f"The metadata must have {key!r} as {_KINDS[kind]}; {found}. The file is damaged.", key=key)


def header_steps(size: int, name: str = "the file") -> Generator[tuple[int, int], bytes, Header]:
    """A generator that yields (offset, length) of bytes it wants, is sent them, and returns the Header of a file of `size` bytes.

    Asks for 1 MiB first and for four times more whenever the header goes on, at most MAX_HEADER in all.
    Raises InvalidGguf, or UnsupportedTensorType for a tensor whose type ggml does not have.
    """
    window, want = b"", min(FIRST, size)
    while True:
        piece = yield len(window), want - len(window)
        if len(piece) != want - len(window):
            found = f"{len(piece)} of {want - len(window)} bytes came at {len(window)}"
            raise InvalidGguf(f"{name} is cut short: {found}. Download it again.", offset=len(window))
        window += piece
        try:
            return _header(Cursor(window, size, name))
        except Short as short:
            want = min(size, MAX_HEADER, max(short.needed, len(window) * GROWTH))


def read_header(read: Callable[[int, int], bytes], size: int, name: str = "the file") -> Header:
    """The header of a file of `size` bytes; `read(offset, length)` gives its bytes. Raises as `header_steps` does."""
    steps = header_steps(size, name)
    wanted = next(steps)
    while True:
        try:
            wanted = steps.send(read(*wanted))
        except StopIteration as end:
            return end.value


async def read_header_async(read: Callable[[int, int], Awaitable[bytes]], size: int, name: str = "the file") -> Header:
    """As `read_header`, with a `read` that is awaited."""
    steps = header_steps(size, name)
    wanted = next(steps)
    while True:
        try:
            wanted = steps.send(await read(*wanted))
        except StopIteration as end:
            return end.value


def _header(cursor: Cursor) -> Header:
    version = _version(cursor)
    tensors, keys = cursor.number("Q", "the number of tensors"), cursor.number("Q", "the number of keys")
    for count, limit, what in ((tensors, MAX_TENSORS, "tensors"), (keys, MAX_KEYS, "metadata keys")):
        if count > limit:
            raise cursor.bad(f"it claims {count} {what}; the most is {limit}", count=count)
    metadata, types = _metadata(cursor, keys)
    infos = [_tensor(cursor) for _ in range(tensors)]
    alignment = _alignment(cursor, metadata, types)
    start = -(-cursor.at // alignment) * alignment
    placed = _place(cursor, infos, alignment, start)
    return Header(version, metadata, types, placed, alignment, cursor.at, start, cursor.size)


def _version(cursor: Cursor) -> int:
    magic = cursor.take(4, "the magic")
    if magic != MAGIC:
        raise cursor.bad(f"it begins with {magic!r}, not with {MAGIC!r}")
    version = cursor.number("I", "the version")
    if version and not version & 0xFFFF:
        raise cursor.bad("its numbers are big-endian, and only little-endian files can be read")
    if version not in VERSIONS:
        raise cursor.bad(f"it is of version {version}, and versions {VERSIONS[0]} and {VERSIONS[1]} can be read")
    return version


def _metadata(cursor: Cursor, count: int) -> tuple[dict, dict[str, str]]:
    metadata, types = {}, {}
    for _ in range(count):
        key = cursor.text("a metadata key", MAX_KEY)
        if key in metadata:
            raise cursor.bad(f"the metadata key {brief(key)} is there twice", key=key)
        metadata[key], types[key] = _value(cursor, f"metadata {brief(key)}")
    return metadata, types


def _value(cursor: Cursor, what: str):
    """(value, name of its type)."""
    number = cursor.number("I", f"the type of {what}")
    if number != ARRAY:
        return cursor.scalar(_known(cursor, number, what), what), type_name(number)
    item = _known(cursor, cursor.number("I", f"the item type of {what}"), what)
    count = cursor.number("Q", f"the length of {what}")
    return cursor.items(item, count, what), f"[{type_name(item)}]"


def _known(cursor: Cursor, number: int, what: str) -> int:
    if number not in LEAST:
        nested = "an array of arrays, which nothing uses" if number == ARRAY else f"of the unknown type {number}"
        raise cursor.bad(f"{what} is {nested}")
    return number


def _alignment(cursor: Cursor, metadata: dict, types: dict) -> int:
    value, kind = metadata.get("general.alignment", ALIGNMENT), types.get("general.alignment", "u32")
    if kind != "u32" or value < 8 or value & (value - 1):
        found = value if kind == "u32" else f"of type {kind}"
        raise cursor.bad(f"its alignment is {found}; it must be a power of two, 8 or more, stored as u32")
    return value


def _tensor(cursor: Cursor) -> TensorInfo:
    """A tensor as the header tells it: its offset still counts from the start of the weights."""
    name = cursor.text("a tensor's name", MAX_NAME)
    dimensions = cursor.number("I", f"the dimensions of {name!r}")
    if dimensions > MAX_DIMENSIONS:
        raise cursor.bad(f"tensor {name!r} claims {dimensions} dimensions; the most is {MAX_DIMENSIONS}", tensor=name)
    shape = tuple(cursor.number("Q", f"the shape of {name!r}") for _ in range(dimensions))[::-1]
    number, offset = cursor.number("I", f"the type of {name!r}"), cursor.number("Q", f"the offset of {name!r}")
    if number not in BY_ID:
        raise UnsupportedTensorType(
            f"{cursor.name}: tensor {name!r} has the type number {number}, which this EdgeNet does not know. "
            "Look for the model in another quantisation, such as Q4_K_M or Q8_0.",
            tensor=name,
            type=number,
        )
    if 0 in shape:
        raise cursor.bad(f"tensor {name!r} of shape {shape} holds nothing", tensor=name)
    kind = BY_ID[number]
    row = shape[-1] if shape else 1
    if row % kind.elements:
        raise cursor.bad(f"rows of {name!r} hold {row} weights, no whole number of {kind.name} blocks", tensor=name)
    size = prod(shape) // kind.elements * kind.bytes
    return TensorInfo(name, kind.name, shape, offset, size)


def _place(cursor: Cursor, infos: list[TensorInfo], alignment: int, start: int) -> dict[str, TensorInfo]:
    """The tensors by name, in the file's order, at absolute offsets; each whole, inside the file and alone in its bytes."""
    placed = {}
    for info in infos:
        offset = start + info.offset
        if info.name in placed:
            raise cursor.bad(f"tensor {info.name!r} is there twice", tensor=info.name)
        if info.offset % alignment:
            raise cursor.bad(
                f"tensor {info.name!r} lies at {info.offset}, not at a multiple of {alignment}", tensor=info.name
            )
        if offset + info.bytes > cursor.size:
            ends = f"ends at byte {offset + info.bytes}, but the file at {cursor.size}"
            raise cursor.bad(f"tensor {info.name!r} {ends}", tensor=info.name, size=cursor.size)
        placed[info.name] = TensorInfo(info.name, info.type, info.shape, offset, info.bytes)
    order = sorted(placed.values(), key=lambda info: info.offset)
    for before, after in zip(order, order[1:], strict=False):
        if before.offset + before.bytes > after.offset:
            raise cursor.bad(f"tensors {before.name!r} and {after.name!r} overlap", tensor=after.name)
    return placed
