"""Pages of the cache of keys and values in NumPy: packed as `wasm/lm/kv.h` says, and what they stand for. Runs anywhere with NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .table import KV_F32, KV_Q8, kv_page_bytes

F32 = np.float32


def quantize_kv(x: np.ndarray, kv_type: int) -> tuple[np.ndarray, np.ndarray]:
    """(integers (…, head_dim), scales (…) f32) of rows: one scale per token and head, the same f32 operations as the kernel's."""
    x = np.asarray(x, F32)
    at = np.abs(x).argmax(axis=-1)
    end = np.take_along_axis(x, at[..., None], -1)[..., 0]
    size = np.abs(end)
    with np.errstate(divide="ignore"):
        if kv_type == KV_Q8:
            scale, factor = size / F32(127), np.where(size > 0, F32(127) / size, F32(0))
        else:
            scale, factor = end / F32(-8), np.where(size > 0, F32(-8) / end, F32(0))
    q = np.rint(x * factor[..., None])
    return (np.clip(q, -128, 127) if kv_type == KV_Q8 else np.clip(q, -8, 7)).astype(np.int8), scale.astype(F32)


def pack_pages(x: np.ndarray, kv_type: int) -> np.ndarray:
    """Bytes (u8, flat) of pages x (pages, kv_heads, page, head_dim) f32."""
    if kv_type == KV_F32:
        return np.ascontiguousarray(x, "<f4").view(np.uint8).ravel()
    q, scale = quantize_kv(x, kv_type)
    if kv_type != KV_Q8:
        half = x.shape[-1] // 2
        low, high = (q[..., :half] + 8).astype(np.uint8), (q[..., half:] + 8).astype(np.uint8)
        q = low | high << 4
    rows = q.reshape(*x.shape[:2], -1).view(np.uint8)
    return np.concatenate(
        [rows, np.ascontiguousarray(scale, "<f4").view(np.uint8).reshape(*x.shape[:2], -1)], axis=-1
    ).ravel()


def unpack_pages(data: bytes, v: Mapping[str, Any]) -> np.ndarray:
    """What the pages stand for: (pages, kv_heads, page, head_dim) f32. `v` has those sizes and kv_type."""
    heads, page, d, kv_type = v["kv_heads"], v["page"], v["head_dim"], v["kv_type"]
    raw = np.frombuffer(data, np.uint8).reshape(-1, heads, kv_page_bytes(1, page, d, kv_type))
    if kv_type == KV_F32:
        return np.ascontiguousarray(raw).view("<f4").reshape(-1, heads, page, d)
    rows, scales = raw[..., : -4 * page], np.ascontiguousarray(raw[..., -4 * page :]).view("<f4")
    rows = rows.reshape(*raw.shape[:2], page, -1)
    if kv_type == KV_Q8:
        q = rows.view(np.int8).astype(F32)
    else:
        q = np.concatenate([rows & 15, rows >> 4], axis=-1).astype(F32) - 8
    return q * scales[..., None]


def find_pages(v: Mapping[str, Any]) -> np.ndarray | None:
    """For each row the page that holds its token, or None when a sequence, a position or a page is out of range."""
    found = []
    for sequence, position in zip(v["sequences"], v["positions"], strict=True):
        if not (0 <= sequence < v["seqs"] and 0 <= position < v["page"] * v["max_pages"]):
            return None
        found.append(v["pages"][sequence][position // v["page"]])
    pages = np.array(found, np.int64)
    return pages if ((pages >= 0) & (pages < v["cache_pages"])).all() else None


def store(v: Mapping[str, Any], k: np.ndarray, value: np.ndarray) -> dict[str, np.ndarray] | None:
    """The caches with k and value (n, kv_heads, head_dim) stored; None for a bad index."""
    at, caches = find_pages(v), {n: unpack_pages(np.asarray(v[n]).tobytes(), v).copy() for n in ("kcache", "vcache")}
    if at is None:
        return None
    for row, page in enumerate(at):
        for name, x in (("kcache", k), ("vcache", value)):
            one = x[row].astype(F32)[None, :, None, :]
            place = {"kv_heads": v["kv_heads"], "page": 1, "head_dim": v["head_dim"], "kv_type": v["kv_type"]}
            caches[name][page, :, v["positions"][row] % v["page"]] = unpack_pages(
                pack_pages(one, v["kv_type"]).tobytes(), place
            )[0, :, 0]
    return caches


def is_bad_cache(v: Mapping[str, Any]) -> bool:
    """Whether a kernel answers INVALID_PARAMS for these sizes."""
    sizes = (v["kv_heads"], v["head_dim"], v["page"], v["max_pages"], v["seqs"], v["cache_pages"])
    step = 4 if v["kv_type"] == KV_F32 else 16
    return min(sizes) <= 0 or v["head_dim"] > 256 or v["head_dim"] % step != 0 or not 0 <= v["kv_type"] <= 2
