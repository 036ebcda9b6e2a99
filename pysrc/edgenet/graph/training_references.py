"""What the ops of `training_ops.py` mean, in NumPy, as `references.py` does for the others. Runs where NumPy does.

States come as the engine's own arrays: `accumulate`, `adamw` and `sgd` write into them.
"""

from __future__ import annotations

from math import pi

import numpy as np

from ..kernels.codes import INVALID_INPUT, raise_for_code
from ..kernels.lm.sample import philox
from ..kernels.lm.training_table import HYPER_NAMES
from .references import check, erf_of, softmax


# --- attention between the rows of a run
def _masks(sequences: np.ndarray, causal: bool, window: int) -> np.ndarray:
    """Which rows each row sees: bool (r, r)."""
    rows = np.arange(len(sequences))
    distance = rows[:, None] - rows
    seen = sequences[:, None] == sequences
    seen &= (distance >= 0) | (not causal)
    return seen & ((distance < window) | (window == 0))


def _attended(q, k, v, sequences, *, heads, kv_heads, head_dim, scale, causal, window, softcap):
    """q, k, v by head (r, heads, head_dim), those of k and v repeated for the heads that share them; capped scores and weights
    (heads, r, r).
    """
    n = len(q)
    q = q.reshape(n, heads, head_dim)
    k, v = (np.repeat(a.reshape(n, kv_heads, head_dim), heads // kv_heads, axis=1) for a in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, k) * scale
    scores = softcap * np.tanh(scores / softcap) if softcap else scores
    masked = np.where(_masks(sequences, causal, window), scores, -np.inf)
    return q, k, v, scores, softmax(masked) if n else masked


def attention_rows(run, q, k, v, sequences, *, heads, kv_heads, head_dim, scale, causal, window, softcap):
    form = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "scale": scale}
    mask = {"causal": causal, "window": window, "softcap": softcap}
    _, _, v, _, weights = _attended(q, k, v, sequences, **form, **mask)
    return np.einsum("hij,jhd->ihd", weights, v).reshape(q.shape).astype(q.dtype)


def attention_rows_grad(run, q, k, v, sequences, dy, *, heads, kv_heads, head_dim, scale, causal, window, softcap):
    n, dtype = len(q), q.dtype
    form = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "scale": scale}
    mask = {"causal": causal, "window": window, "softcap": softcap}
    q, k, v, scores, weights = _attended(q, k, v, sequences, **form, **mask)
    dy = dy.reshape(n, heads, head_dim)
    dv = np.einsum("hij,ihd->jhd", weights, dy)
    dw = np.einsum("ihd,jhd->hij", dy, v)
    ds = weights * (dw - (weights * dw).sum(axis=-1, keepdims=True)) * scale
    ds = ds * (1 - (scores / softcap) ** 2) if softcap else ds
    dq, dk = np.einsum("hij,jhd->ihd", ds, k), np.einsum("hij,ihd->jhd", ds, q)
    dk, dv = (a.reshape(n, kv_heads, heads // kv_heads, head_dim).sum(axis=2) for a in (dk, dv))
    return np.concatenate([dq, dk, dv], axis=1).reshape(n, (heads + 2 * kv_heads) * head_dim).astype(dtype)


# --- products
def columns(run, x, *, first, width):
    return x[:, first : first + width]


def dense(run, x, w, *, factor):
    return x.dtype.type(factor) * (x @ w.T)


def dense_t(run, x, w, *, factor):
    return x.dtype.type(factor) * (x @ w)


def outer(run, x, y, *, factor):
    return x.dtype.type(factor) * (x.T @ y)


def matmul_t(run, y, w):
    return y @ w


def adapters(run, y, x, pool, table, mix, *, site):
    y = y.copy()
    for slot, (a, b, rank, _) in enumerate(table[site].reshape(-1, 4)):
        ends = a + rank * x.shape[1], b + y.shape[1] * rank
        if min(a, b, rank) < 0 or max(ends) > len(pool):
            raise_for_code(INVALID_INPUT, "adapters")
        if rank:
            down, up = pool[a : ends[0]].reshape(rank, -1), pool[b : ends[1]].reshape(-1, rank)
            y += mix[:, slot, None] * ((x @ down.T) @ up.T)
    return y


# --- dropout, and gradients of norms and element-wise ops
def dropout(run, x, seeds, *, rate, stream):
    low, high, step, _ = (int(v) for v in seeds)
    words = philox((low, high), (np.arange(-(-x.size // 4), dtype=np.uint64), stream, step, 0))
    drawn = np.stack(words, axis=1).ravel()[: x.size].reshape(x.shape) >> np.uint64(8)
    return np.where(drawn / 2.0**24 >= rate, x / x.dtype.type(1 - rate), x.dtype.type(0))


def rms_norm_grad(run, x, weight, dy, *, eps, heads):
    parts, dy = (a.reshape(len(x), heads, x.shape[1] // heads) for a in (x, dy))
    dy = dy if weight is None else dy * weight
    inverse = 1 / np.sqrt((parts**2).mean(axis=-1, keepdims=True) + eps)
    dx = inverse * dy - parts * inverse**3 * (dy * parts).mean(axis=-1, keepdims=True)
    return dx.reshape(x.shape).astype(x.dtype)


def layer_norm_grad(run, x, weight, dy, *, eps):
    centred, dy = x - x.mean(axis=-1, keepdims=True), dy * weight
    inverse = 1 / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    unit = centred * inverse
    dx = dy - dy.mean(axis=-1, keepdims=True) - unit * (dy * unit).mean(axis=-1, keepdims=True)
    return (inverse * dx).astype(x.dtype)


def _gelu_slope(x):
    t = np.tanh(np.sqrt(2 / pi) * (x + 0.044715 * x**3))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t**2) * np.sqrt(2 / pi) * (1 + 3 * 0.044715 * x**2)


def _silu_slope(x):
    gate = 1 / (1 + np.exp(-x))
    return gate * (1 + x * (1 - gate))


SLOPES = {  # of ACTS
    "silu": _silu_slope,
    "gelu": _gelu_slope,
    "gelu_erf": lambda x: 0.5 * (1 + erf_of(x / np.sqrt(2))) + x * np.exp(-(x**2) / 2) / np.sqrt(2 * pi),
    "relu": lambda x: x > 0,
}


def activation_grad(run, x, dy, *, act):
    return (dy * SLOPES[act](x)).astype(x.dtype)


def softcap_grad(run, x, dy, *, cap):
    return dy * (1 - np.tanh(x / x.dtype.type(cap)) ** 2)


# --- the loss
_NOTHING = np.array([[-np.inf, 0, 0, 0]])  # stats of an empty chunk


def token_stats(run, logits, targets, stats, *, first):
    check("token_stats", targets + 1, 1 << 31)
    width, before = logits.shape[1], _NOTHING[[0] * len(logits)] if stats is None else stats
    here = (targets >= first) & (targets < first + width)
    found = np.take_along_axis(logits, np.clip(targets - first, 0, width - 1)[:, None].astype(np.intp), 1)[:, 0]
    top = np.maximum(before[:, 0], logits.max(axis=1))
    total = before[:, 1] * np.exp(before[:, 0] - top) + np.exp(logits - top[:, None]).sum(axis=1)
    hit = before[:, 2] + np.where(here, found, 0)
    return np.stack([top, total, hit, np.where(here, 1, before[:, 3])], axis=1).astype(logits.dtype)


def cross_entropy(run, stats, targets, weights):
    if (stats[targets != -1, 3] == 0).any():  # no chunk held it
        raise_for_code(INVALID_INPUT, "cross_entropy")
    loss = stats[:, 0] + np.log(stats[:, 1]) - stats[:, 2]
    return np.where(targets == -1, 0, weights * loss).astype(stats.dtype)


def cross_entropy_grad(run, logits, stats, targets, weights, *, first):
    d = np.exp(logits - stats[:, :1]) / stats[:, 1:2]
    rows = np.flatnonzero((targets >= first) & (targets < first + logits.shape[1]))
    d[rows, targets[rows] - first] -= 1
    return d * np.where(targets == -1, 0, weights)[:, None].astype(d.dtype)


# --- states
def accumulate(run, state, x):
    state += x


def norm(run, x):
    return np.sqrt((x**2).sum(keepdims=True))


def _begun(parameters, gradients, norm, hyper):
    """(hyper by name, the gradient that counts: the mean, no longer than `clip`, as torch.nn.utils.clip_grad_norm_); parameters decay."""
    h = dict(zip(HYPER_NAMES, hyper, strict=False))
    most = h["clip"] / (norm[0] * h["factor"] + 1e-6)
    parameters *= 1 - h["rate"] * h["decay"]
    return h, gradients * h["factor"] * (min(1, most) if h["clip"] else 1)


def adamw(run, parameters, gradients, first, second, norm, hyper):
    h, g = _begun(parameters, gradients, norm, hyper)
    first[:] = h["beta1"] * first + h["rest1"] * g
    second[:] = h["beta2"] * second + h["rest2"] * g**2
    parameters -= h["rate"] * (first / h["correction1"]) / (np.sqrt(second / h["correction2"]) + h["epsilon"])
    gradients[:] = 0


def sgd(run, parameters, gradients, momentum, norm, hyper):
    h, g = _begun(parameters, gradients, norm, hyper)
    momentum[:] = h["momentum"] * momentum + g
    parameters -= h["rate"] * momentum
    gradients[:] = 0
