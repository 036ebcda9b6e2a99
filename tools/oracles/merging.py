"""Writes tests/vectors/merging.json with `peft`: `python -m tools.oracles.merging`. CPython with torch and peft.

Three random adapters of unequal rank, scale and modules on a model of two matrices, merged by `add_weighted_adapter`. A row has what was
asked, the masks that DARE drew, and the merged delta by module. Arrays are base64, little-endian; masks one byte per weight.
"""

import base64
import json
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from peft import LoraConfig, get_peft_model

TARGET = Path(__file__).parents[2] / "tests" / "vectors" / "merging.json"
SHAPES = {"q_proj": (24, 18), "v_proj": (20, 18)}  # (out, in)
# r, alpha, rsLoRA, modules. PEFT gives the result the first one's rsLoRA.
ADAPTERS = ((2, 4, False, ("q_proj", "v_proj")), (3, 2, True, ("q_proj",)), (4, 4, False, ("q_proj", "v_proj")))
# combination_type, weights, svd_rank, density, majority_sign_method
MERGES = (
    ("linear", (-0.5,), 2, 0.5, "total"),  # of one adapter; of more, PEFT's is another thing than the sum of deltas
    ("svd", (1.0, -0.5, 2.0), 4, 0.5, "total"),
    ("svd", (0.5, 0.25, 0.25), 9, 0.5, "total"),
    ("ties_svd", (1.0, 1.0, 1.0), 5, 0.4, "total"),
    ("ties_svd", (1.5, 0.9, 0.6), 18, 0.7, "frequency"),
    ("dare_linear_svd", (0.2, 0.3, 0.5), 18, 0.6, "total"),
    ("dare_ties_svd", (1.0, 1.0, 1.0), 18, 0.6, "total"),
    ("dare_ties_svd", (0.9, 1.5, 0.6), 6, 0.8, "frequency"),
)


class _Model(torch.nn.Module):
    """Matrices side by side; nothing is ever run through it."""

    def __init__(self, shapes: dict):
        super().__init__()
        for name, (out, width) in shapes.items():
            self.add_module(name, torch.nn.Linear(width, out, bias=False))


def text(values: np.ndarray) -> str:
    """Base64 of an array's bytes."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def adapted(shapes: dict, seed: int):
    """The model with the adapters "0", "1", "2", all factors random."""
    torch.manual_seed(seed)
    configs = [LoraConfig(r=r, lora_alpha=alpha, use_rslora=rs, target_modules=list(m)) for r, alpha, rs, m in ADAPTERS]
    model = get_peft_model(_Model(shapes), configs[0], "0")
    for number, config in enumerate(configs[1:], 1):
        model.add_adapter(str(number), config)
    for name, values in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(values)
    return model


def of_module(model, shapes: dict, name: str):
    """{module: its LoRA layer} of those that have an adapter of this name."""
    layers = {module: getattr(model.base_model.model, module) for module in shapes}
    return {module: layer for module, layer in layers.items() if name in layer.lora_A}


def described(model, shapes: dict) -> list[dict]:
    """The adapters as they are: {module: [A, B, scale]}."""
    return [
        {
            module: [text(layer.lora_A[name].weight.detach().numpy()), text(layer.lora_B[name].weight.detach().numpy()),
                     layer.scaling[name]]
            for module, layer in of_module(model, shapes, name).items()
        }
        for name in map(str, range(len(ADAPTERS)))
    ]  # fmt: skip


def row(model, shapes: dict, merge: tuple, rank: int | None = None) -> dict:
    """One merge: what was asked, the masks by module and adapter, the delta by module. `rank` replaces the merge's own."""
    kind, weights, own, density, sign = merge
    rank = rank or own
    drawn, names = [], [str(i) for i in range(len(weights))]
    bernoulli = torch.bernoulli

    def drawing(probabilities):
        drawn.append(bernoulli(probabilities).numpy().astype(np.uint8))
        return torch.from_numpy(drawn[-1].astype(np.float32))

    with mock.patch("torch.bernoulli", drawing):
        model.add_weighted_adapter(
            names, list(weights), "merged", kind, svd_rank=rank, density=density, majority_sign_method=sign
        )
    deltas = {
        module: text(layer.get_delta_weight("merged").detach().numpy())
        for module, layer in of_module(model, shapes, "merged").items()
    }
    masks = {
        module: {name: text(drawn.pop(0)) for name in names if name in getattr(model.base_model.model, module).lora_A}
        for module in (shapes if drawn else ())
    }
    model.delete_adapter("merged")
    said = {"type": kind, "weights": weights, "rank": rank, "density": density, "sign": sign}
    return said | {"masks": masks, "deltas": deltas}


def vectors(shapes: dict, seed: int, rank: int | None = None) -> dict:
    """The whole document, for matrices of these shapes, no side shorter than any rank."""
    model = adapted(shapes, seed)
    return {
        "note": f"peft {version('peft')}, torch {torch.__version__}; made by tools/oracles/merging.py.",
        "shapes": shapes,
        "adapters": described(model, shapes),
        "rows": [row(model, shapes, merge, rank) for merge in MERGES],
    }


def main():
    """Write the file."""
    TARGET.write_text(json.dumps(vectors(SHAPES, 7), indent=1) + "\n")


if __name__ == "__main__":
    main()
