"""Who vouches for an adapter: an Ed25519 signature over what it does, judged by a site's keys as a manifest's is. Runs anywhere.

Signed are base, family, checksum and scales, the file it was trained on, and the time; not the name and the metadata, which are a
reader's own to change.
"""

from dataclasses import replace

from ..canonical import canonicalize
from ..errors import SignatureMissing
from ..fields import time_text
from ..manifest import signature_field
from ..trust import SIGN_ADAPTER, Revocations, Trust, check_signature
from .adapter import Adapter


def payload(adapter: Adapter, timestamp: str) -> bytes:
    """The bytes that are signed: canonical JSON of the adapter's statement, `base_sha256` and `timestamp`."""
    return canonicalize({**adapter.statement, "base_sha256": adapter.base_sha256, "timestamp": timestamp})


def claim(adapter: Adapter) -> dict | None:
    """What its signature is judged by, where somebody else judges: {payload: bytes, signature}. None where it has none."""
    if adapter.signature is None:
        return None
    return {"payload": payload(adapter, adapter.signature["timestamp"]), "signature": dict(adapter.signature)}


async def sign(adapter: Adapter, signer, clock) -> Adapter:
    """The adapter with a signature of now. `signer`, `clock`: see `host/base.py`."""
    timestamp = time_text(clock.now())
    value = await signer.sign(payload(adapter, timestamp))
    return replace(adapter, signature=signature_field(signer.public_key, timestamp, value))


async def verify(adapter: Adapter, trust: Trust, revocations: Revocations, now: float, check) -> str:
    """The id of the trusted key that signed. `check`: the host's Ed25519 (`host/base.py`, Verifier).

    Raises SignatureMissing, KeyUntrusted, SignatureInvalid, KeyRevoked, KeyIncapable (the key may not "sign-adapter") or KeyExpired.
    Trap: who can change a file can also take its signature away, so a missing one says no less than one by an unknown key.
    """
    if adapter.signature is None:
        raise SignatureMissing(f"the adapter {adapter.name!r} is not signed; ask its maker for a signed one")
    key = await check_signature(
        **claim(adapter), trust=trust, revocations=revocations, capability=SIGN_ADAPTER, now=now, verify=check
    )
    return key.key_id
