"""The learning rate of each step, and the 16 numbers that the `update` Program reads. Pure, runs anywhere."""

from __future__ import annotations

import math

from .config import TrainingConfig

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8  # AdamW's, as in torch.optim
HYPER = 16  # words

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


def hyper(config: TrainingConfig, step: int, counted: float) -> list[float]:
    """The words of the update after step `step`, whose gradients are sums over `counted` tokens: rate, beta1, beta2, epsilon, weight decay,
    clip, 1 - beta1^t, 1 - beta2^t, 1 / counted, momentum, zeros.
    """
    corrections = (1 - BETA1**step, 1 - BETA2**step)
    used = [learning_rate(config, step), BETA1, BETA2, EPSILON, config.weight_decay, config.clip, *corrections]
    return [*used, 1 / counted, config.momentum] + [0.0] * (HYPER - 10)
