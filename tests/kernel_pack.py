"""A signed kernel pack for tests, in a folder: `python tests/kernel_pack.py OUT`. The key is made for the occasion and signs nothing else.

Beside the pack: trust.json (that key), vectors.json (every case of every kernel) and bad/<name>.wasm (runaway and trapping test kernels).
"""
from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "pysrc")]

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

from edgenet.kernels.health import make_vectors  # noqa: E402
from edgenet.kernels.publish import make_pack  # noqa: E402
from tools.steps import wasm  # noqa: E402

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERSION = "1.0.0"


def public_key() -> bytes:
    return KEY.public_key().public_bytes_raw()


def trust_document(capabilities: tuple[str, ...] = ("sign-kernels",), public: bytes | None = None) -> dict:
    """A trust.json with one key that is valid for long."""
    raw = public or public_key()
    key = {"keyId": hashlib.sha256(raw).hexdigest()[:16], "publicKey": base64.b64encode(raw).decode(), "notBefore": "2020-01-01T00:00:00Z",
           "notAfter": "2099-01-01T00:00:00Z", "capabilities": list(capabilities)}
    return {"schemaVersion": 1, "keys": [key]}


def sign(data: bytes) -> bytes:
    return base64.b64encode(KEY.sign(data))


def write_pack(out: Path) -> Path:
    """Compile, sign and write everything into `out`; returns it."""
    made = {p.relative_to(out).as_posix(): p.read_bytes() for p in wasm.build(out)}
    builds = {f"engine.{name}.wasm": features for name, (_flags, features) in wasm.BUILDS.items()}
    files = make_pack(made, builds, version=VERSION, runtime=("0.1.0", "0.9.9"), created_at="2025-01-01T00:00:00Z", author={"name": "test", "email": "test@example.org"})
    files["kernels.json.sig"] = sign(files["kernels.json"])
    files["trust.json"] = json.dumps(trust_document()).encode()
    files["vectors.json"] = make_vectors()
    for name, data in files.items():
        (out / name).write_bytes(data)
    for source in sorted((ROOT / "tests" / "wasm").glob("*.c")):
        wasm.compile_c([source], out / "bad" / f"{source.stem}.wasm")
    return out


if __name__ == "__main__":
    write_pack(Path(sys.argv[1]).resolve())
