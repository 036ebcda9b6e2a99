"""Whom a site believes: keys with dates and duties, revocations, and the verdict on a manifest. Runs anywhere.

Pure but for `verify`, a coroutine function `verify(public_key, signature, message) -> bool` that the host gives
(Ed25519, RFC 8032). Times are seconds since 1970. Twin of `web/trust/trust.js`. The judgement order: form,
signature, key known, not revoked, allowed to do this, valid when it signed and now, manifest not revoked, not expired.
"""

from dataclasses import dataclass, field

from .canonical import canonicalize
from .errors import (
    EdgeNetError,
    InvalidSignature,
    KeyExpired,
    KeyIncapable,
    KeyNotYetValid,
    KeyRevoked,
    KeyUntrusted,
    ManifestExpired,
    ManifestRevoked,
    NoTrustedKey,
    PackKeyError,
    RevocationsInvalid,
    RevocationsOutdated,
    SignatureInvalid,
    SignatureMissing,
    TrustFileInvalid,
)
from .fields import (
    BASE64_32,
    BASE64_64,
    COUNT,
    KEY_ID,
    MODEL_ID,
    OBJECT,
    SIGNATURE,
    TEXT,
    TIME,
    VERSION,
    Field,
    check_fields,
    from_base64,
    list_of,
    load_object,
    seconds,
    time_text,
)
from .manifest import check_schema_version, key_id, parse, signature_field, signed_payload

SIGN_MANIFEST, SIGN_KERNELS, SIGN_ADAPTER, REVOKE = "sign-manifest", "sign-kernels", "sign-adapter", "revoke"

_TRUST = (Field("keys", list_of(OBJECT, 1), True),)
_KEY = (
    Field("keyId", KEY_ID, True),
    Field("publicKey", BASE64_32, True),
    Field("notBefore", TIME, True),
    Field("notAfter", TIME, True),
    Field("capabilities", list_of(TEXT), True),
)
_REVOCATIONS = (
    Field("sequence", COUNT, True),
    Field("issuedAt", TIME, True),
    Field("keys", list_of(KEY_ID), True),
    Field("manifests", list_of(OBJECT), True),
    Field("signature", OBJECT),
)
_REVOKED = (Field("id", MODEL_ID, True), Field("version", VERSION, True))


@dataclass(frozen=True)
class Key:
    """One trusted key; `public_key` is 32 raw bytes."""

    key_id: str
    public_key: bytes
    not_before: int
    not_after: int
    capabilities: frozenset[str]


@dataclass(frozen=True)
class Trust:
    """A site's root: its keys by key id."""

    keys: dict[str, Key]


@dataclass(frozen=True)
class Revocations:
    """An accepted revocation list. `Revocations()` revokes nothing and is older than any list."""

    sequence: int = -1
    keys: frozenset[str] = frozenset()
    manifests: frozenset[tuple[str, str]] = frozenset()
    document: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """An accepted manifest: "signed" by `key_id`, or "unsigned"; `notices` are `{code, message}`."""

    manifest: dict
    state: str
    key_id: str | None = None
    notices: tuple[dict, ...] = ()


def parse_trust(data) -> Trust:
    """The keys of a `trust.json` (bytes, text or dict). Raises TrustFileInvalid or SchemaVersionUnsupported."""
    document = load_object(data, "trust.json", TrustFileInvalid, TrustFileInvalid)
    check_schema_version(document, "trust.json", TrustFileInvalid)
    check_fields(document, _TRUST, "trust.json", TrustFileInvalid)
    keys = [_parse_key(entry, f"trust.json keys[{i}]") for i, entry in enumerate(document["keys"])]
    by_id = {key.key_id: key for key in keys}
    if len(by_id) < len(keys):
        raise TrustFileInvalid("trust.json: one key is listed twice; merge its capabilities into one entry")
    return Trust(by_id)


def _parse_key(entry: dict, where: str) -> Key:
    check_fields(entry, _KEY, where, TrustFileInvalid)
    public_key = from_base64(entry["publicKey"])
    if key_id(public_key) != entry["keyId"]:
        text = f"{where}: keyId is {entry['keyId']}, but the key's own id is {key_id(public_key)}; correct it"
        raise TrustFileInvalid(text, expected=key_id(public_key), found=entry["keyId"])
    start, end = seconds(entry["notBefore"]), seconds(entry["notAfter"])
    if start > end:
        raise TrustFileInvalid(f"{where}: notBefore {entry['notBefore']} is after notAfter {entry['notAfter']}")
    return Key(entry["keyId"], public_key, start, end, frozenset(entry["capabilities"]))


def parse_revocations(data) -> Revocations:
    """The list in a `revocations.json`, its signature not yet judged. Raises RevocationsInvalid or
    SchemaVersionUnsupported."""
    document = load_object(data, "revocations.json", RevocationsInvalid, RevocationsInvalid)
    check_schema_version(document, "revocations.json", RevocationsInvalid)
    check_fields(document, _REVOCATIONS, "revocations.json", RevocationsInvalid)
    if "signature" in document:
        check_fields(document["signature"], SIGNATURE, "revocations.json signature", RevocationsInvalid)
    for index, entry in enumerate(document["manifests"]):
        check_fields(entry, _REVOKED, f"revocations.json manifests[{index}]", RevocationsInvalid)
    manifests = frozenset((entry["id"], entry["version"]) for entry in document["manifests"])
    return Revocations(document["sequence"], frozenset(document["keys"]), manifests, document)


async def accept_revocations(data, trust: Trust, previous: Revocations, now: float, verify) -> Revocations:
    """The list in `data` if a key with "revoke" signed it and it is not older than `previous`.

    Raises RevocationsInvalid, RevocationsOutdated or the TrustError of the key. A list may revoke its own key.
    """
    fresh = parse_revocations(data)
    if fresh.document == previous.document:  # seen again, perhaps after it revoked its own key
        return previous
    signature = _signature_of(fresh.document, "revocations.json")
    if signature["timestamp"] != fresh.document["issuedAt"]:
        raise RevocationsInvalid("revocations.json: the signature's timestamp must be issuedAt; sign the list again")
    payload = _unsigned(fresh.document)
    await check_signature(payload, signature, trust, previous, REVOKE, now, verify)
    _check_sequence(fresh, previous)
    return fresh


def _check_sequence(fresh: Revocations, previous: Revocations) -> None:
    if fresh.sequence <= previous.sequence:
        text = f"revocations.json: sequence {fresh.sequence} cannot replace the accepted sequence {previous.sequence}"
        raise RevocationsOutdated(f"{text}; the accepted one stays", accepted=previous.sequence, found=fresh.sequence)


async def sign_revocations(document: dict, signer, clock) -> dict:
    """A copy of the list with `issuedAt` now and a fresh signature. `signer`, `clock`: see `host/base.py`."""
    timestamp = time_text(clock.now())
    fresh = {k: v for k, v in document.items() if k != "signature"} | {"issuedAt": timestamp}
    payload = _unsigned(parse_revocations(fresh).document)
    return fresh | {"signature": signature_field(signer.public_key, timestamp, await signer.sign(payload))}


async def verify_manifest(
    data, trust: Trust, revocations: Revocations, now: float, verify, *, allow_unsigned: bool = False
) -> Verdict:
    """The verdict on a manifest that is about to be accepted. Raises a ManifestError or a TrustError.

    With `allow_unsigned` a manifest that has no signature at all is accepted as "unsigned"; a bad one never is.
    """
    manifest = parse(data)
    if allow_unsigned and "signature" not in manifest:
        return Verdict(manifest, "unsigned")
    signature = _signature_of(manifest, "manifest")
    payload = signed_payload(manifest, signature["timestamp"])
    key = await check_signature(payload, signature, trust, revocations, SIGN_MANIFEST, now, verify)
    for error in _withdrawn(manifest, revocations) + _outlived(manifest, now):
        raise error
    return Verdict(manifest, "signed", key.key_id)


def judge_cached(manifest: dict, trust: Trust, revocations: Revocations, now: float) -> Verdict:
    """The verdict on a parsed manifest that was accepted earlier: what has expired since is only a notice.

    Raises KeyRevoked or ManifestRevoked. Its signature was verified when it was accepted and is not verified again.
    """
    name = manifest.get("signature", {}).get("keyId")
    for error in _key_revoked(name, revocations) + _withdrawn(manifest, revocations):
        raise error
    key = trust.keys.get(name)
    aged = _outlived(manifest, now) + (_key_dates(key, now, "now") if key else [])
    if name and key is None:
        aged.append(KeyUntrusted(f"the key {name} that signed this model is no longer in trust.json", keyId=name))
    notices = tuple({"code": error.code, "message": error.message} for error in aged)
    return Verdict(manifest, "signed" if name else "unsigned", name, notices)


async def verify_detached(data: bytes, signature: str, trust: Trust, revocations: Revocations, now: float, verify):
    """The id of the key whose base64 `signature` covers the bytes `data` (a kernel pack's `kernels.json`).

    Tries each key that may sign kernels now. Raises PackKeyError, NoTrustedKey or InvalidSignature.
    """
    if not BASE64_64.test(signature := signature.strip()):
        raise PackKeyError("kernels.json.sig must hold 64 bytes in base64; sign the pack again")
    able = [key for key in trust.keys.values() if not _objections(key, revocations, SIGN_KERNELS, ((now, "now"),))]
    if not able:
        raise NoTrustedKey('no key in trust.json may "sign-kernels" now; build the site again or renew the key')
    for key in able:
        if await verify(key.public_key, from_base64(signature), data):
            return key.key_id
    tried = [key.key_id for key in able]
    raise InvalidSignature(f"the signature of kernels.json fits none of the keys {tried}; fetch it again", keys=tried)


# --- judgements: each returns the errors it would raise --------------------------------------------------------------
async def check_signature(payload, signature, trust, revocations, capability, now, verify) -> Key:
    """The key of `trust` whose `signature` (a checked SIGNATURE object) covers the bytes `payload`. Raises a TrustError."""
    name = signature["keyId"]
    key = trust.keys.get(name)
    if key is None:
        raise KeyUntrusted(f"signed by the key {name}, which is not in this site's trust.json", keyId=name)
    if not await verify(key.public_key, from_base64(signature["value"]), payload):
        text = f"the signature by the key {name} does not fit the content; fetch it again from the publisher"
        raise SignatureInvalid(text, keyId=name)
    moments = ((seconds(signature["timestamp"]), "when it signed"), (now, "now"))
    for error in _objections(key, revocations, capability, moments):
        raise error
    return key


def _objections(key: Key, revocations: Revocations, capability: str, moments) -> list[EdgeNetError]:
    found = _key_revoked(key.key_id, revocations)
    if capability not in key.capabilities:
        text = f'the key {key.key_id} is trusted for {sorted(key.capabilities)}, not for "{capability}"'
        found.append(KeyIncapable(text, keyId=key.key_id, capability=capability))
    for moment, when in moments:
        found += _key_dates(key, moment, when)
    return found


def _key_revoked(name: str | None, revocations: Revocations) -> list[EdgeNetError]:
    if name not in revocations.keys:
        return []
    return [KeyRevoked(f"the key {name} was revoked; get a version signed by another key", keyId=name)]


def _key_dates(key: Key, moment: float, when: str) -> list[EdgeNetError]:
    dates = f"the key {key.key_id} is valid from {time_text(key.not_before)} to {time_text(key.not_after)}"
    text = f"{dates}, but {when} is {time_text(moment)}; check the clock or renew the key"
    if moment < key.not_before:
        return [KeyNotYetValid(text, keyId=key.key_id)]
    return [KeyExpired(text, keyId=key.key_id)] if moment > key.not_after else []


def _withdrawn(manifest: dict, revocations: Revocations) -> list[EdgeNetError]:
    name = (manifest["id"], manifest["version"])
    if name not in revocations.manifests:
        return []
    return [ManifestRevoked(f"{name[0]} {name[1]} was withdrawn by its publisher; use another version", id=name[0])]


def _outlived(manifest: dict, now: float) -> list[EdgeNetError]:
    end = manifest.get("expiresAt")
    if end is None or now <= seconds(end):
        return []
    text = f"the manifest of {manifest['id']} {manifest['version']} expired at {end}; get a newer version"
    return [ManifestExpired(text, id=manifest["id"], expiresAt=end)]


def _signature_of(document: dict, what: str) -> dict:
    if "signature" not in document:
        raise SignatureMissing(f"{what}: expected a signature, found none; get it from the publisher")
    return document["signature"]


def _unsigned(document: dict) -> bytes:
    return canonicalize({k: v for k, v in document.items() if k != "signature"})
