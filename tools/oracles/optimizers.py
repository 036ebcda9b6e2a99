"""Writes tests/vectors/optimizers.json: steps of PyTorch's AdamW and SGD. CPython with torch (2.13.0 made the committed file).

`python -m tools.oracles.optimizers`. What the optimisers start from, are given and make is written as f32 exactly.
"""

import json
from pathlib import Path

import torch

TARGET = Path(__file__).resolve().parents[2] / "tests" / "vectors" / "optimizers.json"
COUNT, STEPS = 9, 5
# Decay is apart from the gradient here (AdamW's); torch's SGD adds it to the gradient, so its rows do without.
ROWS = (
    ("adamw", {"rate": 1e-2}),
    ("adamw", {"rate": 3e-3, "decay": 0.1, "epsilon": 1e-3, "beta1": 0.8, "beta2": 0.95}),
    ("adamw", {"rate": 1e-2, "clip": 0.5, "factor": 0.125}),
    ("sgd", {"rate": 1e-1}),
    ("sgd", {"rate": 1e-2, "momentum": 0.9, "clip": 1.0}),
)
STATES = {"adamw": {"first": "exp_avg", "second": "exp_avg_sq"}, "sgd": {"momentum": "momentum_buffer"}}


def _optimizer(name: str, options: dict, parameters: torch.Tensor) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD([parameters], lr=options["rate"], momentum=options.get("momentum", 0))
    betas = options.get("beta1", 0.9), options.get("beta2", 0.999)
    more = {"eps": options.get("epsilon", 1e-8), "weight_decay": options.get("decay", 0)}
    return torch.optim.AdamW([parameters], lr=options["rate"], betas=betas, **more)


def steps(name: str, options: dict) -> dict:
    """{"optimizer", "options", "parameters": at first, "steps": [{"gradients": summed, "after": {state: numbers}}]}."""
    torch.manual_seed(len(options))
    parameters = torch.randn(COUNT, requires_grad=True)
    run = {"optimizer": name, "options": options, "parameters": parameters.tolist(), "steps": []}
    optimizer = _optimizer(name, options, parameters)
    for _ in range(STEPS):
        gradients = torch.randn(COUNT) / options.get("factor", 1)
        parameters.grad = gradients * options.get("factor", 1)
        if "clip" in options:
            torch.nn.utils.clip_grad_norm_([parameters], options["clip"])
        optimizer.step()
        kept = optimizer.state[parameters]
        after = {own: kept[theirs].tolist() for own, theirs in STATES[name].items() if kept.get(theirs) is not None}
        run["steps"].append({"gradients": gradients.tolist(), "after": {"parameters": parameters.tolist(), **after}})
    return run


def main() -> None:
    rows = [json.dumps(steps(name, options), separators=(",", ":")) for name, options in ROWS]
    TARGET.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
