"""A small deterministic model on a small signed site: keys are made here, at run time, and forgotten."""

import base64
import io
import json
import random
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edgenet.fields import time_text
from edgenet.integrity import describe
from edgenet.manifest import key_id, sign
from edgenet.trust import REVOKE, SIGN_MANIFEST, sign_revocations

DAY = 86_400
CHUNK = 64 << 10


class Signer:
    """Signer and clock (`edgenet.host.base`) with a validity of its own."""

    def __init__(self, start=-DAY, end=DAY, now=None):
        self._private = Ed25519PrivateKey.generate()
        self.public_key = self._private.public_key().public_bytes_raw()
        self.key_id = key_id(self.public_key)
        self.start, self.end, self._now = time.time() + start, time.time() + end, now

    async def sign(self, message):
        return self._private.sign(message)

    def now(self):
        return self._now or time.time()

    def entry(self):
        """This key as `trust.json` lists it."""
        dates = {"notBefore": time_text(self.start), "notAfter": time_text(self.end)}
        key = {"keyId": self.key_id, "publicKey": base64.b64encode(self.public_key).decode()}
        return key | dates | {"capabilities": [SIGN_MANIFEST, REVOKE]}


def at_once(coroutine):
    """The result of a coroutine that never waits (Playwright's own event loop is running in this thread)."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("the coroutine waited")


def content(size, seed):
    return random.Random(seed).randbytes(size)


class FakeSite:
    """Puts models, trust and revocations on a FaultServer and its mirror (`/mirror/<id>/`)."""

    def __init__(self, server, mirror):
        self.server, self.mirror = server, mirror
        self.signer = Signer()
        self.rows = []
        self.trust(self.signer)
        self.revoke(sequence=0)

    def trust(self, *signers):
        self.put("trust.json", {"schemaVersion": 1, "keys": [s.entry() for s in signers]})

    def revoke(self, sequence, keys=(), manifests=(), signer=None):
        signer = signer or self.signer
        document = {"schemaVersion": 1, "sequence": sequence, "keys": list(keys), "manifests": list(manifests)}
        self.put("revocations.json", at_once(sign_revocations(document, signer, signer)))

    def put(self, path, value):
        self.server.files["/" + path] = value if isinstance(value, bytes) else json.dumps(value).encode()

    def path(self, model, filename="model.bin", version="1.0.0"):
        return f"/models/{model}/{version}/{filename}"

    def mirror_path(self, model, filename="model.bin"):
        return f"/mirror/{model}/{filename}"

    def add(
        self,
        model="fake",
        size=2 << 20,
        version="1.0.0",
        seed=1,
        chunk=CHUNK,
        signer=None,
        change=None,
        files=None,
        **fields,
    ):
        """Publishes a model; `change(manifest)` alters it after signing; `files`: artifact → (filename, bytes). Answers its manifest."""
        small = content(10_000, seed + 1)
        files = files or {"model": ("model.bin", content(size, seed)), "tokenizer": ("tokenizer.json", small)}
        artifacts = {}
        for name, (filename, data) in files.items():
            artifacts[name], leaves = describe(io.BytesIO(data), filename, chunk)
            self.publish(model, version, filename, data)
            if leaves is not None:
                self.publish(model, version, artifacts[name]["leavesFile"]["filename"], leaves)
        manifest = {
            "schemaVersion": 1,
            "id": model,
            "name": model,
            "version": version,
            "type": "embedding",
            "artifacts": artifacts,
            "sources": [
                {"type": "cdn", "priority": 1, "baseUrl": "./"},
                {"type": "fallback", "priority": 2, "baseUrl": f"{self.mirror.url}/mirror/{model}/"},
            ],
        } | fields
        signer = signer or self.signer
        signed = at_once(sign(manifest, signer, signer))
        if change:
            change(signed)
        self.put(self.path(model, "manifest.json", version)[1:], signed)
        self.list(model, version)
        return signed

    def publish(self, model, version, filename, data):
        self.server.files[self.path(model, filename, version)] = data
        self.mirror.files[self.mirror_path(model, filename)] = data

    def list(self, model, version):
        row = {"id": model, "version": version, "name": model, "type": "embedding", "quantization": "none", "size": 0}
        self.rows = [r for r in self.rows if (r["id"], r["version"]) != (model, version)]
        self.rows.append(row | {"manifest": f"{model}/{version}/manifest.json"})
        self.put("models/index.json", {"models": self.rows})
