"""Writes tests/vectors/{manifest,trust}.json: `PYTHONPATH=pysrc python -m tests.make_trust_vectors`. CPython.

The rows, with the verdict each must get, are written here by hand; only hashes and signatures are computed. The keys
are those of RFC 8032's test vectors: public, and so refused for any real site.
"""

import copy
import json

from edgenet import manifest, trust
from edgenet.canonical import canonicalize
from edgenet.fields import time_text, to_base64
from edgenet.manifest import key_id

from .ed25519_reference import ReferenceSigner
from .manifest_rows import good_manifest, path_rows, schema_rows, size_rows, text_rows
from .trust_vectors import FOLDER, FixedClock, edited, load, run

SIGNED_AT = "2026-03-01T12:00:00Z"
NOW = "2026-06-01T00:00:00Z"
SOURCE = ["sources", 0]


def trust_document(signers) -> dict:
    names = ["sign-manifest", "sign-kernels", "revoke"]
    capabilities = [names, ["sign-manifest"], ["revoke"]]
    dates = {"notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-12-31T00:00:00Z"}
    return {
        "schemaVersion": 1,
        "keys": [
            {"keyId": key_id(s.public_key), "publicKey": to_base64(s.public_key), **dates, "capabilities": c}
            for s, c in zip(signers, capabilities, strict=True)
        ],
    }


def judged(why, code=None, cached=None, notices=(), **edits):
    """A row on one signed manifest. `after` edits it once signed; `trust`, `revoke` and `now` edit the rest."""
    return {"why": why, "code": code, "cached": cached, "notices": list(notices)} | edits


def content_rows():
    return [
        judged("all is well"),
        judged("another name for the model", "signature_invalid", after=[[["name"], "Evil"]]),
        judged("another source", "signature_invalid", after=[[[*SOURCE, "baseUrl"], "https://evil.example/"]]),
        judged("another unknown field", "signature_invalid", after=[[["x-unknown"], 1]]),
        judged("another timestamp", "signature_invalid", after=[[["signature", "timestamp"], "2026-03-01T12:00:01Z"]]),
        judged("an all-zero signature", "signature_invalid", after=[[["signature", "value"], "A" * 86 + "=="]]),
        judged("no signature", "signature_missing", after=[[["signature"]]]),
    ]


def key_rows(key):
    first = ["keys", 0]
    revoke_key, revoke_model = [[["keys"], [key]]], [[["manifests"], [{"id": "minilm-l6-v2-q8", "version": "1.0.0"}]]]
    return [
        judged("a key that is not trusted", "key_untrusted", notices=["key_untrusted"], trust=[[["keys", 0]]]),
        judged("a key without the capability", "key_incapable", trust=[[[*first, "capabilities"], ["revoke"]]]),
        judged("a revoked key", "key_revoked", "key_revoked", revoke=revoke_key),
        judged(
            "a key that began after it signed",
            "key_not_yet_valid",
            trust=[[[*first, "notBefore"], "2026-03-01T12:00:01Z"]],
        ),
        judged(
            "a key whose last second is the signature's, and later now",
            "key_expired",
            notices=["key_expired"],
            trust=[[[*first, "notAfter"], SIGNED_AT]],
        ),
        judged(
            "signed in the key's last second, judged in it", now=SIGNED_AT, trust=[[[*first, "notAfter"], SIGNED_AT]]
        ),
        judged("a key expired by now", "key_expired", notices=["key_expired"], now="2026-12-31T00:00:01Z"),
        judged(
            "a clock before the key began",
            "key_not_yet_valid",
            notices=["key_not_yet_valid"],
            now="2025-12-31T23:59:59Z",
        ),
        judged("a withdrawn version", "manifest_revoked", "manifest_revoked", revoke=revoke_model),
        judged("another version withdrawn", revoke=[[["manifests"], [{"id": "minilm-l6-v2-q8", "version": "2"}]]]),
        judged(
            "an expired manifest",
            "manifest_expired",
            notices=["manifest_expired"],
            before=[[["expiresAt"], "2026-05-31T23:59:59Z"]],
        ),
        judged("a manifest in its last second", before=[[["expiresAt"], NOW]]),
        judged(
            "revoked and expired: the key is named first",
            "key_revoked",
            "key_revoked",
            revoke=revoke_key,
            before=[[["expiresAt"], "2026-05-01T00:00:00Z"]],
        ),
    ]


def sign_list(document, signer, time=SIGNED_AT):
    return run(trust.sign_revocations(document, signer, FixedClock(time)))


def revocation_rows(signers, plain):
    base = sign_list(plain, signers[2])
    own = sign_list(plain | {"sequence": 6, "keys": [key_id(signers[2].public_key)]}, signers[2])

    def moved(why, fresh, previous=None, code=None):
        return {"why": why, "document": fresh, "previous": previous, "code": code}

    return [
        moved("the first list", base),
        moved("the same list again", base, base),
        moved("a later list", sign_list(plain | {"sequence": 6}, signers[2]), base),
        moved("an older list", sign_list(plain | {"sequence": 4}, signers[2]), base, "revocations_outdated"),
        moved(
            "another list of the same sequence",
            sign_list(plain | {"keys": ["0" * 16]}, signers[2]),
            base,
            "revocations_outdated",
        ),
        moved("a list that revokes its own key", own, base),
        moved("that list seen again", own, own),
        moved("a list by a key revoked before", sign_list(plain | {"sequence": 7}, signers[2]), own, "key_revoked"),
        moved("a key without the capability", sign_list(plain, signers[1]), None, "key_incapable"),
        moved("a changed list", base | {"sequence": 9}, None, "signature_invalid"),
        moved("no signature", plain, None, "signature_missing"),
        moved(
            "a signature of another time",
            edited(base, [[["signature", "timestamp"], NOW]]),
            None,
            "revocations_invalid",
        ),
        moved("no sequence", edited(base, [[["sequence"]]]), None, "revocations_invalid"),
        moved("another schema", base | {"schemaVersion": 2}, None, "schema_version_unsupported"),
    ]


def trust_file_rows(document):
    first = ["keys", 0]
    bad = [
        ("no keys", [["keys"], []]),
        ("keys missing", [["keys"]]),
        ("another key id", [[*first, "keyId"], "0" * 16]),
        ("a short key", [[*first, "publicKey"], "AAAA"]),
        ("dates reversed", [[*first, "notBefore"], "2027-01-01T00:00:00Z"]),
        ("a date without zone", [[*first, "notAfter"], "2026-12-31T00:00:00"]),
        ("one key twice", [["keys"], [document["keys"][0]] * 2]),
        ("capabilities as text", [[*first, "capabilities"], "revoke"]),
    ]
    rows = [{"why": why, "edits": [edit], "code": "trust_file_invalid"} for why, edit in bad]
    return [
        *rows,
        {"why": "another schema", "edits": [[["schemaVersion"], 2]], "code": "schema_version_unsupported"},
        {
            "why": "unknown fields and capabilities are kept",
            "edits": [[["x"], 1], [[*first, "capabilities"], ["fly"]]],
            "code": None,
        },
    ]


def detached_rows(signers):
    data = '{"version":"1.0.0"}\n'
    good = to_base64(run(signers[0].sign(data.encode())))
    other = to_base64(run(signers[1].sign(data.encode())))

    def pack(why, code=None, signature=good, text=data, trust=()):
        return {"why": why, "data": text, "signature": signature, "trust": list(trust), "code": code}

    return [
        pack("the pack's bytes"),
        pack("a newline after the base64", signature=good + "\n"),
        pack("one space more", "pack_signature", text=data + " "),
        pack("a key that may not sign kernels", "pack_signature", signature=other),
        pack("half a signature", "pack_key", signature=good[:44]),
        pack("no key may", "pack_no_trusted_key", trust=[[["keys", 0, "capabilities"], ["sign-manifest"]]]),
    ]


def signed_variant(base, before, signer):
    fresh = run(manifest.sign(edited(base, before), signer, FixedClock(SIGNED_AT)))
    return fresh["signature"]["value"]


def write(name, document):
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=True) + "\n", "utf-8")


def main():
    base = good_manifest()
    signers = [ReferenceSigner(bytes.fromhex(case["seed"])) for case in load("ed25519")["rfc8032"][:3]]
    write(
        "manifest",
        {
            "note": "A good manifest, edits of it ([path, value] sets, [path] deletes) and texts, each with the error "
            "code it must get (null: accepted). `schema`: the JSON Schema's answer where it differs from the parser's.",
            "manifest": base,
            "rows": [*path_rows(), *schema_rows(), *size_rows()],
            "texts": text_rows(),
        },
    )
    signed = run(manifest.sign(base, signers[0], FixedClock(SIGNED_AT)))
    verdicts = [*content_rows(), *key_rows(key_id(signers[0].public_key))]
    for entry in verdicts:
        if "before" in entry:
            entry["value"] = signed_variant(base, entry["before"], signers[0])
    plain = {"schemaVersion": 1, "sequence": 5, "issuedAt": SIGNED_AT, "keys": [], "manifests": []}
    write(
        "trust",
        {
            "note": "Keys are those of RFC 8032's tests. A verdict row: `before` edits the manifest before it is "
            "signed (`value` is that signature), `after` edits it once signed; `cached` is the code for a "
            "manifest accepted earlier.",
            "now": NOW,
            "signedAt": SIGNED_AT,
            "manifest": signed,
            "payload": manifest.signed_payload(copy.deepcopy(signed), SIGNED_AT).decode(),
            "canonicalSha256": manifest.unsigned_hash(signed),
            "canonicalBytes": len(canonicalize(base)),
            "trust": trust_document(signers),
            "revocations": plain,
            "verdicts": verdicts,
            "lists": revocation_rows(signers, plain),
            "trustFiles": trust_file_rows(trust_document(signers)),
            "detached": detached_rows(signers),
        },
    )
    print("written", time_text(FixedClock(NOW).now()))


if __name__ == "__main__":
    main()
