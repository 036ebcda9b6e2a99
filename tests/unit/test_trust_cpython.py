"""What needs CPython: `cryptography`, key files, the JSON Schemas, fuzzing, Python against JavaScript through Node."""

import json
import math
import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("cryptography")
jsonschema = pytest.importorskip("jsonschema")

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from edgenet import canonical, cid, errors, manifest, trust  # noqa: E402
from edgenet.cli import signing  # noqa: E402
from edgenet.cli.config import load as load_config  # noqa: E402
from edgenet.errors import (  # noqa: E402
    InvalidCid,
    KeyInvalid,
    KeyNotFound,
    ManifestError,
    SchemaVersionUnsupported,
    StorageUnavailable,
    TrustError,
)
from edgenet.fields import seconds  # noqa: E402
from edgenet.host.cpython import CPythonHost, create_signer, load_signer  # noqa: E402
from edgenet.host.files import Disk  # noqa: E402
from edgenet.registry.site_keys import trust_entry  # noqa: E402
from tests.trust_vectors import FixedClock, edited, load, rows, run  # noqa: E402
from tools.steps import site  # noqa: E402
from tools.steps.keys import site_key  # noqa: E402

ROOT = Path(__file__).parents[2]
GOOD = load("manifest")["manifest"]
VECTORS = load("trust")
HOST = CPythonHost()


# --- Ed25519 by the host ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("row", rows("ed25519", "rfc8032"))
def test_the_host_verifies_rfc_8032(row):
    assert run(HOST.verify_ed25519(*(bytes.fromhex(row[name]) for name in ("publicKey", "signature", "message"))))


@pytest.mark.parametrize("row", rows("ed25519", "refused"))
def test_the_host_refuses_what_does_not_fit(row):
    assert not run(HOST.verify_ed25519(*(bytes.fromhex(row[name]) for name in ("publicKey", "signature", "message"))))


def test_a_key_made_here_signs_what_trust_accepts(tmp_path):
    signer = create_signer(tmp_path / "config" / "key.pem")
    assert os.stat(tmp_path / "config" / "key.pem").st_mode & 0o777 == 0o600
    again = load_signer(tmp_path / "config" / "key.pem")
    assert again.public_key == signer.public_key
    signed = run(manifest.sign(GOOD, again, FixedClock(VECTORS["signedAt"])))
    entry = VECTORS["trust"]["keys"][0] | {
        "keyId": manifest.key_id(signer.public_key),
        "publicKey": manifest.to_base64(signer.public_key),
    }
    keys = trust.parse_trust({"schemaVersion": 1, "keys": [entry]})
    call = trust.verify_manifest(signed, keys, trust.Revocations(), seconds(VECTORS["now"]), HOST.verify_ed25519)
    assert run(call).state == "signed"


def test_a_key_file_is_never_overwritten(tmp_path):
    create_signer(tmp_path / "key.pem")
    before = (tmp_path / "key.pem").read_bytes()
    with pytest.raises(StorageUnavailable):
        create_signer(tmp_path / "key.pem")
    assert (tmp_path / "key.pem").read_bytes() == before


def test_a_missing_or_foreign_key_file_is_named(tmp_path):
    with pytest.raises(KeyNotFound):
        load_signer(tmp_path / "none.pem")
    (tmp_path / "text.pem").write_text("not a key")
    with pytest.raises(KeyInvalid):
        load_signer(tmp_path / "text.pem")


@pytest.mark.parametrize("row", rows("ed25519", "rfc8032"))
def test_a_key_that_everybody_has_signs_no_site(row, tmp_path):
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(row["seed"]))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(key.private_bytes(*form))
    with pytest.raises(errors.TestKeyRefused, match="RFC 8032"):
        load_signer(tmp_path / "key.pem")
    with pytest.raises(SystemExit, match="RFC 8032"):
        site_key(tmp_path / "key.pem")


@pytest.mark.parametrize("same_key", [True, False], ids=["the key that signed the list", "another key"])
def test_a_build_keeps_what_was_withdrawn(same_key, tmp_path, monkeypatch):
    monkeypatch.setattr(site, "DIST", tmp_path / "dist")
    key = site_key(tmp_path / "key.pem")
    site.trust(tmp_path / "dist", key)
    withdrawn = {"schemaVersion": 1, "sequence": 1, "keys": [], "manifests": [{"id": "a", "version": "1"}]}
    signed = run(trust.sign_revocations(withdrawn, key, key))
    (tmp_path / "dist" / "revocations.json").write_text(json.dumps(signed))
    site.trust(tmp_path / "next", key if same_key else site_key(tmp_path / "other.pem"))
    found = json.loads((tmp_path / "next" / "revocations.json").read_text())
    assert found["manifests"] == (withdrawn["manifests"] if same_key else [])


def test_the_build_and_the_command_line_sign_with_one_key(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    key = site_key()
    shell = SimpleNamespace(config=load_config(tmp_path / "models.yaml", Disk()), disk=Disk(), say=print)
    assert signing.signer(shell, None).public_key == key.public_key
    entry = trust_entry(key.public_key, signing.dates(shell, None))
    site.trust(tmp_path / "dist", key)
    assert json.loads((tmp_path / "dist" / "trust.json").read_text())["keys"] == [entry]


def test_a_key_made_by_the_build_is_valid_as_long_as_one_made_by_the_command_line(tmp_path):
    site_key(tmp_path / "built.pem")
    shell = SimpleNamespace(disk=Disk(), host=HOST)
    entry = signing.generate(shell, str(tmp_path / "made.pem"))
    built = json.loads((tmp_path / "built.json").read_text())
    assert built == {name: entry[name] for name in ("notBefore", "notAfter")}


# --- the JSON Schemas ------------------------------------------------------------------------------------------------
def schema_validator(name):
    """A draft 2020-12 validator whose `$` means the end of the text, as in ECMAScript, not before a last newline."""
    import re

    from referencing import Registry, Resource

    folder = ROOT / "manifests" / "schema"
    schemas = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    registry = Registry().with_resources((n, Resource.from_contents(s)) for n, s in schemas.items())

    def pattern(validator, wanted, value, schema):
        if isinstance(value, str) and not re.search(wanted.replace("$", r"\Z"), value):
            yield jsonschema.ValidationError(f"{value!r} does not match {wanted!r}")

    checker = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": pattern})
    return checker(schemas[name], registry=registry)


MANIFEST_SCHEMA = schema_validator("model-manifest-v1.json")


@pytest.mark.parametrize("row", rows("manifest", "rows"))
def test_the_schema_agrees_with_the_parser(row):
    valid = MANIFEST_SCHEMA.is_valid(edited(GOOD, row["edits"]))
    assert valid == row.get("schema", row["code"] is None)


def test_the_schemas_accept_what_was_signed():
    MANIFEST_SCHEMA.validate(VECTORS["manifest"])
    schema_validator("trust-v1.json").validate(VECTORS["trust"])
    schema_validator("revocations-v1.json").validate(VECTORS["lists"][0]["document"])


@pytest.mark.parametrize("row", rows("trust", "trustFiles"))
def test_the_trust_schema_refuses_no_more_than_the_parser(row):
    valid = schema_validator("trust-v1.json").is_valid(edited(VECTORS["trust"], row["edits"]))
    assert valid or row["code"] is not None


# --- anything in, a value or a named error out -----------------------------------------------------------------------
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.sampled_from(["1.0.0", "./", "model.onnx"])
)


def json_of(leaf):
    return st.recursive(
        leaf, lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(), v, max_size=4), max_leaves=12
    )


JSON = json_of(SCALARS)


def paths_of(value, path=()):
    yield list(path)
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from paths_of(item, (*path, key))


EDIT = st.tuples(st.sampled_from([p for p in paths_of(VECTORS["manifest"]) if p]), JSON)


@given(st.one_of(JSON, st.binary(), st.text()))
def test_anything_at_all_is_a_manifest_or_a_manifest_error(data):
    with pytest.raises(ManifestError):
        manifest.parse(data)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(EDIT, min_size=1, max_size=2))
def test_an_edited_manifest_is_a_manifest_or_a_manifest_error(edits):
    document = VECTORS["manifest"]
    for path, value in edits:
        try:
            document = edited(document, [[path, value]])
        except (KeyError, TypeError, IndexError):  # the first edit removed the second one's place
            return
    try:
        parsed = manifest.parse(document)
    except ManifestError:
        return
    assert canonical.canonicalize(parsed) == canonical.canonicalize(document)


@given(st.one_of(JSON, st.binary(), st.text()))
def test_anything_at_all_is_a_trust_file_or_a_trust_error(data):
    for read in (trust.parse_trust, trust.parse_revocations):
        with pytest.raises((TrustError, SchemaVersionUnsupported)):
            read(data)


@given(st.text())
def test_any_text_is_a_cid_or_an_invalid_cid(text):
    with pytest.raises(InvalidCid):
        cid.parse_cid(text)


# --- Python against JavaScript ---------------------------------------------------------------------------------------
NODE = shutil.which("node")
FORMS = """
import { canonicalText } from "%s";
const values = JSON.parse(await new Promise((resolve) => {
  let text = ""; process.stdin.on("data", (d) => text += d).on("end", () => resolve(text));
}));
const form = (json) => {
  try { return canonicalText(JSON.parse(json)); } catch (error) { return { code: error.code }; }
};
console.log(JSON.stringify(values.map(form)));
"""


def forms_in_node(texts):
    script = FORMS % (ROOT / "web" / "trust" / "canonical.js").as_uri()
    command = [NODE, "--input-type=module", "-e", script]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def form_here(text):
    try:
        return canonical.canonicalize(json.loads(text)).decode()
    except canonical.NotCanonical as error:
        return {"code": error.code}


@pytest.mark.skipif(not NODE, reason="no Node on this machine's PATH")
def test_both_languages_give_random_values_one_form():
    texts = []
    whole = st.integers(-canonical.MAX_SAFE_INTEGER, canonical.MAX_SAFE_INTEGER)
    leaf = st.one_of(
        st.none(),
        st.booleans(),
        whole,
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters()),
        st.text(st.characters(categories=["Cs"]), max_size=2),
    )

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(json_of(leaf))
    def collect(example):
        texts.append(json.dumps(example))

    collect()
    assert forms_in_node(texts) == [form_here(text) for text in texts]


@pytest.mark.skipif(not NODE, reason="no Node on this machine's PATH")
def test_both_languages_print_random_doubles_alike():
    bits = [int.from_bytes(os.urandom(8), "big") for _ in range(20_000)]
    powers = [struct.unpack(">Q", struct.pack(">d", 10.0**e))[0] + step for e in range(-30, 31) for step in (-1, 0, 1)]
    doubles = [struct.unpack(">d", b.to_bytes(8, "big"))[0] for b in bits + powers]
    texts = [repr(d) for d in doubles if math.isfinite(d)]
    # As texts with a point or exponent, so that Python reads them as doubles too.
    assert forms_in_node(texts) == [form_here(text) for text in texts]
