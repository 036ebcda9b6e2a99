"""The learning rate by step, against its formula at known points, and the words of an update."""

import pytest

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
    words = hyper(config, 2, 40.0)
    assert len(words) == 16 and words[10:] == [0.0] * 6
    assert words[:10] == pytest.approx([0.5, 0.9, 0.999, 1e-8, 0.1, 2.0, 0.19, 0.001999, 0.025, 0.8])
