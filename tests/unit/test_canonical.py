"""RFC 8785, by the RFC's own examples and by what must be refused."""

import json
import struct

import pytest

from edgenet import canonical
from edgenet.errors import NotCanonical
from tests.trust_vectors import rows


@pytest.mark.parametrize("row", rows("canonical", "numbers"))
def test_numbers_print_as_ecmascript_does(row):
    value = struct.unpack(">d", bytes.fromhex(row["bits"]))[0]
    if row["text"] is None:
        with pytest.raises(NotCanonical):
            canonical.canonicalize(value)
    else:
        assert canonical.canonicalize(value).decode() == row["text"]


@pytest.mark.parametrize("row", rows("canonical", "texts"))
def test_a_text_has_its_canonical_form_which_is_its_own(row):
    form = canonical.canonicalize(json.loads(row["json"]))
    assert form == row["canonical"].encode("utf-8")
    assert canonical.canonicalize(json.loads(form)) == form


@pytest.mark.parametrize("row", rows("canonical", "refused"))
def test_malformed_unicode_is_refused(row):
    with pytest.raises(NotCanonical, match="surrogate"):
        canonical.canonicalize(json.loads(row["json"]))


DEEP = []
for _ in range(canonical.MAX_DEPTH + 1):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "not a JSON number"),
        (float("-inf"), "not a JSON number"),
        (2**53, "beyond 2^53"),
        (-(2**53), "beyond 2^53"),
        ({1: 2}, "keys must be strings"),
        ({None: 2}, "keys must be strings"),
        (b"bytes", "type bytes"),
        ({1, 2}, "type set"),
        (object(), "type object"),
        (DEEP, "nested deeper"),
    ],
)
def test_what_json_lacks_is_refused(value, why):
    with pytest.raises(NotCanonical) as caught:
        canonical.canonicalize({"a": value})
    assert why in caught.value.message


def test_tuples_and_bools_have_the_form_of_their_json():
    assert canonical.canonicalize((True, 1, False, 0)) == b"[true,1,false,0]"
