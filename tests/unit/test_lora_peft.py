"""Folders of PEFT: what PEFT wrote does here what it does there, and what we write is read back; hostile ones are refused by name."""

import json
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import (
    HashMismatch,
    InvalidAdapter,
    InvalidOption,
    InvalidRank,
    NotFinite,
    UnknownTargetModule,
    UnsupportedAdapter,
)
from edgenet.lora import LoraConfig, peft, safetensors
from edgenet.lora.adapter import Adapter
from tests.unit.small_adapters import NAMES, adapter, files, recorded, unpacked
from tools.oracles.small_adapters import probe

A, B = np.float32([[1, 2, 3], [4, 5, 6]]), np.float32([[1, 0], [0, 1], [1, 1], [2, 2]])
Q = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_of_peft_adds_here_what_it_adds_there(name):
    want = recorded(name)["probes"]
    assert sorted(adapter(name).tensors) == sorted(want)
    for module, text in want.items():
        delta = adapter(name).delta(module)
        assert np.abs(delta @ probe(module, delta.shape[1]) - unpacked(text, len(delta), 2)).max() <= 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_written_and_read_again_is_the_same_adapter(name):
    made = replace(
        adapter(name), name="mine", base_id="ab" * 32, base_sha256="cd" * 32, family="llama", metadata={"steps": 3}
    )
    written = peft.write(made)
    again = peft.read(written, "somewhere")
    assert (again.config, again.id, again.checksum, again.metadata) == (
        made.config,
        made.id,
        made.checksum,
        {"steps": 3},
    )
    assert (again.name, again.base_id, again.base_sha256, again.family) == (
        "mine",
        made.base_id,
        made.base_sha256,
        "llama",
    )
    assert peft.write(again) == written


def test_the_file_has_the_names_and_the_values_that_peft_wrote():
    ours, theirs = (
        safetensors.read(folder[peft.WEIGHTS])[0] for folder in (peft.write(adapter("llama")), files("llama"))
    )
    assert sorted(ours) == sorted(theirs) and all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
def test_sixteen_bits_keep_what_they_can_and_have_a_checksum_of_their_own(dtype):
    made = adapter("llama")
    again = peft.read(peft.write(made, dtype))
    assert again.checksum != made.checksum and again.bytes == made.bytes
    near = max(np.abs(again.tensors[path][0] - pair[0]).max() for path, pair in made.tensors.items())
    assert 0 < near <= {"F16": 2e-3, "BF16": 2e-2}[dtype]


KEYS = [
    ("base_model.model.{}.lora_{}.weight", "as PEFT saves"),
    ("base_model.model.{}.lora_{}.default.weight", "a state dict of a model"),
    ("base_model.model.base_model.model.{}.lora_{}.weight", "wrapped twice"),
    ("base_model.model.model.{}.lora_{}.weight", "a causal model inside another"),
    ("{}.lora_{}.weight", "no prefix"),
    ("{}.lora_{}", "neither prefix nor end"),
    ("_orig_mod.base_model.model.{}.lora_{}.weight", "compiled by torch"),
    ("module.base_model.model.{}.lora_{}.weight", "trained on several cards"),
    ("base_model.model.{}._fsdp_wrapped_module.lora_{}.weight", "sharded"),
    ("base_model.model.language_model.{}.lora_{}.weight", "the text part of a larger model"),
]


def config(**more):
    return json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]} | more).encode()


def folder(tensors=None, **more):
    tensors = tensors or {f"base_model.model.{Q}.lora_A.weight": A, f"base_model.model.{Q}.lora_B.weight": B}
    return {peft.CONFIG: config(**more), peft.WEIGHTS: safetensors.write(tensors)}


@pytest.mark.parametrize(("key", "why"), KEYS, ids=[row[1] for row in KEYS])
def test_keys_seen_in_the_wild_name_the_same_module(key, why):
    found = peft.read(folder({key.format(Q, "A"): A, key.format(Q, "B"): B}))
    assert list(found.tensors) == [Q] and np.array_equal(found.delta(Q), 2 * B @ A)


def test_layers_without_a_model_around_them_are_the_models():
    assert list(
        peft.read(folder({f"{Q.removeprefix('model.')}.lora_{f}.weight": v for f, v in (("A", A), ("B", B))})).tensors
    ) == [Q]


SCALES = [
    ({}, 2, "alpha over rank"),
    ({"use_rslora": True}, 4 / 2**0.5, "rank-stabilised: alpha over its root"),
    ({"r": 8, "rank_pattern": {"q_proj": 2}}, 2, "a rank of its own"),
    ({"alpha_pattern": {"layers.0.self_attn.q_proj": 10}}, 5, "an alpha of its own"),
    ({"alpha_pattern": {"layers.1.self_attn.q_proj": 10}}, 2, "another layer's alpha"),
    ({"target_modules": r".*\.(q|v)_proj"}, 2, "modules named by an expression: the weights say which"),
    ({"base_model_name_or_path": "x", "peft_version": "0.99", "corda_config": None}, 2, "keys that change nothing"),
]


@pytest.mark.parametrize(("more", "scale", "why"), SCALES, ids=[row[2] for row in SCALES])
def test_the_scale_is_what_the_config_says(more, scale, why):
    assert np.allclose(peft.read(folder(**more), warn=pytest.fail).delta(Q), scale * B @ A, rtol=1e-6)


def test_the_first_pattern_that_fits_counts_in_a_file_written_again_too():
    made = peft.read(folder(alpha_pattern={"self_attn.q_proj": 8, "q_proj": 32}))
    for again in (peft.read(peft.write(made)), peft.unpacked(peft.packed(made))):
        assert made.scale(Q) == again.scale(Q) == 4 and again.id == made.id


def test_the_name_of_the_base_is_kept():
    found = peft.read(folder(base_model_name_or_path="maker/base"))
    assert found.metadata == {"baseModel": "maker/base"}
    assert json.loads(peft.write(found)[peft.CONFIG])["base_model_name_or_path"] == "maker/base"


def test_an_unknown_key_of_a_later_version_is_left_out_aloud():
    told = []
    peft.read(folder(new_thing=3), warn=told.append)
    assert len(told) == 1 and "new_thing" in told[0]


def key(path, end="lora_A.weight"):
    return f"base_model.model.{path}.{end}"


_PAIR = {key(Q): A, key(Q, "lora_B.weight"): B}
REFUSED = [
    (folder(use_dora=True), UnsupportedAdapter, "DoRA by its config"),
    (folder(_PAIR | {key(Q, "lora_magnitude_vector"): B[:, 0]}), UnsupportedAdapter, "DoRA by its weights"),
    (folder(modules_to_save=["lm_head"]), UnsupportedAdapter, "saved modules by the config"),
    (
        folder(_PAIR | {"base_model.model.lm_head.modules_to_save.weight": A}),
        UnsupportedAdapter,
        "saved modules by the weights",
    ),
    (folder(bias="all"), InvalidOption, "biases by the config"),
    (folder(_PAIR | {key(Q, "bias"): B[:, 0]}), UnsupportedAdapter, "biases by the weights"),
    (folder(lora_bias=True), UnsupportedAdapter, "biases of the factors"),
    (folder(_PAIR | {key("model.embed_tokens", "lora_embedding_A"): A}), UnsupportedAdapter, "the embedding adapted"),
    (folder(trainable_token_indices=[5]), UnsupportedAdapter, "new tokens"),
    (folder(init_lora_weights="pissa_niter_4"), UnsupportedAdapter, "PiSSA not converted"),
    (folder(init_lora_weights="olora"), UnsupportedAdapter, "OLoRA not converted"),
    (folder(peft_type="LOHA"), InvalidOption, "another method"),
    (folder(fan_in_fan_out=True), InvalidOption, "factors the other way round"),
    (folder(layer_replication=[[0, 2]]), InvalidOption, "layers doubled"),
    (folder(r=0), InvalidRank, "rank 0"),
    (folder(r=3), InvalidAdapter, "another rank than the weights have"),
    (folder(lora_alpha=float(2**20)), InvalidOption, "an alpha beyond all sense"),
    (folder(lora_alpha="4"), InvalidOption, "an alpha that is a text"),
    (folder(alpha_pattern={"(a+)+$": 4}), InvalidOption, "an expression that would take for ever"),
    (folder({key(Q): A}), InvalidAdapter, "one factor alone"),
    (folder(_PAIR | {f"{Q}.lora_A.weight": A}), InvalidAdapter, "a module twice under two names"),
    (folder({key(Q): A, key(Q, "lora_B.weight"): B[:, :1]}), InvalidAdapter, "factors that do not meet"),
    (folder({key(Q): A.ravel(), key(Q, "lora_B.weight"): B}), InvalidAdapter, "a factor that is no matrix"),
    (folder({key("../../etc"): A, key("../../etc", "lora_B.weight"): B}), UnknownTargetModule, "a path that is none"),
    (folder(_PAIR | {"optimizer.step": A}), InvalidAdapter, "a tensor that is no factor"),
    ({peft.CONFIG: config()}, InvalidAdapter, "no weights"),
    ({peft.WEIGHTS: folder()[peft.WEIGHTS]}, InvalidAdapter, "no config"),
    (folder() | {peft.CONFIG: b"[]"}, InvalidAdapter, "a config that is no object"),
    (folder() | {peft.CONFIG: b'{"r": 2' + b"[" * 100_000}, InvalidAdapter, "a config nested without end"),
    (folder() | {peft.WEIGHTS: safetensors.write({}, {"format": "pt"})}, InvalidAdapter, "no factors at all"),
]


@pytest.mark.parametrize(("given", "error", "why"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_is_no_plain_lora_is_refused_by_name(given, error, why):
    with pytest.raises(error):
        peft.read(given, warn=lambda text: None)


def test_weights_that_were_changed_after_writing_are_refused():
    written = peft.write(adapter("llama"))
    data = bytearray(written[peft.WEIGHTS])
    data[-1] ^= 1
    with pytest.raises(HashMismatch):
        peft.read(written | {peft.WEIGHTS: bytes(data)})


def test_an_adapter_with_nan_is_refused():
    with pytest.raises(NotFinite):
        Adapter(LoraConfig(r=2, target_modules=("q_proj",)), {Q: (A * np.float32("nan"), B)})
