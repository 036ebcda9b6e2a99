"""Laws of merging, for any shapes, ranks, scales and weights that hypothesis draws. CPython."""

import numpy as np
import pytest

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

from edgenet.lora.low_rank import Factors, angle, inner, refit_dense, refit_sum
from edgenet.lora.strategies import STRATEGIES, MergeOptions, merge_modules
from edgenet.lora.ties import trimming

SIDES = st.integers(1, 40)
SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def adapters(draw, least=1, most=4):
    """Some factors of one shape, each of its own rank and scale, a few of rank 0 or all zeros."""
    out, width, rng = draw(SIDES), draw(SIDES), np.random.default_rng(draw(SEEDS))
    scales = draw(st.lists(st.sampled_from([0.0, 1e-3, 0.5, 1.0, -2.0, 64.0]), min_size=least, max_size=most))
    ranks = [draw(st.integers(0, 12)) for _ in scales]
    return [
        Factors(rng.standard_normal((r, width), np.float32), rng.standard_normal((out, r), np.float32), scale)
        for r, scale in zip(ranks, scales, strict=True)
    ]


def dense(f):
    return f.scale * (f.B.astype(np.float64) @ f.A.astype(np.float64))


def singular(matrix):
    return np.linalg.svd(matrix, compute_uv=False)


def size(*found):
    """A scale for tolerances: all norms together."""
    return sum(map(np.linalg.norm, found)) + 1e-30


@given(adapters(), st.lists(st.floats(-5, 5), min_size=4, max_size=4), st.integers(1, 20))
def test_a_refitted_sum_is_as_good_as_any_of_its_rank(deltas, weights, rank):
    terms = list(zip(weights, deltas, strict=False))
    wanted, refit = sum(w * dense(d) for w, d in terms), refit_sum(terms, rank)
    scale, tail = size(*(w * dense(d) for w, d in terms)), np.linalg.norm(singular(wanted)[rank:])
    assert refit.error == pytest.approx(tail, abs=1e-6 * scale)
    assert np.linalg.norm(dense(refit.factors) - wanted) == pytest.approx(tail, abs=1e-5 * scale)


@given(st.integers(2, 60), st.integers(2, 60), st.integers(1, 8), st.floats(0, 3), SEEDS)
def test_a_randomised_refit_is_within_a_hundredth_of_the_best(out, width, rank, decay, seed):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, min(out, width))))[0] for n in (out, width))
    sizes = np.arange(1, min(out, width) + 1.0) ** -decay  # flat to steep
    matrix = np.float32((left * sizes) @ right.T)
    refit, best = refit_dense(matrix, rank, seed), np.linalg.norm(sizes[rank:])
    assert best - 1e-5 <= refit.error <= best * 1.01 + 1e-5
    assert refit.error == pytest.approx(np.linalg.norm(dense(refit.factors) - matrix), abs=1e-5)


@given(adapters(2, 2))
def test_the_gram_matrices_give_the_dense_inner_product(pair):
    a, b = map(dense, pair)
    assert inner(*pair) == pytest.approx(np.sum(a * b), abs=1e-9 * size(a) * size(b))
    assert 0 <= angle(*pair) <= np.pi


@given(adapters(1, 1), st.sampled_from([name for name in STRATEGIES if "dare" not in name and name != "slerp"]), SEEDS)
def test_copies_of_an_adapter_are_the_adapter(one, strategy, seed):
    count = 1 + seed % 4
    weights = {"weights": (1 / count,) * count} if strategy == "task_arithmetic" else {}
    ((_, refit),) = merge_modules([{"q": one[0]}] * count, MergeOptions(strategy=strategy, **weights))
    assert np.linalg.norm(dense(refit.factors) - dense(one[0])) <= 1e-5 * size(dense(one[0]))


@given(adapters(2, 4), st.sampled_from(["average", "weighted", "task_arithmetic", "ties"]), st.randoms())
def test_the_order_of_the_adapters_does_not_matter(deltas, strategy, random):
    options = MergeOptions(strategy=strategy, rank=40)
    other = list(deltas)
    random.shuffle(other)
    first, second = (dense(next(merge_modules([{"q": d} for d in ds], options))[1].factors) for ds in (deltas, other))
    assert np.linalg.norm(first - second) <= 2e-5 * size(*map(dense, deltas))


@given(adapters(1, 1), st.floats(0.001, 1))
def test_trimming_keeps_the_largest(one, density):
    delta = one[0].rows(slice(None))
    kept = trimming(one[0], density)(slice(None), delta)
    assert np.array_equal(kept[kept != 0], delta[kept != 0])
    assert (kept != 0).sum() >= min(int(density * delta.size), (delta != 0).sum())
    if (kept == 0).any() and kept.any():
        assert np.abs(delta[kept == 0]).max() <= np.abs(kept[kept != 0]).min()


@given(adapters(2, 4), st.sampled_from(sorted(STRATEGIES)), st.integers(1, 30), SEEDS)
def test_every_merge_is_finite_and_of_its_rank(deltas, strategy, rank, seed):
    sources = [{"q": delta} for delta in (deltas[:2] if strategy == "slerp" else deltas)]
    given = {"seed": seed} if "seed" in STRATEGIES[strategy].uses else {}
    ((_, refit),) = merge_modules(sources, MergeOptions(strategy=strategy, rank=rank, **given))
    assert refit.factors.A.shape == (rank, deltas[0].shape[1]) and refit.factors.B.shape == (deltas[0].shape[0], rank)
    assert np.isfinite(refit.factors.A).all() and np.isfinite(refit.factors.B).all()
    assert 0 <= refit.relative <= 1 + 1e-6
