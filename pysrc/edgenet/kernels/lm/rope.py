"""References and cases of rotary position embedding (Su et al. 2021), alone and fused. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cache import is_bad_cache, pack_pages, store
from .cases import Case, normal
from .norm import rms_rows
from .table import KV_F32, KV_NAMES, NEOX, NORM

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]


def rope_table(v: Values) -> Outcome:
    """y (n, 2, half): cosines, then sines of position * frequency, times magnitude."""
    if v["n"] < 0 or v["half"] <= 0:
        return INVALID_PARAMS, {}
    if (np.asarray(v["positions"]) < 0).any():
        return INVALID_INPUT, {}
    angles = np.asarray(v["positions"], np.float64)[:, None] * np.asarray(v["frequencies"], np.float64)
    return OK, {"y": (np.stack([np.cos(angles), np.sin(angles)], axis=1) * float(v["magnitude"])).astype(np.float32)}


def turned(x: np.ndarray, table: np.ndarray, style: int) -> np.ndarray:
    """x (n, heads, head_dim) f64 with pairs turned by table (n, 2, half)."""
    half, y = table.shape[2], np.array(x, np.float64)
    a, b = (slice(0, half), slice(half, 2 * half)) if style == NEOX else (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
    cos, sin = (np.asarray(table, np.float64)[:, i, None] for i in (0, 1))
    y[..., a], y[..., b] = y[..., a] * cos - y[..., b] * sin, y[..., b] * cos + y[..., a] * sin
    return y


def _bad(v: Values) -> bool:
    return (
        v["n"] < 0
        or v["heads"] <= 0
        or v["half"] <= 0
        or 2 * v["half"] > v["head_dim"]
        or v["style"] not in (NEOX, NORM)
    )


def rope(v: Values) -> Outcome:
    """x (n, heads, head_dim), turned in place."""
    return (INVALID_PARAMS, {}) if _bad(v) else (OK, {"x": turned(v["x"], v["table"], v["style"]).astype(np.float32)})


def rope_kv(v: Values) -> Outcome:
    """q (n, heads, head_dim) normalised and turned; k likewise, and v, stored in the cache."""
    if _bad(v) or is_bad_cache(v):
        return INVALID_PARAMS, {}
    q, k = (
        turned(v[n] if v.get(norm) is None else rms_rows(v[n], v[norm], v["eps"]), v["table"], v["style"]).astype(
            np.float32
        )
        for n, norm in (("q", "q_norm"), ("k", "k_norm"))
    )
    caches = store(v, k, v["v"])
    return (INVALID_INPUT, {}) if caches is None else (OK, {"q": q, **caches})


def _angles(rng: np.random.Generator, n: int, half: int) -> np.ndarray:
    angles = rng.uniform(-np.pi, np.pi, (n, half))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def _table_cases() -> Iterator[Case]:
    def case(reason: str, positions: list[int], half: int, theta: float = 1e4, magnitude: float = 1.0) -> Case:
        frequencies = (theta ** -(np.arange(half) / max(half, 1))).astype(np.float32)
        values = {"positions": np.array(positions, np.int32), "frequencies": frequencies, "n": len(positions)}
        return Case("rope_table", reason, values | {"half": half, "magnitude": np.float32(magnitude)})

    yield case("no rows", [], 4)
    yield case("position 0 turns nothing", [0], 32)
    yield case("odd half", [3, 1, 4], 5)
    yield case("positions up to 131072", [1, 4095, 32768, 131071, 131072], 64)
    yield case("high frequencies at high positions", list(range(131000, 131040)), 16, theta=1.1)
    yield case("YaRN's magnitude", [7, 100], 24, magnitude=1.3466)
    yield case("a negative position", [1, -1], 8)
    yield case("no pairs", [1], 0)


def cache_values(
    rng: np.random.Generator,
    *,
    n: int,
    kv_heads: int,
    head_dim: int,
    kv_type: int = KV_F32,
    page: int = 16,
    seqs: int = 2,
) -> dict[str, Any]:
    """Sizes, a shuffled page table, rows at the end of their sequences, and filled caches."""
    max_pages, cache_pages = 4, seqs * 4 + 1
    pages = rng.permutation(cache_pages)[: seqs * max_pages].reshape(seqs, max_pages).astype(np.int32)
    fill = [normal(rng, cache_pages, kv_heads, page, head_dim) for _ in range(2)]
    return {
        "n": n, "kv_heads": kv_heads, "head_dim": head_dim, "page": page, "max_pages": max_pages, "seqs": seqs,
        "cache_pages": cache_pages, "kv_type": kv_type, "pages": pages,
        "positions": (np.arange(n) % (max_pages * page)).astype(np.int32),
        "sequences": np.sort(rng.integers(0, seqs, n)).astype(np.int32),
        "k": normal(rng, n, kv_heads, head_dim), "v": normal(rng, n, kv_heads, head_dim),
        "kcache": pack_pages(fill[0], kv_type), "vcache": pack_pages(fill[1], kv_type),
    }  # fmt: skip


# what no cache holds: (reason, how the values change)
BAD_INDICES = (
    ("a position behind the last page", {"positions": 1 << 20}),
    ("a negative position", {"positions": -1}),
    ("a sequence that is not there", {"sequences": 2}),
    ("a negative sequence", {"sequences": -3}),
    ("a page that is not there", {"pages": 9}),
    ("a negative page", {"pages": -1}),
)


def spoiled(values: dict[str, Any], change: dict[str, int]) -> dict[str, Any]:
    """The values with the last row's index, or every page, replaced."""
    (name, value), *_ = change.items()
    array = values[name].copy()
    array[... if name == "pages" else -1] = value
    return values | {name: array}


def _fused(
    rng: np.random.Generator, reason: str, heads: int, half: int, style: int, norm: bool = False, **sizes: int
) -> Case:
    values = cache_values(rng, **sizes)
    n, d = values["n"], values["head_dim"]
    values |= {
        "q": normal(rng, n, heads, d),
        "table": _angles(rng, n, half),
        "heads": heads,
        "half": half,
        "style": style,
    }
    values |= {"eps": np.float32(1e-6), **({m: normal(rng, d) + 1 for m in ("q_norm", "k_norm")} if norm else {})}
    step = {0: None, 1: 0.5 / 127, 2: 0.5 / 8}[
        values["kv_type"]
    ]  # a key that falls between two integers may be rounded to either
    return Case("rope_kv", reason, values, step and 2.1 * step)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    yield from _table_cases()
    for style, name in ((NEOX, "neox"), (NORM, "norm")):
        for n, heads, d, half in (
            (0, 2, 8, 4),
            (1, 1, 2, 1),
            (3, 5, 6, 3),
            (2, 14, 64, 32),
            (2, 3, 80, 16),
            (1, 2, 7, 2),
        ):
            values = {
                "x": normal(rng, n, heads, d),
                "table": _angles(rng, n, half),
                "n": n,
                "heads": heads,
                "head_dim": d,
                "half": half,
            }
            yield Case("rope", f"{name}, {n} rows of {heads} x {d}, {half} pairs", values | {"style": style})
        yield _fused(rng, f"{name}, grouped heads", 6, 8, style, n=5, kv_heads=2, head_dim=16)
        yield _fused(rng, f"{name}, heads normalised first", 4, 16, style, norm=True, n=3, kv_heads=4, head_dim=32)
    bad = {
        "x": normal(rng, 1, 1, 8),
        "table": _angles(rng, 1, 5),
        "n": 1,
        "heads": 1,
        "head_dim": 8,
        "half": 5,
        "style": NEOX,
    }
    yield Case("rope", "more pairs than a head has", bad)
    yield Case("rope", "an unknown style", bad | {"half": 4, "table": _angles(rng, 1, 4), "style": 2})
    for kv_type in (1, 2):
        yield _fused(rng, f"a cache of {KV_NAMES[kv_type]}", 4, 16, NEOX, n=6, kv_heads=2, head_dim=32, kv_type=kv_type)
    yield _fused(rng, "pages of 3 tokens, part of a head turned", 2, 4, NEOX, n=9, kv_heads=1, head_dim=20, page=3)
    yield _fused(rng, "pages of one token", 2, 4, NEOX, norm=True, n=2, kv_heads=1, head_dim=8, page=1)
    yield _fused(rng, "no rows", 2, 4, NEOX, n=0, kv_heads=1, head_dim=8)
    good = _fused(rng, "", 2, 4, NEOX, n=3, kv_heads=1, head_dim=8, page=1).values
    for reason, change in BAD_INDICES:
        yield Case("rope_kv", reason, spoiled(good, change))
    yield Case("rope_kv", "no pages", good | {"max_pages": 0, "pages": np.zeros((2, 0), np.int32)})
