"""Adapters of the small models that PEFT makes and EdgeNet must read alike: which, and what is asked of them. Needs NumPy alone."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from tools.gguf_file import file_pieces
from tools.oracles.small_models import MODELS, PROMPTS, uniform, vocabulary

FOLDER = Path(__file__).parents[2] / "tests" / "vectors" / "adapters"
PROMPT = PROMPTS[1]  # the logits' prompt
_SEVEN = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Case:
    """`model`: of `small_models.MODELS`; the rest as PEFT's LoraConfig has it."""

    model: str
    why: str
    target_modules: tuple[str, ...] = _SEVEN
    r: int = 2
    lora_alpha: int = 4
    more: dict = field(default_factory=dict)


CASES = {
    "llama": Case("llama", "rows of q and k sorted by the converter, grouped queries"),
    "mistral": Case(
        "mistral", "the same with wide heads; rsLoRA", ("q_proj", "k_proj", "down_proj"), 3, 8, {"use_rslora": True}
    ),
    "qwen2": Case(
        "qwen2",
        "ranks and alphas of single modules",
        more={
            "rank_pattern": {"q_proj": 4, "layers.1.mlp.up_proj": 1},
            "alpha_pattern": {"k_proj": 8, "^model.layers.0.mlp.down_proj": 1},
        },
    ),
    "qwen3": Case("qwen3", "norms of queries and keys; values alone", ("v_proj",)),
    "phi2": Case("phi2", "other names", ("q_proj", "k_proj", "v_proj", "dense", "fc1", "fc2")),
    "phi3": Case(
        "phi3", "q, k, v in one matrix, gate and up in another", ("qkv_proj", "o_proj", "gate_up_proj", "down_proj")
    ),
    "gemma": Case("gemma", "one head of keys and values"),
    "gemma2": Case("gemma2", "norms after each part", ("q_proj", "o_proj", "gate_proj", "down_proj"), 4, 2),
}


@cache
def base(model: str, kind: str = "f32") -> bytes:
    """A small model as a GGUF file, matrices of type `kind`."""
    small = MODELS[model]
    return b"".join(file_pieces(small.metadata | vocabulary(small), small.tensors(), kind))


def factor(name: str, shape: tuple[int, int]) -> np.ndarray:
    """f32 values of one factor by its name in PEFT's state: large enough that the logits move."""
    return uniform(name, shape) * np.float32(shape[1] ** -0.5)


def probe(module: str, width: int) -> np.ndarray:
    """f32 (width, 2): what a module's delta is multiplied by for the record."""
    return uniform(f"probe {module}", (width, 2))
