"""References and cases of attention over the rows of a run and of its gradient: the plain softmax in f64. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .attention import attend
from .cases import Case, normal, with_value
from .table import MAX_HEAD_DIM

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def _refusal(v: Values) -> int:
    heads, kv_heads, d, window = v["heads"], v["kv_heads"], v["head_dim"], v["window"]
    if v["n"] < 0 or min(heads, kv_heads, d) <= 0 or heads % kv_heads or d > MAX_HEAD_DIM or d % 4:
        return INVALID_PARAMS
    if window < 0 or (window and not v["causal"]) or not v["softcap"] >= 0:
        return INVALID_PARAMS
    return INVALID_INPUT if (np.diff(v["sequences"]) < 0).any() else OK


def _seen(v: Values) -> Iterator[tuple[int, np.ndarray]]:
    """(row, numbers of the rows it sees)."""
    sequences, rows = np.asarray(v["sequences"]), np.arange(v["n"])
    for i in rows:
        seen = sequences == sequences[i]
        if v["causal"]:
            seen &= (rows <= i) & (rows > i - v["window"] if v["window"] else True)
        yield i, np.flatnonzero(seen)


def _arrays(v: Values, *names: str) -> list[np.ndarray]:
    return [np.asarray(v[name], np.float64) for name in names]


def attention_rows(v: Values) -> Outcome:
    """y (n, heads, head_dim); a row sees its own sequence, of it none behind itself if causal, and the last `window`."""
    if refused := _refusal(v):
        return refused, {}
    q, k, value = _arrays(v, "q", "k", "v")
    y = [attend(q[i], k[own], value[own], float(v["scale"]), float(v["softcap"])) for i, own in _seen(v)]
    return OK, {"y": np.array(y, np.float32).reshape(v["n"], v["heads"], v["head_dim"])}


def attend_grad(
    q: np.ndarray, k: np.ndarray, v: np.ndarray, dy: np.ndarray, scale: float, softcap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dq (heads, d), dk, dv (keys, kv_heads, d)) of `attention.attend`, f64."""
    kv_heads = k.shape[1]
    keys, values = (np.repeat(a, len(q) // kv_heads, axis=1) for a in (k, v))
    s, slope = np.einsum("hd,khd->hk", q, keys) * scale, scale
    if softcap > 0:
        slope = scale * (1 - np.tanh(s / softcap) ** 2)
        s = softcap * np.tanh(s / softcap)
    p = np.exp(s - s.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dp = np.einsum("hd,khd->hk", dy, values)
    ds = p * (dp - (p * dp).sum(axis=1, keepdims=True)) * slope
    shared = (len(k), kv_heads, -1, q.shape[1])
    dk, dv = (np.einsum("hk,hd->khd", w, x).reshape(shared).sum(axis=2) for w, x in ((ds, q), (p, dy)))
    return np.einsum("hk,khd->hd", ds, keys), dk, dv


def attention_rows_grad(v: Values) -> Outcome:
    """dx (n, heads + 2 kv_heads, head_dim): dq, dk and dv side by side."""
    refused = _refusal(v)
    if refused == INVALID_PARAMS or v["parts"] != v["heads"] + 2 * v["kv_heads"]:
        return INVALID_PARAMS, {}
    if refused:
        return refused, {}
    q, k, value, dy = _arrays(v, "q", "k", "v", "dy")
    dq, dk, dv = (np.zeros_like(a) for a in (q, k, value))
    for i, own in _seen(v):
        dq[i], own_dk, own_dv = attend_grad(q[i], k[own], value[own], dy[i], float(v["scale"]), float(v["softcap"]))
        dk[own] += own_dk
        dv[own] += own_dv
    return OK, {"dx": np.concatenate([dq, dk, dv], axis=1).astype(np.float32)}


def values_of(
    rng: np.random.Generator,
    lengths: list[int],
    heads: int,
    kv_heads: int,
    head_dim: int,
    causal: int = 1,
    window: int = 0,
    softcap: float = 0.0,
) -> dict[str, Any]:
    """Arguments of both kernels, for sequences of these lengths."""
    n, shape = sum(lengths), {"q": heads, "k": kv_heads, "v": kv_heads, "dy": heads}
    sizes = {"n": n, "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "parts": heads + 2 * kv_heads}
    form = {"scale": np.float32(head_dim**-0.5), "softcap": np.float32(softcap), "causal": causal, "window": window}
    sequences = np.repeat(np.arange(len(lengths)), lengths).astype(np.int32)
    return {name: normal(rng, n, h, head_dim) for name, h in shape.items()} | sizes | form | {"sequences": sequences}


def _forms(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    def form(reason: str, *args: Any, **more: Any) -> tuple[str, dict[str, Any]]:
        return reason, values_of(rng, *args, **more)

    yield form("no rows", [], 2, 2, 8)
    yield form("one row", [1], 1, 1, 4)
    for d in (4, 12, 64, 80, 256):
        yield form(f"6 heads on 2, head_dim {d}", [37], 6, 2, d)
    yield form("14 heads on 2", [50], 14, 2, 64)
    yield form("both ways", [33], 4, 2, 16, causal=0)
    lengths = [1, 16, 7, 17, 32]
    for causal in (0, 1):
        yield form(f"sequences of mixed length, causal {causal}", lengths, 3, 3, 12, causal=causal)
    yield form("longer than a set of queries", [5, 261], 2, 1, 8)
    for window in (1, 7, 16, 33, 2**31 - 1):
        yield form(f"a window of {window}", [3, 70], 4, 2, 16, window=window)
    yield form("soft-capped scores", [40], 4, 2, 16, softcap=2.5)
    yield form("soft-capped scores, both ways, grouped", [9, 20], 6, 3, 20, causal=0, softcap=0.7)


def _bad_forms(rng: np.random.Generator) -> Iterator[tuple[str, dict[str, Any]]]:
    good = values_of(rng, [3, 4], 2, 2, 8)
    yield "rows of a sequence apart", good | {"sequences": np.array([0, 0, 1, 0, 1, 1, 1], np.int32)}
    yield "a negative window", good | {"window": -1}
    yield "a window of what has no order", good | {"window": 4, "causal": 0}
    yield "a negative soft cap", good | {"softcap": np.float32(-1)}
    yield "head_dim not in fours", values_of(rng, [2], 1, 1, 6)
    yield "head_dim of 260", values_of(rng, [2], 1, 1, 260)
    yield "heads that do not divide", values_of(rng, [2], 3, 2, 8)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for kernel in ("attention_rows", "attention_rows_grad"):
        for reason, values in (*_forms(rng), *_bad_forms(rng)):
            yield Case(kernel, reason, values)
        good = values_of(rng, [3, 20], 4, 2, 8)
        for name, row in (("q", 7), ("k", 7), ("v", 7), ("q", 22)):
            spoiled = good | {name: with_value(good[name], good[name][:row].size, np.nan)}
            yield Case(kernel, f"NaN in row {row} of {name}", spoiled)
        yield Case(kernel, "scores far apart: one row takes all", good | {"q": good["q"] * np.float32(100)}, 1e-4)
    yield Case("attention_rows_grad", "too few parts", good | {"parts": 7})
