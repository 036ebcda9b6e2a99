"""The manifest's form, the bytes that are signed, and signing, by the vectors that the browser is tested with too."""

import copy
import json

import pytest

from edgenet import manifest
from edgenet.errors import ManifestError, ManifestNotJson, UnsafePath
from tests.ed25519_reference import ReferenceSigner
from tests.trust_vectors import FixedClock, edited, load, rows, run

GOOD = load("manifest")["manifest"]
SIGNED = load("trust")
SEED = bytes.fromhex(load("ed25519")["rfc8032"][0]["seed"])


def verdict(data):
    """The error code that parsing gives, or None."""
    try:
        manifest.parse(data)
    except ManifestError as error:
        assert error.message
        return error.code
    return None


@pytest.mark.parametrize("row", rows("manifest", "rows"))
def test_an_edited_manifest_gets_its_verdict(row):
    document = edited(GOOD, row["edits"])
    assert verdict(document) == row["code"]
    assert verdict(json.dumps(document).encode()) == row["code"]


@pytest.mark.parametrize("row", rows("manifest", "texts"))
def test_a_text_gets_its_verdict(row):
    assert verdict(row["text"].encode("utf-8")) == row["code"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xfe{}", "UTF-16 mark"),
        (b'{"a":"\xc3\x28"}', "invalid UTF-8"),
        (b" " * (4 << 20) + b"{}", "larger than any manifest"),
        (7, "a number"),
        (None, "nothing"),
        ([], "a list"),
    ],
)
def test_what_is_no_json_object_is_refused(data, why):
    with pytest.raises(ManifestNotJson):
        manifest.parse(data)


def test_parsing_returns_a_copy_with_every_field():
    given = copy.deepcopy(GOOD)
    parsed = manifest.parse(given)
    assert parsed == GOOD
    parsed["artifacts"].clear()
    assert given == GOOD


def test_a_whole_number_written_as_a_float_is_that_number():
    text = json.dumps(GOOD).replace('"layers": 6', '"layers": 6.0')
    assert manifest.parse(text) == GOOD
    assert isinstance(manifest.parse(text)["architecture"]["layers"], int)


def test_an_unsafe_path_is_told_with_the_path():
    with pytest.raises(UnsafePath) as caught:
        manifest.parse(edited(GOOD, [[["artifacts", "model", "filename"], "../x"]]))
    assert caught.value.details == {"path": "../x"}


def test_the_signed_payload_names_what_people_read_and_binds_the_rest():
    payload = manifest.signed_payload(SIGNED["manifest"], SIGNED["signedAt"])
    assert payload.decode() == SIGNED["payload"]
    read = json.loads(payload)
    assert set(read) == {"artifacts", "id", "manifest", "timestamp", "version"}
    model = GOOD["artifacts"]["model"]
    assert read["artifacts"]["model"] == {"sha256": model["sha256"], "size": model["size"]}
    assert read["manifest"] == SIGNED["canonicalSha256"] == manifest.unsigned_hash(GOOD)


def test_signing_gives_the_shared_signature():
    signer = ReferenceSigner(SEED)
    assert run(manifest.sign(GOOD, signer, FixedClock(SIGNED["signedAt"]))) == SIGNED["manifest"]
    again = run(manifest.sign(SIGNED["manifest"], signer, FixedClock(SIGNED["signedAt"])))
    assert again == SIGNED["manifest"]


def test_an_invalid_manifest_is_not_signed():
    with pytest.raises(ManifestError):
        run(manifest.sign(GOOD | {"id": ".."}, ReferenceSigner(SEED), FixedClock(SIGNED["signedAt"])))


def test_the_total_counts_leaves_files():
    document = edited(GOOD, [[["artifacts", "model", "leavesFile"], {"size": 96}]])
    assert manifest.total_size(document) == 2500 + 100 + 96
