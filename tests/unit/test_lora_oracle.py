"""Training beside PyTorch with PEFT: the same data, order, start and rates give the same losses and the same adapter."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgenet.run import NumpyEngine
from tests.unit.lora_runs import loaded, losses, run, trained, trainer
from tests.unit.small_model_runs import unpacked
from tools.oracles.lora_course import LONG, TRAINING, fresh

FOLDER = Path(__file__).parents[1] / "vectors" / "training"
NAMES = ("llama", "qwen2")


def course(name, engine, config=TRAINING, kind="f32"):
    """(losses, all factors behind one another by module's path)."""

    async def all_of_it():
        made = trainer(await loaded(name, kind, engine), name, kind, config=config)
        events = await trained(made)
        return losses(events), flat(made.adapter().tensors)

    return run(all_of_it())


def flat(tensors):
    return np.concatenate([part.ravel() for path in sorted(tensors) for part in tensors[path]])


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("name", NAMES)
def test_twenty_steps_are_those_of_pytorch_and_peft(name):
    want = json.loads((FOLDER / f"{name}-course.json").read_text())
    found, factors = course(name, NumpyEngine())
    assert np.abs(np.array(found) / want["losses"] - 1).max() < 1e-4
    moved, moved_there = (values - flat(fresh(name)) for values in (factors, unpacked(want["factors"], -1)))
    assert cosine(moved, moved_there) > 0.9999
    assert found[-1] < 0.85 * found[0]


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_module_takes_the_same_twenty_steps(name, engine):
    want = json.loads((FOLDER / f"{name}-course.json").read_text())
    found, factors = course(name, engine())
    assert np.abs(np.array(found) / want["losses"] - 1).max() < 1e-3
    assert cosine(factors, unpacked(want["factors"], -1)) > 0.9999


@pytest.fixture
def engine(lm_modules):
    """Makes engines of the relaxed build."""
    from edgenet.host.wasmtime_engine import WasmtimeRuntime
    from edgenet.host.wasmtime_lm import WasmtimeLm

    with WasmtimeRuntime() as runtime:
        yield lambda: WasmtimeLm(runtime, lm_modules["relaxed"])


def by_tens(found):
    return np.array(found).reshape(-1, 10).mean(axis=1)


@pytest.mark.parametrize("steps", [20, pytest.param(200, marks=pytest.mark.long)])
@pytest.mark.parametrize("name", NAMES)
def test_quantised_products_lose_as_much_as_exact_ones(name, steps, engine):
    """Means of ten steps: from the same start, rounding makes two courses wander about each other."""
    exact, quick = (
        course(name, engine(), replace(TRAINING, max_steps=steps, dots=dots), "q8_0")[0] for dots in ("f32", "int8")
    )
    assert exact != quick and np.abs(by_tens(quick) / by_tens(exact) - 1).max() < 0.02


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_two_hundred_steps_beside_pytorch(name, engine):
    pytest.importorskip("peft")
    from tools.oracles.lora_training import course as theirs
    from tools.oracles.lora_training import flat as theirs_flat

    want, ends = theirs(name, fresh(name), LONG)
    found, factors = course(name, engine(), LONG)
    assert np.abs(np.array(found) / want - 1).max() < 0.01
    assert cosine(factors, theirs_flat(ends)) >= 0.999
    print(
        f"{name}: losses within {np.abs(np.array(found) / want - 1).max():.2e}, cosine {cosine(factors, theirs_flat(ends)):.6f}"
    )
