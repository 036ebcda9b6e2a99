"""Hostile metadata and tensor lists: a header gives a Program or a named failure, never anything else. CPython (hypothesis)."""

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet import errors
from edgenet.graph import Capacity
from edgenet.models.compiled import compile_gguf
from tests.unit.small_model_runs import opened
from tools.oracles.small_models import MODELS

NUMBERS = [
    0,
    1,
    -1,
    2,
    3,
    7,
    15,
    17,
    64,
    1 << 16,
    (1 << 31) - 1,
    1 << 31,
    1 << 40,
    1 << 63,
    1e-45,
    1e-30,
    0.5,
    1e30,
    3.5e38,
]
OTHERS = [float("nan"), float("inf"), "", "yarn", "dynamic", "longrope", "linear", "x" * 300, True, None, [], ["a"]]
VALUES = st.sampled_from([*NUMBERS, *OTHERS, array("I"), array("I", [2, 2]), array("f", [1.0, float("nan")])])
SHAPES = st.sampled_from([(), (1,), (64,), (0, 0), (1, 1), (64, 64), (300, 64), (1 << 40, 1 << 20), (2, 3, 4)])
EXTRA = (
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.freq_base",
    "rope.dimension_count",
    "attention.key_length",
    "attention.scale",
    "attention.sliding_window",
    "attn_logit_softcapping",
    "expert_count",
    "pooling_type",
)


@st.composite
def headers(draw):
    """The header of a small model with a few keys, tensors and types changed or gone."""
    small = draw(st.sampled_from(sorted(MODELS)))
    made = opened(small, "f32").header
    keys = [k for k in made.metadata if not k.startswith("tokenizer.")] + [f"{made.architecture}.{k}" for k in EXTRA]
    metadata, tensors = dict(made.metadata), dict(made.tensors)
    for key, value in draw(st.dictionaries(st.sampled_from(keys), VALUES, max_size=3)).items():
        metadata[key] = value
    for name, shape in draw(st.dictionaries(st.sampled_from(list(tensors)), SHAPES, max_size=2)).items():
        tensors[name] = replace(tensors[name], shape=shape)
    if draw(st.booleans()):
        tensors.pop(draw(st.sampled_from(list(tensors))))
    return small, replace(made, metadata=metadata, tensors=tensors)


CAPACITY = Capacity(rows=8, wanted=2, sequences=2, context=32, sample=False)
_FACTORS = st.lists(st.sampled_from([1.0, 2.0, 0.0, -1.0, float("nan"), 1e-300, 1e300]), max_size=9)


@given(headers(), st.dictionaries(st.sampled_from(["rope_freqs.weight", "rope_factors_long.weight"]), _FACTORS))
def test_a_header_gives_a_program_or_a_named_failure(case, factors):
    name, header = case
    try:
        compile_gguf(header, CAPACITY, MODELS[name].extra | factors).program.to_json()
    except errors.EdgeNetError as error:
        assert error.message and len(error.message) < 1000


def test_what_is_fuzzed_compiles_when_nothing_is_changed():
    for name, small in MODELS.items():
        assert compile_gguf(opened(name, "f32").header, CAPACITY, small.extra).program.code


def test_a_failure_is_a_failure_of_the_file():
    with pytest.raises(errors.InvalidGguf):
        compile_gguf(replace(opened("llama", "f32").header, metadata={}), CAPACITY)
