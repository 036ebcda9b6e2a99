"""References and cases of drawing a token: the kernel's own integer and f32 operations, bit for bit. Runs anywhere with NumPy.

`wasm/lm/sample.c` tells the method; this is the plain form of it, with a sorted vocabulary. Philox4x32-10: Salmon et al. 2011.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from math import ceil
from typing import Any

import numpy as np

from ..codes import INVALID_INPUT, INVALID_PARAMS, OK
from .cases import Case, normal, with_value
from .table import GREEDY, HISTORY

Values = Mapping[str, Any]
Outcome = tuple[int, dict[str, np.ndarray]]
F32 = np.float32
ONE = 1 << 31  # weight of the best token


@dataclass(frozen=True)
class Sampling:
    """The 16 words of a wanted row. `mask` is the address of v bits (1: allowed) in engine memory; 0: all tokens are."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    frequency: float = 0.0
    presence: float = 0.0
    seed: int = 0
    step: int = 0
    history: int = 0
    flags: int = 0
    mask: int = 0

    def words(self) -> np.ndarray:
        """u32 (16,)."""
        *head, seed, step, history, flags, mask = astuple(self)
        packed = struct.pack("<fi5fQ4I12x", *head, seed, step, history, flags, mask)
        return np.frombuffer(packed, "<u4")

    @classmethod
    def from_words(cls, words: np.ndarray) -> Sampling:
        """Inverse of `words`."""
        return cls(*struct.unpack("<fi5fQ4I12x", np.ascontiguousarray(words, "<u4").tobytes()))


def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Philox4x32-10: four random u32."""
    c, (k0, k1) = counter, key
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = ((b >> 32) ^ c[1] ^ k0, b & 0xFFFFFFFF, (a >> 32) ^ c[3] ^ k1, a & 0xFFFFFFFF)
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def exp_f32(x: np.ndarray) -> np.ndarray:
    """e^x as the kernel computes it: f32, every operation rounded; error 2e-7 for -87.3 <= x <= 88.3."""
    x = np.clip(np.asarray(x, F32), F32(-87.3), F32(88.3))
    n = np.rint(x * F32(1.44269504))
    r = n * F32(2.12194440e-4) + (n * F32(-0.693359375) + x)
    p = F32(1.3814465e-3)
    for c in (8.36878084e-3, 4.16683943e-2, 1.66665201e-1, 4.99999934e-1):
        p = p * r + F32(c)
    p = (p * (r * r) + r) + F32(1)
    return p * ((n.astype(np.int32) + 127) << 23).view(F32)


def penalized(logits: np.ndarray, p: Sampling, history: np.ndarray) -> np.ndarray:
    """Logits (v,) f32 after repetition (Keskar et al. 2019), frequency and presence penalties of the tokens in `history`."""
    z = np.array(logits, F32)
    for token, times in zip(*np.unique(history[: p.history], return_counts=True), strict=True):
        logit = z[token] / F32(p.repetition) if z[token] > 0 else z[token] * F32(p.repetition)
        z[token] = logit - F32(times) * F32(p.frequency) - F32(p.presence)
    return z


def weights_of(z: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Integer weights (v,) of logits. They are divided by the temperature less the largest, so that no coldness makes them overflow."""
    with np.errstate(over="ignore"):
        factor = np.minimum(F32(1) / F32(temperature), np.finfo(F32).max)
        return (exp_f32((z - z.max()) * factor) * F32(2147483648.0)).astype(np.uint64)


def kept(w: np.ndarray, p: Sampling) -> np.ndarray:
    """Numbers of the tokens that top-k, top-p and min-p leave, rising."""
    order = np.lexsort((np.arange(len(w)), -w.astype(np.int64)))
    order = order[w[order] > 0]
    order = order[: p.top_k] if p.top_k > 0 else order
    if F32(p.top_p) < 1:
        sums = np.cumsum(w[order])
        target = max(1, ceil(float(sums[-1]) * max(float(F32(p.top_p)), 0.0)))
        order = order[: int(np.searchsorted(sums, np.uint64(target))) + 1]
    if p.min_p > 0:
        order = order[w[order] >= ceil(min(float(F32(p.min_p)), 1.0) * ONE)]
    return np.sort(order)


def draw(w: np.ndarray, p: Sampling) -> int:
    """The token at 24 random bits of the way through the weight of those kept."""
    left = kept(w, p)
    sums = np.cumsum(w[left])
    u = philox((p.seed & 0xFFFFFFFF, p.seed >> 32), (p.step, 0, 0, 0))[0] >> 8
    return int(left[np.searchsorted(sums, np.uint64(int(sums[-1]) * u >> 24), side="right")])


def _is_bad(p: Sampling) -> bool:
    return (
        not 0 <= p.temperature < np.inf
        or not p.repetition > 0
        or np.isnan(p.top_p)
        or np.isnan(p.min_p)
        or p.history > HISTORY
        or p.mask % 4 != 0
    )


def pick(logits: np.ndarray, p: Sampling, history: np.ndarray, mask: np.ndarray | None = None) -> tuple[int, int]:
    """(return code, token) of one row: logits (v,) f32, history (256,) i32; mask (v,) bool: which tokens are allowed."""
    if _is_bad(p):
        return INVALID_PARAMS, 0
    seen = history[: p.history]
    if ((seen < 0) | (seen >= len(logits))).any():
        return INVALID_INPUT, 0
    with np.errstate(all="ignore"):
        z = penalized(logits, p, history)
        z = z if mask is None else np.where(mask, z, F32(-np.inf))
        greedy = p.temperature == 0 or p.flags & GREEDY
        if not (z < np.inf).all():
            return INVALID_INPUT, 0
        if z.max() == -np.inf:
            return INVALID_PARAMS, 0
        return OK, int(z.argmax()) if greedy else draw(weights_of(z, p.temperature), p)


def sample(v: Values) -> Outcome:
    """picked (m,) i32. `mask` may be given as (v,) bool beside the arguments: a test puts it where the words point to."""
    if v["m"] < 0 or v["v"] <= 0:
        return INVALID_PARAMS, {}
    rows = [
        pick(z, Sampling.from_words(w), h, v.get("mask"))
        for z, w, h in zip(v["logits"], v["params"], v["history"], strict=True)
    ]
    bad = [code for code, _ in rows if code]
    return (bad[0], {}) if bad else (OK, {"picked": np.array([token for _, token in rows], np.int32)})


def argmax(v: Values) -> Outcome:
    """picked (m,) i32: the largest logit's number, the lowest of equal ones."""
    if v["m"] < 0 or v["v"] <= 0:
        return INVALID_PARAMS, {}
    if not (v["logits"] < np.inf).all():
        return INVALID_INPUT, {}
    return OK, {"picked": v["logits"].argmax(axis=1).astype(np.int32)}


# (reason, sampling, spread of the logits)
_SETTINGS: tuple[tuple[str, dict[str, Any], float], ...] = (
    ("plain", {}, 2),
    ("a flat distribution", {}, 1e-3),
    ("cold", {"temperature": 0.3}, 2),
    ("hot", {"temperature": 3.0}, 2),
    ("so cold that 1 / temperature is Inf", {"temperature": 1e-40}, 2),
    ("greedy by temperature", {"temperature": 0.0}, 2),
    ("greedy by flag", {"flags": GREEDY}, 2),
    ("top-k 1", {"top_k": 1}, 2),
    ("top-k 40", {"top_k": 40}, 2),
    ("top-k above the vocabulary", {"top_k": 1 << 20}, 2),
    ("top-p 0.9", {"top_p": 0.9}, 2),
    ("top-p 0", {"top_p": 0.0}, 2),
    ("min-p 0.1", {"min_p": 0.1}, 2),
    ("min-p 1", {"min_p": 1.0}, 2),
    ("all filters", {"temperature": 0.8, "top_k": 50, "top_p": 0.95, "min_p": 0.02}, 3),
    ("penalties", {"repetition": 1.3, "frequency": 0.4, "presence": 0.2, "history": 200}, 2),
    ("a repetition penalty below 1", {"repetition": 0.5, "history": HISTORY, "top_k": 3}, 2),
    ("logits far apart: the rest weighs nothing", {}, 1e4),
)


def _case(rng: np.random.Generator, reason: str, logits: np.ndarray, **sampling: Any) -> Case:
    m, v = logits.shape
    seeds = rng.integers(0, 1 << 63, m)
    params = [Sampling(**{"seed": int(seed), "step": 3 * i, **sampling}).words() for i, seed in enumerate(seeds)]
    history = rng.integers(0, min(v, 60), (m, HISTORY)).astype(np.int32)
    return Case(
        "sample",
        reason,
        {"logits": logits, "params": np.array(params).reshape(m, 16), "history": history, "m": m, "v": v},
    )


def cases(rng: np.random.Generator) -> Iterator[Case]:
    def best(reason: str, logits: np.ndarray) -> Case:
        return Case("argmax", reason, {"logits": logits, "m": logits.shape[0], "v": logits.shape[1]})

    for m, v in ((0, 5), (1, 1), (3, 7), (2, 1001)):
        yield best(f"{m} x {v}", normal(rng, m, v))
    yield best("equal logits: the lowest number", np.zeros((1, 37), np.float32))
    yield best("negative logits, the best in the tail", with_value(np.full((1, 7), -3, np.float32), 6, -2))
    yield best("-Inf does not count", with_value(normal(rng, 2, 9), 3, -np.inf))
    for at in (2, 8):
        yield best(f"NaN at {at} of 9", with_value(normal(rng, 1, 9), at, np.nan))
    yield best("+Inf", with_value(normal(rng, 1, 9), 4, np.inf))
    yield best("no vocabulary", np.zeros((1, 0), np.float32))
    yield _case(rng, "one row", normal(rng, 1, 21), temperature=0.9, top_k=9, top_p=0.9, history=2)
    for reason, sampling, spread in _SETTINGS:
        for v in (1, 61, 1003):
            yield _case(
                rng, f"{reason}, {v} tokens", normal(rng, 9, v, scale=spread), **{"history": min(v, 0), **sampling}
            )
    for reason, sampling in (("top-k 5", {"top_k": 5}), ("top-p 0.5", {"top_p": 0.5}), ("no filter", {})):
        yield _case(rng, f"equal logits, {reason}: lower numbers first", np.zeros((20, 30), np.float32), **sampling)
    bad = (
        ("temperature", -1.0),
        ("temperature", np.nan),
        ("temperature", np.inf),
        ("repetition", 0.0),
        ("top_p", np.nan),
        ("history", 257),
        ("mask", 2),
    )
    for name, value in bad:
        yield _case(rng, f"{name} {value}", normal(rng, 1, 9), **{name: value})
    for what, value in (("NaN", np.nan), ("+Inf", np.inf)):
        yield _case(rng, f"{what} among the logits", with_value(normal(rng, 1, 13), 7, value))
    yield _case(rng, "-Inf is never drawn", with_value(normal(rng, 5, 3), 4, -np.inf))
    yield _case(rng, "all logits are -Inf", np.full((1, 6), -np.inf, np.float32))
    wrong = _case(rng, "", normal(rng, 1, 9), history=5).values
    for token in (9, -1):
        yield Case(
            "sample", f"token {token} of 9 in the history", wrong | {"history": np.full((1, HISTORY), token, np.int32)}
        )
