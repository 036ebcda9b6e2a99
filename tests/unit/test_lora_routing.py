"""Routing: a request goes to the adapter whose texts it is like, and to none where it is like none. Runs anywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgenet.errors import InvalidAdapter, NotFinite, ProfileMismatch, WrongLength
from edgenet.lora import routing
from edgenet.lora.routing import Profile, learned, question_of, route, sample_of
from tests.trust_vectors import run
from tests.unit.test_lora_pool import filled

COOKING, CODE = np.float32([[1, 0, 0.2], [0.9, 0.1, 0]]), np.float32([[0, 1, 0], [0, 2, 0.1]])
PROFILES = {"cooking": learned(None, COOKING), "code": learned(None, CODE)}
TEXTS = json.loads((Path(__file__).parents[1] / "vectors" / "routing_texts.json").read_text("utf-8"))


def test_the_likest_adapter_comes_first():
    found = route(np.float32([0.6, 0.5, 0]), PROFILES)
    assert [id for id, _ in found] == ["cooking", "code"] and 1 >= found[0][1] > found[1][1] >= routing.THRESHOLD


def test_similarity_is_the_cosine_with_the_mean_of_unit_vectors():
    mean = sum(row / np.linalg.norm(row) for row in CODE) / 2
    want = mean @ [3, 4, 0] / 5 / np.linalg.norm(mean)
    assert dict(route(np.float32([3, 4, 0]), PROFILES))["code"] == pytest.approx(want, abs=1e-6)


@pytest.mark.parametrize(("vector", "threshold"), [([0, 0, 1], 0.3), ([-1, -1, 0], 0.3), ([0.6, 0.5, 0], 0.99)])
def test_a_request_like_none_goes_to_none(vector, threshold):
    assert route(np.float32(vector), PROFILES, threshold) == []


def test_more_texts_move_the_mean_as_all_at_once():
    apart = learned(learned(None, COOKING, ["a"]), CODE, ["b"])
    together = learned(None, np.concatenate([COOKING, CODE]), ["a", "b"])
    assert np.allclose(apart.mean, together.mean) and (apart.count, apart.examples) == (4, ("a", "b")) == (
        together.count,
        together.examples,
    )


def test_a_few_short_examples_are_kept():
    found = learned(None, np.ones((20, 2), np.float32), [f"{i}" * 300 for i in range(20)])
    assert len(found.examples) == routing.EXAMPLES and {len(text) for text in found.examples} == {routing.LENGTH}


def test_a_profile_of_another_embedding_model_as_wide_is_left_out():
    profiles = PROFILES | {"other": learned(None, COOKING, model="other@1.0.0")}
    for model, ids in (("", ["cooking"]), ("other@1.0.0", ["other"]), ("third@1.0.0", [])):
        assert [id for id, _ in route(np.float32([1, 0, 0]), profiles, 0.5, model)] == ids
    for before, model in ((profiles["other"], ""), (PROFILES["code"], "other@1.0.0")):
        with pytest.raises(ProfileMismatch):
            learned(before, CODE, model=model)


def test_a_profile_of_another_width_is_left_out():
    assert [id for id, _ in route(np.float32([1, 0, 0]), PROFILES | {"other": learned(None, np.ones((1, 5)))})] == [
        "cooking"
    ]
    with pytest.raises(WrongLength):
        learned(PROFILES["code"], np.ones((1, 5), np.float32))


@pytest.mark.parametrize("vector", [[0, 0, 0], [float("nan"), 1, 0], [float("inf"), 1, 0], []])
def test_a_vector_without_a_direction_is_refused(vector):
    for use in (lambda v: route(v, PROFILES), lambda v: learned(None, v)):
        with pytest.raises(NotFinite):
            use(np.float32(vector))


def test_a_profile_goes_through_json():
    made = learned(None, CODE, ["x"], "minilm@1.0.0")
    again = Profile.from_data(made.to_data())
    assert np.array_equal(again.mean, made.mean) and (again.count, again.examples) == (2, ("x",))
    assert again.model == "minilm@1.0.0"
    without = {name: value for name, value in made.to_data().items() if name != "model"}
    assert Profile.from_data(without).model == ""  # as records were written before
    for wrong in (
        {},
        {"mean": "x", "count": 1, "examples": []},
        made.to_data() | {"count": -1},
        made.to_data() | {"mean": [1e39]},
        made.to_data() | {"model": 1},
        [],
    ):
        with pytest.raises(InvalidAdapter):
            Profile.from_data(wrong)


def test_the_pool_routes_by_what_its_adapters_learned():
    pool, _ = filled("cooking", "code", "untaught")
    for name, vectors in (("cooking", COOKING), ("code", CODE)):
        run(pool.learn(name, vectors))
    assert [pool.find(id).name for id, _ in pool.route(np.float32([0, 1, 0]))] == ["code"]
    assert pool.route(np.float32([0, 0, 1]), 0.5) == []


def test_the_pool_describes_an_adapter_anew_and_routes_by_one_model_among_those_of_one_base():
    pool, _ = filled("cooking", "code")
    run(pool.learn("cooking", COOKING, model="old@1"))
    run(pool.learn("cooking", CODE, ["y"], model="new@1", anew=True))
    entry = pool.find("cooking")
    assert (entry.profile.count, entry.profile.examples, entry.profile.model) == (2, ("y",), "new@1")
    request = np.float32([0, 1, 0])
    assert pool.route(request, model="old@1") == [] == pool.route(request, model="new@1", base="another")
    assert [id for id, _ in pool.route(request, model="new@1", base=entry.base_id)] == [entry.id]


@pytest.mark.parametrize("case", TEXTS["samples"], ids=[case["why"] for case in TEXTS["samples"]])
def test_of_what_is_learned_from_a_sample_is_taken(case):
    assert sample_of(case["examples"]) == case["wanted"]


@pytest.mark.parametrize("case", TEXTS["questions"], ids=[case["why"] for case in TEXTS["questions"]])
def test_of_a_request_its_end_is_compared(case):
    assert question_of(case["asked"]) == case["wanted"]
