"""Ask torch's autograd for losses and gradients of LoRA factors beside the small models, and write tests/vectors/gradients/. CPython.

python -m tools.oracles.lora_gradients [NAME …]     needs torch and transformers beside this repository's own needs
"""

import argparse
import json
from importlib.metadata import version

import numpy as np
import torch

from edgenet.lora.names import places
from edgenet.models.sites import sites_of
from tools.oracles.hugging_face import model
from tools.oracles.lora_batch import LENGTHS, LORA, TEXTS, batch, header_of, parameters
from tools.oracles.small_models import MODELS, packed
from tools.paths import ROOT

FOLDER = ROOT / "tests" / "vectors" / "gradients"
NAMES = ("llama", "qwen2", "gemma2", "phi2", "phi3")
BOTH_WAYS = ("llama", "qwen2", "gemma2")  # also as the masked objective sees: all of a text
# file: (model, causal)
CASES = {**{name: (name, True) for name in NAMES}, **{f"{name}-masked": (name, False) for name in BOTH_WAYS}}


class Beside:
    """The factors of one site in a module of the library: its rows in the library's order."""

    def __init__(self, site, place, values: np.ndarray):
        a, b = values[site.a : site.b], values[site.b : site.b + site.out * site.rank]
        self.site, self.place = site, place
        self.a = _leaf(a.reshape(site.rank, site.width))
        self.b = _leaf(place.from_file(b.reshape(site.out, site.rank)))

    def added(self, x: torch.Tensor, y: torch.Tensor, scale: float) -> torch.Tensor:
        """y with what the factors give in the module's rows from `start` on."""
        part = scale * (x @ self.a.T) @ self.b.T
        return y + torch.nn.functional.pad(part, (self.place.start, y.shape[-1] - self.place.start - part.shape[-1]))

    def gradients(self) -> list[np.ndarray]:
        """By A, and by B in the file's rows."""
        rows = np.pad(self.b.grad.numpy(), ((self.place.start, 0), (0, 0)))  # the module's, from its first on
        return [self.a.grad.numpy().ravel(), self.place.to_file(rows).ravel()]


def _leaf(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(values, np.float64)).requires_grad_()


def losses_and_gradients(name: str, causal: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """(a loss per row of the batch, the gradient of their sum by the flat state), f64. Not causal: each row sees all of its text."""
    header = header_of(MODELS[name])
    made, sites = model(MODELS[name]).double(), {s.site: s for s in sites_of(header, LORA)}
    values, beside = parameters(header), []
    for path, parts in places(header).items():
        here = [Beside(sites[p.site], p, values) for p in parts]
        beside += here
        made.get_submodule(path).register_forward_hook(_hook(here, LORA.scale_of(path)))
    losses = _losses(made, causal)
    losses.sum().backward()
    return losses.detach().numpy(), np.concatenate([g for b in beside for g in b.gradients()])


def _hook(beside: list[Beside], scale: float):
    def after(module, inputs, y):
        for it in beside:
            y = it.added(inputs[0], y, scale)
        return y

    return after


def _losses(made, causal: bool) -> torch.Tensor:
    rows, found = batch(), []
    targets = torch.from_numpy(rows["targets"].astype(np.int64))
    for text, here in zip(TEXTS, torch.split(targets, LENGTHS), strict=True):
        logits = made(
            torch.tensor([text]), attention_mask=None if causal else _open(made, len(text)), use_cache=False
        ).logits[0]
        found.append(torch.nn.functional.cross_entropy(logits, here, ignore_index=-1, reduction="none"))
    return torch.cat(found) * torch.from_numpy(rows["weights"].astype(np.float64))


def _open(made, n: int):
    """What is added to scores where each of n tokens sees every one, in all kinds of layers that the model has."""
    nothing = torch.zeros(1, 1, n, n, dtype=torch.float64)
    kinds = set(getattr(made.config, "layer_types", None) or ())
    return dict.fromkeys(kinds, nothing) if "sliding_attention" in kinds else nothing


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("names", nargs="*", default=[*CASES])
    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ask.parse_args().names:
        losses, gradients = losses_and_gradients(*CASES[name])
        versions = {p: version(p) for p in ("torch", "transformers")}
        data = {"oracle": versions, "losses": packed(losses), "gradients": packed(gradients)}
        (FOLDER / f"{name}.json").write_text(json.dumps(data, indent=1) + "\n")
        print(name, losses.sum(), np.abs(gradients).max(), flush=True)


if __name__ == "__main__":
    main()
