"""The one table of the language engine's kernels: argument words in order, shapes, dtypes, tolerance. Imports no NumPy; runs anywhere.

An op code is a position in OPS: rows are appended, never moved; changing an argument raises OPSET. Adding a kernel is a row here, a line
in `wasm/lm/table.c`, one C function, and in the row's module a reference of the same name and cases of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from .arguments import Arg, Op, indices, reads, scratch, updates, values, weight, writes
from .layouts import describe as describe_layouts
from .layouts import layout_of, quantized_bytes
from .training_table import TRAINING

OPSET = 1
MAX_THREADS = 8  # most threads of one run; quantised rows with a stride have this many copies
NONE, SILU, GELU, GELU_ERF, RELU = range(5)  # act
NEOX, NORM = range(2)  # style: pairs (i, i + half), or (2i, 2i + 1)
KV_F32, KV_Q8, KV_Q4 = range(3)  # kv_type
MEAN, CLS, LAST = range(3)  # mode of pool
KV_BITS = (32, 8, 4)
ACT_NAMES = ("none", "silu", "gelu", "gelu_erf", "relu")
STYLE_NAMES = ("neox", "norm")
KV_NAMES = ("f32", "q8", "q4")
POOL_NAMES = ("mean", "cls", "last")
SAMPLING_WORDS, HISTORY = 16, 256
MAX_HEAD_DIM, MAX_RANK = 256, 256  # larger ones answer INVALID_PARAMS
GREEDY = 1  # flag of a sampling row


_PAGES = reads("pages", "seqs", "max_pages", dtype="i32")
_CACHE_SHAPE = ("cache_pages", "kv_heads", "page", "head_dim")
_CACHE_IN = tuple(reads(n, *_CACHE_SHAPE, dtype="kv") for n in ("kcache", "vcache"))
_CACHE_IO = tuple(updates(n, *_CACHE_SHAPE, dtype="kv") for n in ("kcache", "vcache"))
_KV = tuple(reads(n, "n", "kv_heads", "head_dim") for n in ("k", "v"))
_CACHE_VALUES = "page max_pages seqs cache_pages kv_type"

# Tolerances: sums of d products in f32 differ from the exact sum by about sqrt(d) * 6e-8, and relaxed builds may fuse; 1e-5 covers d up to
# 16384 with margin. Quantised rows are exact integers but for ties, so their references compare what they stand for (see quantize.py).
OPS: tuple[Op, ...] = (
    Op(
        "embed",
        "matmul",
        1e-6,
        (
            weight("table", "vocab", "d"),
            reads("ids", "n", dtype="i32"),
            writes("y", "n", "d"),
            *values("n vocab d scale:f"),
        ),
    ),
    Op(
        "rms_norm",
        "norm",
        1e-5,
        (reads("x", "n", "d"), reads("weight?", "d"), writes("y", "n", "d"), *values("n d eps:f")),
    ),
    Op(
        "layer_norm",
        "norm",
        1e-5,
        (reads("x", "n", "d"), reads("weight", "d"), reads("bias?", "d"), writes("y", "n", "d"), *values("n d eps:f")),
    ),
    Op("quantize", "quantize", 1e-2, (reads("x", "n", "d"), writes("y", "n", "d", dtype="q8"), *values("n d stride"))),
    Op(
        "rms_norm_quantize",
        "quantize",
        1e-2,
        (reads("x", "n", "d"), reads("weight?", "d"), writes("y", "n", "d", dtype="q8"), *values("n d eps:f stride")),
    ),
    Op(
        "layer_norm_quantize",
        "quantize",
        1e-2,
        (
            reads("x", "n", "d"),
            reads("weight", "d"),
            reads("bias?", "d"),
            writes("y", "n", "d", dtype="q8"),
            *values("n d eps:f stride"),
        ),
    ),
    Op(
        "matmul",
        "matmul",
        1e-5,
        (
            reads("x", "n", "in", dtype="rows"),
            weight("w", "out", "in"),
            reads("bias?", "out"),
            reads("residual?", "n", "out"),
            writes("y", "n", "out"),
            *values("n out in act stride"),
        ),
    ),
    Op(
        "gated",
        "matmul",
        1e-5,
        (
            reads("x", "n", "in", dtype="rows"),
            weight("gate", "out", "in"),
            weight("up", "out", "in"),
            writes("y", "n", "out"),
            *values("n out in act stride"),
        ),
    ),
    Op(
        "rope_table",
        "rope",
        2e-6,
        (
            reads("positions", "n", dtype="i32"),
            reads("frequencies", "half"),
            writes("y", "n", 2, "half"),
            *values("n half magnitude:f"),
        ),
    ),
    Op(
        "rope",
        "rope",
        1e-6,
        (
            updates("x", "n", "heads", "head_dim"),
            reads("table", "n", 2, "half"),
            *values("n heads head_dim half style"),
        ),
    ),
    Op(
        "rope_kv",
        "rope",
        1e-5,
        (
            updates("q", "n", "heads", "head_dim"),
            *_KV,
            reads("table", "n", 2, "half"),
            reads("q_norm?", "head_dim"),
            reads("k_norm?", "head_dim"),
            *_CACHE_IO,
            *indices("positions", "sequences"),
            _PAGES,
            *values(f"n heads kv_heads head_dim half style {_CACHE_VALUES} eps:f"),
        ),
    ),
    Op(
        "kv_store",
        "attention",
        1e-6,
        (
            *_KV,
            *_CACHE_IO,
            *indices("positions", "sequences"),
            _PAGES,
            *values(f"n kv_heads head_dim {_CACHE_VALUES}"),
        ),
    ),
    Op(
        "attention",
        "attention",
        1e-5,
        (
            reads("q", "n", "heads", "head_dim"),
            *_CACHE_IN,
            *indices("positions", "sequences"),
            _PAGES,
            writes("y", "n", "heads", "head_dim"),
            *values(f"n heads kv_heads head_dim {_CACHE_VALUES} scale:f window softcap:f"),
        ),
    ),
    Op(
        "attention_packed",
        "attention",
        1e-5,
        (
            reads("q", "n", "heads", "head_dim"),
            *_KV,
            *indices("sequences"),
            writes("y", "n", "heads", "head_dim"),
            *values("n heads kv_heads head_dim scale:f"),
        ),
    ),
    *(
        Op(
            name,
            "elementwise",
            1e-6,
            (reads("x", "n", "d"), reads("y", "n", "d"), writes("out", "n", "d"), *values("n d")),
        )
        for name in ("add", "mul")
    ),
    Op("scale", "elementwise", 1e-6, (reads("x", "n", "d"), writes("out", "n", "d"), *values("n d factor:f"))),
    Op("softcap", "elementwise", 2e-6, (reads("x", "n", "d"), writes("out", "n", "d"), *values("n d cap:f"))),
    Op("activation", "elementwise", 2e-6, (reads("x", "n", "d"), writes("out", "n", "d"), *values("n d act"))),
    Op(
        "glu",
        "elementwise",
        2e-6,
        (reads("gate", "n", "d"), reads("up", "n", "d"), writes("out", "n", "d"), *values("n d act")),
    ),
    Op(
        "rows",
        "rows",
        0.0,
        (reads("x", "n", "d"), reads("wanted", "m", dtype="i32"), writes("y", "m", "d"), *values("n m d")),
    ),
    Op(
        "pool",
        "rows",
        1e-5,
        (
            reads("x", "n", "d"),
            reads("sequences", "n", dtype="i32"),
            writes("y", "s", "d"),
            *values("n s d mode normalize"),
        ),
    ),
    Op(
        "lora",
        "rows",
        1e-5,
        (
            reads("x", "n", "in"),
            reads("a", "r", "in"),
            reads("b", "out", "r"),
            updates("y", "n", "out"),
            *values("n in out r scale:f"),
        ),
    ),
    Op("argmax", "sample", 0.0, (reads("logits", "m", "v"), writes("picked", "m", dtype="i32"), *values("m v"))),
    Op(
        "sample",
        "sample",
        0.0,
        (
            reads("logits", "m", "v"),
            reads("params", "m", SAMPLING_WORDS, dtype="u32"),
            reads("history", "m", HISTORY, dtype="i32"),
            writes("picked", "m", dtype="i32"),
            scratch("scratch", "m", "v", dtype="u32"),
            *values("m v"),
        ),
    ),
    *TRAINING,
)
CODES: dict[str, int] = {op.name: code for code, op in enumerate(OPS)}


def op(name: str) -> Op:
    """The row. Raises KeyError."""
    return OPS[CODES[name]]


def kv_page_bytes(kv_heads: int, page: int, head_dim: int, kv_type: int) -> int:
    """Bytes of one page of K or of V: for each head, `page` rows of `head_dim` values, then (q8, q4) `page` f32 scales."""
    return kv_heads * page * (head_dim * KV_BITS[kv_type] // 8 + (0 if kv_type == KV_F32 else 4))


def extent(arg: Arg, values: Mapping[str, Any], weight_type: str = "f32") -> int:
    """Bytes from the argument's address that a kernel may touch, for these scalar values. `weight_type` is the file type of the op's
    matrix: it decides what "rows" are. Weights are not asked here: `layouts.bytes` knows.
    """
    shape = [values[s] if isinstance(s, str) else s for s in arg.shape]
    if arg.dtype == "kv":
        pages, *page = shape
        return pages * kv_page_bytes(*page, values["kv_type"])
    if arg.dtype == "q8" or (arg.dtype == "rows" and layout_of(weight_type).quantized):
        one = quantized_bytes(*shape)
        return one if values["stride"] == 0 else (MAX_THREADS - 1) * values["stride"] + one
    return 4 * prod(shape)


def describe() -> dict[str, Any]:
    """Content of the engine module's section `edgenet.lm`, so that JavaScript reads the table from the module itself."""
    rows = [[o.name, [[a.name, a.kind, a.dtype, list(a.shape), int(a.optional)] for a in o.args]] for o in OPS]
    return {"opset": OPSET, "threads": MAX_THREADS, "ops": rows, "layouts": describe_layouts(), "kvBits": list(KV_BITS)}
