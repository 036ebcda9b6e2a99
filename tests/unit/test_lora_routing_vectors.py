"""Routing against tests/vectors/routing.json, which JavaScript's twin is held to as well. Runs anywhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgenet.errors import NotFinite
from edgenet.lora import routing
from edgenet.lora.routing import Profile, learned, route

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/routing.json").read_text(encoding="utf-8"))
PROFILES = {id: Profile.from_data(told) for id, told in VECTORS["profiles"].items()}


@pytest.mark.parametrize("row", VECTORS["learned"], ids=lambda row: row["why"])
def test_a_profile_is_what_its_definition_says(row):
    made = learned(None, np.float32(row["vectors"]), row["texts"], row["model"]).to_data()
    want = row["profile"]
    assert made | {"mean": None} == want | {"mean": None}
    np.testing.assert_allclose(made["mean"], want["mean"], atol=2e-7)


@pytest.mark.parametrize("row", VECTORS["routed"], ids=lambda row: row["why"])
def test_a_request_goes_where_its_definition_says(row):
    found = route(np.float32(row["vector"]), PROFILES, row["threshold"], row["model"])
    assert [id for id, _ in found] == [id for id, _ in row["found"]]
    np.testing.assert_allclose([score for _, score in found], [score for _, score in row["found"]], atol=1e-6)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=str)
def test_what_has_no_direction_is_refused(vector):
    with pytest.raises(NotFinite):
        route(np.float32(vector), PROFILES)


def test_the_threshold_is_one_number():
    assert VECTORS["threshold"] == routing.THRESHOLD
