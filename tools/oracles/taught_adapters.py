"""Let PEFT teach adapters of the small models, and write tests/vectors/adapters/taught-*.json: its files, and the logits it has with them
on the F32 weights and on those of a Q8_0 file, dequantised. CPython with torch; half a minute.

python -m tools.oracles.taught_adapters [NAME …]     needs torch, transformers and peft beside this repository's own needs
"""

import argparse
import base64
import json
from importlib.metadata import version
from unittest import mock

import numpy as np
import torch

from edgenet.formats.blocks import dequantize
from edgenet.formats.gguf import read_header
from tools.oracles import peft_adapters
from tools.oracles.lora_course import TRAINING, fresh
from tools.oracles.lora_training import adapted, course
from tools.oracles.small_adapters import FOLDER, base
from tools.oracles.small_models import PROMPTS, Small, packed

NAMES = ("llama", "qwen2", "gemma2")
KINDS = ("f32", "q8_0")


def held_in(data: bytes) -> dict[str, np.ndarray]:
    """{tensor: f32 values} of a GGUF file."""
    header, found = read_header(lambda offset, length: data[offset : offset + length], len(data)), {}
    for name, t in header.tensors.items():
        rows, columns = (1, *t.shape)[-2:]
        found[name] = dequantize(t.type, data[t.offset : t.offset + t.bytes], rows, columns).reshape(t.shape)
    return found


def logits(name: str, files: dict[str, bytes], data: bytes, prompt: list[int] = PROMPTS[0]) -> np.ndarray:
    """f32 (rows, vocabulary): of PEFT's model, with the adapter in these files, on the weights in a GGUF file."""
    weights = held_in(data)
    with mock.patch.object(Small, "tensors", lambda self: weights):
        return peft_adapters.logits(peft_adapters.opened(name, files), prompt)


def record(name: str) -> dict:
    """The vectors of one model: twenty steps on its F32 weights."""
    losses, ends = course(name, fresh(name), TRAINING)
    files = peft_adapters.saved(adapted(name, ends))
    config, weights = files.values()
    answers = {kind: packed(logits(name, files, base(name, kind))) for kind in KINDS}
    return {
        "config": config.decode(),
        "weights": base64.b64encode(weights).decode(),
        "losses": losses,
        "logits": answers,
    }


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("names", nargs="*", default=NAMES)
    torch.set_num_threads(1)
    versions = {p: version(p) for p in ("torch", "transformers", "peft")}
    for name in ask.parse_args().names:
        made = record(name)
        (FOLDER / f"taught-{name}.json").write_text(json.dumps({"oracle": versions} | made, indent=1) + "\n")
        print(name, made["losses"][0], made["losses"][-1], flush=True)


if __name__ == "__main__":
    main()
