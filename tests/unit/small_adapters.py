"""The adapters that PEFT made of the small models, opened; bases to bind them to. Needs NumPy alone; runs in Pyodide too."""

import base64
import json
from functools import cache
from pathlib import Path

import numpy as np

from edgenet.formats.gguf import Header, read_header
from edgenet.lora import peft
from tools.oracles.small_adapters import CASES, base

FOLDER = Path(__file__).parents[1] / "vectors" / "adapters"
NAMES = list(CASES)


@cache
def recorded(name: str) -> dict:
    """What PEFT said."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def files(name: str) -> dict[str, bytes]:
    """The folder that PEFT wrote. `taught-llama` and so on: of an adapter that it also trained."""
    row = recorded(name)
    return {peft.CONFIG: row["config"].encode(), peft.WEIGHTS: base64.b64decode(row["weights"])}


@cache
def adapter(name: str):
    return peft.read(files(name), name, warn=lambda text: None)


@cache
def header(model: str, kind: str = "f32") -> Header:
    data = base(model, kind)
    return read_header(lambda offset, length: data[offset : offset + length], len(data))


def unpacked(text: str, *shape: int) -> np.ndarray:
    """f32 numbers of a recorded answer."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(*shape)
