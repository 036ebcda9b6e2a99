"""What a model's file must say: every lack and contradiction is named. Rope scalings against transformers' own functions."""

import json
from array import array
from dataclasses import replace

import pytest

from edgenet import errors
from edgenet.formats.gguf import Header, TensorInfo
from edgenet.graph import Capacity
from edgenet.models import ARCHITECTURES, build, values_needed
from edgenet.models.compiled import compile_gguf, default_capacity, locate, memory, read_values
from edgenet.models.metadata import Metadata
from edgenet.models.rope_scaling import frequencies
from tests.unit.small_model_runs import FOLDER, opened
from tools.oracles.small_models import MODELS

ROPE = json.loads((FOLDER / "rope.json").read_text("utf-8"))["cases"]


def header(
    name: str = "llama", *, without: str = "", metadata: dict | None = None, shape: tuple | None = None
) -> Header:
    """The header of a small model, with a key or tensor left out, metadata changed, or blk.0.ffn_up.weight of another shape."""
    made = opened(name, "f32").header
    tensors = {n: t for n, t in made.tensors.items() if n != without}
    if shape is not None:
        tensors["blk.0.ffn_up.weight"] = TensorInfo("blk.0.ffn_up.weight", "f32", shape, 0, 0)
    kept = {k: v for k, v in (made.metadata | (metadata or {})).items() if k != without}
    return replace(made, metadata=kept, tensors=tensors)


REFUSED = {
    "no architecture": (header(without="general.architecture"), errors.MetadataMissing, "general.architecture"),
    "an architecture nobody wrote": (
        header(metadata={"general.architecture": "rwkv9"}),
        errors.UnknownArchitecture,
        "qwen2",
    ),
    "an architecture that is a number": (
        header(metadata={"general.architecture": 7}),
        errors.MetadataContradicts,
        "text",
    ),
    "no number of layers": (header(without="llama.block_count"), errors.MetadataMissing, "llama.block_count"),
    "layers beyond all models": (header(metadata={"llama.block_count": 1 << 31}), errors.MetadataContradicts, "1024"),
    "more layers than the file has": (
        header(metadata={"llama.block_count": 3}),
        errors.MissingTensor,
        "blk.2.attn_norm",
    ),
    "a width that is a text": (
        header(metadata={"llama.embedding_length": "64"}),
        errors.MetadataContradicts,
        "whole number",
    ),
    "heads that do not divide the width": (
        header(metadata={"llama.attention.head_count": 5}),
        errors.MetadataContradicts,
        "5",
    ),
    "groups that do not divide the heads": (
        header(metadata={"llama.attention.head_count_kv": 3}),
        errors.MetadataContradicts,
        "3",
    ),
    "heads that differ by layer": (
        header(metadata={"llama.attention.head_count_kv": array("I", [2, 4])}),
        errors.MetadataContradicts,
        "differ",
    ),
    "half a rotary pair": (header(metadata={"llama.rope.dimension_count": 15}), errors.MetadataContradicts, "pairs"),
    "more rotary values than a head has": (
        header(metadata={"llama.rope.dimension_count": 64}),
        errors.MetadataContradicts,
        "16",
    ),
    "an epsilon that is not a number": (
        header(metadata={"llama.attention.layer_norm_rms_epsilon": float("nan")}),
        errors.MetadataContradicts,
        "epsilon",
    ),
    "no epsilon": (header(without="llama.attention.layer_norm_rms_epsilon"), errors.MetadataMissing, "epsilon"),
    "values wider than keys": (
        header(metadata={"llama.attention.value_length": 32}),
        errors.NotSupported,
        "values of 32",
    ),
    "experts": (header(metadata={"llama.expert_count": 8}), errors.NotSupported, "mixture"),
    "a scaling nobody knows": (header(metadata={"llama.rope.scaling.type": "magic"}), errors.NotSupported, "yarn"),
    "no embedding": (header(without="token_embd.weight"), errors.MissingTensor, "token_embd.weight"),
    "no matrix of a layer": (header(without="blk.1.ffn_down.weight"), errors.MissingTensor, "blk.1.ffn_down.weight"),
    "a matrix on its side": (header(shape=(64, 96)), errors.WrongTensorShape, "(64, 96)"),
    "a matrix with rows to spare, which is no fused one": (
        header("gemma", shape=(95, 64)),
        errors.WrongTensorShape,
        "(95, 64)",
    ),
    "a matrix longer than it should be": (header(shape=(100, 64)), errors.WrongTensorShape, "(96, 64)"),
    "no gate": (header(without="blk.0.ffn_gate.weight"), errors.MissingTensor, "blk.0.ffn_gate.weight"),
    "a matrix of three axes": (header(shape=(1, 96, 64)), errors.WrongTensorShape, "(1, 96, 64)"),
    "a tensor of no axes": (header(shape=()), errors.WrongTensorShape, "()"),
    "a fused matrix longer than its parts": (header("phi3", shape=(200, 64)), errors.WrongTensorShape, "(192, 64)"),
    "a pooling that gives no vector": (
        header("bert", metadata={"bert.pooling_type": 4}),
        errors.NotSupported,
        "pooling_type",
    ),
    "rope factors that were not read": (header("llama-3"), errors.TensorValuesNeeded, "rope_freqs.weight"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_a_file_lacks_or_contradicts_is_named(title):
    made, kind, word = REFUSED[title]
    with pytest.raises(kind) as caught:
        build(made)
    assert type(caught.value) is kind and word in caught.value.message


def test_an_unknown_architecture_names_all_that_are_known():
    with pytest.raises(errors.UnknownArchitecture) as caught:
        build(header(metadata={"general.architecture": "rwkv9"}))
    assert caught.value.details["known"] == list(ARCHITECTURES)


def test_every_architecture_has_a_small_model():
    built = {small.architecture for small in MODELS.values()} | {"mistral"}  # which is llama under its own name
    assert built == set(ARCHITECTURES)


@pytest.mark.parametrize("count", [3, 20_000])
def test_rope_factors_must_be_as_many_as_rotary_pairs(count):
    made = header("llama-3")
    with pytest.raises(errors.MetadataContradicts, match="8 positive numbers"):
        build(made, {"rope_freqs.weight": [1.0] * count})


@pytest.mark.parametrize("title", ROPE)
def test_rope_frequencies_and_magnitude_are_those_of_transformers(title):
    case = ROPE[title]
    rates, magnitude = frequencies(Metadata(case["metadata"]), case["size"], case["context"], case["values"])
    assert rates == pytest.approx(case["frequencies"], rel=1e-6) and magnitude == pytest.approx(
        case["magnitude"], rel=1e-6
    )


def test_a_number_that_is_given_for_every_layer_counts_when_all_are_the_same():
    made = header(metadata={"llama.attention.head_count_kv": array("I", [2, 2])})
    assert len(build(made).nodes) == len(build(header()).nodes)


def test_a_part_of_a_fused_matrix_is_a_range_of_the_files_bytes():
    made = opened("phi3", "q8_0").header
    whole = made.tensors["blk.1.attn_qkv.weight"]
    assert locate(made, "blk.1.attn_qkv.weight[64:96]") == ("model", whole.offset + 64 * whole.bytes // 128)


def test_parts_of_a_split_model_are_artifacts_of_their_own():
    made = opened("llama", "f32").header
    second = replace(made.tensors["output.weight"], part=1)
    split = replace(made, tensors=made.tensors | {"output.weight": second})
    artifacts = {w.name: w.artifact for w in compile_gguf(split).program.weights}
    assert artifacts["output.weight"] == "model-2" and artifacts["token_embd.weight"] == "model"


def test_memory_is_told_by_use_and_adds_up():
    found = memory(compile_gguf(opened("llama", "q8_0").header, Capacity(context=128)).program)
    # K and V of 2 layers, 4 sequences, 128 tokens, 2 heads of 16 f32 values
    assert found["kv"] == 2 * 2 * 4 * 128 * 2 * 16 * 4
    # 8-bit matrices in groups of four rows of 32 columns with four f16 scales, five norms of 64 f32
    matrices = 300 * 2 + 2 * (64 + 32 + 32 + 64) + 2 * 3 * 96  # rows, of 64 columns
    assert found["weights"] == matrices * 64 // 128 * 136 + 5 * 64 * 4
    assert found["total"] == sum(v for k, v in found.items() if k != "total")


CAPACITIES = {
    "what the model was made for, where that is less than 2048": ("llama", 0, (32, 4, 128)),
    "a context is cut to whole pages": ("llama", 100, (32, 4, 96)),
    "an encoder takes its longest text in one run": ("bert", 0, (128, 32, 128)),
}


@pytest.mark.parametrize("title", CAPACITIES)
def test_a_capacity_is_chosen(title):
    name, context, expected = CAPACITIES[title]
    found = default_capacity(opened(name, "f32").header, context)
    assert (found.rows, found.sequences, found.context) == expected


@pytest.mark.parametrize("ask", [lambda h: default_capacity(h, 160), lambda h: compile_gguf(h, Capacity(context=160))])
def test_a_context_longer_than_the_models_is_refused(ask):
    with pytest.raises(errors.InvalidOption, match="160 tokens .* made for 128"):
        ask(opened("llama", "f32").header)


def test_heads_that_cannot_be_packed_are_refused_when_the_model_is_compiled():
    made = opened("mistral", "f32").header  # heads of 24
    assert compile_gguf(made, Capacity(context=128)).memory["kv"]
    with pytest.raises(errors.NotSupported, match="24 values wide; .* q8 .* multiples of 16"):
        compile_gguf(made, Capacity(context=128, kv="q8"))


@pytest.mark.parametrize(("context", "rows"), [(32, 32), (128, 128), (2048, 128)])
def test_an_encoder_keeps_only_the_positions_that_its_context_has(context, rows):
    leaves = build(opened("bert", "f32").header, context=context).leaves
    assert [leaf.tensor.shape for name, leaf in leaves.items() if "position_embd" in name] == [(rows, 64)]


def test_values_needed_are_the_rope_factors_that_the_file_has():
    assert values_needed(opened("llama", "f32").header) == []
    assert values_needed(opened("phi3-long", "f32").header) == ["rope_factors_long.weight", "rope_factors_short.weight"]


def test_factors_beyond_any_head_are_refused_before_they_are_read():
    header = opened("phi3-long", "f32").header
    name = values_needed(header)[0]
    tensor = replace(header.tensors[name], shape=(1 << 28,), bytes=1 << 30)
    with pytest.raises(errors.WrongTensorShape, match=name):
        read_values(replace(header, tensors={**header.tensors, name: tensor}), lambda *_: pytest.fail("was read"))


def test_a_longer_context_takes_the_long_factors():
    made, values = opened("phi3-long", "f32"), MODELS["phi3-long"].extra
    rates = {c: build(made.header, values, c).leaves["rope"].values for c in (32, 48)}
    assert rates[32][1] == pytest.approx(2 * rates[48][1])
