"""Trainers of the small models of tools/oracles on any engine. CPython and Pyodide."""

from edgenet.graph import Capacity
from edgenet.lora.trainer import Trainer
from edgenet.models.compiled import compile_gguf
from edgenet.run import NumpyEngine
from tests.unit.small_model_runs import opened
from tests.unit.training_runs import values_of, weights_of
from tools.oracles.lora_course import LORA, TRAINING, dataset

SMALL = Capacity(rows=1, wanted=1, sequences=1, context=16, page=16)


async def loaded(name: str, kind: str = "f32", engine=None):
    """An engine that holds a small model of type `kind`."""
    model, engine = opened(name, kind), engine or NumpyEngine()
    await engine.load(compile_gguf(model.header, SMALL, values_of(model)).program, weights_of(model))
    return engine


def trainer(engine, name: str, kind: str = "f32", *, config=TRAINING, lora=LORA, data=None, **more) -> Trainer:
    model = opened(name, kind)
    return Trainer(engine, model.header, data or dataset(config), lora, config, values=values_of(model), **more)


async def trained(made: Trainer) -> list[dict]:
    """All its events."""
    return [event async for event in made]


def losses(events) -> list[float]:
    return [event["loss"] for event in events if event["kind"] == "step"]


def run(coroutine):
    """Its result. Engines of this process only ever yield, so it needs no event loop, which a page's Python cannot start."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return end.value
