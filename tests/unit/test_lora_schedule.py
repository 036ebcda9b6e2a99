"""The learning rate by step, against its formula at known points, and the words of an update."""

import pytest

from edgenet.kernels.lm.training_table import HYPER_NAMES
from edgenet.lora import TrainingConfig
from edgenet.lora.schedule import hyper, learning_rate


@pytest.mark.parametrize(
    "scheduler, step, factor",
    [
        ("constant", 1, 0.25),  # warm-up of 4
        ("cosine", 4, 1.0),
        ("cosine", 5, 1.0),
        ("cosine", 9, 0.5),  # half of the 8 steps after it
        ("cosine", 12, 0.5 * (1 - 0.9238795325)),  # cos(7 pi / 8)
        ("linear", 9, 0.5),
        ("linear", 12, 0.125),
        ("constant", 12, 1.0),
    ],
)
def test_the_rate_of_a_step(scheduler, step, factor):
    config = TrainingConfig(learning_rate=0.5, warmup_steps=4, max_steps=12, scheduler=scheduler)
    assert learning_rate(config, step) == pytest.approx(0.5 * factor, rel=1e-9)


@pytest.mark.parametrize("warmup", [0, 12, 50], ids=["none", "all steps", "more than all"])
def test_any_warm_up_gives_rates_above_zero_and_up_to_the_one_asked_for(warmup):
    config = TrainingConfig(learning_rate=0.5, warmup_steps=warmup, max_steps=12)
    assert all(0 < learning_rate(config, step) <= 0.5 for step in range(1, 13))


def test_the_words_of_an_update():
    config = TrainingConfig(
        learning_rate=0.5, warmup_steps=0, scheduler="constant", weight_decay=0.1, clip=2.0, momentum=0.8
    )
    named = dict(zip(HYPER_NAMES, hyper(config, 2, 40.0).tolist(), strict=False))
    wanted = {"rate": 0.5, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "decay": 0.1, "clip": 2.0, "correction1": 0.19,
              "correction2": 0.001999, "factor": 0.025, "momentum": 0.8, "rest1": 0.1, "rest2": 0.001}  # fmt: skip
    assert named == pytest.approx(wanted, rel=1e-6)
