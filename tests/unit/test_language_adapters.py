"""LanguageSession with adapters, in wasmtime and in NumPy: PEFT's numbers, mixes, choices, the pool, failures. CPython."""

import asyncio

import numpy as np
import pytest

from edgenet.errors import (
    AdapterMismatch,
    AdapterNotFound,
    AdapterPoolFull,
    InvalidOption,
    NotSupported,
    OutputNotFinite,
)
from edgenet.graph import Capacity
from edgenet.host.tokenizer import text_tokenizer
from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm
from edgenet.language import LanguageSession
from edgenet.lora.config import MODULES
from edgenet.models import adapted
from edgenet.models.compiled import compile_gguf, default_capacity, read_values
from edgenet.run import NumpyEngine
from edgenet.run.adapters import EngineAdapters
from edgenet.text.sampling import Sampling
from tests.adapters import header_of, merged, random_adapter
from tests.unit import small_adapters
from tools.oracles.small_adapters import PROMPT
from tools.oracles.small_models import ROWS

CAPACITY = Capacity(rows=32, wanted=6, sequences=2, context=64, page=16)


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture(scope="module")
def engines(runtime, lm_modules):
    return {"numpy": NumpyEngine, "wasmtime": lambda: WasmtimeLm(runtime, lm_modules["relaxed"])}


class Opened:
    """A small model's file in an engine, with a place for adapters. `session`: on it."""

    def __init__(self, data, engine):
        self.engine, self.header = engine, header_of(data)
        values = read_values(self.header, lambda part, offset, length: data[offset : offset + length])
        self.made = compile_gguf(self.header, CAPACITY, values)
        places = {w.name: w for w in self.made.program.weights}

        def weights(name):
            found = places[name]
            return found.type, data[found.offset : found.offset + found.bytes]

        asyncio.run(engine.load(self.made.program, weights))
        self.adapters = EngineAdapters(engine, self.header, self.made.program.capacity, values)
        tokenizer = text_tokenizer(self.made.tokenizer)
        self.session = LanguageSession(
            engine, self.made.program, tokenizer, self.made.generation, lambda: 7, self.adapters
        )

    def load(self, *adapters):
        for adapter in adapters:
            asyncio.run(self.session.load_adapter(adapter))
        return self

    def drawn(self, prompt, **options):
        asyncio.run(self.session.generate(prompt, **{"max_tokens": 12, "temperature": 0, **options}))
        return self.session.last.tokens

    def logits(self, program=None, mix=None, rows=ROWS, tokens=PROMPT, sequences=None):
        """The last `rows` rows after these tokens; `mix` (n, slots)."""
        n = len(tokens)
        positions = np.arange(n) if sequences is None else [sequences[:i].count(s) for i, s in enumerate(sequences)]
        greedy = np.frombuffer(Sampling(temperature=0, seed=0).row(0, [1])[0], "<u4")
        arrays = {
            "tokens": tokens,
            "positions": positions,
            "sequences": sequences or [0] * n,
            "wanted": range(n - rows, n),
        }
        pages = np.arange(CAPACITY.pages).reshape(CAPACITY.sequences, -1)
        arrays |= {"pages": pages, "history": np.zeros((rows, 256)), "sampling": np.tile(greedy, (rows, 1))}
        dtypes = {"sampling": np.uint32, "mix": np.float32}

        async def run():
            for name, array in (arrays | ({} if mix is None else {"mix": mix})).items():
                await self.engine.write(name, np.asarray(list(array), dtypes.get(name, np.int32)), program)
            await self.engine.run(program, n=n, m=rows, s=1 + max(sequences or [0]))
            return await self.engine.read("logits", program)

        return asyncio.run(run())

    def mixed(self, wanted, **how):
        asyncio.run(self.adapters.mix(self.adapters.choice(wanted), len(PROMPT)))
        return self.logits("adapted", **how)


def opened(engines, data, name="wasmtime"):
    return Opened(data, engines[name]())


def cosine(a, b):
    return float(np.ravel(a) @ np.ravel(b) / np.linalg.norm(a) / np.linalg.norm(b))


# --- numbers
@pytest.mark.parametrize("engine", ["numpy", "wasmtime"])
@pytest.mark.parametrize("name", small_adapters.NAMES)
def test_the_logits_are_those_of_peft(engines, name, engine):
    model = opened(engines, small_adapters.base(name), engine).load(small_adapters.adapter(name).renamed("a"))
    wanted = small_adapters.unpacked(small_adapters.recorded(name)["logits"], ROWS, -1)
    np.testing.assert_allclose(model.mixed("a"), wanted, atol=1e-3)
    assert cosine(model.logits(), wanted) < 0.9, "without it the model says something else"


@pytest.mark.parametrize("name", small_adapters.NAMES)
def test_on_quantised_weights_they_are_those_of_the_weights_expanded(engines, name):
    data = small_adapters.base(name, "q8_0")
    adapter = small_adapters.adapter(name).renamed("a")
    expanded = opened(engines, merged(data, (adapter, 1)))
    assert cosine(opened(engines, data).load(adapter).mixed("a"), expanded.logits()) > 0.999


def two(header):
    return random_adapter(header, "a"), random_adapter(header, "b", rank=2, modules=("k_proj", "up_proj"))


def test_scales_and_several_at_once_add_up(engines):
    data = small_adapters.base("qwen2")
    model = opened(engines, data)
    a, b = two(model.header)
    found = model.load(a, b).mixed({"a": 0.5, "b": -2})
    np.testing.assert_allclose(found, opened(engines, merged(data, (a, 0.5), (b, -2))).logits(), atol=1e-3)


def test_rows_of_one_run_have_the_bits_that_each_has_alone(engines):
    model = opened(engines, small_adapters.base("llama", "q8_0"))
    model.load(*two(model.header)).mixed({"a": 1, "b": 1})
    slots = adapted.SLOTS
    alone = []
    for row in ({}, {0: 1.0}, {1: 0.5}):
        mix = np.zeros((5, slots), np.float32)
        for slot, scale in row.items():
            mix[:, slot] = scale
        alone.append((mix, model.logits("adapted", mix, rows=1, tokens=PROMPT[:5])))
    for i, j in ((0, 1), (1, 2), (2, 0)):
        both = np.concatenate([alone[i][0], alone[j][0]])
        sequences = [0] * 5 + [1] * 5
        found = model.logits("adapted", both, rows=6, tokens=PROMPT[:5] * 2, sequences=sequences)
        assert np.array_equal(found[0], alone[i][1][0]) and np.array_equal(found[5], alone[j][1][0])
    assert np.array_equal(alone[0][1], model.logits(rows=1, tokens=PROMPT[:5])), "without any: the plain Program's bits"


# --- the session
@pytest.fixture
def model(engines):
    it = opened(engines, small_adapters.base("qwen2"))
    return it.load(*two(it.header))


@pytest.fixture
def alone(model):
    """{name: tokens} of what each says by itself."""
    return {name: model.drawn(PROMPT, adapters=name or ()) for name in ("", "a", "b")}


def test_requests_choose_and_what_is_used_is_chosen_where_they_do_not(model, alone):
    assert len({tuple(tokens) for tokens in alone.values()}) == 3
    model.session.use("a")
    assert (model.drawn(PROMPT), model.drawn(PROMPT, adapters="b"), model.drawn(PROMPT, adapters=())) == (
        alone["a"],
        alone["b"],
        alone[""],
    )
    model.session.use({"a": 0.0})
    assert model.drawn(PROMPT) == alone[""]


def test_what_was_computed_with_other_adapters_is_not_believed(model, alone):
    cached = []
    for name in ("a", "a", "b", "", "a"):
        assert model.drawn(PROMPT, adapters=name or ()) == alone[name]
        cached.append(model.session.last.cached_tokens)
    assert cached == [0, len(PROMPT) - 1, 0, 0, 0]


def test_an_id_that_is_taken_is_another_adapter_from_then_on(model, alone):
    model.drawn(PROMPT, adapters="a")
    b = two(model.header)[1]
    asyncio.run(model.session.load_adapter(b, "a"))
    assert model.drawn(PROMPT, adapters="a") == alone["b"]
    model.session.use("a")
    model.session.unload_adapter("a")
    assert model.drawn(PROMPT) == alone[""]


def test_more_than_the_pool_holds_take_turns_in_it(model, alone):
    for i in range(adapted.SLOTS + 1):
        model.load(random_adapter(model.header, f"n{i}", rank=8))
        model.drawn(PROMPT, adapters=f"n{i}", max_tokens=1)
    assert model.drawn(PROMPT, adapters="a") == alone["a"]


FAILURES = {
    "one that nobody loaded": (lambda m: m.drawn([1], adapters="c"), AdapterNotFound),
    "one that is used and nobody loaded": (lambda m: m.session.use(["a", "c"]), AdapterNotFound),
    "one that is unloaded and nobody loaded": (lambda m: m.session.unload_adapter("c"), AdapterNotFound),
    "one named twice": (lambda m: m.drawn([1], adapters=["a", "a"]), InvalidOption),
    "a scale that is none": (lambda m: m.drawn([1], adapters={"a": float("nan")}), InvalidOption),
    "a scale that is a text": (lambda m: m.drawn([1], adapters={"a": "0.5"}), InvalidOption),
    "an id that is none": (lambda m: m.drawn([1], adapters=[{"id": "a", "scale": 1}]), InvalidOption),
    "one of another model": (
        lambda m: m.load(random_adapter(small_adapters.header("phi2"), "p", modules=("fc1",))),
        AdapterMismatch,
    ),
    "one larger than the pool": (lambda m: m.load(random_adapter(m.header, "large", 256, MODULES)), AdapterPoolFull),
    "numbers too large": (lambda m: m.drawn([1], adapters={"a": 1e38}), OutputNotFinite),
}


@pytest.mark.parametrize("why", FAILURES)
def test_what_cannot_be_done_is_named_and_the_session_goes_on(model, alone, why):
    work, error = FAILURES[why]
    with pytest.raises(error):
        work(model)
    assert model.drawn(PROMPT, adapters="a") == alone["a"]


def test_a_session_without_a_place_for_adapters_says_so(model):
    plain = LanguageSession(model.engine, model.made.program, model.session.tokenizer, model.made.generation, lambda: 7)
    with pytest.raises(NotSupported):
        asyncio.run(plain.load_adapter(two(model.header)[0]))


def test_an_encoder_has_no_place_for_them():
    header = small_adapters.header("bert")
    with pytest.raises(NotSupported):
        adapted.compile_adapted(header, default_capacity(header))
