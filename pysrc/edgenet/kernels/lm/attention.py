"""References and cases of attention and of storing keys and values: the plain softmax in f64. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cache import find_pages, is_bad_cache, store, unpack_pages
from .cases import Case, normal
from .rope import BAD_INDICES, cache_values, spoiled
from .table import KV_NAMES, KV_Q4, kv_page_bytes

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def kv_store(v: Values) -> Outcome:
    """The caches with k and v (n, kv_heads, head_dim) in their pages."""
    if v["n"] < 0 or is_bad_cache(v):
        return INVALID_PARAMS, {}
    caches = store(v, np.asarray(v["k"]), np.asarray(v["v"]))
    return (INVALID_INPUT, {}) if caches is None else (OK, caches)


def attend(q: np.ndarray, k: np.ndarray, v: np.ndarray, scale: float, softcap: float = 0.0) -> np.ndarray:
    """(heads, head_dim) f64: softmax(q k' scale) v with q (heads, head_dim), k and v (keys, kv_heads, head_dim)."""
    k, v = (np.repeat(a, len(q) // a.shape[1], axis=1) for a in (k, v))
    s = np.einsum("hd,khd->hk", q, k) * scale
    s = softcap * np.tanh(s / softcap) if softcap > 0 else s
    p = np.exp(s - s.max(axis=1, keepdims=True))
    return np.einsum("hk,khd->hd", p / p.sum(axis=1, keepdims=True), v)


def _bad_heads(v: Values) -> bool:
    return v["n"] < 0 or v["heads"] <= 0 or v["kv_heads"] <= 0 or v["heads"] % v["kv_heads"] != 0


def attention(v: Values) -> Outcome:
    """y (n, heads, head_dim); row i sees keys max(0, position - window + 1) … position of its sequence."""
    if _bad_heads(v) or is_bad_cache(v) or v["window"] < 0 or not v["softcap"] >= 0:
        return INVALID_PARAMS, {}
    if find_pages(v) is None:
        return INVALID_INPUT, {}
    caches = [unpack_pages(np.asarray(v[n]).tobytes(), v).astype(np.float64) for n in ("kcache", "vcache")]
    y = np.zeros((v["n"], v["heads"], v["head_dim"]))
    for i, (sequence, position) in enumerate(zip(v["sequences"], v["positions"], strict=True)):
        seen = np.arange(max(0, position - v["window"] + 1) if v["window"] else 0, position + 1)
        pages = v["pages"][sequence][seen // v["page"]]
        if not ((pages >= 0) & (pages < v["cache_pages"])).all():
            return INVALID_INPUT, {}
        k, value = (c[pages, :, seen % v["page"]] for c in caches)
        y[i] = attend(np.asarray(v["q"][i], np.float64), k, value, float(v["scale"]), float(v["softcap"]))
    return OK, {"y": y.astype(np.float32)}


def attention_packed(v: Values) -> Outcome:
    """y (n, heads, head_dim); row i sees every row of its sequence. Rows of a sequence lie together, in rising order."""
    if _bad_heads(v) or not 0 < v["head_dim"] <= 256 or v["head_dim"] % 4:
        return INVALID_PARAMS, {}
    if (np.diff(v["sequences"]) < 0).any():
        return INVALID_INPUT, {}
    q, k, value = (np.asarray(v[n], np.float64) for n in ("q", "k", "v"))
    y = [
        attend(q[i], k[own], value[own], float(v["scale"]))
        for i, own in enumerate(v["sequences"][:, None] == v["sequences"])
    ]
    return OK, {"y": np.array(y, np.float32).reshape(v["n"], v["heads"], v["head_dim"])}


def _paged(
    rng: np.random.Generator,
    reason: str,
    heads: int,
    positions: list[int],
    sequences: list[int],
    window: int = 0,
    softcap: float = 0.0,
    **sizes: int,
) -> Case:
    values = cache_values(rng, n=len(positions), **sizes)
    values |= {"positions": np.array(positions, np.int32), "sequences": np.array(sequences, np.int32), "heads": heads}
    values |= {
        "q": normal(rng, len(positions), heads, values["head_dim"]),
        "window": window,
        "softcap": np.float32(softcap),
    }
    return Case("attention", reason, values | {"scale": np.float32(values["head_dim"] ** -0.5)})


def _attention_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(reason: str, heads: int, kv_heads: int, head_dim: int, positions: list[int], sequences=(), **more: Any):
        of = sequences or [0] * len(positions)
        return _paged(rng, reason, heads, positions, of, kv_heads=kv_heads, head_dim=head_dim, **more)

    yield case("no rows", 2, 1, 8, [])
    yield case("one token sees itself", 1, 1, 4, [0])
    yield case("one row, odd head_dim in fours", 3, 1, 12, [37])
    for d in (32, 64, 80, 96, 128, 256):
        yield case(f"14 heads on 2, head_dim {d}", 14, 2, d, [20, 21, 22])
    yield case("a chunk of a prompt", 6, 2, 32, list(range(17, 49)))
    yield case("a prompt from its beginning", 4, 4, 16, list(range(40)))
    yield case("more rows than a set of queries holds", 12, 1, 8, [i % 64 for i in range(70)])
    yield case("four sequences in one run", 4, 2, 16, [5, 30, 31, 32, 0, 63], [0, 1, 1, 1, 2, 3], seqs=4)
    yield case("rows of a sequence out of order", 2, 1, 8, [9, 2, 33, 16])
    yield case("pages of 5 tokens", 4, 2, 8, [0, 4, 5, 19], page=5)
    yield case("pages of 48 tokens: blocks inside a page", 4, 2, 8, [15, 16, 100, 191], page=48)
    for window in (1, 7, 16, 40):
        yield case(f"a window of {window}", 4, 2, 16, [0, 6, 7, 20, 50, 51], window=window)
    yield case("soft-capped scores", 4, 2, 16, [3, 40, 41], softcap=2.5)
    for kv_type in (1, 2):
        yield case(f"a cache of {KV_NAMES[kv_type]}", 8, 2, 32, [0, 17, 40, 41], kv_type=kv_type)
        small = {"kv_type": kv_type, "page": 20, "window": 30}
        yield case(f"a cache of {KV_NAMES[kv_type]}, pages of 20, a window", 3, 3, 16, [19, 20, 70], **small)
    yield case("pages of 2 tokens", 2, 1, 8, [3, 6], page=2, window=4)
    yield case("heads that do not divide", 3, 2, 8, [0], page=1)
    good = case("", 2, 1, 8, [5, 6, 7], page=2).values
    yield Case("attention", "scores far apart: one key takes all", good | {"q": good["q"] * np.float32(1e4)})
    yield Case("attention", "scores of 1e30", good | {"q": good["q"] * np.float32(1e30)}, 1e-4)
    for reason, change in BAD_INDICES:
        yield Case("attention", reason, spoiled(good, change))
    yield Case("attention", "a negative window", good | {"window": -1})


def _packed_cases(rng: np.random.Generator) -> Iterator[Case]:
    def case(reason: str, lengths: list[int], heads: int, kv_heads: int, d: int) -> Case:
        n = sum(lengths)
        values = {"q": normal(rng, n, heads, d), "k": normal(rng, n, kv_heads, d), "v": normal(rng, n, kv_heads, d)}
        values |= {
            "sequences": np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
            "scale": np.float32(d**-0.5),
        }
        return Case("attention_packed", reason, values | {"n": n, "heads": heads, "kv_heads": kv_heads, "head_dim": d})

    yield case("no rows", [], 2, 2, 8)
    yield case("one row", [1], 1, 1, 4)
    yield case("a sentence as in MiniLM", [23], 12, 12, 32)
    yield case("sentences of mixed length", [1, 16, 7, 17, 32], 3, 3, 12)
    yield case("longer than a set of queries", [261], 1, 1, 8)
    yield case("grouped heads", [9, 5], 6, 2, 20)
    good = case("", [3, 4], 2, 2, 8).values
    yield Case(
        "attention_packed", "rows of a sequence apart", good | {"sequences": np.array([0, 0, 1, 0, 1, 1, 1], np.int32)}
    )
    yield Case("attention_packed", "head_dim not in fours", case("", [2], 1, 1, 6).values)
    yield Case("attention_packed", "scores far apart", good | {"q": good["q"] * np.float32(1e4)})


def cases(rng: np.random.Generator) -> Iterator[Case]:
    for kv_type, name in enumerate(KV_NAMES):
        for n, kv_heads, d, page in ((1, 1, 16, 1), (7, 2, 32, 4), (40, 1, 80, 16)):
            values = cache_values(rng, n=n, kv_heads=kv_heads, head_dim=d, kv_type=kv_type, page=page)
            yield Case("kv_store", f"{n} rows of {kv_heads} x {d} in pages of {page}, {name}", values)
        zeros = cache_values(rng, n=2, kv_heads=1, head_dim=16, kv_type=kv_type)
        yield Case("kv_store", f"zeros, {name}", zeros | {"k": np.zeros((2, 1, 16), np.float32)})
    good = cache_values(rng, n=3, kv_heads=1, head_dim=16, page=1)
    for reason, change in BAD_INDICES:
        yield Case("kv_store", reason, spoiled(good, change))
    odd, size = cache_values(rng, n=1, kv_heads=1, head_dim=8, page=1), 9 * kv_page_bytes(1, 1, 8, KV_Q4)
    packed = {n: np.zeros(size, np.uint8) for n in ("kcache", "vcache")}
    yield Case("kv_store", "q4 heads not in sixteens", odd | packed | {"kv_type": KV_Q4})
    yield from _attention_cases(rng)
    yield from _packed_cases(rng)
