"""Every architecture on the engine module itself, in wasmtime, against transformers and llama.cpp. CPython."""

import numpy as np
import pytest

from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm
from tests.unit.small_model_runs import (
    DECODERS,
    MIXED,
    ROWS,
    TEXT_ENCODERS,
    cosine,
    greedy,
    logits,
    opened,
    recorded,
    unpacked,
    vectors,
)
from tests.unit.test_models import JUDGED, WINDOWED


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture(scope="module", params=["simd", "relaxed"])
def engine(request, runtime, lm_modules):
    """Makes engines of one build."""
    return lambda: WasmtimeLm(runtime, lm_modules[request.param])


@pytest.mark.parametrize("name", DECODERS)
def test_logits_are_those_of_transformers(engine, name):
    model = opened(name, "f32")
    for found, text in zip(logits(engine(), model.program, model), recorded(name)["logits"], strict=True):
        assert np.abs(found - unpacked(text, ROWS, -1)).max() <= 1e-3


@pytest.mark.parametrize("name", DECODERS)
def test_with_8_bit_weights_the_logits_point_where_transformers_do(engine, name):
    model = opened(name, "q8_0")
    for found, text in zip(logits(engine(), model.program, model), recorded(name)["logits"], strict=True):
        assert cosine(found, unpacked(text, ROWS, -1)) >= 0.999


@pytest.mark.parametrize("name", MIXED)
def test_k_quants_give_the_logits_of_transformers(engine, name):
    model = opened(name, "f32")
    for found, text in zip(logits(engine(), model.program, model), recorded(name)["logits"], strict=True):
        assert cosine(found, unpacked(text, ROWS, -1)) >= 0.999


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("kind", ["q8_0", "q4_0"])
def test_quantised_logits_point_where_llama_cpp_with_the_same_weights_does(engine, name, kind):
    model, answers = opened(name, kind), recorded(name)["llama.cpp"][kind.upper()]["logits"]
    for found, text, _ in zip(logits(engine(), model.program, model), answers, JUDGED[name], strict=False):
        assert cosine(found[-1], unpacked(text, -1)) >= 0.999


@pytest.mark.parametrize("name", [n for n in DECODERS if n not in WINDOWED])
def test_greedy_tokens_are_those_of_llama_cpp(engine, name):
    wanted = recorded(name)["llama.cpp"]["F32"]["greedy"]
    assert greedy(engine(), opened(name, "f32"), len(wanted)) == wanted


@pytest.mark.parametrize("name", TEXT_ENCODERS)
@pytest.mark.parametrize(("kind", "least"), [("f32", 1 - 1e-9), ("q8_0", 0.9995)])
def test_vectors_point_where_transformers_do(engine, name, kind, least):
    model = opened(name, kind)
    for found, text in zip(vectors(engine(), model.program, model), recorded(name)["vectors"], strict=True):
        assert cosine(found, unpacked(text, -1)) >= least
