"""Ask PyTorch with PEFT for a training's losses and the adapter at its end, and write tests/vectors/training/*-course.json. CPython.

python -m tools.oracles.lora_training [NAME …]     needs torch, transformers and peft beside this repository's own needs
"""

import argparse
import json
from collections.abc import Mapping
from importlib.metadata import version

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch.nn.functional import cross_entropy

from edgenet.lora.config import TrainingConfig
from edgenet.lora.schedule import learning_rate
from tools.oracles import hugging_face
from tools.oracles.lora_course import LORA, TRAINING, dataset, fresh
from tools.oracles.small_models import MODELS, packed
from tools.paths import ROOT

FOLDER = ROOT / "tests" / "vectors" / "training"
NAMES = ("llama", "qwen2")
Factors = Mapping[str, tuple[np.ndarray, np.ndarray]]  # a module's path: A f32 (r, in), B f32 (out, r)


def adapted(name: str, start: Factors):
    """PEFT's model, its factors those of `start`."""
    config = LoraConfig(
        r=LORA.r, lora_alpha=LORA.lora_alpha, target_modules=sorted(LORA.target_modules), task_type="CAUSAL_LM"
    )
    model = get_peft_model(hugging_face.model(MODELS[name]), config)
    with torch.no_grad():
        for path, layer in layers(model).items():
            for held, values in zip((layer.lora_A, layer.lora_B), start[path], strict=True):
                held["default"].weight.copy_(torch.from_numpy(np.array(values)))
    return model


def layers(model) -> dict:
    """{module's path in the base model: its layer with LoRA}."""
    found = {name: layer for name, layer in model.named_modules() if hasattr(layer, "lora_A")}
    return {name.removeprefix("base_model.model."): layer for name, layer in found.items()}


def course(name: str, start: Factors, config: TrainingConfig) -> tuple[list[float], Factors]:
    """(the mean loss of each step, the factors at the end): torch's AdamW and clipping, a forward pass for each sequence alone."""
    model, data = adapted(name, start), dataset(config)
    own = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(own, lr=1.0, weight_decay=config.weight_decay)
    losses = []
    for step in range(1, config.max_steps + 1):
        rows = [
            data.batch(config, (step - 1) * config.gradient_accumulation + i)
            for i in range(config.gradient_accumulation)
        ]
        loss = sum(_loss(model, row) for row in rows) / sum(row.counted for row in rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(own, config.clip)
        optimizer.param_groups[0]["lr"] = learning_rate(config, step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    ends = {
        path: (layer.lora_A["default"].weight, layer.lora_B["default"].weight) for path, layer in layers(model).items()
    }
    return losses, {path: tuple(w.detach().numpy() for w in pair) for path, pair in ends.items()}


def _loss(model, row) -> torch.Tensor:
    """The sum over a row's tokens that count."""
    total = torch.zeros(())
    for sequence in range(row.last_sequence + 1):
        here = row.sequences == sequence
        logits = model(torch.from_numpy(row.tokens[here].astype(np.int64))[None], use_cache=False).logits[0]
        targets = torch.from_numpy(row.targets[here].astype(np.int64))
        total = (
            total
            + (
                cross_entropy(logits, targets, ignore_index=-1, reduction="none") * torch.from_numpy(row.weights[here])
            ).sum()
        )
    return total


def flat(factors: Factors) -> np.ndarray:
    """All factors behind one another, by path."""
    return np.concatenate([part.ravel() for path in sorted(factors) for part in factors[path]])


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("names", nargs="*", default=NAMES)
    torch.set_num_threads(1)
    for name in ask.parse_args().names:
        losses, ends = course(name, fresh(name), TRAINING)
        versions = {p: version(p) for p in ("torch", "transformers", "peft")}
        data = {"oracle": versions, "losses": losses, "factors": packed(flat(ends))}
        (FOLDER / f"{name}-course.json").write_text(json.dumps(data, indent=1) + "\n")
        print(name, losses[0], losses[-1], flush=True)


if __name__ == "__main__":
    main()
