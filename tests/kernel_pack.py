"""A signed kernel pack for tests, in a folder: `python tests/kernel_pack.py OUT`. The key is made for the occasion and signs nothing else.

Beside the pack: trust.json (that key), vectors.json (every case of every kernel), learning.json (what the Python learners did, for the
JavaScript ones to repeat) and bad/<name>.wasm (runaway and trapping test kernels).
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "pysrc")]

import numpy as np  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

from edgenet.kernels.health import make_vectors  # noqa: E402
from edgenet.kernels.publish import make_pack  # noqa: E402
from edgenet.learn import MicroLoRA, ScopedLoRA  # noqa: E402
from tools.steps import wasm  # noqa: E402

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERSION = "1.0.0"


def public_key() -> bytes:
    return KEY.public_key().public_bytes_raw()


def trust_document(capabilities: tuple[str, ...] = ("sign-kernels",), public: bytes | None = None) -> dict:
    """A trust.json with one key that is valid for long."""
    raw = public or public_key()
    key = {
        "keyId": hashlib.sha256(raw).hexdigest()[:16],
        "publicKey": base64.b64encode(raw).decode(),
        "notBefore": "2020-01-01T00:00:00Z",
        "notAfter": "2099-01-01T00:00:00Z",
        "capabilities": list(capabilities),
    }
    return {"schemaVersion": 1, "keys": [key]}


def sign(data: bytes) -> bytes:
    return base64.b64encode(KEY.sign(data))


def learning() -> dict:
    """Steps of a MicroLoRA and a ScopedLoRA with what they answered, and their states before and after."""
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((40, 2, 9)).astype(np.float32)
    lora, scoped, answers = MicroLoRA(9, 0.7, 0.05, rank=3, seed=5, clip=2.0), ScopedLoRA(9, 0.7, 0.05, seed=5), []
    start = lora.export_state()
    for i, (x, e) in enumerate(rows):
        op = i % 3  # three operators of one category
        answers.append([lora.forward_array(x).tolist(), scoped.forward_array(op, x).tolist()])
        lora.adapt_array(e)
        scoped.adapt_array(op, e)
        lora.adapt_with_reward((-0.5, 0.25)[i % 2])
        scoped.adapt_with_reward(op, 0.1)
    done = {"microlora": lora.export_state(), "scoped": scoped.export_state(), "delta_norm": lora.delta_norm()}
    return {"rows": rows.tolist(), "start": start, "answers": answers, **done}


def write_pack(out: Path) -> Path:
    """Compile, sign and write everything into `out`; returns it."""
    made = {p.relative_to(out).as_posix(): p.read_bytes() for p in wasm.build(out)}
    builds = {f"engine.{name}.wasm": features for name, (_flags, features) in wasm.BUILDS.items()}
    files = make_pack(
        made,
        builds,
        version=VERSION,
        runtime=("0.1.0", "0.9.9"),
        created_at="2025-01-01T00:00:00Z",
        author={"name": "test", "email": "test@example.org"},
    )
    files["kernels.json.sig"] = sign(files["kernels.json"])
    files["trust.json"] = json.dumps(trust_document()).encode()
    files["vectors.json"] = make_vectors()
    files["learning.json"] = json.dumps(learning()).encode()
    for name, data in files.items():
        (out / name).write_bytes(data)
    for source in sorted((ROOT / "tests" / "wasm").glob("*.c")):
        wasm.compile_c([source], out / "bad" / f"{source.stem}.wasm")
    return out


if __name__ == "__main__":
    write_pack(Path(sys.argv[1]).resolve())
