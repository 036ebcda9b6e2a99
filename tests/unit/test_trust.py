"""Keys, revocations and the verdict on a manifest, by the vectors that the browser is tested with too."""

import pytest

from edgenet import trust
from edgenet.errors import EdgeNetError
from edgenet.fields import seconds
from tests.ed25519_reference import ReferenceSigner, verify
from tests.trust_vectors import FixedClock, edited, load, rows, run

VECTORS = load("trust")
KEYS = load("ed25519")["rfc8032"]
SIGNED = VECTORS["manifest"]


def code_of(call):
    """(result, None) of a call, or (None, code) of the EdgeNetError it raises."""
    try:
        return call(), None
    except EdgeNetError as error:
        assert error.message
        return None, error.code


def world(row):
    """(manifest, trust, revocations, now) of a verdict row."""
    document = SIGNED
    if "before" in row:
        signature = SIGNED["signature"] | {"value": row["value"]}
        document = edited(SIGNED, row["before"]) | {"signature": signature}
    keys = trust.parse_trust(edited(VECTORS["trust"], row.get("trust", [])))
    revoked = trust.parse_revocations(edited(VECTORS["revocations"], row.get("revoke", [])))
    return edited(document, row.get("after", [])), keys, revoked, seconds(row.get("now", VECTORS["now"]))


@pytest.mark.parametrize("row", rows("ed25519", "rfc8032"))
def test_the_reference_signs_and_verifies_as_rfc_8032(row):
    key, message, signature = (bytes.fromhex(row[name]) for name in ("publicKey", "message", "signature"))
    signer = ReferenceSigner(bytes.fromhex(row["seed"]))
    assert (signer.public_key, run(signer.sign(message))) == (key, signature)
    assert run(verify(key, signature, message))


@pytest.mark.parametrize("row", rows("ed25519", "refused"))
def test_the_reference_refuses_what_does_not_fit(row):
    assert not run(verify(*(bytes.fromhex(row[name]) for name in ("publicKey", "signature", "message"))))


@pytest.mark.parametrize("row", rows("trust", "verdicts"))
def test_a_manifest_gets_its_verdict_when_it_is_accepted(row):
    document, keys, revoked, now = world(row)
    found, code = code_of(lambda: run(trust.verify_manifest(document, keys, revoked, now, verify)))
    assert code == row["code"]
    if found:
        key = document["signature"]["keyId"]
        assert (found.manifest, found.state, found.key_id, found.notices) == (document, "signed", key, ())


@pytest.mark.parametrize("row", rows("trust", "verdicts"))
def test_an_accepted_manifest_is_stopped_by_revocation_alone(row):
    document, keys, revoked, now = world(row)
    found, code = code_of(lambda: trust.judge_cached(document, keys, revoked, now))
    assert code == row["cached"]
    if found:
        assert [notice["code"] for notice in found.notices] == row["notices"]
        assert all(notice["message"] for notice in found.notices)


def test_an_unsigned_manifest_is_accepted_only_when_asked():
    document, keys, revoked, now = world({"after": [[["signature"]]]})
    found = run(trust.verify_manifest(document, keys, revoked, now, verify, allow_unsigned=True))
    assert (found.state, found.key_id) == ("unsigned", None)
    assert trust.judge_cached(document, keys, revoked, now).state == "unsigned"


def test_a_bad_signature_is_refused_even_where_none_would_do():
    document, keys, revoked, now = world({"after": [[["name"], "Evil"]]})
    call = trust.verify_manifest(document, keys, revoked, now, verify, allow_unsigned=True)
    assert code_of(lambda: run(call))[1] == "signature_invalid"


@pytest.mark.parametrize("row", rows("trust", "lists"))
def test_a_revocation_list_is_accepted_or_not(row):
    keys, now = trust.parse_trust(VECTORS["trust"]), seconds(VECTORS["now"])
    previous = trust.parse_revocations(row["previous"]) if row["previous"] else trust.Revocations()
    call = trust.accept_revocations(row["document"], keys, previous, now, verify)
    found, code = code_of(lambda: run(call))
    assert code == row["code"]
    assert found is None or found.document == row["document"]


def test_signing_a_list_gives_the_shared_signature():
    base = VECTORS["lists"][0]["document"]
    signer = ReferenceSigner(bytes.fromhex(KEYS[2]["seed"]))
    assert run(trust.sign_revocations(base, signer, FixedClock(VECTORS["signedAt"]))) == base


@pytest.mark.parametrize("row", rows("trust", "trustFiles"))
def test_a_trust_file_is_read_or_refused(row):
    document = edited(VECTORS["trust"], row["edits"])
    assert code_of(lambda: trust.parse_trust(document))[1] == row["code"]


@pytest.mark.parametrize("row", rows("trust", "detached"))
def test_a_detached_signature_fits_or_not(row):
    keys = trust.parse_trust(edited(VECTORS["trust"], row["trust"]))
    arguments = (row["data"].encode(), row["signature"], keys, trust.Revocations(), seconds(VECTORS["now"]), verify)
    found, code = code_of(lambda: run(trust.verify_detached(*arguments)))
    assert code == row["code"]
    assert found in (None, VECTORS["trust"]["keys"][0]["keyId"])


def test_a_revoked_key_signs_no_kernels():
    key = VECTORS["trust"]["keys"][0]["keyId"]
    revoked = trust.Revocations(keys=frozenset([key]))
    row = VECTORS["detached"][0]
    keys = trust.parse_trust(VECTORS["trust"])
    call = trust.verify_detached(row["data"].encode(), row["signature"], keys, revoked, seconds(VECTORS["now"]), verify)
    assert code_of(lambda: run(call))[1] == "pack_no_trusted_key"
