"""What each graph op means, in NumPy: one function per row of `ops.py`, of the same name. Runs where NumPy does.

A function takes the run (sizes, caches), the op's inputs by port and its attributes, and answers an array of its inputs' precision: with
f64 inputs it is the oracle of everything else. Indices out of range raise KernelTrap, as a kernel's INVALID_INPUT would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import erf

import numpy as np

from ..kernels.codes import INVALID_INPUT, raise_for_code
from .capacity import Capacity

erf_of = np.vectorize(erf, otypes=[np.float64])
ACTS = {
    "silu": lambda x: x / (1 + np.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: (0.5 * x * (1 + erf_of(x / np.sqrt(2)))).astype(x.dtype),
    "relu": lambda x: np.maximum(x, 0),
}


@dataclass
class Run:
    """One run of a graph: the slots' sizes, the page table i32 (sequences, max_pages), and the pages of each layer's K and V."""

    capacity: Capacity
    sizes: dict[str, int]
    pages: np.ndarray
    layers: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def cache(self, layer: int, kv_heads: int, head_dim: int, dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
        """K and V pages (pages, page, kv_heads, head_dim) of a layer, made when first asked for."""
        if layer not in self.layers:
            shape = (self.capacity.pages, self.capacity.page, kv_heads, head_dim)
            self.layers[layer] = np.zeros(shape, dtype), np.zeros(shape, dtype)
        return self.layers[layer]

    def place(self, op: str, sequence: int, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(pages, rows in them) of positions of one sequence."""
        check(op, np.array([sequence]), len(self.pages))
        check(op, positions, self.capacity.context)
        pages = self.pages[sequence, positions // self.capacity.page]
        check(op, pages, self.capacity.pages)
        return pages, positions % self.capacity.page


def check(op: str, indices: np.ndarray, limit: int) -> None:
    if len(indices) and not (0 <= indices.min() and indices.max() < limit):
        raise_for_code(INVALID_INPUT, op)


def softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


def _grouped(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, cap: float = 0.0) -> np.ndarray:
    """Attention of one row: q (heads, head_dim), k and v (tokens, kv_heads, head_dim) -> (heads * head_dim,)."""
    k, v = (np.repeat(a, len(q) // a.shape[1], axis=1) for a in (k, v))
    scores = np.einsum("hd,thd->ht", q, k) * scale
    scores = cap * np.tanh(scores / cap) if cap else scores
    return np.einsum("ht,thd->hd", softmax(scores), v).ravel()


def embed(run, table, ids, *, scale):
    check("embed", ids, len(table))
    return table[ids] * table.dtype.type(scale)


def rows(run, x, wanted):
    check("rows", wanted, len(x))
    return x[wanted]


def rms_norm(run, x, weight, *, eps, heads):
    parts = x.reshape(len(x), heads, x.shape[1] // heads)  # -1 has no answer for no rows
    parts = parts / np.sqrt((parts**2).mean(axis=-1, keepdims=True) + eps)
    return (parts if weight is None else parts * weight).reshape(x.shape).astype(x.dtype)


def layer_norm(run, x, weight, bias, *, eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    y = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps) * weight
    return (y if bias is None else y + bias).astype(x.dtype)


def matmul(run, x, w, bias):
    return x @ w.T if bias is None else x @ w.T + bias


def lora(run, y, x, a, b, *, scale):
    return y + x.dtype.type(scale) * ((x @ a.T) @ b.T)


def rope(run, x, positions, frequencies, *, heads, head_dim, style, magnitude):
    half = len(frequencies)
    angles = positions[:, None, None].astype(np.float64) * frequencies
    cos, sin = (magnitude * f(angles) for f in (np.cos, np.sin))
    parts = x.reshape(len(x), heads, head_dim)
    even, odd = (
        (slice(0, half), slice(half, 2 * half)) if style == "neox" else (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
    )
    y = parts.copy()
    y[..., even] = parts[..., even] * cos - parts[..., odd] * sin
    y[..., odd] = parts[..., odd] * cos + parts[..., even] * sin
    return y.reshape(x.shape)


def kv_store(run, k, v, positions, sequences, *, layer, kv_heads, head_dim):
    for cache, new in zip(run.cache(layer, kv_heads, head_dim, k.dtype), (k, v), strict=True):
        for row, sequence, position in zip(new, sequences, positions, strict=True):
            pages, places = run.place("kv_store", sequence, np.array([position]))
            cache[pages, places] = row.reshape(kv_heads, head_dim)


def _seen(run: Run, position: int, window: int) -> np.ndarray:
    return np.arange(max(0, position - window + 1) if window else 0, position + 1)


def attention(run, q, positions, sequences, cache, *, layer, heads, kv_heads, head_dim, scale, window, softcap):
    k, v = run.cache(layer, kv_heads, head_dim, q.dtype)
    y = np.empty_like(q)
    for i, (sequence, position) in enumerate(zip(sequences, positions, strict=True)):
        at = run.place("attention", sequence, _seen(run, position, window))
        y[i] = _grouped(q[i].reshape(heads, head_dim), k[at], v[at], scale, softcap)
    return y


def attention_packed(run, q, k, v, sequences, *, heads, kv_heads, head_dim, scale):
    k, v = (a.reshape(len(a), kv_heads, head_dim) for a in (k, v))
    y = np.empty_like(q)
    for i, sequence in enumerate(sequences):
        own = sequences == sequence
        y[i] = _grouped(q[i].reshape(heads, head_dim), k[own], v[own], scale)
    return y


def add(run, x, y):
    return x + y


def mul(run, x, y):
    return x * y


def scale(run, x, *, factor):
    return x * x.dtype.type(factor)


def softcap(run, x, *, cap):
    return cap * np.tanh(x / x.dtype.type(cap))


def activation(run, x, *, act):
    return ACTS[act](x)


def glu(run, gate, up, *, act):
    return ACTS[act](gate) * up


def _groups(x: np.ndarray, sequences: np.ndarray, count: int) -> Iterator[np.ndarray]:
    check("pool", sequences, count)
    return (x[sequences == i] for i in range(count))


_POOLS = {"mean": lambda rows: rows.mean(axis=0), "cls": lambda rows: rows[0], "last": lambda rows: rows[-1]}


def pool(run, x, sequences, *, mode, normalize):
    y = np.zeros((run.sizes["s"], x.shape[1]), x.dtype)
    for i, rows_of_one in enumerate(_groups(x, sequences, len(y))):
        if len(rows_of_one):
            y[i] = _POOLS[mode](rows_of_one)
            length = np.sqrt((y[i] ** 2).sum()) if normalize else 0
            y[i] /= length or 1
    return y
