"""Runs training steps of the small models of tools/oracles through an engine: the same batch and factors for all."""

from dataclasses import replace
from functools import cache

import numpy as np

from edgenet.graph import Capacity, compile
from edgenet.models.compiled import locate, read_values
from edgenet.models.training import training_graphs
from tests.unit.graph_models import now
from tests.unit.small_model_runs import SmallModel, opened
from tools.oracles.lora_batch import LENGTHS, LORA, batch, parameters

ROWS, TEXTS = sum(LENGTHS), len(LENGTHS)
CAPACITY = Capacity(rows=ROWS + 3, sequences=TEXTS + 1, context=16, sample=False)
CHUNK = 96  # of a vocabulary of 300: three whole chunks and a short one, which is no block of quantised rows


def values_of(model: SmallModel) -> dict[str, list[float]]:
    return read_values(model.header, lambda part, offset, length: model.data[offset : offset + length])


def graphs(name: str, kind: str = "f32", **more) -> dict:
    model = opened(name, kind)
    return training_graphs(model.header, LORA, values=values_of(model), chunk=CHUNK, **more)


@cache
def programs(name: str, kind: str = "f32", dots: str = "int8", **more) -> dict:
    """As `training_programs` gives them, but with the vocabulary in chunks."""
    header, capacity = opened(name, kind).header, replace(CAPACITY, wanted=1, dots=dots)
    return {n: compile(g, capacity, lambda w: locate(header, w)) for n, g in graphs(name, kind, **more).items()}


def weights_of(model: SmallModel):
    """name -> (type, bytes), row ranges too."""

    def weights(name: str) -> tuple[str, bytes]:
        whole, _, part = name.partition("[")
        tensor = model.header.tensors[whole]
        first, last = (int(n) for n in part[:-1].split(":")) if part else (0, tensor.shape[0])
        row = tensor.bytes // tensor.shape[0]
        return tensor.type, model.data[tensor.offset + first * row : tensor.offset + last * row]

    return weights


def taught(engine, name: str, kind: str, added: dict):
    """The engine with a model of type `kind`, training programs or graphs beside it, the batch and the factors written."""
    model = opened(name, kind)
    now(engine.load(added["loaded"], weights_of(model)))
    now(engine.add({n: p for n, p in added.items() if n != "loaded"}))
    for program in ("train", "evaluate"):
        for buffer, array in batch().items():
            now(engine.write(buffer, array, program))
    now(engine.write("parameters", parameters(model.header), "train"))
    return engine


def step(engine, program: str = "train") -> np.ndarray:
    """The losses of the batch."""
    now(engine.run(program, n=ROWS, m=0, s=TEXTS))
    return now(engine.read("losses", program))


def gradients(engine) -> np.ndarray:
    """The state that `train` adds to."""
    return now(engine.read("gradients", "train"))


def close(found: np.ndarray, wanted: np.ndarray, tolerance: float) -> None:
    """Within a tolerance relative to the largest magnitude."""
    assert np.abs(found - wanted).max() <= tolerance * np.abs(wanted).max()
