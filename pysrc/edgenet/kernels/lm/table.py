"""The one table of the language engine's kernels: argument words in order, shapes, dtypes, tolerance. Imports no NumPy; runs anywhere.

An op code is a position in OPS: rows are appended, never moved; changing an argument raises OPSET. Adding a kernel is a row here, a line
in `wasm/lm/table.c`, one C function, and in the row's module a reference of the same name and cases of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from math import prod
from typing import Any

from .layouts import describe as describe_layouts
from .layouts import layout_of, quantized_bytes

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


@dataclass(frozen=True)
class Arg:
    """One argument. Words: 2 for a weight (address, layout code), else 1.

    kind: "value", or an array that is "in", "out", "inout", "scratch", or a "weight" (a matrix in a layout of the engine's choice).
    dtype: f32 i32 u32; "q8" quantised rows; "rows" f32 rows for f32 and f16 weights, else quantised rows; "kv" pages of a cache.
    shape: names of value arguments, or integers.
    """

    name: str
    kind: str
    dtype: str = "f32"
    shape: tuple[str | int, ...] = ()
    optional: bool = False  # the address may be 0: the array is absent

    @property
    def words(self) -> int:
        return 2 if self.kind == "weight" else 1


@dataclass(frozen=True)
class Op:
    """A row: `module` of this package has the reference. `tolerance` is relative to the largest magnitude of the reference's output;
    what is not f32 is exact.
    """

    name: str
    module: str
    tolerance: float
    args: tuple[Arg, ...]

    @property
    def words(self) -> int:
        """Argument words of a record."""
        return sum(a.words for a in self.args)

    @property
    def reference(self) -> Callable[[Mapping[str, Any]], tuple[int, dict]]:
        """What defines right: values by argument name to (return code, outputs). Needs NumPy."""
        return getattr(import_module(f"{__package__}.{self.module}"), self.name)

    def outputs(self) -> list[str]:
        """Names of the arrays that the kernel writes for others to read."""
        return [a.name for a in self.args if a.kind in ("out", "inout")]

    def arg(self, name: str) -> Arg:
        return next(a for a in self.args if a.name == name)


def _in(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    """An input; "?" after the name: it may be absent."""
    return Arg(name.rstrip("?"), "in", dtype, shape, name.endswith("?"))


def _out(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, "out", dtype, shape)


def _io(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, "inout", dtype, shape)


def _scratch(name: str, *shape: str | int, dtype: str = "f32") -> Arg:
    return Arg(name, "scratch", dtype, shape)


def _weight(name: str, rows: str, columns: str) -> Arg:
    return Arg(name, "weight", "any", (rows, columns))


def _values(names: str) -> tuple[Arg, ...]:
    """Scalars: i32, or f32 when the name ends in ":f"."""
    return tuple(Arg(n.removesuffix(":f"), "value", "f32" if n.endswith(":f") else "i32") for n in names.split())


def _indices(*names: str) -> tuple[Arg, ...]:
    return tuple(_in(n, "n", dtype="i32") for n in names)


_PAGES = _in("pages", "seqs", "max_pages", dtype="i32")
_CACHE_SHAPE = ("cache_pages", "kv_heads", "page", "head_dim")
_CACHE_IN = tuple(_in(n, *_CACHE_SHAPE, dtype="kv") for n in ("kcache", "vcache"))
_CACHE_IO = tuple(_io(n, *_CACHE_SHAPE, dtype="kv") for n in ("kcache", "vcache"))
_KV = tuple(_in(n, "n", "kv_heads", "head_dim") for n in ("k", "v"))
_CACHE_VALUES = "page max_pages seqs cache_pages kv_type"

# Tolerances: sums of d products in f32 differ from the exact sum by about sqrt(d) * 6e-8, and relaxed builds may fuse; 1e-5 covers d up to
# 16384 with margin. Quantised rows are exact integers but for ties, so their references compare what they stand for (see quantize.py).
OPS: tuple[Op, ...] = (
    Op(
        "embed",
        "matmul",
        1e-6,
        (
            _weight("table", "vocab", "d"),
            _in("ids", "n", dtype="i32"),
            _out("y", "n", "d"),
            *_values("n vocab d scale:f"),
        ),
    ),
    Op("rms_norm", "norm", 1e-5, (_in("x", "n", "d"), _in("weight?", "d"), _out("y", "n", "d"), *_values("n d eps:f"))),
    Op(
        "layer_norm",
        "norm",
        1e-5,
        (_in("x", "n", "d"), _in("weight", "d"), _in("bias?", "d"), _out("y", "n", "d"), *_values("n d eps:f")),
    ),
    Op("quantize", "quantize", 1e-2, (_in("x", "n", "d"), _out("y", "n", "d", dtype="q8"), *_values("n d stride"))),
    Op(
        "rms_norm_quantize",
        "quantize",
        1e-2,
        (_in("x", "n", "d"), _in("weight?", "d"), _out("y", "n", "d", dtype="q8"), *_values("n d eps:f stride")),
    ),
    Op(
        "layer_norm_quantize",
        "quantize",
        1e-2,
        (
            _in("x", "n", "d"),
            _in("weight", "d"),
            _in("bias?", "d"),
            _out("y", "n", "d", dtype="q8"),
            *_values("n d eps:f stride"),
        ),
    ),
    Op(
        "matmul",
        "matmul",
        1e-5,
        (
            _in("x", "n", "in", dtype="rows"),
            _weight("w", "out", "in"),
            _in("bias?", "out"),
            _in("residual?", "n", "out"),
            _out("y", "n", "out"),
            *_values("n out in act stride"),
        ),
    ),
    Op(
        "gated",
        "matmul",
        1e-5,
        (
            _in("x", "n", "in", dtype="rows"),
            _weight("gate", "out", "in"),
            _weight("up", "out", "in"),
            _out("y", "n", "out"),
            *_values("n out in act stride"),
        ),
    ),
    Op(
        "rope_table",
        "rope",
        2e-6,
        (
            _in("positions", "n", dtype="i32"),
            _in("frequencies", "half"),
            _out("y", "n", 2, "half"),
            *_values("n half magnitude:f"),
        ),
    ),
    Op(
        "rope",
        "rope",
        1e-6,
        (_io("x", "n", "heads", "head_dim"), _in("table", "n", 2, "half"), *_values("n heads head_dim half style")),
    ),
    Op(
        "rope_kv",
        "rope",
        1e-5,
        (
            _io("q", "n", "heads", "head_dim"),
            *_KV,
            _in("table", "n", 2, "half"),
            _in("q_norm?", "head_dim"),
            _in("k_norm?", "head_dim"),
            *_CACHE_IO,
            *_indices("positions", "sequences"),
            _PAGES,
            *_values(f"n heads kv_heads head_dim half style {_CACHE_VALUES} eps:f"),
        ),
    ),
    Op(
        "kv_store",
        "attention",
        1e-6,
        (
            *_KV,
            *_CACHE_IO,
            *_indices("positions", "sequences"),
            _PAGES,
            *_values(f"n kv_heads head_dim {_CACHE_VALUES}"),
        ),
    ),
    Op(
        "attention",
        "attention",
        1e-5,
        (
            _in("q", "n", "heads", "head_dim"),
            *_CACHE_IN,
            *_indices("positions", "sequences"),
            _PAGES,
            _out("y", "n", "heads", "head_dim"),
            *_values(f"n heads kv_heads head_dim {_CACHE_VALUES} scale:f window softcap:f"),
        ),
    ),
    Op(
        "attention_packed",
        "attention",
        1e-5,
        (
            _in("q", "n", "heads", "head_dim"),
            *_KV,
            *_indices("sequences"),
            _out("y", "n", "heads", "head_dim"),
            *_values("n heads kv_heads head_dim scale:f"),
        ),
    ),
    *(
        Op(name, "elementwise", 1e-6, (_in("x", "n", "d"), _in("y", "n", "d"), _out("out", "n", "d"), *_values("n d")))
        for name in ("add", "mul")
    ),
    Op("scale", "elementwise", 1e-6, (_in("x", "n", "d"), _out("out", "n", "d"), *_values("n d factor:f"))),
    Op("softcap", "elementwise", 2e-6, (_in("x", "n", "d"), _out("out", "n", "d"), *_values("n d cap:f"))),
    Op("activation", "elementwise", 2e-6, (_in("x", "n", "d"), _out("out", "n", "d"), *_values("n d act"))),
    Op(
        "glu",
        "elementwise",
        2e-6,
        (_in("gate", "n", "d"), _in("up", "n", "d"), _out("out", "n", "d"), *_values("n d act")),
    ),
    Op(
        "rows",
        "rows",
        0.0,
        (_in("x", "n", "d"), _in("wanted", "m", dtype="i32"), _out("y", "m", "d"), *_values("n m d")),
    ),
    Op(
        "pool",
        "rows",
        1e-5,
        (
            _in("x", "n", "d"),
            _in("sequences", "n", dtype="i32"),
            _out("y", "s", "d"),
            *_values("n s d mode normalize"),
        ),
    ),
    Op(
        "lora",
        "rows",
        1e-5,
        (
            _in("x", "n", "in"),
            _in("a", "r", "in"),
            _in("b", "out", "r"),
            _io("y", "n", "out"),
            *_values("n in out r scale:f"),
        ),
    ),
    Op("argmax", "sample", 0.0, (_in("logits", "m", "v"), _out("picked", "m", dtype="i32"), *_values("m v"))),
    Op(
        "sample",
        "sample",
        0.0,
        (
            _in("logits", "m", "v"),
            _in("params", "m", SAMPLING_WORDS, dtype="u32"),
            _in("history", "m", HISTORY, dtype="i32"),
            _out("picked", "m", dtype="i32"),
            _scratch("scratch", "m", "v", dtype="u32"),
            *_values("m v"),
        ),
    ),
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
