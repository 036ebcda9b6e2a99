"""The adapters that a page keeps, by messages: formats in and out, names, merges, what stays out. A played page. CPython and Pyodide."""

import json
import zipfile
from dataclasses import replace
from io import BytesIO

import pytest

from edgenet.errors import EdgeNetError, StorageError
from edgenet.fields import seconds
from edgenet.lora import document, peft
from edgenet.lora.adapter import base_id, differences, for_base
from edgenet.lora.bound import engine_bytes
from edgenet.lora.signature import sign
from edgenet.trust import parse_trust
from tests.ed25519_reference import ReferenceSigner
from tests.trust_vectors import FixedClock, edited, load, run
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


PROFILE = {"mean": [0.6, 0.8], "count": 2, "examples": ["my diary", "of this year"], "model": "minilm@2.0.0"}


def told(page, id):
    """What its record says it was trained on."""
    return json.loads(page.kept[f"library/{id}.json"])["profile"]


def rounded(profile):
    return profile | {"mean": pytest.approx(profile["mean"], abs=1e-7)}


def test_what_an_adapter_was_trained_on_is_kept_with_it_and_goes_by_itself(page):
    id = imported(page)
    assert told(page, id) is None
    for profile in (PROFILE, PROFILE | {"model": "other@1.0.0", "examples": []}):
        assert page.call("library.describe", id=id, profile=profile) == {"id": id} and told(page, id) == rounded(
            profile
        )
    page.call("library.rename", id=id, name="second")
    assert told(page, imported(page, "third")) == rounded(profile), "the same adapter, kept again"
    page.call("library.describe", id=id, profile=None)
    assert told(page, id) is None
    page.call("library.remove", id=id)
    again = page.call("library.import", binary={"files": FILES}, name="mine", profile=PROFILE)["id"]
    assert told(page, again) == rounded(PROFILE)


@pytest.mark.parametrize("format", ["peft", "json", "gguf"])
def test_an_export_holds_nothing_of_what_was_trained_on(page, format):
    id = imported(page)
    before = page.call("library.export", id=id, format=format)["bytes"]
    page.call("library.describe", id=id, profile=PROFILE)
    after = page.call("library.export", id=id, format=format)["bytes"]
    assert unpacked(after) == unpacked(before) and b"diary" not in unpacked(after)


def unpacked(data):
    """A zip's files, whose times differ, one after another; other files as they are."""
    if not data.startswith(b"PK"):
        return data
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return b"".join(archive.read(name) for name in sorted(archive.namelist()))


# --- who vouches for it
SIGNED_AT, KEY = "2026-03-01T12:00:00Z", "21fe31dfa154a261"
MAY_SIGN = [[["keys", 0, "capabilities"], ["sign-adapter"]]]


@pytest.fixture(scope="module")
def signed():
    """By the first key of the vectors' trust."""
    signer = ReferenceSigner(bytes.fromhex(load("ed25519")["rfc8032"][0]["seed"]))
    based = replace(for_base(ADAPTER, HEADER), base_sha256="")
    return run(sign(based, signer, FixedClock(SIGNED_AT)))


def signer_of(page, id):
    return json.loads(page.kept[f"library/{id}.json"])["signed_by"]


def believing(page, edits=MAY_SIGN, revoked=()):
    page.trust, page.revoked, page.now = parse_trust(edited(load("trust")["trust"], edits)), revoked, seconds(SIGNED_AT)
    return page


def test_who_vouches_for_an_adapter_is_told_of_it_and_an_unknown_key_is_nobody(page, signed):
    files = {"a.json": document.write(signed)}
    assert signer_of(page, imported(page, files=files)) is None
    id = imported(believing(page), files=files)
    assert signer_of(page, id) == KEY
    exported = page.call("library.export", id=id, format="json")["bytes"]
    assert document.read(exported).signature == signed.signature, "another name is the reader's own"


UNVOUCHED = {
    "a signature that does not fit": ("signature_invalid", MAY_SIGN, (), {"base_sha256": "ab" * 32}),
    "a key that was revoked": ("key_revoked", MAY_SIGN, (KEY,), {}),
    "a key that may not sign adapters": ("key_incapable", [], (), {}),
}


@pytest.mark.parametrize("why", UNVOUCHED)
def test_an_adapter_whose_signature_is_refused_is_not_kept(page, signed, why):
    code, edits, revoked, change = UNVOUCHED[why]
    with pytest.raises(EdgeNetError) as caught:
        imported(believing(page, edits, revoked), files={"a.json": document.write(replace(signed, **change))})
    assert caught.value.code == code and not any(key.startswith(("library/", "ready/")) for key in page.kept)


def test_full_storage_hides_nothing_that_is_kept(page):
    id = imported(page)
    for key in [key for key in page.kept if key.startswith(("ready/", "bases/"))]:
        del page.kept[key]
    page.full = True
    assert page.call("library.base")["base"] == base_id(HEADER)
    assert page.call("library.ready", id=id)["bytes"] and page.call("library.export", id=id, format="gguf")["bytes"]


def test_a_removal_that_is_cut_short_leaves_no_part_behind(page):
    """What an engine takes goes first: what is left can still be found, and removed."""
    id, delete = imported(page), page.store_delete

    async def store_delete(key):
        if key.startswith("library/"):
            raise StorageError("The tab is gone.")
        await delete(key)

    page.store_delete = store_delete
    with pytest.raises(StorageError):
        page.call("library.remove", id=id)
    assert [key.split("/")[0] for key in page.kept if id in key] == ["library", "library"]


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
    "a format that is no text": ("invalid_option", "export", {"id": "x", "format": [5]}),
    "an unknown adapter": ("adapter_not_found", "remove", {"id": "x"}),
    "no id": ("adapter_not_found", "remove", {"id": None}),
    "an id that is no text": ("adapter_not_found", "rename", {"id": {}, "name": "y"}),
    "an unknown adapter to describe": ("adapter_not_found", "describe", {"id": "x", "profile": None}),
    "a profile that is none": ("adapter_invalid", "describe", {"id": "x", "profile": {"mean": "x"}}),
    "a profile that is none, with files": ("adapter_invalid", "import", {"binary": {"files": FILES}, "profile": [1]}),
    "one alone to merge": ("adapter_not_found", "merge", {"ids": ["x"]}),
    "an unknown kind": ("unknown_kind", "burn", {}),
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_cannot_be_is_refused_by_name(page, why):
    code, kind, args = REFUSED[why]
    with pytest.raises(EdgeNetError) as caught:
        page.call(f"library.{kind}", **args)
    assert caught.value.code == code and not any(key.startswith("library/") for key in page.kept)
