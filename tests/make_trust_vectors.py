"""Writes tests/vectors/{manifest,trust}.json: `PYTHONPATH=pysrc python -m tests.make_trust_vectors`. CPython.

The rows, with the verdict each must get, are written here by hand; only hashes and signatures are computed. The keys
are those of RFC 8032's test vectors: public, and so refused for any real site.
"""

import copy
import json

from edgenet import manifest, trust
from edgenet.canonical import canonicalize
from edgenet.fields import time_text, to_base64
from edgenet.integrity import describe
from edgenet.manifest import key_id

from .ed25519_reference import ReferenceSigner
from .trust_vectors import FOLDER, FixedClock, content, edited, load, run

SIGNED_AT = "2026-03-01T12:00:00Z"
NOW = "2026-06-01T00:00:00Z"
HEX = "0" * 64
MODEL, SOURCE = ["artifacts", "model"], ["sources", 0]


def good_manifest() -> dict:
    model, _ = describe([content("counter", 2500)], "model.onnx", 1024)
    tokenizer, _ = describe([content("counter", 100)], "tokenizer/tokenizer.json", 1024)
    return {
        "schemaVersion": 1, "id": "minilm-l6-v2-q8", "name": "MiniLM é 😀", "version": "1.0.0", "type": "embedding",
        "family": "bert",
        "architecture": {"type": "transformer", "layers": 6, "hiddenSize": 384, "vocabSize": 30522, "contextLength": 256},
        "optimization": {"quantization": "INT8", "format": "blockwise", "originalSize": 9000, "optimizedSize": 2500},
        "artifacts": {"model": model, "tokenizer": tokenizer},
        "sources": [{"type": "cdn", "priority": 1, "baseUrl": "./"},
                    {"type": "ipfs", "priority": 3, "gateways": ["https://gateway.example/ipfs/"]}],
        "requirements": {"minMemory": 100000000, "minStorage": 2600, "simdRequired": True, "webgpuOptional": True},
        "benchmarks": {"worstCosine": 0.9951}, "license": "Apache-2.0", "homepage": "https://model.example/",
        "publishedAt": "2026-03-01T12:00:00Z", "publishedBy": "EdgeNet tests", "x-unknown": {"kept": [1, 2.5, None]},
    }


def row(why, *edits, code=None, schema=None):
    """`schema` says what the JSON Schema must answer; where absent, the same as the parser."""
    return {"why": why, "edits": list(edits), "code": code} | ({} if schema is None else {"schema": schema})


def path_rows():
    bad_names = ["../model.onnx", "a/../b", "/model.onnx", "a//b", "./a", "a/", "..", ".", "a\\b", "C:model.onnx",
                 "https://evil.example/x", "%2e%2e/x", ".hidden", "a/.git", "nul\u0000l", "a b", "x.", "é", "a\n"]
    bad_urls = ["../", "a/../b/", "./../", "/../", "//evil.example/", "javascript:alert(1)/", "file:///etc/", "a",
                "https://host", "https://h/../", "https://h/%2e%2e/", "https://u:p@h/", "https://h/?q=/", "a\\b/", "./."]
    good_urls = ["./", "/models/", "blobs/v1/", "https://cdn.example/m/1.0/", "http://localhost:8000/", "/"]
    yield from (row(f"file name {name!r}", [[*MODEL, "filename"], name], code="unsafe_path") for name in bad_names)
    yield from (row(f"base URL {url!r}", [[*SOURCE, "baseUrl"], url], code="unsafe_path") for url in bad_urls)
    yield from (row(f"base URL {url!r} is fine", [[*SOURCE, "baseUrl"], url]) for url in good_urls)
    yield row("two files of one name", [["artifacts", "tokenizer", "filename"], "MODEL.onnx"], code="unsafe_path", schema=True)
    yield row("a file named like the manifest", [[*MODEL, "filename"], "manifest.json"], code="unsafe_path", schema=True)
    yield row("a gateway without scheme", [["sources", 1, "gateways"], ["ipfs.io/ipfs/"]], code="unsafe_path")


def schema_rows():
    for name in ("id", "name", "version", "type", "artifacts", "sources"):
        yield row(f"{name} is missing", [[name]], code="manifest_schema")
    for value in (None, True, "1", 1.5, -1):
        yield row(f"schemaVersion {value!r}", [["schemaVersion"], value], code="manifest_schema")
    for value in (0, 2, 99):
        yield row(f"schemaVersion {value}", [["schemaVersion"], value], code="schema_version_unsupported")
    wrong = [(["id"], "Upper"), (["id"], "a..b"), (["id"], ""), (["id"], 7), (["version"], "1/0"), (["version"], "../1"),
             (["name"], ""), (["sources"], {}), (["sources"], [1]), (["artifacts"], {}), (["artifacts"], []),
             (["artifacts", "bad name"], {}), (["artifacts", "model"], None), ([*MODEL, "size"], "2500"),
             ([*MODEL, "size"], 2500.5), ([*MODEL, "size"], True), ([*MODEL, "size"], 0), ([*MODEL, "size"], -1),
             ([*MODEL, "sha256"], "A" * 64), ([*MODEL, "sha256"], HEX[1:]), ([*MODEL, "chunkSize"], 1000),
             ([*MODEL, "chunkSize"], 1 << 25), ([*MODEL, "cid"], "Qm"), ([*MODEL, "leaves"], [1]), ([*MODEL, "leaves"], []),
             ([*SOURCE, "priority"], -1), ([*SOURCE, "type"], ""), (["architecture"], []), (["architecture", "layers"], 0),
             (["requirements", "minMemory"], "1GB"), (["requirements", "simdRequired"], 1), (["expiresAt"], "tomorrow"),
             (["expiresAt"], "2026-01-01T00:00:00+01:00"), (["expiresAt"], "2026-01-01T24:00:00Z"), (["license"], None)]
    yield from (row(f"{'.'.join(map(str, path))} = {str(value)[:12]!r}", [path, value], code="manifest_schema")
                for path, value in wrong)
    yield row("30 February", [["publishedAt"], "2026-02-30T00:00:00Z"], code="manifest_schema", schema=True)
    yield row("a cdn without baseUrl", [[*SOURCE, "baseUrl"]], code="manifest_schema")
    yield row("ipfs without gateways", [["sources", 1, "gateways"]], code="manifest_schema")
    yield row("no leaves at all", [[*MODEL, "leaves"]], code="manifest_schema")
    yield row("leaves and leavesFile", [[*MODEL, "leavesFile"], leaves_file(3)], code="manifest_schema")
    yield row("a signature that is text", [["signature"], "MEUCIQDx"], code="manifest_schema")
    yield row("unknown fields are kept", [["future"], {"a": [1]}], [[*MODEL, "future"], 1])
    yield row("an unknown kind of source is kept", [["sources"], [{"type": "carrier-pigeon"}]])
    yield row("no sources: a local file", [["sources"], []])


def leaves_file(count):
    return {"filename": "model.leaves", "size": 32 * count, "sha256": HEX}


def size_rows():
    yield row("one leaf too few", [[*MODEL, "size"], 3073], code="sizes_disagree", schema=True)
    yield row("one leaf too many", [[*MODEL, "size"], 2048], [["optimization"]], code="sizes_disagree", schema=True)
    yield row("another optimizedSize", [["optimization", "optimizedSize"], 2501], code="sizes_disagree", schema=True)
    yield row("leaves do not add up", [[*MODEL, "merkleRoot"], HEX], code="leaves_disagree", schema=True)
    yield row("a leaf swapped", [[*MODEL, "leaves", 0], HEX], code="leaves_disagree", schema=True)
    yield row("a leaves file", [[*MODEL, "leaves"]], [[*MODEL, "leavesFile"], leaves_file(3)])
    yield row("a leaves file of the wrong size", [[*MODEL, "leaves"]], [[*MODEL, "leavesFile"], leaves_file(4)],
              code="sizes_disagree", schema=True)
    yield row("a leaves file above", [[*MODEL, "leaves"]], [[*MODEL, "leavesFile"], leaves_file(3)],
              [[*MODEL, "leavesFile", "filename"], "../x"], code="unsafe_path")


def text_rows():
    """Documents as text, where an edit of a good manifest cannot say it."""
    texts = [("empty", "", "manifest_not_json"), ("not JSON", "{", "manifest_not_json"), ("NaN", '{"a":NaN}', "manifest_not_json"),
             ("an array", "[]", "manifest_not_json"), ("a number", "1", "manifest_not_json"), ("null", "null", "manifest_not_json"),
             ("a byte order mark", "\ufeff{}", "manifest_not_json"), ("trailing text", "{} x", "manifest_not_json"),
             ("an empty object", "{}", "manifest_schema"), ("an infinite number", '{"a":1e999}', "manifest_schema"),
             ("an integer beyond 2^53", '{"a":9007199254740993}', "manifest_schema"),
             ("a huge whole number", '{"a":1e300}', "manifest_schema"), ("a lone surrogate", '{"a":"\\ud800"}', "manifest_schema"),
             ("a lone surrogate as key", '{"\\udc00":1}', "manifest_schema"),
             ("nested too deeply", '{"a":' + "[" * 80 + "]" * 80 + "}", "manifest_schema"),
             ("__proto__ is an ordinary field", '{"__proto__":{"schemaVersion":1}}', "manifest_schema")]
    return [{"why": why, "text": text, "code": code} for why, text, code in texts]


def trust_document(signers) -> dict:
    names = ["sign-manifest", "sign-kernels", "revoke"]
    capabilities = [names, ["sign-manifest"], ["revoke"]]
    dates = {"notBefore": "2026-01-01T00:00:00Z", "notAfter": "2026-12-31T00:00:00Z"}
    return {"schemaVersion": 1, "keys": [
        {"keyId": key_id(s.public_key), "publicKey": to_base64(s.public_key), **dates, "capabilities": c}
        for s, c in zip(signers, capabilities, strict=True)]}


def verdict_rows(key):
    """Rows on one signed manifest. `after` edits it once signed; `trust`, `revoke` and `now` edit the rest."""
    def judged(why, code=None, cached=None, notices=(), **edits):
        return {"why": why, "code": code, "cached": cached, "notices": list(notices)} | edits

    first = ["keys", 0]
    revoke_key, revoke_model = [[["keys"], [key]]], [[["manifests"], [{"id": "minilm-l6-v2-q8", "version": "1.0.0"}]]]
    return [
        judged("all is well"),
        judged("another name for the model", "signature_invalid", after=[[["name"], "Evil"]]),
        judged("another source", "signature_invalid", after=[[[*SOURCE, "baseUrl"], "https://evil.example/"]]),
        judged("another unknown field", "signature_invalid", after=[[["x-unknown"], 1]]),
        judged("another timestamp", "signature_invalid", after=[[["signature", "timestamp"], "2026-03-01T12:00:01Z"]]),
        judged("an all-zero signature", "signature_invalid", after=[[["signature", "value"], "A" * 86 + "=="]]),
        judged("no signature", "signature_missing", after=[[["signature"]]]),
        judged("a key that is not trusted", "key_untrusted", notices=["key_untrusted"], trust=[[["keys", 0]]]),
        judged("a key without the capability", "key_incapable", trust=[[[*first, "capabilities"], ["revoke"]]]),
        judged("a revoked key", "key_revoked", "key_revoked", revoke=revoke_key),
        judged("a key that began after it signed", "key_not_yet_valid", trust=[[[*first, "notBefore"], "2026-03-01T12:00:01Z"]]),
        judged("a key whose last second is the signature's, and later now", "key_expired", notices=["key_expired"],
               trust=[[[*first, "notAfter"], SIGNED_AT]]),
        judged("signed in the key's last second, judged in it", now=SIGNED_AT, trust=[[[*first, "notAfter"], SIGNED_AT]]),
        judged("a key expired by now", "key_expired", notices=["key_expired"], now="2026-12-31T00:00:01Z"),
        judged("a clock before the key began", "key_not_yet_valid", notices=["key_not_yet_valid"], now="2025-12-31T23:59:59Z"),
        judged("a withdrawn version", "manifest_revoked", "manifest_revoked", revoke=revoke_model),
        judged("another version withdrawn", revoke=[[["manifests"], [{"id": "minilm-l6-v2-q8", "version": "2"}]]]),
        judged("an expired manifest", "manifest_expired", notices=["manifest_expired"], before=[[["expiresAt"], "2026-05-31T23:59:59Z"]]),
        judged("a manifest in its last second", before=[[["expiresAt"], NOW]]),
        judged("revoked and expired: the key is named first", "key_revoked", "key_revoked", revoke=revoke_key,
               before=[[["expiresAt"], "2026-05-01T00:00:00Z"]]),
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
        moved("another list of the same sequence", sign_list(plain | {"keys": ["0" * 16]}, signers[2]), base, "revocations_outdated"),
        moved("a list that revokes its own key", own, base),
        moved("that list seen again", own, own),
        moved("a list by a key revoked before", sign_list(plain | {"sequence": 7}, signers[2]), own, "key_revoked"),
        moved("a key without the capability", sign_list(plain, signers[1]), None, "key_incapable"),
        moved("a changed list", base | {"sequence": 9}, None, "signature_invalid"),
        moved("no signature", plain, None, "signature_missing"),
        moved("a signature of another time", edited(base, [[["signature", "timestamp"], NOW]]), None, "revocations_invalid"),
        moved("no sequence", edited(base, [[["sequence"]]]), None, "revocations_invalid"),
        moved("another schema", base | {"schemaVersion": 2}, None, "schema_version_unsupported"),
    ]


def trust_file_rows(document):
    first = ["keys", 0]
    bad = [("no keys", [["keys"], []]), ("keys missing", [["keys"]]), ("another key id", [[*first, "keyId"], "0" * 16]),
           ("a short key", [[*first, "publicKey"], "AAAA"]), ("dates reversed", [[*first, "notBefore"], "2027-01-01T00:00:00Z"]),
           ("a date without zone", [[*first, "notAfter"], "2026-12-31T00:00:00"]),
           ("one key twice", [["keys"], [document["keys"][0]] * 2]), ("capabilities as text", [[*first, "capabilities"], "revoke"])]
    rows = [{"why": why, "edits": [edit], "code": "trust_file_invalid"} for why, edit in bad]
    return [*rows, {"why": "another schema", "edits": [[["schemaVersion"], 2]], "code": "schema_version_unsupported"},
            {"why": "unknown fields and capabilities are kept", "edits": [[["x"], 1], [[*first, "capabilities"], ["fly"]]], "code": None}]


def detached_rows(signers):
    data = '{"version":"1.0.0"}\n'
    good = to_base64(run(signers[0].sign(data.encode())))
    other = to_base64(run(signers[1].sign(data.encode())))
    def pack(why, code=None, signature=good, text=data, trust=()):
        return {"why": why, "data": text, "signature": signature, "trust": list(trust), "code": code}
    return [
        pack("the pack's bytes"), pack("a newline after the base64", signature=good + "\n"),
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
    write("manifest", {
        "note": "A good manifest, edits of it ([path, value] sets, [path] deletes) and texts, each with the error code "
                "it must get (null: accepted). `schema`: the JSON Schema's answer where it differs from the parser's.",
        "manifest": base, "rows": [*path_rows(), *schema_rows(), *size_rows()], "texts": text_rows()})
    signed = run(manifest.sign(base, signers[0], FixedClock(SIGNED_AT)))
    verdicts = verdict_rows(key_id(signers[0].public_key))
    for entry in verdicts:
        if "before" in entry:
            entry["value"] = signed_variant(base, entry["before"], signers[0])
    plain = {"schemaVersion": 1, "sequence": 5, "issuedAt": SIGNED_AT, "keys": [], "manifests": []}
    write("trust", {
        "note": "Keys are those of RFC 8032's tests. A verdict row: `before` edits the manifest before it is signed "
                "(`value` is that signature), `after` edits it once signed; `cached` is the code for a manifest accepted earlier.",
        "now": NOW, "signedAt": SIGNED_AT, "manifest": signed,
        "payload": manifest.signed_payload(copy.deepcopy(signed), SIGNED_AT).decode(),
        "canonicalSha256": manifest.unsigned_hash(signed), "canonicalBytes": len(canonicalize(base)),
        "trust": trust_document(signers), "revocations": plain, "verdicts": verdicts,
        "lists": revocation_rows(signers, plain), "trustFiles": trust_file_rows(trust_document(signers)),
        "detached": detached_rows(signers)})
    print("written", time_text(FixedClock(NOW).now()))


if __name__ == "__main__":
    main()
