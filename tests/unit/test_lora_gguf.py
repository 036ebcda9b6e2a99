"""GGUF adapters: there and back, joined where a file joins matrices; what llama.cpp would refuse is refused. Runs anywhere."""

import random
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import (
    AdapterMismatch,
    EdgeNetError,
    HashMismatch,
    InvalidAdapter,
    InvalidGguf,
    NotFinite,
    UnsupportedAdapter,
)
from edgenet.formats.blocks import quantize
from edgenet.formats.gguf import read_header
from edgenet.formats.gguf_write import Tensor, pieces
from edgenet.lora import LoraConfig, gguf
from edgenet.lora.adapter import Adapter, base_id, for_base
from edgenet.lora.bound import bind
from tests.unit.small_adapters import NAMES, adapter, header
from tools.oracles.small_adapters import CASES

MUTATIONS = 1500
V = "model.layers.0.self_attn.v_proj"
KEYS = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 4.0}
A, B = np.float32(np.arange(128).reshape(2, 64)), np.float32(np.ones((64, 2)))


def file(keys=KEYS, **arrays):
    """A GGUF adapter by hand; names of tensors with `__` for a dot."""
    rows = [(name.replace("__", "."), array) for name, array in arrays.items()]
    return b"".join(
        pieces(keys, [Tensor(n, "f32", a.shape, np.ascontiguousarray(a, "<f4").tobytes()) for n, a in rows])
    )


def pair(tensor="blk__0__attn_v", a=A, b=B[:32]):
    return {f"{tensor}__weight__lora_a": a, f"{tensor}__weight__lora_b": b}


def written(made, model):
    return b"".join(gguf.write(made, header(model)))


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_written_and_read_again_does_the_same(name):
    made = replace(adapter(name), name="mine", metadata={"a": 1})
    again = gguf.read(written(made, CASES[name].model), header(CASES[name].model))
    assert sorted(again.tensors) == sorted(made.tensors) and (again.name, again.metadata) == ("mine", {"a": 1})
    assert again.base_id == base_id(header(CASES[name].model))
    for module in made.tensors:
        assert np.allclose(again.delta(module), made.delta(module), atol=1e-6), module


def test_factors_that_need_no_folding_keep_their_checksum():
    for name in ("llama", "phi3"):
        assert gguf.read(written(adapter(name), name), header(name)).checksum == adapter(name).checksum


@pytest.mark.parametrize("more", [{"use_rslora": True}, {"lora_alpha": 5.3}, {"lora_alpha": 0.1}], ids=str)
def test_what_the_file_says_is_the_very_adapter_or_does_not_vouch_for_it(more):
    made = adapter("llama")
    ranks = {path: len(factors[0]) for path, factors in made.tensors.items()}
    shaped = replace(made.config, **more, rank_pattern=ranks, alpha_pattern={})
    made = for_base(replace(made, config=shaped), header("llama"))
    again = gguf.read(written(made, "llama"), header("llama"))
    assert again.id == made.id or again.checksum != made.checksum
    for module in made.tensors:
        assert np.allclose(again.delta(module), made.delta(module), rtol=1e-6, atol=1e-9), module


def test_one_scale_of_all_needs_no_folding():
    made = for_base(Adapter(LoraConfig(2, 4, use_rslora=True), {V: (A, B[:32])}), header("llama"))
    assert gguf.read(written(made, "llama"), header("llama")).id == made.id


def test_a_scale_that_makes_a_factor_too_large_is_refused():
    tensors = {path: (A, np.full((rows, 2), 3e38, np.float32)) for path, rows in ((V, 32), (V.replace("v_", "k_"), 32))}
    made = Adapter(LoraConfig(2, 4, target_modules=("k_proj", "v_proj"), alpha_pattern={"k_proj": 1}), tensors)
    for use in (written, lambda made, model: bind(made, header(model))):
        with pytest.raises(NotFinite, match="_proj"):
            use(made, "llama")


def test_modules_that_a_file_joins_are_joined_and_come_apart_again():
    made, head = adapter("phi2"), header("phi2-fused")
    data = b"".join(gguf.write(made, head))
    info = read_header(lambda offset, length: data[offset : offset + length], len(data))
    assert info.tensors["blk.0.attn_qkv.weight.lora_a"].shape == (6, 64) and "edgenet.adapter" in info.metadata
    again = gguf.read(data, head)
    for module, (A, _) in made.tensors.items():
        assert (
            np.allclose(again.delta(module), made.delta(module), atol=1e-6)
            and again.tensors[module][0].shape == A.shape
        )


def test_the_file_has_the_keys_and_shapes_that_llama_cpp_reads():
    data = written(adapter("llama"), "llama")
    info = read_header(lambda offset, length: data[offset : offset + length], len(data))
    assert {key: info.metadata[key] for key in KEYS} == KEYS and info.types["adapter.lora.alpha"] == "f32"
    assert info.tensors["blk.0.attn_q.weight.lora_a"].shape == (2, 64) and info.tensors[
        "blk.1.ffn_down.weight.lora_b"
    ].shape == (64, 2)
    assert len(info.tensors) == 2 * 14


@pytest.mark.parametrize(
    ("alpha", "scale"), [({"adapter.lora.alpha": 4.0}, 2), ({"adapter.lora.alpha": 0.0}, 1), ({}, 1)]
)
def test_the_scale_is_llama_cpps(alpha, scale):
    keys = {k: v for k, v in KEYS.items() if k != "adapter.lora.alpha"} | alpha
    found = gguf.read(file(keys, **pair()), header("llama"))
    assert np.allclose(found.delta("model.layers.0.self_attn.v_proj"), scale * B[:32] @ A)


@pytest.mark.parametrize("kind", ["f16", "q8_0"])
def test_factors_in_other_types_are_read(kind):
    rows = [
        Tensor("blk.0.attn_v.weight.lora_a", kind, A.shape, quantize(kind, A)),
        Tensor("blk.0.attn_v.weight.lora_b", "f32", (32, 2), B[:32].tobytes()),
    ]
    found = gguf.read(b"".join(pieces(KEYS, rows)), header("llama"))
    assert np.abs(found.tensors["model.layers.0.self_attn.v_proj"][0] - A).max() < 0.5


REFUSED = [
    (file(KEYS | {"general.type": "model"}, **pair()), InvalidAdapter, "a model"),
    (file(KEYS | {"adapter.type": "control_vector"}, **pair()), InvalidAdapter, "another kind of adapter"),
    (file(KEYS | {"adapter.alora.invocation_tokens": [1, 2]}, **pair()), UnsupportedAdapter, "activated LoRA"),
    (file(KEYS | {"general.architecture": "qwen2"}, **pair()), AdapterMismatch, "another architecture"),
    (file(KEYS, **pair("blk__9__attn_v")), AdapterMismatch, "a layer that is not there"),
    (file(KEYS, **pair("token_embd")), AdapterMismatch, "the embedding"),
    (file(KEYS, **pair(a=A[:, :63])), AdapterMismatch, "other inputs"),
    (file(KEYS, **pair(b=B[:31])), AdapterMismatch, "other outputs"),
    (file(KEYS, **pair(b=np.ones((32, 3), np.float32))), AdapterMismatch, "ranks that differ"),
    (file(KEYS, blk__0__attn_v__weight__lora_a=A), InvalidAdapter, "one factor"),
    (file(KEYS, blk__0__attn_norm__weight=A), UnsupportedAdapter, "a norm"),
    (file(KEYS, **pair(a=A.reshape(2, 8, 8))), UnsupportedAdapter, "three sides"),
    (file(KEYS), InvalidAdapter, "nothing"),
    (b"GGUF", InvalidGguf, "cut"),
    (b"", InvalidGguf, "empty"),
]


@pytest.mark.parametrize(("data", "error", "why"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_does_not_fit_the_base_is_refused(data, error, why):
    with pytest.raises(error):
        gguf.read(data, header("llama"))


def test_an_adapter_is_not_written_for_another_base():
    made = Adapter(
        LoraConfig(r=2, target_modules=("q_proj",)), {"model.layers.0.self_attn.q_proj": (A, B)}, base_id="0" * 64
    )
    with pytest.raises(AdapterMismatch):
        gguf.write(made, header("llama"))


def test_weights_that_were_changed_after_writing_are_refused():
    data = bytearray(written(adapter("llama"), "llama"))
    data[-5] ^= 1
    with pytest.raises(HashMismatch):
        gguf.read(bytes(data), header("llama"))


def test_a_broken_file_is_read_or_refused_by_name_and_never_anything_else():
    draw, read, refused, whole = random.Random(9), 0, 0, file(KEYS, **pair())
    for _ in range(MUTATIONS):
        data = bytearray(whole)
        at = draw.randrange(len(data) if draw.random() < 0.1 else 480)  # most changes in the header
        data[at : at + draw.randrange(2)] = draw.choice([b"", b"\xff", b"\0", bytes([draw.randrange(256)])])
        try:
            gguf.read(bytes(data), header("llama"))
            read += 1
        except EdgeNetError:
            refused += 1
    assert read + refused == MUTATIONS and read > MUTATIONS // 50 and refused > MUTATIONS // 2
