"""The safetensors format, read as hostile input and written. Needs NumPy; runs anywhere.

Source: the format's README (huggingface/safetensors): u64 length of a JSON header, the header, the tensors' bytes without holes.
Stricter than the format: float types of 16 and 32 bits alone, nothing that is not finite. Twin of `web/formats/safetensors.js`.
"""

import json
import struct
from collections.abc import Mapping
from math import prod

import numpy as np

from ..errors import InvalidAdapter, NotFinite
from ..fields import COUNT, Check, Field, check_fields, list_of, load_object
from ..formats.blocks import dequantize, quantize

DTYPES = {"F32": "f32", "F16": "f16", "BF16": "bf16"}  # name here → name in ggml
WIDTH = {"F32": 4, "F16": 2, "BF16": 2}
MAX_HEADER, MAX_TENSORS, MAX_SIDES = 4 << 20, 20_000, 8  # bytes, tensors, sides of one
METADATA = "__metadata__"
_ALIGN = 8  # the header's length is padded to this many bytes, so that readers can map f32
_OFFSETS = Check(
    "two byte offsets, the first not above the second",
    lambda v: list_of(COUNT, 2).test(v) and len(v) == 2 and v[0] <= v[1],
)
_ENTRY = (
    Field("dtype", Check(f"one of {', '.join(DTYPES)}", lambda v: isinstance(v, str) and v in DTYPES), True),
    Field("shape", Check(f"at most {MAX_SIDES} sides", lambda v: list_of(COUNT).test(v) and len(v) <= MAX_SIDES), True),
    Field("data_offsets", _OFFSETS, True),
)
_TEXTS = Check("texts by name", lambda v: isinstance(v, dict) and all(isinstance(text, str) for text in v.values()))


def read(data: bytes, what: str = "the file") -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """({name: f32 array}, metadata) of a whole file; 16-bit numbers become f32.

    Raises InvalidAdapter, or NotFinite for NaN and infinities.
    """
    header, start = _header(data, what)
    metadata = header.pop(METADATA, {})
    check_fields({METADATA: metadata}, (Field(METADATA, _TEXTS),), what, InvalidAdapter)
    if len(header) > MAX_TENSORS:
        raise _bad(what, f"it claims {len(header)} tensors; the most is {MAX_TENSORS}")
    for name, entry in header.items():
        check_fields(entry, _ENTRY, f"{what}: tensor {name[:80]!r}", InvalidAdapter)
    _require_whole(header, len(data) - start, what)
    return {name: _values(data, start, name, entry, what) for name, entry in header.items()}, metadata


def write(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None, dtype: str = "F32") -> bytes:
    """The file with these f32 arrays as `dtype`, a key of DTYPES, in the order given; the same for the same input, byte for byte.

    Raises NotFinite for what is not finite, or would not be in `dtype`.
    """
    header, pieces, at = ({METADATA: dict(metadata)} if metadata else {}), [], 0
    for name, array in tensors.items():
        pieces.append(quantize(DTYPES[dtype], np.ascontiguousarray(array, np.float32).reshape(1, -1)))
        end = at + len(pieces[-1])
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGN)
    return struct.pack("<Q", len(text)) + text + b"".join(pieces)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """The f32 array that `read` gives after `write` as `dtype`. Raises NotFinite for what is beyond the type's range."""
    flat = np.ascontiguousarray(array, np.float32).reshape(1, -1)
    return dequantize(DTYPES[dtype], quantize(DTYPES[dtype], flat), *flat.shape).reshape(array.shape)


def _header(data: bytes, what: str) -> tuple[dict, int]:
    """(the JSON header, where the tensors begin)."""
    if len(data) < 8:
        raise _bad(what, f"it has {len(data)} bytes, and its header's length alone takes 8")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER, len(data) - 8):
        raise _bad(
            what, f"its header would have {length} bytes; the file has {len(data)}, and the most is {MAX_HEADER}"
        )
    return load_object(data[8 : 8 + length], f"{what}, the header", InvalidAdapter, InvalidAdapter), 8 + length


def _require_whole(header: dict, size: int, what: str) -> None:
    """Return if each tensor has the bytes of its shape, and together they are the file's, each byte once."""
    at = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        wanted = prod(entry["shape"]) * WIDTH[entry["dtype"]]
        if wanted == 0:
            raise _bad(what, f"tensor {name[:80]!r} of shape {entry['shape']} holds nothing")
        if last - first != wanted:
            raise _bad(
                what, f"tensor {name[:80]!r} has {last - first} bytes, and its shape {entry['shape']} takes {wanted}"
            )
        if first != at:
            raise _bad(
                what,
                f"tensor {name[:80]!r} begins at byte {first} of the data, not at {at}: bytes are shared or left over",
            )
        at = last
    if at != size:
        raise _bad(what, f"its tensors take {at} bytes, and {size} follow the header")


def _values(data: bytes, start: int, name: str, entry: dict, what: str) -> np.ndarray:
    first, last = (start + offset for offset in entry["data_offsets"])
    values = dequantize(DTYPES[entry["dtype"]], data[first:last], 1, prod(entry["shape"])).reshape(entry["shape"])
    if not np.isfinite(values).all():
        raise NotFinite(
            f"{what}: tensor {name[:80]!r} holds NaN or an infinity. The training went wrong; get another.", tensor=name
        )
    return values


def _bad(what: str, found: str) -> InvalidAdapter:
    return InvalidAdapter(f"{what} is no sound safetensors file: {found}. Get it again.")
