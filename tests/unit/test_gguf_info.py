"""What a GGUF header tells before anything is loaded: as written down by hand, and as the compiler then plans."""

import json
from pathlib import Path

import pytest

from edgenet.errors import InvalidGguf
from edgenet.formats import gguf_info
from edgenet.formats.gguf import read_header
from edgenet.models.compiled import compile_gguf, default_capacity
from tests import make_gguf_info
from tests.gguf_bytes import header, pair

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gguf" / "info.json").read_text("utf-8"))
ROWS = {row["why"]: row for row in VECTORS["rows"]}


def parsed(raw, size):
    return read_header(lambda offset, length: raw[offset : offset + length].ljust(length, b"\0"), size)


@pytest.mark.parametrize("why", ROWS)
def test_a_header_tells_what_the_page_is_tested_with(why):
    row = ROWS[why]
    found = parsed(bytes.fromhex(row["hex"]), row["size"])
    assert gguf_info.describe(found) == row["info"]
    for case in row["memory"]:
        assert gguf_info.memory(found, **case["ask"]) == case["found"]


def test_the_tables_of_the_vectors_are_those_of_the_code():
    assert make_gguf_info.tables() == VECTORS["tables"]


def test_the_figures_of_a_known_model():
    told = ROWS["a small model with a chat template"]["info"]
    assert told["parameters"] == 151936 * 896 + 2 * (2 * 896 * 896 + 2 * 128 * 896 + 3 * 4864 * 896 + 896)
    assert (told["quantization"], told["tokenizer"], told["chatTemplate"], told["vocabulary"]) == (
        "Q4_0",
        "gpt2",
        True,
        151936,
    )
    memory = ROWS["a small model with a chat template"]["memory"][0]["found"]
    assert memory["kv"] == 2 * 2 * 4 * 2048 * 2 * 64 * 4  # K and V, layers, sequences, tokens, heads, head, f32
    assert (
        memory["total"]
        < memory["limit"]
        < ROWS["a model that cannot fit, of an unknown mix"]["memory"][0]["found"]["total"]
    )


def planned(layers, width, kv, ffn, heads, kind, vocabulary):
    """(header, what the compiler plans for it) of a llama without an output matrix of its own."""
    metadata = make_gguf_info.sizes(
        "llama", context_length=4096, block_count=layers, embedding_length=width, feed_forward_length=ffn
    )
    metadata += make_gguf_info.heads("llama", heads, kv // (width // heads))
    metadata += [("llama.attention.layer_norm_rms_epsilon", "f32", 1e-5), ("tokenizer.ggml.model", "string", "gpt2")]
    metadata += [
        ("tokenizer.ggml.tokens", "[string]", ["a", "b", "ab"]),
        ("tokenizer.ggml.merges", "[string]", ["a b"]),
    ]
    tensors = [("token_embd.weight", (vocabulary, width), kind), ("output_norm.weight", (width,), "f32")]
    tensors += make_gguf_info.layers(layers, width, kv, ffn, kind)
    tensors += [(f"blk.{i}.ffn_norm.weight", (width,), "f32") for i in range(layers)]
    found = parsed(*make_gguf_info.file(metadata, tensors))
    return found, compile_gguf(found, default_capacity(found)).memory


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ((4, 896, 128, 4864, 14, "q4_0", 151936), "half a billion parameters, a large vocabulary"),
        ((2, 2048, 512, 8192, 32, "q4_k", 32000), "wide layers"),
        ((6, 256, 256, 1024, 4, "q8_0", 4096), "a few million parameters"),
    ],
)
def test_the_memory_told_is_what_the_compiler_plans(sizes, why):
    found, plan = planned(*sizes)
    told = gguf_info.memory(found)
    assert (told["weights"], told["kv"]) == (plan["weights"], plan["kv"])
    assert plan["arena"] / 2 < told["work"] < 2 * plan["arena"]
    assert abs(told["total"] - plan["total"]) < 0.05 * plan["total"]


@pytest.mark.parametrize(
    "wrong",
    [
        pair("general.name", "u32", 1),
        pair("llama.block_count", "string", "2"),
        pair("llama.block_count", "f32", 2.0),
        pair("tokenizer.chat_template", "bool", 1),
        pair("tokenizer.ggml.tokens", "string", "a"),
    ],
)
def test_a_value_of_the_wrong_type_is_a_named_error(wrong):
    raw = header([pair("general.architecture", "string", "llama"), wrong])
    with pytest.raises(InvalidGguf):
        gguf_info.describe(parsed(raw, len(raw)))


def test_counts_of_a_type_nobody_counts_in_are_left_out():
    raw = header(
        [
            pair("general.architecture", "string", "llama"),
            pair("llama.block_count", "[string]", ["2"]),
            pair("general.file_type", "[u32]", [2]),
        ]
    )
    told = gguf_info.describe(parsed(raw, len(raw)))
    assert told["layers"] is None and told["quantization"] is None
