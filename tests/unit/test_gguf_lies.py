"""A sound header whose metadata lies, key by key and value by value: it is compiled, or refused by name; nothing else ever happens."""

from array import array
from dataclasses import replace
from itertools import product

import pytest

from edgenet.errors import EdgeNetError
from edgenet.formats.gguf import read_header
from edgenet.models.compiled import compile_gguf, default_capacity
from tests import make_gguf_info

METADATA = [
    *make_gguf_info.sizes("llama", context_length=64, block_count=1, embedding_length=64, feed_forward_length=64),
    *make_gguf_info.heads("llama", 2, 2),
    ("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5),
    ("llama.attention.key_length", "u32", 32),
    ("llama.attention.sliding_window", "u32", 0),
    ("llama.rope.dimension_count", "u32", 32),
    ("llama.rope.freq_base", "f32", 1e4),
    ("llama.rope.scaling.type", "string", "linear"),
    ("llama.rope.scaling.factor", "f32", 2.0),
    ("llama.expert_count", "u32", 0),
    ("general.name", "string", "x"),
    ("general.file_type", "u32", 2),
    ("tokenizer.chat_template", "string", "{{ a }}"),
    ("tokenizer.ggml.model", "string", "gpt2"),
    ("tokenizer.ggml.pre", "string", "qwen2"),
    ("tokenizer.ggml.tokens", "[string]", ["a", "b", "ab"]),
    ("tokenizer.ggml.merges", "[string]", ["a b"]),
    ("tokenizer.ggml.token_type", "[i32]", [1, 1, 1]),
    ("tokenizer.ggml.scores", "[f32]", [0, 0, 0]),
    ("tokenizer.ggml.eos_token_id", "u32", 0),
    ("tokenizer.ggml.bos_token_id", "u32", 1),
    ("tokenizer.ggml.unknown_token_id", "u32", 0),
    ("tokenizer.ggml.add_bos_token", "bool", 1),
    ("tokenizer.ggml.add_space_prefix", "bool", 1),
]
ABSENT = [
    "llama.pooling_type",
    "llama.attn_logit_softcapping",
    "tokenizer.ggml.precompiled_charsmap",
    "tokenizer.ggml.normalizer.lowercase",
    "tokenizer.ggml.remove_extra_whitespaces",
    "tokenizer.ggml.seperator_token_id",
    "tokenizer.ggml.cls_token_id",
]
TENSORS = [
    ("token_embd.weight", (3, 64), "f32"),
    ("output_norm.weight", (64,), "f32"),
    ("blk.0.ffn_norm.weight", (64,), "f32"),
    *make_gguf_info.layers(1, 64, 64, 64, "f32"),
]
NUMBERS = [0, 1, -1, 7, 1 << 62, -(1 << 62), 0.0, 0.5, -1e30, float("nan"), float("inf"), True, False]
TEXTS = ["", "llama", "bert", "t5", "x" * 100_000]
LISTS = [[], ["a"], ["a", "a"], ["a", "", "b"], [True]]
ARRAYS = [
    array("i", [1, 2, 3]),
    array("i", [-1, 99, 3]),
    array("i"),
    array("B", [1]),
    array("f", [0.5, float("nan"), 1.0]),
]
TOKENIZERS = ["gpt2", "llama", "t5", "bert"]
SHORT = 9  # without --long, one case of so many


@pytest.fixture(scope="module")
def sound():
    raw, size = make_gguf_info.file(METADATA, TENSORS)
    found = read_header(lambda offset, length: raw[offset : offset + length].ljust(length, b"\0"), size)
    compile_gguf(found, default_capacity(found))  # the truth compiles
    return found


def test_a_lie_in_the_metadata_is_survived_or_refused_by_name(sound, request):
    keys = [*sound.metadata, *ABSENT]
    cases = list(product(TOKENIZERS, keys, [*NUMBERS, *TEXTS, *LISTS, *ARRAYS]))
    cases = cases if request.config.getoption("--long") else cases[::SHORT]
    refused = 0
    for tokenizer, key, value in cases:
        lying = replace(sound, metadata=sound.metadata | {"tokenizer.ggml.model": tokenizer} | {key: value})
        try:
            compile_gguf(lying, default_capacity(lying))
        except EdgeNetError:
            refused += 1
    assert len(cases) // 10 < refused < len(cases)


@pytest.mark.parametrize("key", sorted({name for name, *_ in METADATA}))
def test_a_key_that_is_gone_is_done_without_or_refused_by_name(sound, key):
    lying = replace(sound, metadata={name: value for name, value in sound.metadata.items() if name != key})
    try:
        compile_gguf(lying, default_capacity(lying))
    except EdgeNetError as error:
        assert error.message


@pytest.mark.parametrize("name", sorted({name for name, *_ in TENSORS}))
def test_a_tensor_that_is_gone_or_of_another_shape_is_refused_by_name(sound, name):
    gone = {key: value for key, value in sound.tensors.items() if key != name}
    shapes = [replace(sound.tensors[name], shape=shape) for shape in ((5,), (2, 2, 2))]
    for tensors in (gone, *(gone | {name: tensor} for tensor in shapes)):
        with pytest.raises(EdgeNetError):
            compile_gguf(replace(sound, tensors=tensors), default_capacity(sound))
