"""Compiling for the page, by messages: ranges are asked for until the model is known; errors are data. CPython."""

from functools import cache

import pytest

from edgenet.formats.gguf import read_header
from edgenet.host.browser_compile import answer, read_model
from edgenet.models.compiled import artifact, compile_gguf, default_capacity, read_values
from tests.trust_vectors import run
from tests.unit.test_gguf_split import part
from tools.gguf_file import file_pieces
from tools.oracles.small_models import MODELS, vocabulary


@cache
def file_of(name, kind="q8_0"):
    small = MODELS[name]
    return b"".join(file_pieces(small.metadata | vocabulary(small), small.tensors(), kind))


def talk(files, **options):
    """(the last answer, the ranges that were asked for): what the page does."""
    ranges, asked = [], []
    listed = [[name, len(data)] for name, data in files.items()]
    while True:
        found = answer("compile", {"files": listed, "ranges": ranges, **options})
        if "wanted" not in found.get("result", {}):
            return found, asked
        name, offset, length = found["result"]["wanted"]
        asked.append((name, offset, length))
        ranges.append([name, offset, files[name][offset : offset + length]])


def directly(data, context=0):
    header = read_header(lambda offset, length: data[offset : offset + length], len(data))
    values = read_values(header, lambda part, offset, length: data[offset : offset + length])
    return compile_gguf(header, default_capacity(header, context), values)


@pytest.mark.parametrize("name", ["qwen2", "bert"])
def test_a_file_is_compiled_as_if_it_were_all_here(name):
    data = file_of(name)
    found, asked = talk({"m.gguf": data})
    made = directly(data)
    assert found["result"] == {
        "program": made.program.to_data(),
        "tokenizer": made.tokenizer,
        "generation": made.generation,
        "memory": made.memory,
        "names": ["m.gguf"],
    }
    assert asked == [("m.gguf", 0, min(len(data), 1 << 20))]


def test_short_tensors_that_a_graph_needs_are_asked_for_beside_the_header():
    data = file_of("llama-3")
    found, asked = talk({"m.gguf": data})
    assert [length for _, _, length in asked[1:]] == [4 * len(MODELS["llama-3"].extra["rope_freqs.weight"])]
    assert found["result"]["program"] == directly(data).program.to_data()


def test_the_context_that_is_asked_for_is_planned_for():
    found, _ = talk({"m.gguf": file_of("qwen2")}, context=64)
    assert found["result"]["program"]["capacity"]["context"] == 64


REFUSED = [
    ("no GGUF at all", {"m.gguf": b"PK\3\4" * 20}, {}, "gguf_invalid"),
    ("a file that ends in its header", {"m.gguf": file_of("qwen2")[:2000]}, {}, "gguf_invalid"),
    ("a part whose others are missing", {"m-00001-of-00002.gguf": file_of("qwen2")}, {}, "gguf_invalid"),
    ("a context beyond the model's", {"m.gguf": file_of("qwen2")}, {"context": 4096}, "invalid_option"),
]


@pytest.mark.parametrize(("why", "files", "options", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_what_cannot_be_compiled_is_an_error_as_data(why, files, options, code):
    found, _ = talk(files, **options)
    assert found["error"]["code"] == code


def test_a_model_that_somebody_else_holds_is_read_by_its_artifacts_whatever_their_order():
    asked, count = [], 12  # "model-10" comes after "model-9"
    files = {artifact(i): part(i, count, total=count) for i in range(count)}
    names = {artifact(i): f"m-{i + 1:05}-of-{count:05}.gguf" for i in range(count)}

    async def fetch(where, offset, length):
        asked.append(where)
        return memoryview(files[where])[offset : offset + length]

    sizes = {where: len(files[where]) for where in sorted(files)}
    header, values = run(read_model(names, sizes, fetch))
    assert [info.part for info in header.tensors.values()] == list(range(count)) and values == {}
    assert asked == list(files)


def test_an_unknown_kind_is_named():
    assert answer("fly", {})["error"]["code"] == "unknown_kind"
