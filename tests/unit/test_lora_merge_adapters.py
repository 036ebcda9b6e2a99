"""Merging whole adapters: what the result says of itself, which bases belong together, progress and cancelling. Any host."""

from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import AdapterMismatch, InvalidOption
from edgenet.lora.adapter import Adapter
from edgenet.lora.config import LoraConfig
from edgenet.lora.merge import merge
from edgenet.lora.strategies import MergeOptions

Q, V = "model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.v_proj"
SHAPES = {Q: (12, 16), V: (6, 16)}  # (out, in)


def adapter(seed=1, modules=(Q, V), rank=2, shapes=SHAPES, **given):
    rng, config = np.random.default_rng(seed), given.pop("config", LoraConfig(r=rank))
    tensors = {
        m: (
            rng.standard_normal((rank, shapes[m][1]), np.float32),
            rng.standard_normal((shapes[m][0], rank), np.float32),
        )
        for m in modules
    }
    return Adapter(config, tensors, **{"name": f"number {seed}", "base_id": "a" * 64, "family": "llama", **given})


def finished(steps):
    """What a coroutine returns that only ever steps aside, without an event loop: a browser's is running already."""
    try:
        while True:
            steps.send(None)
    except StopIteration as end:
        return end.value


def merged(*adapters, **options):
    return finished(merge(adapters, MergeOptions(**options)))


def test_ranks_scales_and_modules_may_differ():
    one = adapter(1, config=LoraConfig(r=2, lora_alpha=3))
    two = adapter(2, (Q,), 5, config=LoraConfig(r=5, lora_alpha=10, use_rslora=True))
    found = merged(one, two, weights=(1.0, 3.0), rank=7).adapter
    wanted = {Q: one.delta(Q) / 4 + two.delta(Q) * 0.75, V: one.delta(V) / 4}
    for module in SHAPES:
        assert np.allclose(found.delta(module), wanted[module], atol=1e-5), module


def test_without_a_rank_each_module_keeps_the_largest_of_its_own():
    found = merged(adapter(1), adapter(2, (Q,), 5)).adapter
    assert {module: len(A) for module, (A, _) in found.tensors.items()} == {Q: 5, V: 2}
    assert found.scale(Q) == found.scale(V) == 1


def test_the_result_says_what_it_was_made_of():
    one, two = adapter(1, base_sha256="b" * 64), adapter(2, base_sha256="b" * 64)
    found, report = merged(one, two, strategy="dare_ties", density=0.7, seed=5)
    assert (found.base_id, found.base_sha256, found.family) == ("a" * 64, "b" * 64, "llama")
    assert found.name == "number 1 + number 2 (dare_ties)"
    assert report["adapters"] == [{"name": a.name, "id": a.id, "checksum": a.checksum} for a in (one, two)]
    wanted = {
        "strategy": "dare_ties",
        "density": 0.7,
        "scaling": 1.0,
        "majority_sign_method": "total",
        "seed": 5,
        "weights": [0.5, 0.5],
        "rank": 2,
    }
    assert {key: report[key] for key in wanted} == wanted
    assert found.metadata["merge"] == {key: value for key, value in report.items() if key != "modules"}


def test_the_error_over_all_modules_is_that_of_all_deltas_together():
    one, two = adapter(1, rank=4), adapter(2, rank=4)
    found, report = merged(one, two, rank=3)
    wanted = {m: (one.delta(m) + two.delta(m)) / 2 for m in SHAPES}
    missed = {m: np.linalg.norm(found.delta(m) - wanted[m]) for m in SHAPES}
    assert report["modules"] == pytest.approx({m: missed[m] / np.linalg.norm(wanted[m]) for m in SHAPES}, rel=1e-4)
    total = np.hypot(*missed.values()) / np.hypot(*(np.linalg.norm(wanted[m]) for m in SHAPES))
    assert report["error"] == pytest.approx(total, rel=1e-4) and total > 0.1


def test_files_of_two_quantisations_leave_no_file_named():
    assert merged(adapter(1, base_sha256="b" * 64), adapter(2, base_sha256="c" * 64)).adapter.base_sha256 == ""


def test_an_adapter_that_names_no_base_is_judged_by_its_shapes():
    assert merged(adapter(1, base_id="", family=""), adapter(2)).adapter.base_id == "a" * 64
    with pytest.raises(AdapterMismatch, match="v_proj"):
        merged(adapter(1, base_id=""), adapter(2, shapes={**SHAPES, V: (8, 16)}))


@pytest.mark.parametrize("other", [{"base_id": "d" * 64}, {"family": "qwen2"}], ids=["base", "family"])
def test_adapters_of_two_bases_are_refused(other):
    with pytest.raises(AdapterMismatch, match="'number 1' and 'number 2' are of different base models"):
        merged(adapter(1), adapter(2, **other))


def test_one_alone_is_itself_and_none_is_refused():
    found = merged(adapter(1), strategy="ties").adapter
    assert (found.name, found.id, found.config) == (
        "number 1",
        adapter(1).id,
        replace(adapter(1).config, target_modules=("q_proj", "v_proj")),
    )
    with pytest.raises(InvalidOption):
        merged()


def test_progress_is_told_module_by_module():
    told = []
    finished(merge([adapter(1), adapter(2)], show=lambda *row: told.append(row)))
    assert told == [(0, 2, ""), (1, 2, Q), (2, 2, V)]


def test_it_can_be_cancelled_between_two_modules():
    told = []
    steps = merge([adapter(1), adapter(2)], show=lambda *row: told.append(row))
    steps.send(None)
    steps.close()
    assert told == [(0, 2, ""), (1, 2, Q)]


def test_a_long_name_is_cut():
    assert len(merged(adapter(1, name="x" * 90), adapter(2)).adapter.name) == 100
