"""Merging on plain factors: every strategy against what dense NumPy gives, the laws they keep, and what they refuse. Any host."""

import math
import tracemalloc

import numpy as np
import pytest

from edgenet.errors import AdapterMismatch, InvalidOption, NotFinite
from edgenet.lora import ties
from edgenet.lora.low_rank import Factors, angle, inner, refit_dense, refit_sum, tiles
from edgenet.lora.strategies import STRATEGIES, MergeOptions, merge_modules

OUT, IN = 60, 47


def factors(seed, rank=4, out=OUT, width=IN, scale=2.0):
    rng = np.random.default_rng(seed)
    return Factors(rng.standard_normal((rank, width), np.float32), rng.standard_normal((out, rank), np.float32), scale)


def dense(f: Factors) -> np.ndarray:
    """(out, in) in f64."""
    return f.scale * (f.B.astype(np.float64) @ f.A.astype(np.float64))


def merged(*deltas, masks=None, **options):
    """(dense merged delta, Refit) of one module."""
    ((_, refit),) = merge_modules([{"q": delta} for delta in deltas], MergeOptions(**options), masks)
    return dense(refit.factors), refit


def truncated(matrix, rank):
    """The best matrix of this rank (Eckart & Young 1936)."""
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ v[:rank]


def off(found, wanted) -> float:
    return float(np.linalg.norm(found - wanted) / (np.linalg.norm(wanted) or 1))


def trimmed(matrix, density):
    """A delta's largest share by size, by sorting."""
    kept = np.argsort(-np.abs(matrix), axis=None, kind="stable")[: int(density * matrix.size)]
    out = np.zeros(matrix.size)
    out[kept] = matrix.ravel()[kept]
    return out.reshape(matrix.shape)


def elected_mean(parts, by_count):
    """TIES' second and third step, value by value."""
    out = np.zeros(parts[0].shape)
    for at in np.ndindex(out.shape):
        values = [part[at] for part in parts]
        sign = 1 if sum(np.sign(v) if by_count else v for v in values) >= 0 else -1
        agree = [v for v in values if np.sign(v) == sign]
        out[at] = sum(agree) / len(agree) if agree else 0
    return out


def halfway(a, b):
    t = math.acos(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))
    return (math.sin(0.75 * t) * a + math.sin(0.25 * t) * b) / math.sin(t)


ONE, TWO, THREE = factors(1), factors(2, rank=7, scale=0.5), factors(3, rank=2, scale=1.0)
MASKS = np.random.default_rng(9).random((3, OUT, IN)) < 0.6
KEPT = [dense(f) * mask / 0.6 for f, mask in zip((ONE, TWO, THREE), MASKS, strict=True)]
# (title, options, the dense merged delta): of unequal ranks and scales
CASES = [
    ("average", {"strategy": "average"}, sum(map(dense, (ONE, TWO, THREE))) / 3),
    ("weighted, no weights: their mean", {}, sum(map(dense, (ONE, TWO, THREE))) / 3),
    ("weighted", {"weights": (1, 3, 0)}, dense(ONE) / 4 + dense(TWO) * 3 / 4),
    ("task arithmetic", {"strategy": "task_arithmetic", "weights": (2, -1, 0.5)},
     2 * dense(ONE) - dense(TWO) + dense(THREE) / 2),
    ("ties by mass", {"strategy": "ties", "density": 0.3},
     elected_mean([trimmed(dense(f), 0.3) for f in (ONE, TWO, THREE)], False)),
    ("ties by count, smaller", {"strategy": "ties", "density": 0.7, "majority_sign_method": "frequency", "scaling": 0.5},
     elected_mean([trimmed(dense(f), 0.7) for f in (ONE, TWO, THREE)], True) / 2),
    ("ties, nothing trimmed", {"strategy": "ties", "density": 1}, elected_mean(list(map(dense, (ONE, TWO, THREE))), False)),
    ("dare", {"strategy": "dare_linear", "density": 0.6, "weights": (1, 2, 1)}, (KEPT[0] + 2 * KEPT[1] + KEPT[2]) / 4),
    ("dare, then ties", {"strategy": "dare_ties", "density": 0.6}, elected_mean(KEPT, False)),
]  # fmt: skip


@pytest.mark.parametrize(("title", "options", "wanted"), CASES, ids=[row[0] for row in CASES])
def test_at_full_rank_a_merge_is_what_dense_matrices_give(title, options, wanted):
    found, refit = merged(ONE, TWO, THREE, rank=IN, masks=lambda module, i, rows: MASKS[i, rows], **options)
    assert off(found, wanted) < 2e-6 and refit.relative < 2e-6
    assert refit.norm == pytest.approx(np.linalg.norm(wanted), rel=1e-5)


@pytest.mark.parametrize(("title", "options", "wanted"), CASES, ids=[row[0] for row in CASES])
@pytest.mark.parametrize("rank", [1, 5])
def test_a_refit_is_the_best_there_is_and_says_its_error(title, options, wanted, rank):
    found, refit = merged(ONE, TWO, THREE, rank=rank, masks=lambda module, i, rows: MASKS[i, rows], **options)
    best = off(truncated(wanted, rank), wanted)
    exact = options.get("strategy", "weighted") in ("average", "weighted", "task_arithmetic")
    assert off(found, wanted) <= best * (1.00001 if exact else 1.01)
    assert refit.relative == pytest.approx(off(found, wanted), rel=1e-4)


def test_every_strategy_is_compared_with_dense_matrices():
    assert {options.get("strategy", "weighted") for _, options, _ in CASES} | {"slerp"} == set(STRATEGIES)


def test_slerp_goes_along_the_arc():
    found, refit = merged(ONE, TWO, strategy="slerp", interpolation=0.25, rank=20)
    assert off(found, halfway(dense(ONE), dense(TWO))) < 1e-6 and refit.relative < 1e-9


@pytest.mark.parametrize(("u", "wanted"), [(0, ONE), (1, TWO)])
def test_slerp_ends_at_its_adapters(u, wanted):
    assert off(merged(ONE, TWO, strategy="slerp", interpolation=u, rank=11)[0], dense(wanted)) < 1e-6


def test_between_two_of_one_direction_slerp_goes_straight():
    double = ONE._replace(scale=2 * ONE.scale)
    assert off(merged(ONE, double, strategy="slerp", interpolation=0.25)[0], 1.25 * dense(ONE)) < 1e-6


def test_angles_and_norms_come_from_factors():
    a, b = dense(ONE), dense(TWO)
    assert inner(ONE, TWO) == pytest.approx(np.sum(a * b), rel=1e-9)
    assert angle(ONE, TWO) == pytest.approx(math.acos(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)), rel=1e-9)
    assert angle(ONE, ONE._replace(scale=-1.0)) == pytest.approx(math.pi, abs=1e-6)


IDENTICAL = {
    "average": {},
    "weighted": {"weights": (0.3, 5)},
    "task_arithmetic": {"weights": (1.5, -0.5)},
    "slerp": {"interpolation": 0.3},
    "ties": {"density": 0.1, "weights": (0.3, 5)},
}


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "dare" not in name])
def test_identical_adapters_return_themselves(strategy):
    found, refit = merged(ONE, ONE, strategy=strategy, **IDENTICAL[strategy])
    assert refit.factors == Factors(ONE.A, ONE.B, ONE.scale) and refit.error == 0
    assert refit.norm == pytest.approx(np.linalg.norm(dense(ONE)), rel=1e-6)


TURN = np.linalg.qr(np.random.default_rng(4).standard_normal((4, 4)))[0].astype(np.float32)
COPIES = {  # the same delta as ONE, in other factors
    "A doubled, B halved": Factors(2 * ONE.A, ONE.B / 2, ONE.scale),
    "another scale": Factors(ONE.A, ONE.B * np.float32(3), ONE.scale / 3),
    "other directions of the same space": Factors(TURN @ ONE.A, ONE.B @ TURN.T, ONE.scale),
    "a direction that adds nothing": Factors(np.vstack([ONE.A, TWO.A[:1]]), np.pad(ONE.B, ((0, 0), (0, 1))), ONE.scale),
}


@pytest.mark.parametrize("copy", COPIES)
@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "dare" not in name])
def test_copies_are_known_by_what_they_add_not_by_their_factors(strategy, copy):
    for pair in ((ONE, COPIES[copy]), (COPIES[copy], ONE)):
        found, refit = merged(*pair, strategy=strategy, **IDENTICAL[strategy])
        assert off(found, dense(ONE)) < 2e-6 and len(refit.factors.A) == max(len(f.A) for f in pair)


def test_nothing_and_nothing_are_copies_at_the_rank_of_the_larger():
    empty = ONE._replace(B=np.zeros_like(ONE.B))
    for first, second in (({}, {"q": empty}), ({"q": empty}, {})):
        ((_, refit),) = merge_modules([first, second], MergeOptions("ties"))
        assert refit.factors.A.shape == (4, IN) and not dense(refit.factors).any()


def test_what_is_nearly_a_copy_is_trimmed_as_ties_trims():
    near = ONE._replace(B=ONE.B * np.where(np.arange(4) == 0, np.float32(1.0001), np.float32(1)))
    found, _ = merged(ONE, near, strategy="ties", density=0.5, rank=IN)
    assert off(found, elected_mean([trimmed(dense(f), 0.5) for f in (ONE, near)], False)) < 1e-5
    assert off(merged(ONE, near, strategy="ties", density=1)[0], dense(ONE)) < 1e-4


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if "dare" not in name])
def test_copies_can_get_another_rank(strategy):
    assert off(merged(ONE, ONE, strategy=strategy, rank=9, **IDENTICAL[strategy])[0], dense(ONE)) < 1e-6
    assert off(merged(ONE, ONE, strategy=strategy, rank=2, **IDENTICAL[strategy])[0], truncated(dense(ONE), 2)) < 1e-6


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"strategy": "task_arithmetic"}, 2),
        ({"strategy": "task_arithmetic", "weights": (1, -1)}, 0),
        ({"strategy": "ties", "scaling": 0.5}, 0.5),
    ],
    ids=str,
)
def test_what_is_not_to_be_one_adapter_is_not(options, times):
    assert off(merged(ONE, ONE, **options)[0], times * dense(ONE)) < 1e-6


@pytest.mark.parametrize("strategy", ["dare_linear", "dare_ties"])
def test_identical_adapters_return_themselves_from_dare_in_expectation(strategy):
    small = factors(5, out=8, width=6, rank=2)
    draws = [merged(small, small, strategy=strategy, density=0.8, rank=6, seed=seed)[0] for seed in range(400)]
    # dare_ties takes the mean of those that are left, which is D / density where any is: more than D by 1 - (1 - density)^2 over it
    wanted = dense(small) * (1 if strategy == "dare_linear" else (1 - 0.2**2) / 0.8)
    assert off(np.mean(draws, axis=0), wanted) < 0.03


@pytest.mark.parametrize("strategy", ["average", "weighted", "task_arithmetic", "slerp"])
def test_a_delta_and_its_opposite_cancel(strategy):
    found, refit = merged(ONE, ONE._replace(B=-ONE.B), strategy=strategy)
    assert not found.any() and refit.norm == refit.error == refit.relative == 0


def test_a_module_that_one_adapter_lacks_is_zero_there():
    both = dict(merge_modules([{"q": ONE, "k": TWO}, {"k": ONE, "v": THREE}], MergeOptions(rank=20)))
    assert list(both) == ["q", "k", "v"]
    for name, wanted in {"q": dense(ONE) / 2, "k": (dense(ONE) + dense(TWO)) / 2, "v": dense(THREE) / 2}.items():
        assert off(dense(both[name].factors), wanted) < 1e-6, name


@pytest.mark.parametrize("strategy", ["slerp", "ties", "dare_linear", "dare_ties"])
def test_every_strategy_takes_a_module_that_one_adapter_lacks(strategy):
    options = MergeOptions(strategy=strategy, **({} if strategy == "slerp" else {"density": 1}))
    ((_, refit),) = merge_modules([{"q": ONE}, {}], options)
    assert off(dense(refit.factors), dense(ONE) * (1 if "ties" in strategy else 0.5)) < 2e-6


def test_the_rank_is_the_largest_of_the_adapters_unless_said():
    assert merged(ONE, TWO)[1].factors.A.shape == (7, IN)
    assert merged(ONE, TWO, rank=3)[1].factors.B.shape == (OUT, 3)


def test_a_rank_beyond_the_matrix_is_filled_with_zeros():
    found, refit = merged(ONE, TWO, rank=64)
    assert refit.factors.A.shape == (64, IN) and not refit.factors.A[11:].any() and not refit.factors.B[:, 11:].any()
    assert off(found, (dense(ONE) + dense(TWO)) / 2) < 1e-6


def test_dare_alone_is_short_for_dare_linear_in_every_language():
    assert MergeOptions("dare") == MergeOptions.from_data({"strategy": "dare"}) == MergeOptions("dare_linear")


def test_dare_draws_the_same_for_the_same_seed_and_keeps_its_share():
    first, again, other = (merged(ONE, TWO, strategy="dare_linear", seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.allclose(first, other)
    mask = ties.random_mask([1, 2, 3], 0.25, 500, slice(10, 210))
    assert mask.shape == (200, 500) and abs(mask.mean() - 0.25) < 0.01


def test_masks_of_two_adapters_and_two_modules_differ():
    base = ties.random_mask([42, 7, 0], 0.5, 300, slice(0, 9))
    for seed in ([42, 7, 1], [42, 8, 0], [43, 7, 0]):
        assert 0.4 < (base == ties.random_mask(seed, 0.5, 300, slice(0, 9))).mean() < 0.6


def test_large_matrices_pass_in_tiles_and_give_the_same():
    a, b = factors(1, out=300, width=500), factors(2, out=300, width=500)
    assert len(list(tiles(a.shape))) > 1
    found, _ = merged(a, b, strategy="ties", density=0.2, rank=16)
    wanted = elected_mean([trimmed(dense(f), 0.2) for f in (a, b)], False)
    assert off(found, wanted) <= 1.01 * off(truncated(wanted, 16), wanted)


def test_never_more_than_one_dense_delta_is_held():
    sources, size = [{"q": factors(i, out=1024, width=1024)} for i in range(4)], 4 * 1024 * 1024
    tracemalloc.start()
    try:
        for strategy in ("ties", "dare_ties", "dare_linear"):
            tracemalloc.reset_peak()
            list(merge_modules(sources, MergeOptions(strategy=strategy, rank=4)))
            assert size < tracemalloc.get_traced_memory()[1] < 2 * size, strategy
        tracemalloc.reset_peak()
        list(merge_modules(sources, MergeOptions(rank=4)))
        assert tracemalloc.get_traced_memory()[1] < size / 4, "exact stacks need none"
    finally:
        tracemalloc.stop()


def test_a_randomised_refit_finds_what_has_a_low_rank_exactly():
    matrix = dense(ONE).astype(np.float32)
    refit = refit_dense(matrix, 4, 1)
    assert off(dense(refit.factors), matrix) < 1e-6 and refit.relative < 1e-6


def test_a_matrix_of_zeros_has_no_error():
    refit = refit_dense(np.zeros((5, 9), np.float32), 2, 1)
    assert not dense(refit.factors).any() and refit.relative == 0


@pytest.mark.parametrize("strategy", ["ties", "dare_linear", "dare_ties"])
def test_deltas_beyond_f32_are_refused_by_name(strategy):
    huge = ONE._replace(A=ONE.A * np.float32(1e30), B=ONE.B * np.float32(1e30))
    with pytest.raises(NotFinite):
        merged(huge, TWO, strategy=strategy)


def test_a_sum_keeps_small_parts_beside_large_ones():
    small = ONE._replace(scale=1e-6)
    found = refit_sum([(1, ONE), (1, TWO), (-1, ONE), (1, small)], 11)
    assert off(dense(found.factors), dense(TWO) + dense(small)) < 1e-6


REFUSED = {
    "a strategy nobody knows": {"strategy": "magic"},
    "a density of 0 would keep nothing": {"strategy": "ties", "density": 0},
    "a density above 1": {"strategy": "ties", "density": 1.001},
    "a density that is no number": {"strategy": "ties", "density": math.nan},
    "beyond the first adapter": {"strategy": "slerp", "interpolation": -0.001},
    "beyond the second adapter": {"strategy": "slerp", "interpolation": 1.001},
    "rank 0": {"rank": 0},
    "a rank above 256": {"rank": 257},
    "a rank that is no whole number": {"rank": 2.5},
    "a scaling of 0": {"strategy": "ties", "scaling": 0},
    "a scaling above 10": {"strategy": "ties", "scaling": 10.01},
    "an election nobody knows": {"strategy": "ties", "majority_sign_method": "draw"},
    "a seed below 0": {"strategy": "ties", "seed": -1},
    "weights that are no numbers": {"weights": (1, math.inf)},
    "a weight above 1000": {"weights": (1, 1000.5)},
    "a weight below -1000": {"strategy": "task_arithmetic", "weights": (1, -1000.5)},
    "slerp has no weights": {"strategy": "slerp", "weights": (1, 2)},
    "average has no weights": {"strategy": "average", "weights": (1, 2)},
    "weighted has no density": {"density": 0.3},
}


def test_options_come_from_json_too():
    data = {"strategy": "ties", "weights": [1, 2], "majoritySignMethod": "frequency", "rank": None}
    assert MergeOptions.from_data(data) == MergeOptions("ties", (1, 2), majority_sign_method="frequency")
    with pytest.raises(InvalidOption, match="no option 'desnity'"):
        MergeOptions.from_data({"desnity": 0.3})


ENDS = [
    {"strategy": "ties", "density": 1e-9}, {"strategy": "ties", "density": 1}, {"strategy": "slerp", "interpolation": 0},
    {"strategy": "slerp", "interpolation": 1}, {"rank": 1}, {"rank": 256}, {"strategy": "dare_ties", "scaling": 10},
    {"strategy": "task_arithmetic", "weights": (-1000, 1000)}, {"strategy": "dare_linear", "seed": 2**53 - 1},
    {"strategy": "dare_ties", "density": 1e-50},
]  # fmt: skip


@pytest.mark.parametrize("title", REFUSED)
def test_options_out_of_their_interval_are_refused(title):
    with pytest.raises(InvalidOption):
        MergeOptions(**REFUSED[title])


@pytest.mark.parametrize("options", ENDS, ids=str)
def test_the_ends_of_the_intervals_are_good(options):
    found, _ = merged(ONE, TWO, **options)
    assert np.isfinite(found).all()


COUNTS = {
    "slerp of three": ({"strategy": "slerp"}, 3),
    "slerp of one": ({"strategy": "slerp"}, 1),
    "none": ({}, 0),
    "seventeen": ({}, 17),
    "a weight too few": ({"weights": (1,)}, 2),
    "a weight too many": ({"weights": (1, 1, 1)}, 2),
    "a weight below 0 where they are divided by their sum": ({"weights": (2, -1)}, 2),
    "weights that sum to 0": ({"weights": (0, 0)}, 2),
}


@pytest.mark.parametrize("title", COUNTS)
def test_numbers_of_adapters_and_weights_that_do_not_fit_are_refused_before_any_work(title):
    options, count = COUNTS[title]
    with pytest.raises(InvalidOption):
        merge_modules([{"q": ONE}] * count, MergeOptions(**options))


def test_a_module_of_two_shapes_is_refused_before_any_work():
    with pytest.raises(AdapterMismatch, match="k, another one"):
        merge_modules([{"q": ONE, "k": ONE}, {"k": factors(1, out=3)}], MergeOptions())
