"""Ask PEFT what adapters of the small models do, and write it to tests/vectors/adapters/. CPython with torch; a minute.

python -m tools.oracles.peft_adapters [NAME …]     needs torch, transformers and peft beside this repository's own needs
"""

import argparse
import base64
import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model

from tools.oracles import hugging_face
from tools.oracles.small_adapters import CASES, FOLDER, PROMPT, Case, factor, probe
from tools.oracles.small_models import MODELS, ROWS, packed

FILES = ("adapter_config.json", "adapter_model.safetensors")


def made(case: Case):
    """PEFT's model of a case, its factors drawn."""
    config = LoraConfig(
        r=case.r,
        lora_alpha=case.lora_alpha,
        target_modules=list(case.target_modules),
        task_type="CAUSAL_LM",
        **case.more,
    )
    model = get_peft_model(hugging_face.model(MODELS[case.model]), config).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "lora_" in name:
                values.copy_(torch.from_numpy(factor(name, tuple(values.shape))))
    return model


def deltas(model) -> dict[str, np.ndarray]:
    """{module's path in the base model: what PEFT would add to its weight}, f32 (out, in)."""
    layers = {name: layer for name, layer in model.named_modules() if hasattr(layer, "get_delta_weight")}
    return {
        name.removeprefix("base_model.model."): layer.get_delta_weight("default").detach().numpy()
        for name, layer in layers.items()
    }


@torch.no_grad()
def logits(model, prompt: list[int] = PROMPT) -> np.ndarray:
    """f32 (ROWS, vocabulary): the last rows of the prompt."""
    return model(torch.tensor([prompt]), use_cache=False).logits[0, -ROWS:].float().numpy()


def saved(model) -> dict[str, bytes]:
    """The files that PEFT writes."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        return {name: (Path(folder) / name).read_bytes() for name in FILES}


def opened(small: str, files: dict[str, bytes]):
    """PEFT's model of a small model with the adapter in these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return PeftModel.from_pretrained(hugging_face.model(MODELS[small]), folder).eval()


def record(name: str) -> dict:
    """The vectors of one case."""
    case, model = CASES[name], made(CASES[name])
    config, weights = saved(model).values()
    probes = {module: packed(delta @ probe(module, delta.shape[1])) for module, delta in deltas(model).items()}
    return {
        "model": case.model,
        "why": case.why,
        "config": config.decode(),
        "weights": base64.b64encode(weights).decode(),
        "probes": probes,
        "logits": packed(logits(model)),
    }


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("names", nargs="*", default=[*CASES])
    torch.set_num_threads(1)
    versions = {p: version(p) for p in ("torch", "transformers", "peft")}
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in ask.parse_args().names:
        text = json.dumps({"oracle": versions} | record(name), indent=1, ensure_ascii=False) + "\n"
        (FOLDER / f"{name}.json").write_text(text)
        print(name, len(text), flush=True)


if __name__ == "__main__":
    main()
