"""Blocks of quantised weights, NumPy reference: what each type's bytes mean, and weights made into blocks. Runs anywhere.

Source: ggml's `block_*` structures and `dequantize_row_*` / `quantize_row_*_ref`; results are those of the `gguf` package bit for bit.
A row of FIELDS is a block's bytes in order; a function per type makes f32 weights of them. Arithmetic is f32 in ggml's order.
"""

import numpy as np

from ..errors import NotFinite, UnsupportedTensorType, WrongLength, WrongType
from .types import TYPES, row_bytes

_F16, _U8 = "<f2", "u1"
FIELDS = {
    "f32": [("q", "<f4")],
    "f16": [("q", _F16)],
    "bf16": [("q", "<u2")],
    "q4_0": [("d", _F16), ("qs", _U8, 16)],
    "q4_1": [("d", _F16), ("m", _F16), ("qs", _U8, 16)],
    "q5_0": [("d", _F16), ("qh", _U8, 4), ("qs", _U8, 16)],
    "q5_1": [("d", _F16), ("m", _F16), ("qh", _U8, 4), ("qs", _U8, 16)],
    "q8_0": [("d", _F16), ("qs", "i1", 32)],
    "q2_k": [("scales", _U8, 16), ("qs", _U8, 64), ("d", _F16), ("dmin", _F16)],
    "q3_k": [("hmask", _U8, 32), ("qs", _U8, 64), ("scales", _U8, 12), ("d", _F16)],
    "q4_k": [("d", _F16), ("dmin", _F16), ("scales", _U8, 12), ("qs", _U8, 128)],
    "q5_k": [("d", _F16), ("dmin", _F16), ("scales", _U8, 12), ("qh", _U8, 32), ("qs", _U8, 128)],
    "q6_k": [("ql", _U8, 128), ("qh", _U8, 64), ("scales", "i1", 16), ("d", _F16)],
    "iq4_nl": [("d", _F16), ("qs", _U8, 16)],
}
BLOCKS = {name: np.dtype(fields) for name, fields in FIELDS.items()}
_IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32)


def dequantize(type_name: str, raw, rows: int, columns: int) -> np.ndarray:
    """The f32 (rows, columns) matrix of weights whose file type is `type_name`; `raw`: its bytes (any bytes-like object).

    Raises UnsupportedTensorType for a type that is not in FIELDS, WrongLength if the bytes are not those of such a matrix.
    """
    if type_name not in FIELDS:
        raise UnsupportedTensorType(f"Weights of type {type_name!r} cannot be read; these can: {', '.join(FIELDS)}.")
    raw = np.frombuffer(raw, np.uint8)
    if raw.size != (wanted := rows * row_bytes(type_name, columns)):
        raise WrongLength(f"A {rows} x {columns} matrix of {type_name} has {wanted} bytes; {raw.size} were given.")
    with np.errstate(over="ignore", invalid="ignore"):  # a hostile scale gives an infinity or NaN, as in ggml
        return _READ[type_name](raw.view(BLOCKS[type_name])).reshape(rows, columns)


def quantize(type_name: str, weights: np.ndarray) -> bytes:
    """The bytes of an f32 (rows, columns) matrix in a type of QUANTIZED. Raises NotFinite, WrongType or UnsupportedTensorType.

    A scale is the block's largest weight over the type's range (`quantize_row_*_ref` of ggml): no search for better ones.
    """
    if type_name not in _WRITE:
        raise UnsupportedTensorType(f"Weights cannot be made {type_name!r}; they can be: {', '.join(_WRITE)}.")
    if weights.dtype != np.float32 or weights.ndim != 2:
        raise WrongType(f"Weights must be a float32 matrix; found {weights.dtype} of {weights.ndim} dimensions.")
    row_bytes(type_name, weights.shape[1])
    if np.isfinite(weights).all():
        blocks = _WRITE[type_name](np.ascontiguousarray(weights).reshape(-1, TYPES[type_name].elements))
        if all(np.isfinite(blocks[name]).all() for name in ("d", "m", "q") if name in blocks.dtype.names):
            return blocks.tobytes()
    raise NotFinite(f"Weights hold NaN, an infinity, or a number beyond the f16 scales of {type_name}.")


# --- reading: (n,) blocks → f32 (n, elements) ------------------------------------------------------------------------
def _column(values) -> np.ndarray:
    """(n,) scales as an f32 column."""
    return values.astype(np.float32)[:, None]


def _nibbles(qs: np.ndarray, groups: int = 1) -> np.ndarray:
    """(n, k) bytes → (n, 2k): of each of `groups` equal runs of bytes, first all low halves, then all high ones."""
    runs = qs.reshape(len(qs), groups, 1, -1)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(qs), -1)


def _fields(packed: np.ndarray, groups: int, width: int) -> np.ndarray:
    """(n, k) bytes of 8 / width fields each → (n, k * 8 / width): of each run of bytes all first fields, then all second …"""
    shifts = np.arange(0, 8, width, dtype=np.uint8)[:, None]
    return (packed.reshape(len(packed), groups, 1, -1) >> shifts & (1 << width) - 1).reshape(len(packed), -1)


def _fifth_bits(qh: np.ndarray) -> np.ndarray:
    """(n, 4) bytes → (n, 32): bit i of the 32, as 0 or 16."""
    return np.unpackbits(qh, axis=1, bitorder="little") << 4


def _spread(scales: np.ndarray, elements: int) -> np.ndarray:
    """(n, k) scales, each repeated for its run of the block's elements."""
    return np.repeat(scales, elements // scales.shape[1], axis=1)


def _six_bit_pairs(packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, 12) bytes → 8 scales and 8 minima of six bits, f32 (n, 8) each (`get_scale_min_k4`)."""
    a, b, c = np.split(packed, 3, axis=1)
    scales = np.concatenate([a & 63, (c & 15) | (a >> 6 << 4)], axis=1)
    minima = np.concatenate([b & 63, (c >> 4) | (b >> 6 << 4)], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _bf16(b):
    return (b["q"].astype(np.uint32) << 16).view(np.float32)[:, None]


def _q5(b):
    return (_nibbles(b["qs"]) | _fifth_bits(b["qh"])).astype(np.float32)


def _q2_k(b):
    scales = _column(b["d"]) * (b["scales"] & 15).astype(np.float32)
    minima = _column(b["dmin"]) * (b["scales"] >> 4).astype(np.float32)
    return _spread(scales, 256) * _fields(b["qs"], 2, 2).astype(np.float32) - _spread(minima, 256)


def _q3_k(b):
    low = _nibbles(b["scales"][:, :8])
    scales = (low | _fields(b["scales"][:, 8:], 1, 2) << 4).astype(np.float32) - 32
    high = _fields(b["hmask"], 1, 1) << 2
    q = (_fields(b["qs"], 2, 2) | high).astype(np.float32) - 4
    return _spread(_column(b["d"]) * scales, 256) * q


def _with_minima(b, q):
    scales, minima = _six_bit_pairs(b["scales"])
    scales, minima = _column(b["d"]) * scales, _column(b["dmin"]) * minima
    return _spread(scales, 256) * q.astype(np.float32) - _spread(minima, 256)


def _q5_k(b):
    return _with_minima(b, _nibbles(b["qs"], 4) | _fields(b["qh"], 1, 1) << 4)


def _q6_k(b):
    q = (_nibbles(b["ql"], 2) | _fields(b["qh"], 2, 2) << 4).astype(np.float32) - 32
    return _spread(_column(b["d"]) * b["scales"].astype(np.float32), 256) * q


_READ = {
    "f32": lambda b: b["q"].astype(np.float32)[:, None],
    "f16": lambda b: _column(b["q"]),
    "bf16": _bf16,
    "q4_0": lambda b: _column(b["d"]) * (_nibbles(b["qs"]).astype(np.float32) - 8),
    "q4_1": lambda b: _column(b["d"]) * _nibbles(b["qs"]).astype(np.float32) + _column(b["m"]),
    "q5_0": lambda b: _column(b["d"]) * (_q5(b) - 16),
    "q5_1": lambda b: _column(b["d"]) * _q5(b) + _column(b["m"]),
    "q8_0": lambda b: _column(b["d"]) * b["qs"].astype(np.float32),
    "q2_k": _q2_k,
    "q3_k": _q3_k,
    "q4_k": lambda b: _with_minima(b, _nibbles(b["qs"], 4)),
    "q5_k": _q5_k,
    "q6_k": _q6_k,
    "iq4_nl": lambda b: _column(b["d"]) * _IQ4[_nibbles(b["qs"])],
}


# --- writing: f32 (n, elements) → (n,) blocks ------------------------------------------------------------------------
def _made(type_name: str, **fields) -> np.ndarray:
    blocks = np.empty(len(next(iter(fields.values()))), BLOCKS[type_name])
    with np.errstate(over="ignore"):  # `quantize` refuses what became infinite
        for name, values in fields.items():
            blocks[name] = values
    return blocks


def _inverse(scales: np.ndarray) -> np.ndarray:
    """1 / scale, 0 where that is no number."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        inverse = np.float32(1) / scales
    return np.where(np.isfinite(inverse), inverse, np.float32(0))


def _signed(x: np.ndarray, half: int) -> tuple[np.ndarray, np.ndarray]:
    """(scale (n, 1), integers 0 … 2 half - 1): the weight of largest size becomes 0, and a weight of 0 becomes `half`."""
    largest = np.take_along_axis(x, np.abs(x).argmax(axis=1, keepdims=True), axis=1)
    d = largest / np.float32(-half)
    q = np.trunc(x * _inverse(d) + np.float32(half + 0.5))
    return d, np.clip(q, 0, 2 * half - 1).astype(np.uint8)


def _shifted(x: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scale (n, 1), minimum (n, 1), integers 0 … most)."""
    least = x.min(axis=1, keepdims=True)
    d = (x.max(axis=1, keepdims=True) - least) / np.float32(most)
    q = np.trunc((x - least) * _inverse(d) + np.float32(0.5))
    return d, least, np.clip(q, 0, most).astype(np.uint8)


def _halves(q: np.ndarray) -> np.ndarray:
    """(n, 32) integers → (n, 16) bytes of the low four bits: element i below element i + 16."""
    return (q[:, :16] & 15) | (q[:, 16:] << 4)


def _fifths(q: np.ndarray) -> np.ndarray:
    return np.packbits(q >> 4, axis=1, bitorder="little")


def _to_bf16(x):
    n = x.view(np.uint32).astype(np.uint64)
    return _made("bf16", q=(n + 0x7FFF + (n >> 16 & 1) >> 16)[:, 0])  # to the nearest, ties to even


def _to_q4_0(x):
    d, q = _signed(x, 8)
    return _made("q4_0", d=d[:, 0], qs=_halves(q))


def _to_q4_1(x):
    d, m, q = _shifted(x, 15)
    return _made("q4_1", d=d[:, 0], m=m[:, 0], qs=_halves(q))


def _to_q5_0(x):
    d, q = _signed(x, 16)
    return _made("q5_0", d=d[:, 0], qh=_fifths(q), qs=_halves(q))


def _to_q5_1(x):
    d, m, q = _shifted(x, 31)
    return _made("q5_1", d=d[:, 0], m=m[:, 0], qh=_fifths(q), qs=_halves(q))


def _to_q8_0(x):
    d = np.abs(x).max(axis=1, keepdims=True) / np.float32(127)
    scaled = x * _inverse(d)
    whole = np.floor(np.abs(scaled))
    away = np.sign(scaled) * (whole + np.floor(2 * (np.abs(scaled) - whole)))  # halves go away from 0
    return _made("q8_0", d=d[:, 0], qs=away)


_WRITE = {
    "f32": lambda x: _made("f32", q=x[:, 0]),
    "f16": lambda x: _made("f16", q=x[:, 0]),
    "bf16": _to_bf16,
    "q4_0": _to_q4_0,
    "q4_1": _to_q4_1,
    "q5_0": _to_q5_0,
    "q5_1": _to_q5_1,
    "q8_0": _to_q8_0,
}
QUANTIZED = tuple(_WRITE)
