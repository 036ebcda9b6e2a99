"""The learning rate of each step, and the words that the `update` Program reads. Needs NumPy; runs anywhere."""

from __future__ import annotations

import math

import numpy as np

from ..kernels.lm.optimizer import hyper as words
from .config import TrainingConfig

# What is left of the rate when the share `done` of the steps after the warm-up has been taken.
SCHEDULES = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The rate of step `step`, from 1: rises evenly to `learning_rate` at step `warmup_steps`, then follows the scheduler, which would
    reach 0 one step after the last.
    """
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    done = (step - 1 - config.warmup_steps) / max(config.max_steps - config.warmup_steps, 1)
    return config.learning_rate * SCHEDULES[config.scheduler](done)


def hyper(config: TrainingConfig, step: int, counted: float) -> np.ndarray:
    """f32 (16,): the words of the update after step `step`, whose gradients are sums over `counted` tokens."""
    return words(
        learning_rate(config, step),
        step=step,
        decay=config.weight_decay,
        clip=config.clip,
        factor=1 / counted,
        momentum=config.momentum,
    )
