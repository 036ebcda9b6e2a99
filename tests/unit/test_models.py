"""Every architecture against transformers and llama.cpp, whose answers tools/oracles/models.py recorded for small random models."""

import numpy as np
import pytest

from edgenet.run import GraphEngine, NumpyEngine
from tests.unit.small_model_runs import (
    DECODERS,
    MIXED,
    PROMPTS,
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
from tools.oracles.small_models import MODELS

WINDOWED = {
    n for n in DECODERS if MODELS[n].architecture in ("llama", "phi3") and MODELS[n].value("attention.sliding_window")
}
# Prompts that llama.cpp can judge: of these architectures it ignores the window, so only the first, which fits in it.
JUDGED = {name: PROMPTS[:1] if name in WINDOWED else PROMPTS for name in DECODERS}
LLAMA_CPP_GELU = 2e-3  # its GELU is a table of f16 values


def graph_logits(name: str, kind: str) -> list[np.ndarray]:
    model = opened(name, kind)
    return logits(GraphEngine(model.capacity, "f64"), model.graph, model)


def program_logits(name: str, kind: str, kv: str = "f32") -> list[np.ndarray]:
    model = opened(name, kind, kv)
    return logits(NumpyEngine(), model.program, model)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("run", [graph_logits, program_logits])
def test_logits_are_those_of_transformers(run, name):
    for found, text in zip(run(name, "f32"), recorded(name)["logits"], strict=True):
        assert np.abs(found - unpacked(text, ROWS, -1)).max() <= 1e-4


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("run", [graph_logits, program_logits])
def test_with_8_bit_weights_the_logits_point_where_transformers_do(run, name):
    for found, text in zip(run(name, "q8_0"), recorded(name)["logits"], strict=True):
        assert cosine(found, unpacked(text, ROWS, -1)) >= 0.999


@pytest.mark.parametrize("name", DECODERS)
def test_last_logits_are_those_of_llama_cpp(name):
    answers = recorded(name)["llama.cpp"]["F32"]["logits"]
    for found, text, _ in zip(program_logits(name, "f32"), answers, JUDGED[name], strict=False):
        assert np.abs(found[-1] - unpacked(text, -1)).max() <= LLAMA_CPP_GELU


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(("kind", "least"), [("q8_0", 0.999), ("q4_0", 0.999)])
def test_quantised_logits_point_where_llama_cpp_with_the_same_weights_does(name, kind, least):
    answers = recorded(name)["llama.cpp"][kind.upper()]["logits"]
    for found, text, _ in zip(program_logits(name, kind), answers, JUDGED[name], strict=False):
        assert cosine(found[-1], unpacked(text, -1)) >= least


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.parametrize("run", [graph_logits, program_logits])
def test_k_quants_give_the_logits_of_both(run, name):
    theirs = zip(recorded(name)["logits"], recorded(name)["llama.cpp"]["F32"]["logits"], strict=True)
    for found, (transformers, llama_cpp) in zip(run(name, "f32"), theirs, strict=True):
        assert cosine(found, unpacked(transformers, ROWS, -1)) >= 0.9995
        assert cosine(found[-1], unpacked(llama_cpp, -1)) >= 0.998  # its activations have one scale per 256 values


@pytest.mark.parametrize("name", [n for n in DECODERS if n not in WINDOWED])
def test_greedy_tokens_are_those_of_llama_cpp(name):
    wanted = recorded(name)["llama.cpp"]["F32"]["greedy"]
    assert greedy(NumpyEngine(), opened(name, "f32"), len(wanted)) == wanted


@pytest.mark.parametrize("name", [n for n in DECODERS if MODELS[n].sizes()["h"] % 16 == 0])
@pytest.mark.parametrize(("kv", "least"), [("q8", 0.9995), ("q4", 0.95)])
def test_packed_keys_and_values_change_little(name, kv, least):
    for found, text in zip(program_logits(name, "f32", kv), recorded(name)["logits"], strict=True):
        assert cosine(found, unpacked(text, ROWS, -1)) >= least


@pytest.mark.parametrize("name", TEXT_ENCODERS)
@pytest.mark.parametrize(("kind", "least"), [("f32", 1 - 1e-9), ("q8_0", 0.9995), ("q4_0", 0.97)])
def test_vectors_point_where_transformers_do(name, kind, least):
    model = opened(name, kind)
    for engine, what in ((GraphEngine(model.capacity, "f64"), model.graph), (NumpyEngine(), model.program)):
        for found, text in zip(vectors(engine, what, model), recorded(name)["vectors"], strict=True):
            assert cosine(found, unpacked(text, -1)) >= least


@pytest.mark.parametrize("name", TEXT_ENCODERS)
@pytest.mark.parametrize("kind", ["f32", "q8_0", "q4_0"])
def test_vectors_point_where_llama_cpp_with_the_same_weights_does(name, kind):
    model = opened(name, kind)
    answers = recorded(name)["llama.cpp"][kind.upper()]["vectors"]
    for found, text in zip(vectors(NumpyEngine(), model.program, model), answers, strict=True):
        assert cosine(found, unpacked(text, -1)) >= 0.999


def test_the_two_oracles_agree_with_each_other():
    for name in DECODERS:
        pair = zip(recorded(name)["logits"], recorded(name)["llama.cpp"]["F32"]["logits"], JUDGED[name], strict=False)
        for theirs, llama_cpp, _ in pair:
            assert np.abs(unpacked(theirs, ROWS, -1)[-1] - unpacked(llama_cpp, -1)).max() <= LLAMA_CPP_GELU
