"""LoRA: adapters of language models, their files, training and merging. Runs anywhere."""

from .config import PRESETS, LoraConfig, TrainingConfig

__all__ = ["PRESETS", "LoraConfig", "TrainingConfig"]
