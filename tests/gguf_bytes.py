"""Raw bytes of GGUF headers, sound or not, from `struct` alone: so that neither our reader nor our writer judges itself. Any host."""

import struct

NUMBERS = {
    "u8": 0,
    "i8": 1,
    "u16": 2,
    "i16": 3,
    "u32": 4,
    "i32": 5,
    "f32": 6,
    "bool": 7,
    "u64": 10,
    "i64": 11,
    "f64": 12,
}
CODES = dict(zip(NUMBERS, "BbHhIifBQqd", strict=True))
STRING, ARRAY = 8, 9


def text(value) -> bytes:
    """A length and its bytes; `value` is str or bytes."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: str, value) -> bytes:
    """The bytes of one value of a type name."""
    return text(value) if kind == "string" else struct.pack("<" + CODES[kind], value)


def number(kind: str) -> int:
    """A type name's number in the file."""
    return STRING if kind == "string" else NUMBERS[kind]


def pair(key, kind: str, value) -> bytes:
    """A metadata pair; `[u32]` is an array."""
    if not kind.startswith("["):
        return text(key) + struct.pack("<I", number(kind)) + scalar(kind, value)
    item = kind[1:-1]
    head = struct.pack("<IIQ", ARRAY, number(item), len(value))
    return text(key) + head + b"".join(scalar(item, v) for v in value)


def tensor(name, ne, kind: int, offset: int, dimensions: int | None = None) -> bytes:
    """A tensor's description; `ne` as in the file: the row's length first."""
    count = len(ne) if dimensions is None else dimensions
    return text(name) + struct.pack(f"<I{len(ne)}QIQ", count, *ne, kind, offset)


def header(pairs=(), tensors=(), *, magic=b"GGUF", version=3, tensor_count=None, pair_count=None) -> bytes:
    """A header of ready-made pieces; counts can lie."""
    counts = (len(tensors) if tensor_count is None else tensor_count, len(pairs) if pair_count is None else pair_count)
    return magic + struct.pack("<IQQ", version, *counts) + b"".join(pairs) + b"".join(tensors)


def padded(head: bytes, data: int, alignment: int = 32) -> bytes:
    """The header filled up to the alignment, and `data` bytes of weights."""
    return head + bytes(-len(head) % alignment) + bytes(data)
