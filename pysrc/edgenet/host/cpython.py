"""The CPython host: Ed25519 by `cryptography`, clock, randomness, private keys in files. Not for Pyodide.

File operations of the model cache are in `files.py`, HTTP in `http.py`, kernels in `wasmtime_engine.py`.
"""

import os
import time
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..errors import KeyInvalid, KeyNotFound, TestKeyRefused
from ..manifest import key_id
from .files import Disk, named

_RAW = (serialization.Encoding.Raw, serialization.PublicFormat.Raw)
# Key ids of the private keys printed in RFC 8032, section 7.1, as in `tests/vectors/ed25519.json`.
TEST_KEYS = frozenset({"21fe31dfa154a261", "39f713d0a644253f", "dac073e0123bdea5", "5f9b247e2a654719"})
_PEM = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class CPythonHost:
    """This machine, by CPython. Implements `base.Host`."""

    name = "cpython"

    # --- clock and randomness ---
    def now(self) -> float:
        return time.time()

    def random_bytes(self, size: int) -> bytes:
        return os.urandom(size)

    # --- Ed25519 ---
    async def verify_ed25519(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


class FileSigner:
    """A private key held in memory. Implements `base.Signer`."""

    def __init__(self, key: Ed25519PrivateKey):
        self._key = key
        self.public_key = key.public_key().public_bytes(*_RAW)

    async def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


def load_signer(path) -> FileSigner:
    """The signer of a PEM file (PKCS #8, unencrypted). Raises KeyNotFound, KeyInvalid, TestKeyRefused or a StorageError."""
    pem = Disk().read(Path(path))
    if pem is None:
        text = f"no signing key at {path}; make one with `edge-net-models keys generate` or pass --key"
        raise KeyNotFound(text, path=str(path))
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyInvalid(f"{path} is not an unencrypted PEM private key ({error}); pass another --key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyInvalid(f"{path} holds a {type(key).__name__}; EdgeNet signs with Ed25519 only", path=str(path))
    signer = FileSigner(key)
    refuse_test_key(signer.public_key, path)
    return signer


def refuse_test_key(public_key: bytes, path) -> None:
    """Return unless the 32 bytes are a key of RFC 8032's tests, which everybody has; else raise TestKeyRefused."""
    if (name := key_id(public_key)) in TEST_KEYS:
        text = f"{path} is the key {name} of RFC 8032's tests, which everybody has. Sign with a key of your own."
        raise TestKeyRefused(text, path=str(path), keyId=name)


def create_signer(path) -> FileSigner:
    """A new key in a new PEM file of mode 0600. Raises StorageUnavailable if the file exists: no key is overwritten."""
    key = Ed25519PrivateKey.generate()
    path = Path(path)
    with named(path, "write"):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as out:
            out.write(key.private_bytes(*_PEM))
            out.flush()
            os.fsync(out.fileno())
    return FileSigner(key)
