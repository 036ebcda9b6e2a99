"""How the engine keeps weights and quantised rows: names, codes and byte counts. Imports no NumPy; runs anywhere.

A quantised matrix (out, in) is stored in groups of four output rows; the last group is filled up with zeros. A group holds, for each block
of 32 columns, four f16 scales (and minima) and the packed integers of the four rows side by side, so that one SIMD lane belongs to one row.
`wasm/lm/layouts.h` is the twin for the kernels; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import UnsupportedFeature
from ...formats.types import TYPES as FILE_TYPES

BLOCK = 32  # columns of one block, in every quantised layout and in quantised rows
GROUP = 4  # output rows that lie interleaved
PANEL = 4  # quantised rows that lie interleaved

# One block of a panel of quantised rows: of each row 24 bytes of sums (`quantize.py` tells what they mean), then 32 int8 of each row with
# scale amax / 127, then the same values as 32 int16 in steps of 1/256 of it, for weights of 8 bits.
PANEL_BLOCK = PANEL * (24 + BLOCK + 2 * BLOCK)


@dataclass(frozen=True)
class Layout:
    """One weight layout. `unit` bytes hold `rows` x `columns` weights; `quantized`: its matmul takes quantised rows."""

    name: str
    code: int
    rows: int
    columns: int
    unit: int
    quantized: bool


def _layouts() -> dict[str, Layout]:
    plain = (("f32", 4), ("f16", 2), ("bf16", 2))
    # bytes of 4 x 32 weights: scales (+ minima) in f16, then bits
    packed = (("q4", 8 + 64), ("q4m", 16 + 64), ("q5m", 16 + 64 + 16), ("q6", 16 + 64 + 32), ("q8", 8 + 128))
    rows = [(n, 1, 1, size, False) for n, size in plain] + [(n, GROUP, BLOCK, size, True) for n, size in packed]
    return {name: Layout(name, code, *rest) for code, (name, *rest) in enumerate(rows)}


LAYOUTS: dict[str, Layout] = _layouts()

# Type of a tensor in a file -> the layout the engine keeps it in.
TYPES = {
    "f32": "f32",
    "f16": "f16",
    "bf16": "bf16",
    "q4_0": "q4",
    "q4_1": "q4m",
    "q5_0": "q5m",
    "q5_1": "q5m",
    "q8_0": "q8",
    "q4_k": "q4m",
    "q5_k": "q5m",
    "q6_k": "q6",
}


def layout_of(dtype: str) -> Layout:
    """The layout for weights of this file type. Raises UnsupportedFeature for a type that no kernel multiplies."""
    if dtype not in TYPES:
        raise UnsupportedFeature(f'The engine multiplies no weights of type "{dtype}". It knows {", ".join(TYPES)}.')
    return LAYOUTS[TYPES[dtype]]


def bytes(layout: str, rows: int, columns: int) -> int:  # noqa: A001 - called as layouts.bytes
    """Bytes of a matrix of `rows` outputs and `columns` inputs (a multiple of the block); rows are filled up to whole groups."""
    form = LAYOUTS[layout]
    return -(-rows // form.rows) * (columns // form.columns) * form.unit


def kept(dtype: str, shape: Sequence[int]) -> Layout:
    """How the engine keeps a weight of a file: a matrix in the layout of its type, what has one axis as f32. Raises as `layout_of`."""
    return LAYOUTS["f32"] if len(shape) == 1 else layout_of(dtype)


def kept_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Bytes of a weight (out, in) or (width,) as the engine keeps it. Raises as `layout_of`."""
    return bytes(kept(dtype, shape).name, *(1, *shape)[-2:])


def quantized_bytes(n: int, d: int) -> int:
    """Bytes of n quantised rows of d values (a multiple of 32), filled up to whole panels."""
    return -(-n // PANEL) * (d // BLOCK) * PANEL_BLOCK


def describe() -> dict:
    """The layouts as plain data for the engine module's `edgenet.lm` section. `bytes` are those of `rows` x `columns` weights or values."""
    weights = {
        f.name: {"code": f.code, "rows": f.rows, "columns": f.columns, "bytes": f.unit, "quantized": f.quantized}
        for f in LAYOUTS.values()
    }
    files = {name: FILE_TYPES[name] for name in TYPES}
    types = {
        name: {"code": f.id, "layout": TYPES[name], "elements": f.elements, "bytes": f.bytes}
        for name, f in files.items()
    }
    return {
        "weights": weights,
        "types": types,
        "quantizedRow": {"rows": PANEL, "columns": BLOCK, "bytes": PANEL_BLOCK},
    }
