"""The engine's face over wasmtime: Programs of small random models answer as in NumPy; what is refused, and that memory is given back."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from edgenet import errors
from edgenet.graph import Capacity, compile
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm, plan_memory
from edgenet.run import NumpyEngine
from tests.unit.graph_models import FORMS, ask, decoder, encoder, weights

CAPACITY = Capacity(rows=24, wanted=24, sequences=3, context=32, page=4, sample=False)


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture(params=["simd", "relaxed"])
def make(request, lm_modules, runtime):
    return lambda **more: WasmtimeLm(runtime, lm_modules[request.param], **more)


def loaded(engine, graph, capacity=CAPACITY):
    asyncio.run(engine.load(compile(graph, capacity), weights(graph)))
    return engine


def logits(engine, seed=3):
    """Of 20 tokens of two sequences, a run of 13 rows and one of 7."""
    rng = np.random.default_rng(seed)
    asyncio.run(engine.write("pages", rng.permutation(24).reshape(3, 8)))
    tokens, sequences = rng.integers(0, 50, 20), np.array([0, 1] * 10)
    found = []
    for rows in (slice(0, 13), slice(13, 20)):
        n = rows.stop - rows.start
        given = {"tokens": tokens[rows], "positions": (np.arange(20) // 2)[rows], "sequences": sequences[rows]}
        found.append(asyncio.run(ask(engine, "logits", **given, wanted=np.arange(n))))
    return np.concatenate(found)


def close(got, want, tolerance):
    return np.abs(got - want).max() <= tolerance * np.abs(want).max()


@pytest.mark.parametrize("dtype", ["f32", "q8_0", "q4_0"])
@pytest.mark.parametrize("form", FORMS)
def test_a_decoder_answers_as_in_numpy(make, form, dtype):
    graph = decoder(replace(FORMS[form], dtype=dtype))
    assert close(logits(loaded(make(), graph)), logits(loaded(NumpyEngine(), graph)), 2e-3 if dtype != "f32" else 1e-4)


@pytest.mark.parametrize("kv", ["q8", "q4"])
def test_a_decoder_with_a_packed_cache_answers_as_in_numpy(make, kv):
    graph, capacity = decoder(FORMS["llama"]), replace(CAPACITY, kv=kv)
    assert close(logits(loaded(make(), graph, capacity)), logits(loaded(NumpyEngine(), graph, capacity)), 0.02)


def test_an_encoder_answers_as_in_numpy(make):
    graph = encoder()
    rng = np.random.default_rng(1)
    given = {"tokens": rng.integers(0, 50, 12), "positions": [*range(5), *range(7)], "sequences": [0] * 5 + [1] * 7}
    got, want = (asyncio.run(ask(loaded(e, graph), "embedding", **given)) for e in (make(), NumpyEngine()))
    assert close(got, want, 1e-5)


def test_a_copied_page_answers_as_its_source(make):
    engine = loaded(make(), decoder(FORMS["qwen2"]))
    table, last = np.arange(24).reshape(3, 8), {"tokens": [7], "positions": [6], "sequences": [0], "wanted": [0]}
    asyncio.run(engine.write("pages", table))
    asyncio.run(ask(engine, "logits", tokens=range(6), positions=range(6), sequences=[0] * 6, wanted=[5]))
    want = asyncio.run(ask(engine, "logits", **last))
    table[0, :2] = 20, 21
    asyncio.run(engine.write("pages", table))
    engine.copy_page(0, 20)
    assert (asyncio.run(ask(engine, "logits", **last)) != want).any()  # page 21 is still empty
    engine.copy_page(1, 21)
    assert (asyncio.run(ask(engine, "logits", **last)) == want).all()


def test_a_bad_token_is_an_error_and_the_engine_goes_on(make):
    engine = loaded(make(), decoder(FORMS["llama"]))
    want = logits(engine)
    rows = {"tokens": [50], "positions": [0], "sequences": [0], "wanted": [0]}
    with pytest.raises(errors.KernelTrap) as caught:
        asyncio.run(ask(engine, "logits", **rows))
    assert caught.value.details["returned"] == 1
    assert (logits(engine) == want).all()


def test_a_run_past_its_deadline_ends_the_engine(make):
    engine = make(budget=4000)
    loaded(engine, decoder(FORMS["llama"]))
    engine._instance.budget = 0
    with pytest.raises(errors.EpochDeadline):
        for _ in range(2000):
            asyncio.run(
                ask(engine, "logits", tokens=[1] * 24, positions=range(24), sequences=[0] * 24, wanted=range(24))
            )
    with pytest.raises(errors.NoModel):
        logits(engine)


def test_what_is_no_weight_is_refused(make):
    graph = decoder(FORMS["llama"])
    program, good = compile(graph, CAPACITY), weights(graph)
    for spoil, error in (
        (lambda k, raw: (k, raw[:-1]), errors.WrongLength),
        (lambda k, raw: (k, b"\xff" * len(raw)), errors.ModelInvalid),
    ):
        with pytest.raises(error):
            asyncio.run(make().load(program, lambda name, spoil=spoil: spoil(*good(name))))


def test_a_model_beyond_32_bits_is_refused_with_the_number():
    program = compile(decoder(FORMS["llama"]), CAPACITY)
    huge = replace(program, regions=program.regions | {"kv": 1 << 32})
    with pytest.raises(errors.ModelTooLarge, match=str(1 << 32)):
        plan_memory(huge, 1 << 17)


def test_nothing_answers_before_load_or_after_dispose(make):
    engine = make()
    with pytest.raises(errors.NoModel):
        asyncio.run(engine.read("logits"))
    loaded(engine, decoder(FORMS["llama"]))
    for _ in range(2):
        asyncio.run(engine.dispose())
    with pytest.raises(errors.Disposed):
        asyncio.run(engine.read("logits"))


def test_a_load_that_fails_leaves_the_model_before_it_or_none(make):
    """A Program that has no room takes nothing away; one whose weights are wrong leaves an engine that says it is empty."""
    graph = decoder(FORMS["llama"])
    engine = loaded(make(), graph)
    before, program = logits(engine), compile(graph, CAPACITY)
    rest = sum(w.bytes for w in program.weights) + sum(program.regions.values())  # beside the module's own data
    huge = replace(program, regions=program.regions | {"arena": (1 << 32) - 4096 - rest})
    with pytest.raises(errors.ModelTooLarge):
        asyncio.run(engine.load(huge, weights(graph)))
    assert (logits(engine) == before).all()
    with pytest.raises(errors.WrongLength):
        asyncio.run(engine.load(program, lambda name: ("f32", b"")))
    with pytest.raises(errors.NoModel):
        logits(engine)
    assert (logits(loaded(engine, graph)) == before).all()
