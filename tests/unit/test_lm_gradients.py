"""References of the kernels' gradients against finite differences of what they are gradients of, in f64."""

from functools import partial

import numpy as np
import pytest

from edgenet.kernels.lm import dropout, elementwise, gradients, loss, norm_grad
from edgenet.kernels.lm.attention import attend
from edgenet.kernels.lm.attention_rows import attend_grad
from edgenet.kernels.lm.norm import rms_rows
from edgenet.kernels.lm.table import ACT_NAMES


def numeric(f, x, step=1e-5):
    """The gradient of the number f(x) by central differences."""
    slopes = np.zeros_like(x)
    for at in np.ndindex(x.shape):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved[at] += sign * step
            ends.append(f(moved))
        slopes[at] = (ends[0] - ends[1]) / (2 * step)
    return slopes


def near(got, want, tolerance=1e-7):
    return np.abs(got - want).max() <= tolerance * np.abs(want).max()


def layer_rows(x, weight, eps):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + float(np.float32(eps))) * weight


@pytest.mark.parametrize("shape", [(1, 1, 2), (2, 3, 5), (1, 2, 8)])
@pytest.mark.parametrize("forward,centred", [(rms_rows, False), (layer_rows, True)])
def test_norms(forward, centred, shape):
    rng = np.random.default_rng(1)
    x, dy, weight = rng.standard_normal(shape), rng.standard_normal(shape), rng.standard_normal(shape[-1])
    want = numeric(lambda at: (forward(at, weight, 1e-2) * dy).sum(), x)
    assert near(norm_grad.norm_grad(x, weight, dy, 1e-2, centred), want)


@pytest.mark.parametrize("act", range(len(ACT_NAMES)), ids=ACT_NAMES)
def test_activations(act):
    x = np.array([-9.0, -2.5, -1.2, -0.3, 0.2, 0.9, 1.7, 6.0])
    want = numeric(lambda at: elementwise.ACTS[act](at).sum(), x)
    assert near(gradients.SLOPES[act](x), want)


def test_softcap():
    x, dy = np.array([[-4.0, -0.5, 0.1, 3.0]]), np.array([[1.0, -2.0, 0.5, 3.0]])
    want = numeric(lambda at: (1.5 * np.tanh(at / 1.5) * dy).sum(), x)
    _, got = gradients.softcap_grad({"x": x, "dy": dy, "n": 1, "d": 4, "cap": 1.5})
    assert near(got["out"], want, 1e-6)


def test_the_gradient_of_dropout_is_the_same_dropout_of_the_gradient():
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 3, 7))
    values = {"seeds": np.array([5, 6, 7, 0]), "n": 3, "d": 7, "rate": 0.5, "stream": 2}

    def of(a):
        return dropout.dropout(values | {"x": a})[1]["y"].astype(np.float64)

    assert near((of(x) * dy).sum(), (x * of(dy)).sum(), 1e-6) and not near(of(x), x)


# --- attention: every sequence's every row, as the reference of the kernel puts them together -------------------------
FORMS = [  # sequences, heads, kv_heads, head_dim, causal, window, softcap
    ([1], 1, 1, 2, 1, 0, 0.0),
    ([5], 2, 1, 3, 0, 0, 0.0),
    ([3, 1, 4], 4, 2, 3, 1, 0, 0.0),
    ([3, 4], 2, 2, 5, 0, 0, 0.8),
    ([2, 7], 3, 1, 3, 1, 3, 0.0),
    ([6], 4, 2, 3, 1, 2, 1.5),
]


def seen_by(lengths, causal, window):
    """(row, rows it sees) by loops: not the reference's way."""
    first = 0
    for length in lengths:
        for i in range(length):
            low = max(0, i - window + 1) if window else 0
            yield first + i, [first + j for j in range(low if causal else 0, i + 1 if causal else length)]
        first += length


@pytest.mark.parametrize("lengths,heads,kv_heads,d,causal,window,softcap", FORMS)
def test_attention(lengths, heads, kv_heads, d, causal, window, softcap):
    rng, n, scale = np.random.default_rng(3), sum(lengths), 0.7
    arrays = {name: rng.standard_normal((n, h, d)) for name, h in (("q", heads), ("k", kv_heads), ("v", kv_heads))}
    dy, rows = rng.standard_normal((n, heads, d)), list(seen_by(lengths, causal, window))

    def forward(name, at):
        a = arrays | {name: at}
        return sum((attend(a["q"][i], a["k"][own], a["v"][own], scale, softcap) * dy[i]).sum() for i, own in rows)

    got = {name: np.zeros_like(a) for name, a in arrays.items()}
    for i, own in rows:
        parts = attend_grad(arrays["q"][i], arrays["k"][own], arrays["v"][own], dy[i], scale, softcap)
        for name, at, part in zip("qkv", (i, own, own), parts, strict=True):
            got[name][at] += part
    for name, a in arrays.items():
        assert np.allclose(got[name], numeric(partial(forward, name), a), atol=1e-8), name


# --- the loss ---------------------------------------------------------------------------------------------------------
def direct(logits, targets, weights):
    """The summed loss by the whole row's log-softmax."""
    top = logits.max(axis=1, keepdims=True)
    log = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return -sum(w * row[t] for row, t, w in zip(log, targets, weights, strict=True) if t >= 0)


def in_chunks(logits, targets, weights, width):
    """(losses, gradient) by the kernels' references, `width` tokens of the vocabulary at a time."""
    n, v = logits.shape
    rows = {"targets": np.array(targets, np.int32), "weights": np.array(weights, np.float32), "n": n}
    chunks = [{"logits": logits[:, at : at + width].astype(np.float32), "first": at} for at in range(0, v, width)]
    stats = None
    for chunk in chunks:
        stats = loss.token_stats(rows | chunk | {"v": chunk["logits"].shape[1], "before": stats})[1]["stats"]
    _, losses = loss.cross_entropy(rows | {"stats": stats})
    parts = [loss.cross_entropy_grad(rows | c | {"v": c["logits"].shape[1], "stats": stats})[1]["out"] for c in chunks]
    return losses["y"], np.concatenate(parts, axis=1)


@pytest.mark.parametrize("width", [1, 3, 4, 11])
def test_cross_entropy_is_the_same_in_chunks_of_any_width(width):
    rng = np.random.default_rng(4)
    logits = (4 * rng.standard_normal((5, 11))).astype(np.float32).astype(np.float64)
    targets, weights = [0, 10, -1, 5, 3], [1.0, 0.5, 1.0, 2.0, 0.0]
    losses, got = in_chunks(logits, targets, weights, width)
    assert losses.sum() == pytest.approx(direct(logits, targets, weights), rel=1e-6) and losses[2] == losses[4] == 0
    assert near(got, numeric(lambda at: direct(at, targets, weights), logits), 1e-6)
