"""The adapters that a page keeps, by messages: formats in and out, names, merges, what stays out. A played page. CPython and Pyodide."""

import json

import pytest

from edgenet.errors import EdgeNetError
from edgenet.lora import peft
from edgenet.lora.adapter import base_id, differences
from edgenet.lora.bound import engine_bytes
from tests.unit import small_adapters
from tests.unit.played_page import MODEL, NAME, PlayedPage

FILES, ADAPTER, HEADER = small_adapters.files(NAME), small_adapters.adapter(NAME), small_adapters.header(NAME)
OTHER = next(name for name in small_adapters.NAMES if differences(small_adapters.adapter(name), HEADER))


@pytest.fixture
def page():
    return PlayedPage()


def imported(page, name="mine", files=FILES):
    return page.call("library.import", binary={"files": files}, name=name)["id"]


def test_what_is_kept_lies_beside_what_the_engine_takes(page):
    id = imported(page)
    record = json.loads(page.kept[f"library/{id}.json"])
    assert (record["name"], record["base_id"]) == ("mine", base_id(HEADER))
    assert page.kept[f"bases/{MODEL['key']}"].decode() == base_id(HEADER)
    stored = peft.unpacked(page.kept[f"library/{id}.safetensors"], "mine")
    assert page.kept[f"ready/{id}"] == engine_bytes(stored, HEADER)
    assert page.call("library.ready", id=id)["bytes"] == page.kept[f"ready/{id}"]


@pytest.mark.parametrize("format", ["peft", "json", "gguf"])
def test_an_exported_adapter_comes_back(page, format):
    id = imported(page)
    file = page.call("library.export", id=id, format=format)
    page.call("library.remove", id=id)
    assert [key for key in page.kept if not key.startswith("bases/")] == []
    again = page.call("library.import", binary={"files": {file["name"]: file["bytes"]}})["id"]
    assert format == "gguf" or again == id
    assert json.loads(page.kept[f"library/{again}.json"])["name"] == "mine"


def test_names_are_one_to_an_adapter(page):
    id = imported(page)
    page.call("library.rename", id=id, name="second")
    assert json.loads(page.kept[f"library/{id}.json"])["name"] == "second"
    for name, code in {"": "adapter_invalid", "a\n": "adapter_invalid"}.items():
        with pytest.raises(EdgeNetError) as caught:
            page.call("library.rename", id=id, name=name)
        assert caught.value.code == code


def test_a_merge_is_kept_beside_what_it_was_made_of(page):
    id = imported(page)
    half = page.call("library.merge", ids=[id, id], options={"strategy": "average"}, name="both")["id"]
    record = json.loads(page.kept[f"library/{half}.json"])
    assert record["name"] == "both" and record["metrics"]["merge"]["error"] < 1e-6


MERGES = {
    "an unknown strategy": ({"strategy": "magic"}, "invalid_option"),
    "an unknown option": ({"strategies": "ties"}, "invalid_option"),
    "an option that the strategy has no use for": ({"density": 0.3}, "invalid_option"),
}


@pytest.mark.parametrize("why", MERGES)
def test_a_merge_that_cannot_be_is_refused_by_name_and_nothing_is_kept(page, why):
    id, (options, code) = imported(page), MERGES[why]
    kept = set(page.kept)
    with pytest.raises(EdgeNetError) as caught:
        page.call("library.merge", ids=[id, id], options=options)
    assert caught.value.code == code and set(page.kept) == kept


REFUSED = {
    "another base's": ("adapter_mismatch", "import", {"binary": {"files": small_adapters.files(OTHER)}}),
    "a text": ("adapter_invalid", "import", {"binary": {"files": {"x": b"hello"}}}),
    "an unknown format": ("invalid_option", "export", {"id": "x", "format": "onnx"}),
    "an unknown adapter": ("adapter_not_found", "remove", {"id": "x"}),
    "one alone to merge": ("adapter_not_found", "merge", {"ids": ["x"]}),
    "an unknown kind": ("unknown_kind", "burn", {}),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_refused_by_name(page, why):
    code, kind, args = REFUSED[why]
    with pytest.raises(EdgeNetError) as caught:
        page.call(f"library.{kind}", **args)
    assert caught.value.code == code and not any(key.startswith("library/") for key in page.kept)
