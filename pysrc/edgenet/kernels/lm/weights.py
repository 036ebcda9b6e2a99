"""Weights in the engine's layouts, NumPy twin of `wasm/lm/repack.c`: from a file's blocks, and back to numbers. Runs anywhere with NumPy.

Both are exact but for the scales of the K types, which are products in the file and one f16 each in the engine.
"""

from __future__ import annotations

import numpy as np

from ...errors import NotFinite
from ...formats.blocks import BLOCKS, dequantize
from .layouts import BLOCK, GROUP, LAYOUTS, layout_of
from .record import Weight

_SCALES = ("scale", "<f2", GROUP)
_BITS = ("bits", "u1", (4, GROUP, 4))  # k, row, column of four; see layouts.h
FORMS = {
    "q4": np.dtype([_SCALES, _BITS]),
    "q4m": np.dtype([_SCALES, ("least", "<f2", GROUP), _BITS]),
    "q5m": np.dtype([_SCALES, ("least", "<f2", GROUP), _BITS, ("fifth", "u1", (GROUP, 4))]),
    "q6": np.dtype([("scale", "<f2", (2, GROUP)), _BITS, ("top", "u1", (2, GROUP, 4))]),
    "q8": np.dtype([_SCALES, ("bytes", "i1", (BLOCK // 2, GROUP, 2))]),
}
CENTRES = {"q4": 8, "q6": 32}


def keep(kind: str, raw: bytes, rows: int, columns: int) -> Weight:
    """A file's (rows, columns) matrix of type `kind` as the engine keeps it. Raises NotFinite, UnsupportedFeature."""
    layout = layout_of(kind)
    if not layout.quantized:
        if not np.isfinite(dequantize(kind, raw, rows, columns)).all():
            raise NotFinite(f"A matrix of type {kind} holds NaN or an infinity.")
        return Weight(bytes(raw), layout.code, kind)
    with np.errstate(over="ignore", invalid="ignore"):
        integers, *scales = _READ[kind](np.frombuffer(raw, BLOCKS[kind]))
        scales = [np.asarray(s, np.float32).astype(np.float16) for s in scales]
    if not all(np.isfinite(s).all() for s in scales):
        raise NotFinite(f"A matrix of type {kind} has a scale that is no finite f16.")
    return Weight(_interleaved(layout.name, rows, integers, scales), layout.code, kind)


def numbers(weight: Weight, rows: int, columns: int) -> np.ndarray:
    """The f32 (rows, columns) matrix that a kept weight stands for."""
    layout = next(f for f in LAYOUTS.values() if f.code == weight.code)
    if not layout.quantized:
        return dequantize(layout.name, weight.data, rows, columns)
    blocks = np.frombuffer(weight.data, FORMS[layout.name]).reshape(-1, columns // BLOCK)
    integers = _integers(layout.name, blocks).astype(np.float32) - CENTRES.get(layout.name, 0)
    scale = blocks["scale"].astype(np.float32).reshape(*blocks.shape, -1, GROUP)  # groups, blocks, halves or 1, rows
    scale = np.repeat(scale, BLOCK // scale.shape[2], axis=2).transpose(0, 3, 1, 2)
    w = scale * integers
    if "least" in blocks.dtype.names:
        w = w + blocks["least"].astype(np.float32).transpose(0, 2, 1)[..., None]
    return w.reshape(-1, columns)[:rows]


def _interleaved(layout: str, rows: int, integers: np.ndarray, scales: list[np.ndarray]) -> bytes:
    padding = -rows % GROUP
    q = np.pad(integers.reshape(rows, -1), ((0, padding), (0, 0))).reshape(
        -1, GROUP, integers.size // rows // BLOCK, BLOCK
    )
    q = q.transpose(0, 2, 1, 3)  # groups, blocks, rows, columns
    out = np.zeros(q.shape[:2], FORMS[layout])
    for name, values in zip(("scale", "least"), scales, strict=False):
        per_row = np.pad(values.reshape(rows, -1), ((0, padding), (0, 0))).reshape(len(q), GROUP, q.shape[1], -1)
        out[name] = per_row.transpose(0, 2, 3, 1).reshape(out[name].shape)
    if layout == "q8":
        out["bytes"] = q.reshape(*q.shape[:3], BLOCK // 2, 2).transpose(0, 1, 3, 2, 4)
        return out.tobytes()
    q = q.reshape(*q.shape[:3], 2, 4, 4).transpose(3, 0, 1, 4, 2, 5)  # half, groups, blocks, k, rows, column of four
    out["bits"] = q[0] & 15 | (q[1] & 15) << 4
    shift = np.arange(4, dtype=np.uint8)[:, None, None]
    if layout == "q5m":
        out["fifth"] = (q[0] >> 4 << shift).sum(axis=2) + (q[1] >> 4 << shift + 4).sum(axis=2)
    if layout == "q6":
        out["top"] = np.stack([(half >> 4 << 2 * shift).sum(axis=2) for half in q], axis=2)
    return out.tobytes()


def _integers(layout: str, blocks: np.ndarray) -> np.ndarray:
    """(groups, 4 rows, blocks, 32 columns) of kept blocks."""
    if layout == "q8":
        return blocks["bytes"].transpose(0, 3, 1, 2, 4).reshape(len(blocks), GROUP, -1, BLOCK)
    halves = np.stack(
        [blocks["bits"] & 15, blocks["bits"] >> 4], axis=2
    )  # groups, blocks, half, k, rows, column of four
    shift = np.arange(4, dtype=np.uint8)[:, None, None]
    if layout == "q5m":
        fifth = blocks["fifth"][:, :, None, None]
        halves |= (fifth >> np.stack([shift, shift + 4]) & 1) << 4
    if layout == "q6":
        halves |= (blocks["top"][:, :, :, None] >> 2 * shift & 3) << 4
    return halves.transpose(0, 4, 1, 2, 3, 5).reshape(len(blocks), GROUP, -1, BLOCK)


# --- a file's blocks: (integers (n, elements), scale (n, k), least (n, k)) ---------------------------------------------
def _nibbles(packed: np.ndarray, run: int) -> np.ndarray:
    """Of each run of bytes first the low halves, then the high ones."""
    runs = packed.reshape(len(packed), -1, 1, run)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(packed), -1)


def _fields(packed: np.ndarray, width: int) -> np.ndarray:
    """Of each run of 32 bytes first the lowest `width` bits, then the next …"""
    runs = packed.reshape(len(packed), -1, 1, 32)
    return (runs >> np.arange(0, 8, width, dtype=np.uint8)[:, None] & (1 << width) - 1).reshape(len(packed), -1)


def _fifths(b: np.ndarray) -> np.ndarray:
    return _nibbles(b["qs"], 16) | np.unpackbits(b["qh"], axis=1, bitorder="little") << 4


def _k_scales(b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eight scales and eight minima of six bits: four of each whole, the others' upper bits above those."""
    first, second, third = (b["scales"][:, i : i + 4] for i in (0, 4, 8))
    scale = np.hstack([first & 63, third & 15 | first >> 6 << 4])
    least = np.hstack([second & 63, third >> 4 | second >> 6 << 4])
    return _f32(b["d"]) * scale, _f32(b["dmin"]) * -least.astype(np.int8)


def _f32(column: np.ndarray) -> np.ndarray:
    return column.astype(np.float32)[:, None]


_READ = {
    "q4_0": lambda b: (_nibbles(b["qs"], 16), b["d"]),
    "q4_1": lambda b: (_nibbles(b["qs"], 16), b["d"], b["m"]),
    "q5_0": lambda b: (_fifths(b), b["d"], _f32(b["d"]) * -16),
    "q5_1": lambda b: (_fifths(b), b["d"], b["m"]),
    "q8_0": lambda b: (b["qs"], b["d"]),
    "q4_k": lambda b: (_nibbles(b["qs"], 32), *_k_scales(b)),
    "q5_k": lambda b: (_nibbles(b["qs"], 32) | _fields(b["qh"], 1) << 4, *_k_scales(b)),
    "q6_k": lambda b: (_nibbles(b["ql"], 64) | _fields(b["qh"], 2) << 4, _f32(b["d"]) * b["scales"]),
}
