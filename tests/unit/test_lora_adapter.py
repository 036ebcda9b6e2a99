"""Adapters in the rows of GGUF files: they move the logits as PEFT's do, fit their base alone, have one id and checksum. Runs anywhere."""

import json
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from edgenet.errors import AdapterMismatch, InvalidAdapter, UnknownArchitecture
from edgenet.lora import LoraConfig, safetensors
from edgenet.lora.adapter import Adapter, base_id, config_of, other_file, require_base
from edgenet.lora.bound import FORMAT, bind, engine_bytes, unbind
from edgenet.lora.names import MODULES, places
from edgenet.models.table import ARCHITECTURES
from edgenet.run import GraphEngine
from tests.trust_vectors import run as finished
from tests.unit.small_adapters import NAMES, adapter, header, recorded, unpacked
from tests.unit.small_model_runs import opened, run
from tests.unit.small_model_runs import recorded as recorded_model
from tools.oracles.small_adapters import CASES, PROMPT
from tools.oracles.small_models import ENCODERS, MODELS, ROWS

Q, K = "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.k_proj"


def small(scale=1.0, **more):
    """An adapter for the small llama."""
    A, B = np.ones((2, 64), np.float32), np.full((64, 2), scale, np.float32)
    return Adapter(LoraConfig(r=2, lora_alpha=4, target_modules=("q_proj",)), {Q: (A, B)}, **more)


def merged_logits(name):
    """(ROWS, vocabulary): the last rows of the prompt, by the graph in f64 with each site's delta added to its weight."""
    model = opened(CASES[name].model, "f32")
    deltas = {site: B @ A for site, A, B in bind(adapter(name), model.header)}

    def weights(weight):
        kind, raw = model.weights(weight)
        delta = deltas.pop(weight.replace(".weight", ""), None)
        return (
            (kind, raw) if delta is None else (kind, (np.frombuffer(raw, "<f4").reshape(delta.shape) + delta).tobytes())
        )

    async def all_rows():
        engine, rows = GraphEngine(model.capacity, "f64"), [(token, i, 0) for i, token in enumerate(PROMPT)]
        await engine.load(model.graph, weights)
        for first in range(0, len(rows), 9):
            piece = rows[first : first + 9]
            await run(engine, piece, list(range(len(piece)))[-ROWS:])
        return await engine.read("logits")

    found = finished(all_rows())
    assert not deltas, "a site that no weight has"
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_bound_adapter_moves_the_logits_as_peft_does(name):
    want = unpacked(recorded(name)["logits"], ROWS, -1)
    assert np.abs(merged_logits(name) - want).max() <= 1e-3 * np.abs(want).max()


@pytest.mark.parametrize("name", NAMES)
def test_the_record_tells_the_adapted_model_from_the_plain_one(name):
    """So that the test above can fail."""
    want = unpacked(recorded(name)["logits"], ROWS, -1)
    plain = unpacked(recorded_model(CASES[name].model)["logits"][1], ROWS, -1)  # the same prompt
    assert np.abs(plain - want).max() > 0.05 * np.abs(want).max()


def test_the_separate_parts_of_an_older_file_take_the_same_adapter():
    """phi2 with q, k and v in one matrix: the factors of each are in its rows."""
    apart, fused = (bind(adapter("phi2"), header(model)) for model in ("phi2", "phi2-fused"))
    sites = [site for site, *_ in fused if "attn_qkv" in site]
    assert sites[:3] == ["blk.0.attn_qkv[0:64]", "blk.0.attn_qkv[64:128]", "blk.0.attn_qkv[128:192]"]
    assert all(np.array_equal(a[2] @ a[1], b[2] @ b[1]) for a, b in zip(apart, fused, strict=True))


def test_every_decoder_has_a_table_of_names_and_every_module_a_place():
    assert set(MODULES) == set(ARCHITECTURES) - {"nomic-bert"}
    for name, model in MODELS.items():
        if model.architecture != "nomic-bert":
            found = places(header(name))
            assert len(found) == model.value("block_count") * len(MODULES[model.architecture])
    assert set(ENCODERS) >= {"bert"}


def test_an_architecture_without_a_table_is_refused():
    with pytest.raises(UnknownArchitecture):
        places(header("nomic-bert"))


@pytest.mark.parametrize("name", ["llama", "phi2-fused", "phi3", "gemma2", "bert"])
def test_rows_go_to_the_file_and_back(name):
    for module, parts in places(header(name)).items():
        rows = np.arange(2 * sum(p.last - p.first for p in parts), dtype=np.float32).reshape(-1, 2)
        assert np.array_equal(np.concatenate([p.from_file(p.to_file(rows)) for p in parts]), rows), module


@pytest.mark.parametrize("name", NAMES)
def test_factors_trained_in_a_files_rows_come_back_as_the_modules(name):
    head, made = header(CASES[name].model), adapter(name)
    factors = {}
    for module, (A, B) in made.tensors.items():  # as training leaves them: each part its own A, the scale not in B
        factors |= {part.site: (A * np.float32(1 + i), part.to_file(B)) for i, part in enumerate(places(head)[module])}
    config, tensors = unbind(factors, head, made.config)
    again = Adapter(config, tensors)
    for module in made.tensors:
        delta = made.delta(module)
        for i, part in enumerate(places(head)[module]):
            rows = slice(part.start, part.start + part.last - part.first)
            assert np.allclose(again.delta(module)[rows], (1 + i) * delta[rows], atol=1e-5)
    assert {site: B.shape for site, _, B in bind(again, head)} == {site: B.shape for site, (_, B) in factors.items()}


def test_a_part_of_a_fused_module_that_was_not_trained_adds_nothing():
    head = header("phi3")
    v = places(head)["model.layers.0.self_attn.qkv_proj"][2]
    config, tensors = unbind(
        {v.site: (np.ones((2, 64), np.float32), np.ones((32, 2), np.float32))}, head, LoraConfig(r=2)
    )
    made = Adapter(config, tensors)
    assert [site for site, *_ in bind(made, head)] == [v.site] and not made.delta("model.layers.0.self_attn.qkv_proj")[
        : v.start
    ].any()


def test_a_site_that_the_file_does_not_have_is_refused():
    with pytest.raises(AdapterMismatch):
        unbind(
            {"blk.9.attn_q": (np.ones((2, 64), np.float32), np.ones((64, 2), np.float32))},
            header("llama"),
            LoraConfig(r=2),
        )


# --- which base
def test_the_base_is_the_same_for_every_quantisation_and_differs_between_models():
    ids = {name: base_id(header(name)) for name in ("llama", "mistral", "qwen2", "phi3", "gemma2")}
    assert len(set(ids.values())) == len(ids)
    assert base_id(header("llama", "q8_0")) == base_id(header("llama", "q4_0")) == ids["llama"]


def test_the_base_is_the_hash_that_the_documentation_says():
    head = header("qwen3")
    tensors = {t.name: list(t.shape) for t in head.tensors.values() if len(t.shape) == 2}
    text = json.dumps({"family": "qwen3", "tensors": tensors}, sort_keys=True, separators=(",", ":"))
    assert base_id(head) == sha256(text.encode()).hexdigest()


MISMATCHES = [
    (small(base_id="0" * 64), "other tensors", "another base of the same sizes"),
    (small(family="qwen2"), "family 'qwen2'", "another family"),
    (
        replace(small(), tensors={Q: (np.ones((2, 63), np.float32), np.ones((64, 2), np.float32))}),
        "63 numbers",
        "other inputs",
    ),
    (
        replace(small(), tensors={Q: (np.ones((2, 64), np.float32), np.ones((65, 2), np.float32))}),
        "65",
        "other outputs",
    ),
    (
        replace(small(), tensors={Q.replace("0", "7"): small().tensors[Q]}),
        "nothing to adapt",
        "a layer that is not there",
    ),
    (
        replace(small(), tensors={Q.replace("q_proj", "qkv_proj"): small().tensors[Q]}),
        "nothing to adapt",
        "a module that is not there",
    ),
]


@pytest.mark.parametrize(("made", "words", "why"), MISMATCHES, ids=[row[2] for row in MISMATCHES])
def test_an_adapter_of_another_base_is_refused_with_what_differs(made, words, why):
    for use in (require_base, bind, engine_bytes):
        with pytest.raises(AdapterMismatch, match=words):
            use(made, header("llama"))


def test_an_adapter_of_another_file_of_the_base_fits_with_a_notice():
    made = small(base_id=base_id(header("llama")), base_sha256="1" * 64)
    assert bind(made, header("llama", "q8_0")) and other_file(made, "2" * 64)["code"] == "adapter_other_file"
    for one, file in ((made, "1" * 64), (small(), "2" * 64), (made, "")):  # the same, and where either is not known
        assert other_file(one, file) is None


# --- what the engine loads
def test_the_engines_file_holds_the_bound_factors_and_names_its_base():
    made, head = adapter("qwen2"), header("qwen2")
    tensors, about = safetensors.read(engine_bytes(made, head))
    assert [about[k] for k in ("format", "id", "base_id", "family")] == [FORMAT, made.id, base_id(head), "qwen2"]
    for site, A, B in bind(made, head):
        assert np.array_equal(tensors.pop(f"{site}.lora_a"), A) and np.array_equal(tensors.pop(f"{site}.lora_b"), B)
    assert not tensors


# --- identity
def test_the_checksum_is_over_the_stated_bytes():
    made = small()
    digest = sha256(f'[["{Q}",[2,64],[64,2]]]'.encode())
    for array in made.tensors[Q]:
        digest.update(array.astype("<f4").tobytes())
    assert made.checksum == digest.hexdigest()


SAME = [
    (
        small(name="other", metadata={"a": 1}, base_sha256="1" * 64),
        True,
        "name, metadata and quantisation are no part of it",
    ),
    (
        replace(small(), config=LoraConfig(r=2, lora_alpha=1, alpha_pattern={"q_proj": 4}, target_modules=("q_proj",))),
        True,
        "the same scale",
    ),
    (replace(small(), config=LoraConfig(r=2, lora_alpha=8, target_modules=("q_proj",))), False, "another scale"),
    (small(scale=2.0), False, "other weights"),
    (small(base_id="1" * 64), False, "another base"),
    (
        replace(small(), tensors={K: small().tensors[Q]}, config=LoraConfig(r=2, target_modules=("k_proj",))),
        False,
        "another module",
    ),
]


@pytest.mark.parametrize(("other", "same", "why"), SAME, ids=[row[2] for row in SAME])
def test_what_does_the_same_has_the_same_id(other, same, why):
    assert (other.id == small().id) == same
    assert other.id[14] == "8" and len(other.id) == 36


INVALID = [
    ({"name": ""}, "no name"),
    ({"name": "a\nb"}, "a name of two lines"),
    ({"name": "x" * 101}, "a name too long"),
    ({"base_id": "xyz"}, "a base that is no hash"),
    ({"tensors": {}}, "no modules"),
    ({"tensors": {"a/b": small().tensors[Q]}}, "a path that is none"),
    ({"tensors": {Q: (np.ones((2, 64)), np.ones((64, 2), np.float32))}}, "f64"),
    ({"tensors": {Q: (np.ones((2, 0), np.float32), np.ones((64, 2), np.float32))}}, "no inputs"),
    ({"signature": {"algorithm": "rsa"}}, "a signature that is none"),
    ({"metadata": ["x"]}, "metadata that is no object"),
]


@pytest.mark.parametrize(("more", "why"), INVALID, ids=[row[1] for row in INVALID])
def test_an_adapter_that_cannot_be_is_refused(more, why):
    with pytest.raises(InvalidAdapter):
        replace(small(), **more)


def test_a_config_is_found_for_ranks_and_scales():
    ranks, scales = {Q: 2, K: 4, K.replace("k_", "v_"): 4}, {Q: 2.0, K: 1.0, K.replace("k_", "v_"): 3.0}
    config = config_of(ranks, scales)
    assert {path: (config.rank_of(path), config.scale_of(path)) for path in ranks} == {
        path: (ranks[path], scales[path]) for path in ranks
    }
    assert config.rank_pattern == {"q_proj": 2} and config.r == 4
