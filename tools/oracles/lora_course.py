"""A short training of a small model, which our trainer and PyTorch with PEFT both take: data, order, start and rates. Needs no torch."""

from dataclasses import replace

import numpy as np

from edgenet.lora.config import LoraConfig, TrainingConfig
from edgenet.lora.data import Dataset, prepare
from edgenet.lora.examples import Tokens
from edgenet.lora.trainer import Trainer
from tools.oracles.lora_batch import header_of
from tools.oracles.small_models import MODELS, random_bytes

LORA = LoraConfig(r=2, lora_alpha=4, target_modules="all-linear")
TRAINING = TrainingConfig(
    batch_size=2, gradient_accumulation=2, learning_rate=1e-2, warmup_steps=4, max_steps=20, max_length=24, clip=1.0,
    weight_decay=0.01, seed=7, validation=0.0, evaluate_every=0, checkpoint_every=0, dots="f32",
)  # fmt: skip
LONG = replace(TRAINING, max_steps=200)
KINDS = 40  # tokens that occur


def texts() -> list[Tokens]:
    """Twelve texts of 5 to 60 tokens, in which each token leaves four choices for the next; the first of each counts for nothing."""
    made = []
    for n in range(12):
        choices = random_bytes(f"course {n}", 60)[: 5 + 5 * n] % 4
        ids = np.zeros(len(choices), np.int32)
        for i in range(1, len(ids)):
            ids[i] = (7 * ids[i - 1] + choices[i]) % KINDS
        made.append(Tokens(ids, np.arange(len(ids)) > 0, len(ids)))
    return made


def dataset(config: TrainingConfig) -> Dataset:
    """The rows of the texts: some are cut, some share a row."""
    return prepare(texts(), config)


def fresh(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{module's path: (A, B)}: the factors that training of a small model begins with."""
    return Trainer(None, header_of(MODELS[name]), dataset(TRAINING), LORA, TRAINING).adapter().tensors
