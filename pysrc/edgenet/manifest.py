"""The manifest v1 of one model version: reading, judging its form, the bytes that are signed, signing. Runs anywhere.

Pure: bytes in, a plain dict or a ManifestError out; it fetches nothing and judges no key (that is `trust.py`).
Twin of `web/trust/manifest.js`; the JSON Schema is `manifests/schema/model-manifest-v1.json`.
"""

import re
from hashlib import sha256

from .canonical import canonicalize
from .errors import (
    LeavesDisagree,
    ManifestNotJson,
    ManifestSchemaError,
    SchemaVersionUnsupported,
    SizesDisagree,
    UnsafePath,
)
from .fields import (
    BOOL,
    COUNT,
    MODEL_ID,
    OBJECT,
    POSITIVE,
    SHA256,
    SIGNATURE,
    TEXT,
    TIME,
    VERSION,
    Check,
    Field,
    brief,
    check_fields,
    list_of,
    load_object,
    matching,
    time_text,
    to_base64,
)
from .integrity import DIGEST_SIZE, MAX_INLINE_LEAVES, chunk_count, merkle_root

SCHEMA_VERSION = 1

TOP = (
    Field("id", MODEL_ID, True),
    Field("name", TEXT, True),
    Field("version", VERSION, True),
    Field("type", TEXT, True),
    Field("artifacts", OBJECT, True),
    Field("sources", list_of(OBJECT), True),
    Field("family", TEXT),
    Field("architecture", OBJECT),
    Field("optimization", OBJECT),
    Field("requirements", OBJECT),
    Field("benchmarks", OBJECT),
    Field("license", TEXT),
    Field("homepage", TEXT),
    Field("publishedAt", TIME),
    Field("publishedBy", TEXT),
    Field("expiresAt", TIME),
    Field("signature", OBJECT),
)
SECTIONS = {
    "architecture": (
        Field("type", TEXT),
        Field("layers", POSITIVE),
        Field("hiddenSize", POSITIVE),
        Field("vocabSize", POSITIVE),
        Field("contextLength", POSITIVE),
    ),
    "optimization": (
        Field("quantization", TEXT),
        Field("format", TEXT),
        Field("originalSize", POSITIVE),
        Field("optimizedSize", POSITIVE),
    ),
    "requirements": (
        Field("minMemory", COUNT),
        Field("minStorage", COUNT),
        Field("simdRequired", BOOL),
        Field("webgpuOptional", BOOL),
    ),
    "signature": SIGNATURE,
}
_CID = matching("a base32 CIDv1 of sha2-256", r"baf(krei|ybei)[a-z2-7]{52}")
_CHUNK_SIZE = Check(
    "a power of two from 1024 to 16777216", lambda v: COUNT.test(v) and 1 << 10 <= v <= 1 << 24 and v & (v - 1) == 0
)
ARTIFACT = (
    Field("filename", TEXT, True),
    Field("size", POSITIVE, True),
    Field("sha256", SHA256, True),
    Field("chunkSize", _CHUNK_SIZE, True),
    Field("merkleRoot", SHA256, True),
    Field("leaves", list_of(SHA256, 1)),
    Field("leavesFile", OBJECT),
    Field("cid", _CID),
)
LEAVES_FILE = (Field("filename", TEXT, True), Field("size", POSITIVE, True), Field("sha256", SHA256, True))
SOURCE = (
    Field("type", TEXT, True),
    Field("priority", COUNT),
    Field("baseUrl", TEXT),
    Field("gateways", list_of(TEXT, 1)),
)
# The field that each kind of source cannot do without; a kind not named here is kept for a newer EdgeNet.
SOURCE_NEEDS = {"cdn": "baseUrl", "gcs": "baseUrl", "fallback": "baseUrl", "ipfs": "gateways"}
_ARTIFACT_NAME = matching("a short name of letters, digits, _ and -", r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")

# No percent sign, colon, backslash or leading dot: nothing that a URL parser or a file system could read differently.
_SEGMENT = r"[A-Za-z0-9_]([A-Za-z0-9._+@-]*[A-Za-z0-9_+@-])?"
_FILENAME = matching("", rf"(?=.{{1,200}}$){_SEGMENT}(/{_SEGMENT})*")
_URL_PATH = r"([A-Za-z0-9._~+@=-]+/)*"
_ABSOLUTE_URL = matching("", rf"https?://[A-Za-z0-9.-]+(:\d{{1,5}})?/{_URL_PATH}")
_RELATIVE_URL = matching("", rf"(\./)?{_URL_PATH}|/{_URL_PATH}")
_RESERVED = ("manifest.json",)


def parse(data) -> dict:
    """The manifest as a fresh dict, unknown fields kept. `data`: UTF-8 bytes, text or a dict.

    Raises a ManifestError of the kind that fits and nothing else. Trap: a valid form says nothing about trust.
    """
    manifest = load_object(data, "manifest", ManifestNotJson, ManifestSchemaError)
    check_schema_version(manifest, "manifest", ManifestSchemaError)
    check_fields(manifest, TOP, "manifest", ManifestSchemaError)
    for section, table in SECTIONS.items():
        if section in manifest:
            check_fields(manifest[section], table, section, ManifestSchemaError)
    for index, source in enumerate(manifest["sources"]):
        _check_source(source, f"sources[{index}]")
    _check_artifacts(manifest["artifacts"])
    _check_optimized_size(manifest)
    return manifest


def check_schema_version(document: dict, what: str, error) -> None:
    """Raise `error` without an integer `schemaVersion`, SchemaVersionUnsupported for one that is not 1."""
    check_fields(document, (Field("schemaVersion", COUNT, True),), what, error)
    found = document["schemaVersion"]
    if found != SCHEMA_VERSION:
        text = f"{what}: this EdgeNet reads schemaVersion {SCHEMA_VERSION}, found {found}; update EdgeNet"
        raise SchemaVersionUnsupported(text, supported=[SCHEMA_VERSION], found=found)


def _check_source(source: dict, where: str) -> None:
    check_fields(source, SOURCE, where, ManifestSchemaError)
    needed = SOURCE_NEEDS.get(source["type"])
    if needed and needed not in source:
        raise ManifestSchemaError(f"{where}: a source of type {source['type']!r} needs {needed!r}", field=needed)
    if "baseUrl" in source:
        check_base_url(source["baseUrl"], where)
    for gateway in source.get("gateways", ()):
        if not _ABSOLUTE_URL.test(gateway):
            raise UnsafePath(f"{where}: {brief(gateway)} is not an http(s) address that ends in '/'", path=gateway)


def check_base_url(url: str, where: str) -> None:
    """Raise UnsafePath unless `url` is an http(s) or relative address that ends in "/" and climbs nowhere."""
    safe = url != "" and (_ABSOLUTE_URL.test(url) or _RELATIVE_URL.test(url))
    # "./" may begin the address; further dot segments may not.
    segments = re.sub(r"^\./", "", url).split("/")
    if not safe or "." in segments or ".." in segments:
        text = f"{where}: baseUrl {brief(url)} must be an http(s) or relative address, end in '/', and hold no '..'"
        raise UnsafePath(text, path=url)


def check_filename(name: str, where: str) -> None:
    """Raise UnsafePath unless `name` is a plain relative path below the model's folder."""
    if not _FILENAME.test(name):
        text = f"{where}: the file name {brief(name)} must be a plain relative path of letters, digits and . _ + @ -"
        raise UnsafePath(text, path=name)


def _check_artifacts(artifacts: dict) -> None:
    if not artifacts:
        raise ManifestSchemaError("manifest: 'artifacts' names no file; it must name at least one", field="artifacts")
    seen = set(_RESERVED)
    for name, artifact in artifacts.items():
        where = f"artifacts.{brief(name)}"
        if not _ARTIFACT_NAME.test(name):
            raise ManifestSchemaError(f"{where}: must be {_ARTIFACT_NAME.expected}", field="artifacts")
        _check_artifact(artifact, where)
        for entry in (artifact, artifact.get("leavesFile")):
            if entry and entry["filename"].lower() in seen:
                text = f"{where}: the file name {entry['filename']!r} is taken; give each file its own"
                raise UnsafePath(text, path=entry["filename"])
            if entry:
                seen.add(entry["filename"].lower())


def _check_artifact(artifact: dict, where: str) -> None:
    check_fields(artifact, ARTIFACT, where, ManifestSchemaError)
    check_filename(artifact["filename"], where)
    if ("leaves" in artifact) == ("leavesFile" in artifact):
        raise ManifestSchemaError(f"{where}: must have either 'leaves' or 'leavesFile'", field="leaves")
    chunks = chunk_count(artifact["size"], artifact["chunkSize"])
    if "leavesFile" in artifact:
        _check_leaves_file(artifact["leavesFile"], chunks, where)
    else:
        _check_leaves(artifact, chunks, where)


def _check_leaves_file(entry: dict, chunks: int, where: str) -> None:
    check_fields(entry, LEAVES_FILE, f"{where}.leavesFile", ManifestSchemaError)
    check_filename(entry["filename"], f"{where}.leavesFile")
    _check_equal(entry["size"], chunks * DIGEST_SIZE, f"{where}.leavesFile: size")


def _check_leaves(artifact: dict, chunks: int, where: str) -> None:
    _check_equal(len(artifact["leaves"]), chunks, f"{where}: number of leaves")
    if chunks > MAX_INLINE_LEAVES:
        text = f"{where}: {chunks} leaves, more than {MAX_INLINE_LEAVES}; put them in a 'leavesFile'"
        raise ManifestSchemaError(text, field="leaves")
    root = merkle_root([bytes.fromhex(leaf) for leaf in artifact["leaves"]]).hex()
    if root != artifact["merkleRoot"]:
        text = f"{where}: the leaves add up to {root}, but merkleRoot is {artifact['merkleRoot']}; publish it again"
        raise LeavesDisagree(text, expected=artifact["merkleRoot"], found=root)


def _check_optimized_size(manifest: dict) -> None:
    stated = manifest.get("optimization", {}).get("optimizedSize")
    model = manifest["artifacts"].get("model")
    if stated is not None and model is not None:
        _check_equal(stated, model["size"], "optimization: optimizedSize")


def _check_equal(found: int, expected: int, what: str) -> None:
    if found != expected:
        text = f"{what} is {found}, but the artifact's size asks for {expected}; publish the manifest again"
        raise SizesDisagree(text, expected=expected, found=found)


def total_size(manifest: dict) -> int:
    """Bytes of all files that a parsed manifest names, leaves files included."""
    files = list(manifest["artifacts"].values())
    files += [a["leavesFile"] for a in manifest["artifacts"].values() if "leavesFile" in a]
    return sum(entry["size"] for entry in files)


def unsigned_hash(manifest: dict) -> str:
    """SHA-256 hex of the canonical manifest without its signature: what identifies its content."""
    return sha256(canonicalize({k: v for k, v in manifest.items() if k != "signature"})).hexdigest()


def signed_payload(manifest: dict, timestamp: str) -> bytes:
    """The bytes that a manifest's signature covers, for a parsed manifest and the signature's timestamp."""
    artifacts = {
        name: {"sha256": artifact["sha256"], "size": artifact["size"]}
        for name, artifact in manifest["artifacts"].items()
    }
    return canonicalize(
        {
            "artifacts": artifacts,
            "id": manifest["id"],
            "manifest": unsigned_hash(manifest),
            "timestamp": timestamp,
            "version": manifest["version"],
        }
    )


def key_id(public_key: bytes) -> str:
    """The name of a raw 32-byte public key: the first 16 hex digits of its SHA-256."""
    return sha256(public_key).hexdigest()[:16]


async def sign(manifest, signer, clock) -> dict:
    """A parsed copy of `manifest` with a fresh signature. `signer` and `clock`: see `host/base.py`.

    Raises ManifestError if the manifest is not valid; a signature already there is replaced.
    """
    fresh = parse(manifest)
    timestamp = time_text(clock.now())
    value = await signer.sign(signed_payload(fresh, timestamp))
    return fresh | {"signature": signature_field(signer.public_key, timestamp, value)}


def signature_field(public_key: bytes, timestamp: str, value: bytes) -> dict:
    """The `signature` object of a manifest or a revocation list."""
    fields = {"algorithm": "ed25519", "keyId": key_id(public_key), "timestamp": timestamp, "value": to_base64(value)}
    check_fields(fields, SIGNATURE, "signature", ManifestSchemaError)
    return fields
