"""An adapter merged into a GGUF file: what changes, what is copied, what the new file says, what is refused. CPython."""

import asyncio
import re

import numpy as np
import pytest

from edgenet.errors import AdapterMismatch, UnsupportedTensorType, WrongLength
from edgenet.formats.blocks import dequantize
from edgenet.formats.gguf_split import join
from edgenet.formats.gguf_write import Tensor, pieces
from edgenet.formats.types import row_bytes
from edgenet.lora.adapter import Adapter, base_id
from edgenet.lora.config import LoraConfig
from edgenet.lora.into_base import merged_into_base
from edgenet.lora.names import places
from edgenet.models.compiled import compile_gguf, read_values
from edgenet.run import GraphEngine
from tests.unit import small_adapters
from tests.unit.small_model_runs import header_of, opened, run
from tools.oracles.small_adapters import CASES, PROMPT
from tools.oracles.small_models import ROWS

ARCHITECTURES = ["llama", "qwen2", "qwen3", "phi2", "phi3", "gemma", "gemma2"]


def reader(*parts):
    async def read(part, offset, length):
        return parts[part][offset : offset + length]

    return read


def writer(out):
    async def write(piece):
        out.extend(piece)

    return write


def adapter(header, seed=1, size=0.05, modules="", rank=3):
    """Random factors for every module whose path matches."""
    rng, tensors = np.random.default_rng(seed), {}
    for path, parts in places(header).items():
        if re.search(modules, path):
            out = sum(part.last - part.first for part in parts)
            factors = rng.standard_normal((rank, parts[0].width)), size * rng.standard_normal((out, rank))
            tensors[path] = tuple(f.astype(np.float32) for f in factors)
    return Adapter(
        LoraConfig(r=rank, lora_alpha=2 * rank), tensors, "mine", base_id(header), family=header.architecture
    )


def written(data, header, made, **options):
    """(the new file, the report)."""
    out = bytearray()
    report = asyncio.run(merged_into_base(header, reader(data), made, writer(out), **options))
    return bytes(out), report


def raw(data, info):
    return data[info.offset : info.offset + info.bytes]


def matrix(data, info):
    return dequantize(info.type, raw(data, info), *info.shape)


def in_hugging_faces_rows(header, data, path):
    """A module's weight as Hugging Face has it, f32 (out, in)."""
    found = places(header)[path]
    return np.concatenate(
        [p.from_file(matrix(data, header.tensors[f"{p.tensor}.weight"])[p.first : p.last]) for p in found]
    )


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_module_gets_its_delta_and_all_else_is_copied(name):
    model = opened(name, "f32")
    made = adapter(model.header)
    out, report = written(model.data, model.header, made)
    header = header_of(out)
    for path in made.tensors:
        change = in_hugging_faces_rows(header, out, path) - in_hugging_faces_rows(model.header, model.data, path)
        assert np.allclose(change, made.delta(path), atol=1e-5), path
    changed = {row["tensor"] for row in report["tensors"]}
    assert list(header.tensors) == list(model.header.tensors) and report["bytes"] == len(out)
    for info in header.tensors.values():
        same = raw(out, info) == raw(model.data, model.header.tensors[info.name])
        assert same == (info.name not in changed), info.name
    assert report["error"] < 1e-5 and base_id(header) == base_id(model.header)


def logits(model, data):
    """The last rows of the prompt by a file's graph, in f64."""
    made = compile_gguf(
        header_of(data), model.capacity, read_values(header_of(data), lambda part, at, size: data[at : at + size])
    )
    places, rows = {w.name: w for w in made.program.weights}, [(token, i, 0) for i, token in enumerate(PROMPT)]

    async def all_rows():
        engine = GraphEngine(model.capacity, "f64")
        await engine.load(model.graph, lambda name: (places[name].type, raw(data, places[name])))
        for first in range(0, len(rows), 9):
            piece = rows[first : first + 9]
            await run(engine, piece, list(range(len(piece)))[-ROWS:])
        return await engine.read("logits")

    return asyncio.run(all_rows())


@pytest.mark.parametrize("name", small_adapters.NAMES)
def test_the_new_files_model_answers_as_pefts_does(name):
    model, wanted = opened(CASES[name].model, "f32"), small_adapters.recorded(name)["logits"]
    out, _ = written(model.data, model.header, small_adapters.adapter(name))
    wanted = small_adapters.unpacked(wanted, ROWS, -1)
    assert np.abs(logits(model, out) - wanted).max() <= 1e-3 * np.abs(wanted).max()
    assert np.abs(logits(model, model.data) - wanted).max() > 0.05 * np.abs(wanted).max(), "the base alone must not"


@pytest.mark.parametrize(("kind", "bound"), [("q8_0", 0.1), ("q4_0", 1.0)])
def test_what_quantising_loses_of_the_change_is_measured(kind, bound):
    model = opened("qwen2", kind)
    made = adapter(model.header, modules="q_proj|down_proj")
    out, report = written(model.data, model.header, made)
    header, path = header_of(out), "model.layers.1.mlp.down_proj"
    change = in_hugging_faces_rows(header, out, path) - in_hugging_faces_rows(model.header, model.data, path)
    wanted = made.delta(path)
    row = next(row for row in report["tensors"] if row["tensor"] == "blk.1.ffn_down.weight")
    assert row["error"] == pytest.approx(np.linalg.norm(change - wanted) / np.linalg.norm(wanted), rel=1e-3)
    assert 0 < report["error"] < bound and (row["from"], row["to"]) == (kind, kind) and len(report["tensors"]) == 4


def test_an_adapter_of_zeros_changes_no_weight():
    model = opened("llama", "q8_0")
    out, report = written(model.data, model.header, adapter(model.header, size=0))
    header = header_of(out)
    for info in header.tensors.values():
        assert raw(out, info) == raw(model.data, model.header.tensors[info.name])
    assert report["error"] == 0


def test_the_new_file_says_what_it_is():
    model = opened("qwen2", "q8_0")
    made = adapter(model.header)
    header = header_of(written(model.data, model.header, made)[0])
    base = model.header.metadata.get("general.name", "qwen2")
    wanted = {
        "general.name": f"{base} + mine",
        "general.finetune": "mine",
        "general.base_model.count": 1,
        "general.base_model.0.name": base,
        "edgenet.adapter.name": "mine",
        "edgenet.adapter.id": made.id,
        "edgenet.adapter.checksum": made.checksum,
        "edgenet.adapter.base_id": made.base_id,
    }
    assert header.metadata == model.header.metadata | wanted
    assert {key: header.types[key] for key in model.header.types} == model.header.types


def test_what_the_base_was_made_from_is_not_said_of_the_new_file():
    model = opened("qwen2", "q8_0")
    said = model.header.metadata | {
        "general.base_model.0.name": "older",
        "general.base_model.0.repo_url": "https://a.b",
    }
    tensors = [Tensor(i.name, i.type, i.shape, raw(model.data, i)) for i in model.header.tensors.values()]
    data = b"".join(pieces(said, tensors, model.header.types))
    header = header_of(written(data, header_of(data), adapter(model.header))[0])
    assert (
        header.metadata["general.base_model.0.name"] == "qwen2"
        and "general.base_model.0.repo_url" not in header.metadata
    )


def test_changed_matrices_can_have_another_type():
    model = opened("qwen2", "q4_0")
    made = adapter(model.header, modules="q_proj")
    out, report = written(model.data, model.header, made, type_name="f16")
    header = header_of(out)
    assert header.tensors["blk.0.attn_q.weight"].type == "f16" and header.tensors["blk.0.attn_k.weight"].type == "q4_0"
    assert report["error"] < 0.01 and "general.file_type" not in header.metadata


def test_a_base_in_two_parts_becomes_one_file():
    model, whole = opened("llama", "q8_0"), opened("llama", "q8_0").header
    infos, parts = list(whole.tensors.values()), []
    for number, held in enumerate((infos[:5], infos[5:])):
        said = {"split.no": number, "split.count": 2, "split.tensors.count": len(infos)}
        made = [Tensor(i.name, i.type, i.shape, raw(model.data, i)) for i in held]
        types = dict.fromkeys(said, "u16") | {"split.tensors.count": "i32"} | whole.types
        parts.append(b"".join(pieces((whole.metadata if not number else {}) | said, made, types)))
    header = join([header_of(part) for part in parts], ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf"])
    out, made = bytearray(), adapter(whole)
    asyncio.run(merged_into_base(header, reader(*parts), made, writer(out)))
    assert bytes(out) == written(model.data, whole, made)[0]


def test_another_base_is_refused_before_a_byte_is_written():
    made, out = adapter(opened("qwen3", "f32").header), bytearray()
    model = opened("qwen2", "f32")
    with pytest.raises(AdapterMismatch):
        asyncio.run(merged_into_base(model.header, reader(model.data), made, writer(out)))
    assert not out


def with_type(model, name, kind):
    """The model's file with one tensor of another type, all bytes 0."""
    tensors = [Tensor(i.name, i.type, i.shape, raw(model.data, i)) for i in model.header.tensors.values()]
    for i, tensor in enumerate(tensors):
        if tensor.name == name:
            out, width = tensor.shape
            tensors[i] = Tensor(name, kind, tensor.shape, bytes(out * row_bytes(kind, width)))
    return b"".join(pieces(model.header.metadata, tensors, model.header.types))


TYPES = {
    "a type that is read and not written": ("iq4_nl", "", UnsupportedTensorType),
    "a type that is not even read": ("mxfp4", "q8_0", UnsupportedTensorType),
    "a chosen type that is not written": ("q8_0", "q4_k", UnsupportedTensorType),
    "a chosen type that nobody knows": ("q8_0", "q9", UnsupportedTensorType),
}


@pytest.mark.parametrize("title", TYPES)
def test_types_that_cannot_be_written_are_refused_before_a_byte_is(title):
    kind, chosen, error = TYPES[title]
    data, out = with_type(opened("qwen2", "q8_0"), "blk.1.attn_q.weight", kind), bytearray()
    header = header_of(data)
    with pytest.raises(error, match="blk.[01].attn_q.weight"):
        asyncio.run(
            merged_into_base(header, reader(data), adapter(header, modules="q_proj"), writer(out), type_name=chosen)
        )
    assert not out


def test_a_type_that_is_only_read_can_become_another():
    data = with_type(opened("qwen2", "q8_0"), "blk.1.attn_q.weight", "iq4_nl")
    header = header_of(data)
    out, report = written(data, header, adapter(header, modules="q_proj"), type_name="q8_0")
    assert header_of(out).tensors["blk.1.attn_q.weight"].type == "q8_0"
    assert [row["from"] for row in report["tensors"]] == ["q8_0", "iq4_nl"]


def test_progress_ends_at_all_bytes_and_a_cancel_is_heard():
    model, told, out = opened("llama", "q8_0"), [], bytearray()
    made = adapter(model.header)

    async def cancelled():
        def show(done, total, name):
            told.append((done, total))
            if len(told) == 5:
                task.cancel()

        task = asyncio.ensure_future(merged_into_base(model.header, reader(model.data), made, writer(out), show=show))
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert len(told) == 5 and 0 < len(out) < len(model.data)
    told.clear()
    written(model.data, model.header, made, show=lambda done, total, name: told.append((done, total)))
    assert told[-1][0] == told[-1][1] and sorted(told) == told


def test_the_new_files_size_is_told_before_the_first_byte():
    model, out, told = opened("qwen2", "q8_0"), bytearray(), []

    async def begin(size):
        told.append((size, len(out)))

    made = adapter(model.header)
    report = asyncio.run(merged_into_base(model.header, reader(model.data), made, writer(out), begin=begin))
    assert told == [(report["bytes"], 0)] and report["bytes"] == len(out)


def test_what_is_read_of_a_base_may_be_no_shorter_than_was_asked_for():
    model = opened("qwen2", "q8_0")
    with pytest.raises(WrongLength):
        written(model.data[:-100], model.header, adapter(model.header))
