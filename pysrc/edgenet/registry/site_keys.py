"""The keys of a site folder: entries of `trust.json`, and signed `revocations.json`. CPython; disk, clock and signer are passed in."""

import json
from pathlib import Path

from ..errors import KeyUntrusted
from ..fields import time_text, to_base64
from ..manifest import key_id
from ..trust import REVOKE, SIGN_ADAPTER, SIGN_KERNELS, SIGN_MANIFEST, parse_trust, sign_revocations

KEY_PATH = "~/.config/edgenet/signing-key.pem"  # the site's own key: the build and the command line sign with the same
KEY_YEARS = 5
_DAY_S = 86400
_YEAR_S = 365 * _DAY_S


def key_dates(made: float) -> dict[str, str]:
    """The validity of a key made at `made` (seconds since 1970): from the day before (a reader's clock may be slow), for KEY_YEARS."""
    start = made - made % _DAY_S - _DAY_S
    return {"notBefore": time_text(start), "notAfter": time_text(start + KEY_YEARS * _YEAR_S)}


def read_dates(path: Path, disk) -> dict[str, str]:
    """The validity of the key in the PEM file `path`: from the `.json` beside it, else from the PEM file's own date."""
    kept = disk.read(Path(path).with_suffix(".json"))
    return json.loads(kept) if kept else key_dates(Path(path).stat().st_mtime)


def write_dates(path: Path, dates: dict[str, str], disk) -> None:
    """Keep a key's validity beside its PEM file, so that everything signed with it says the same."""
    disk.write(Path(path).with_suffix(".json"), (json.dumps(dates) + "\n").encode())


def trust_entry(public_key: bytes, dates: dict[str, str]) -> dict:
    """An entry of `trust.json` for a raw 32-byte key and the `key_dates` of its validity: every duty."""
    return {
        "keyId": key_id(public_key),
        "publicKey": to_base64(public_key),
        "notBefore": dates["notBefore"],
        "notAfter": dates["notAfter"],
        "capabilities": [SIGN_MANIFEST, SIGN_KERNELS, SIGN_ADAPTER, REVOKE],
    }


def site_trust(site: Path, signer, dates: dict, disk) -> dict:
    """The `trust.json` of a site folder, made for this key if there is none yet. Raises KeyUntrusted if the key is not in it."""
    path = Path(site) / "trust.json"
    data = disk.read(path)
    if data is None:
        return {"schemaVersion": 1, "keys": [trust_entry(signer.public_key, dates)]}
    known = parse_trust(data).keys
    if key_id(signer.public_key) not in known:
        raise KeyUntrusted(
            f"{path} believes {', '.join(known)}, not {key_id(signer.public_key)}, so no reader would accept the signature. "
            "Sign with one of those keys (--key), or add this one to trust.json.",
            keyId=key_id(signer.public_key),
        )
    return json.loads(data)


async def revoke(site: Path, signer, dates: dict, clock, disk, keys=(), models=()) -> dict:
    """Sign and write the next `revocations.json` of a site folder: the old list and these key ids and (id, version) pairs."""
    site_trust(site, signer, dates, disk)
    path = Path(site) / "revocations.json"
    old = json.loads(disk.read(path) or b'{"sequence": 0, "keys": [], "manifests": []}')
    pairs = {(m["id"], m["version"]) for m in old["manifests"]} | set(models)
    document = {
        "schemaVersion": 1,
        "sequence": old["sequence"] + 1,
        "keys": sorted({*old["keys"], *keys}),
        "manifests": [{"id": name, "version": version} for name, version in sorted(pairs)],
        "issuedAt": time_text(clock.now()),
    }
    signed = await sign_revocations(document, signer, clock)
    disk.write(path, pretty(signed))
    return signed


def pretty(document: dict) -> bytes:
    """A document as a site holds it: indented JSON, UTF-8, with a last newline."""
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()
