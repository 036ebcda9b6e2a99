"""MicroLoRA: the step is the gradient (finite differences), it learns, rewards push both ways, and nothing wrong gets in."""

import json

import numpy as np
import pytest

from edgenet import errors
from edgenet.learn import MicroLoRA


def learned(dim=6, seed=3, **options):
    """An adapter with B away from zero, and an input."""
    rng = np.random.default_rng(seed)
    lora = MicroLoRA(dim, 0.8, 0.1, seed=seed, **options)
    lora.b[:] = rng.standard_normal(lora.b.shape) * 0.3
    return lora, rng.standard_normal(dim).astype(np.float32), rng


def loss(lora, a, b, x, target):
    y = x + lora.alpha * ((a @ x) @ b)
    return 0.5 * ((y - target) ** 2).sum()


@pytest.mark.parametrize("rank", [1, 2, 3, 16])
@pytest.mark.parametrize("which", ["a", "b"])
def test_adapt_is_one_step_down_the_gradient_found_by_finite_differences(rank, which):
    lora, x, rng = learned(rank=rank)
    target, x64 = rng.standard_normal(6), x.astype(np.float64)
    a, b = lora.a.astype(np.float64), lora.b.astype(np.float64)
    numeric, moved = np.zeros_like(a), {"a": a, "b": b}
    for at in np.ndindex(a.shape):
        sides = []
        for h in (1e-5, -1e-5):
            changed = {n: m.copy() for n, m in moved.items()}
            changed[which][at] += h
            sides.append(loss(lora, changed["a"], changed["b"], x64, target))
        numeric[at] = (sides[0] - sides[1]) / 2e-5
    y = lora.forward_array(x)
    lora.adapt_array(y - target)
    taken = (moved[which] - getattr(lora, which)) / lora.learning_rate
    assert np.abs(taken - numeric).max() < 1e-5 * max(1, np.abs(numeric).max())


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rank", [1, 2, 4])
def test_it_learns_a_rank_one_map_to_a_millionth_of_the_error_it_began_with(seed, rank):
    rng, d = np.random.default_rng(seed), 64
    u, v = rng.standard_normal((2, d)) / np.sqrt(d)
    held_out = rng.standard_normal((200, d)).astype(np.float32)
    lora = MicroLoRA(d, 1.0, 0.05, rank=rank, seed=seed)

    def error():
        return sum(((lora.forward_array(x) - (x + u * (v @ x))) ** 2).sum() for x in held_out)

    before = error()
    for x in rng.standard_normal((1500, d)).astype(np.float32):
        lora.adapt_array(lora.forward_array(x) - (x + u * (v @ x)))
    assert error() < 1e-6 * before
    assert lora.adapt_count() == 1500


def test_a_fresh_adapter_answers_its_input():
    lora, x = MicroLoRA(7), np.arange(7, dtype=np.float32)
    assert np.array_equal(lora.forward_array(x), x) and lora.delta_norm() == 0


def test_delta_norm_is_the_norm_of_the_weights_change():
    lora, _, _ = learned()
    assert np.isclose(lora.delta_norm(), np.linalg.norm(lora.alpha * lora.a.T @ lora.b))


def test_the_gradients_size_matters_and_clip_bounds_it():
    steps = []
    for scale, clip in ((1, 0), (10, 0), (10, 0.5)):
        lora, x, _ = learned(clip=clip)
        a, b = lora.a.copy(), lora.b.copy()
        lora.forward_array(x)
        lora.adapt_array(np.full(6, scale))
        steps.append(np.sqrt(((lora.a - a) ** 2).sum() + ((lora.b - b) ** 2).sum()))
    assert np.isclose(steps[1] / steps[0], 10, rtol=1e-4)
    assert np.isclose(steps[2], 0.5 * 0.1, rtol=1e-4)


# --- rewards ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("improvement,grows", [(0.15, True), (2.0, True), (-0.15, False), (-1.0, False)])
def test_reward_reinforces_what_the_adapter_adds_and_a_negative_one_weakens_it(improvement, grows):
    lora, x, _ = learned()
    before = lora.forward_array(x) - x
    lora.adapt_with_reward(improvement)
    along = ((lora.forward_array(x) - x) @ before) / (before @ before)
    assert (along > 1) == grows and lora.adapt_count() == 1


def test_the_documented_first_example_learns():
    lora = MicroLoRA(256, 0.1, 0.01)
    lora.forward_array(np.full(256, 0.1))
    lora.adapt_with_reward(0.15)
    assert lora.adapt_count() == 1 and lora.delta_norm() > 0


@pytest.mark.parametrize("a,b", [(2.0, 7.0), (-1.0, -50.0)])
def test_rewards_are_limited_to_minus_one_and_two(a, b):
    norms = []
    for improvement in (a, b):
        lora, x, _ = learned()
        lora.forward_array(x)
        lora.adapt_with_reward(improvement)
        norms.append(lora.b.tolist())
    assert norms[0] == norms[1]


def test_reward_follows_a_direction_that_is_given():
    lora, x, rng = learned()
    u = rng.standard_normal(6)
    before = lora.forward_array(x)
    lora.adapt_with_reward(1, direction=u)
    assert (lora.forward_array(x) - before) @ u > 0


def test_no_reward_changes_nothing_and_is_not_counted():
    lora, x, _ = learned()
    a, b = lora.a.copy(), lora.b.copy()
    lora.forward_array(x)
    lora.adapt_with_reward(0)
    assert lora.adapt_count() == 0 and np.array_equal(a, lora.a) and np.array_equal(b, lora.b)


# --- what is refused -------------------------------------------------------------------------------------------------
Z, NAN = np.zeros(4), np.array([0, 0, 0, np.nan])
REFUSED = [
    ("input too short", lambda m: m.forward_array(Z[:3]), errors.WrongLength),
    ("input too long", lambda m: m.forward_array(np.zeros(5)), errors.WrongLength),
    ("a matrix", lambda m: m.forward_array(np.zeros((1, 4))), errors.WrongLength),
    ("words", lambda m: m.forward_array("abcd"), errors.WrongType),
    ("NaN in the input", lambda m: m.forward_array(NAN), errors.NotFinite),
    ("beyond f32", lambda m: m.forward_array([1e39, 0, 0, 0]), errors.NotFinite),
    ("gradient too long", lambda m: m.adapt_array(np.zeros(5), Z), errors.WrongLength),
    ("NaN in the gradient", lambda m: m.adapt_array(NAN, Z), errors.NotFinite),
    ("a gradient before any input", lambda m: m.adapt_array(Z), errors.InvalidOption),
    ("a reward before any input", lambda m: m.adapt_with_reward(1), errors.InvalidOption),
    ("a reward without a direction", lambda m: m.adapt_with_reward(1, input=Z), errors.InvalidOption),
    ("a NaN reward", lambda m: m.adapt_with_reward(float("nan"), input=Z), errors.NotFinite),
    (
        "a step that would break the weights",
        lambda m: m.adapt_array(np.full(4, 3e38), np.full(4, 3e38)),
        errors.OutputNotFinite,
    ),
]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("reason,act,error", REFUSED, ids=[r[0] for r in REFUSED])
def test_it_refuses_and_nothing_changes(reason, act, error):
    lora = MicroLoRA(4)
    before = lora.export_state()
    with pytest.raises(error):
        act(lora)
    assert lora.export_state() == before


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"dim": 70000},
        {"dim": 4, "rank": 0},
        {"dim": 4, "rank": 17},
        {"dim": 4, "learning_rate": -1},
        {"dim": 4, "clip": -1},
    ],
    ids=str,
)
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(errors.InvalidOption):
        MicroLoRA(**options)


# --- state -----------------------------------------------------------------------------------------------------------
def test_state_survives_json_and_reset_forgets_it():
    lora, x, _ = learned(rank=3)
    lora.forward_array(x)
    lora.adapt_array(x)
    other = MicroLoRA(6, rank=3)
    other.import_state(json.loads(json.dumps(lora.export_state())))
    assert np.array_equal(other.forward_array(x), lora.forward_array(x)) and other.adapt_count() == 1
    other.reset()
    assert np.array_equal(other.forward_array(x), x) and other.adapt_count() == 0


SPOILT = [
    ("another format", {"format": "x"}),
    ("another width", {"dim": 7}),
    ("a matrix cut short", {"a": "AAAA"}),
    ("not base64", {"b": "!"}),
    ("a count that is none", {"adapt_count": -1}),
    ("alpha missing", {"alpha": None}),
    ("NaN", {"a": "AADAfw" * 16 + "AADAfwAADAf="}),
]


@pytest.mark.parametrize("reason,change", SPOILT, ids=[s[0] for s in SPOILT])
def test_a_spoilt_state_is_refused_and_nothing_changes(reason, change):
    lora, _, _ = learned()
    before = lora.export_state()
    with pytest.raises(errors.BackupInvalid):
        lora.import_state({**before, **change})
    assert lora.export_state() == before
