"""The local model cache: content-addressed files with a bitset of verified chunks, and the accepted manifests. CPython.

Same design as the browser's store. Below the cache folder: `files/<merkleRoot>` (bytes), `files/<merkleRoot>.json` (size, chunk size,
verified chunks, last use), `models/<id>@<version>.json` (manifest, where from, signature state, last use), `incoming/`, `locks/`.
A chunk's bytes are flushed before its bit is set, so whatever stops the program, every set bit is true.
"""

import json
from pathlib import Path

from ..errors import NotCached
from ..integrity import chunk_count
from ..sources.chunks import bitset
from .stored import StoredFile, StoredModel, version_order

FORMAT = "v1"


class Store:
    """The cache in `folder`. `disk` is `host.files.Disk` or a test's stand-in; `clock.now_text()` gives RFC 3339 times."""

    def __init__(self, folder, disk, now):
        self.folder, self.disk, self._now = Path(folder) / FORMAT, disk, now

    # --- artifacts ---------------------------------------------------------------------------------------------------
    def path(self, root: str) -> Path:
        """Where the bytes of the artifact with this Merkle root lie."""
        return self.folder / "files" / root

    def leaves_path(self, artifact: dict) -> Path:
        """Where the leaves file of an artifact is kept, if it has one."""
        return self.path(artifact["merkleRoot"]).with_suffix(".leaves")

    def file(self, artifact: dict) -> StoredFile:
        """The stored state of an artifact of a checked manifest; nothing is held if the record is absent or of no use."""
        path, size, chunk_size = self.path(artifact["merkleRoot"]), artifact["size"], artifact["chunkSize"]
        have = bitset(chunk_count(size, chunk_size))
        record = _json(self.disk.read(path.with_suffix(".json")))
        if record and (record.get("size"), record.get("chunkSize")) == (size, chunk_size) and path.exists():
            have = _bits(record.get("have"), len(have)) or have
        return StoredFile(self.disk, path, size, chunk_size, have)

    def lock(self, artifact: dict, waiting=lambda: None):
        """Async context manager: this artifact's writing is ours alone, among all processes."""
        return self.disk.locked(self.folder / "locks" / artifact["merkleRoot"], waiting)

    # --- models ------------------------------------------------------------------------------------------------------
    def models(self) -> list[StoredModel]:
        """All accepted models, complete or not, by id and version; records that cannot be read are left out."""
        found = (_model(self.disk.read(path)) for path in sorted((self.folder / "models").glob("*@*.json")))
        return [model for model in found if model]

    def find(self, model_id: str, version: str | None = None) -> StoredModel | None:
        """The stored model of this id and version (without one: the newest version), or None."""
        rows = [m for m in self.models() if m.manifest["id"] == model_id and version in (None, m.manifest["version"])]
        return max(rows, key=lambda m: version_order(m.manifest["version"]), default=None)

    def complete(self, model: StoredModel) -> bool:
        """Whether all files of the model are held whole."""
        return all(self.file(artifact).complete for artifact in model.manifest["artifacts"].values())

    def put(self, manifest: dict, url: str, state: str) -> StoredModel:
        """Remember an accepted manifest."""
        before = self.find(manifest["id"], manifest["version"])
        same = before is not None and before.manifest == manifest
        model = StoredModel(manifest, url, state, before.accepted_at if same else self._now(), self._now())
        self._write(model)
        return model

    def used(self, model: StoredModel) -> None:
        """Note that the model was used now; eviction goes by this."""
        self._write(StoredModel(model.manifest, model.url, model.state, model.accepted_at, self._now()))

    def _write(self, model: StoredModel) -> None:
        record = {
            "manifest": model.manifest,
            "url": model.url,
            "state": model.state,
            "acceptedAt": model.accepted_at,
            "lastUsed": model.last_used,
        }
        self.disk.write(self.folder / "models" / f"{model.key}.json", json.dumps(record).encode())

    def remove(self, model: StoredModel) -> int:
        """Forget a model and the files that no other model shares; says how many bytes that freed."""
        self.disk.remove(self.folder / "models" / f"{model.key}.json")
        return self.sweep(model.roots())

    # --- room --------------------------------------------------------------------------------------------------------
    def roots(self) -> set[str]:
        """Merkle roots of all files in the cache."""
        return {path.name for path in (self.folder / "files").glob("*") if len(path.name) == 64}

    def sweep(self, roots: set[str] | None = None) -> int:
        """Remove the files (of `roots`, default all) that no model names, but for those being fetched now; says how many
        bytes that freed."""
        named = set().union(*(model.roots() for model in self.models()))
        return sum(self._drop(root) for root in (self.roots() if roots is None else roots) - named)

    def incoming(self, name: str) -> Path:
        """Where a file grows whose hashes are not known yet; its count of flushed bytes lies beside it, with the ending `.json`."""
        return self.folder / "incoming" / name

    def drop_incoming(self) -> int:
        """Remove what broken downloads of such files left, but for those being fetched now; says how many bytes that freed."""
        freed = 0
        for path in [path for path in self.incoming("").glob("*") if not path.suffix]:
            with self.disk.if_free(self.folder / "locks" / path.name) as free:
                if free:
                    freed += self.disk.size(path)
                    self.disk.remove(path)
                    self.disk.remove(path.with_suffix(".json"))
        return freed

    def _drop(self, root: str) -> int:
        with self.disk.if_free(self.folder / "locks" / root) as free:
            if not free:
                return 0
            freed = self.disk.size(self.path(root))
            self.disk.remove(self.path(root))
            for suffix in (".json", ".leaves"):
                self.disk.remove(self.path(root).with_suffix(suffix))
            return freed

    def bytes_of(self, model: StoredModel) -> int:
        """Verified bytes held of a model."""
        return sum(self.file(artifact).held for artifact in model.manifest["artifacts"].values())

    def total(self) -> int:
        """Bytes of all files in the cache; files shared by versions count once."""
        return sum(self.disk.size(self.path(root)) for root in self.roots())

    def evict(self, limit: int, keep: str = "") -> list[StoredModel]:
        """Remove the longest unused models until at most `limit` bytes are left; never the one whose key is `keep`."""
        gone = []
        for model in sorted(self.models(), key=lambda m: m.last_used):
            if self.total() <= limit:
                break
            if model.key != keep:
                self.remove(model)
                gone.append(model)
        return gone

    def paths(self, model: StoredModel) -> dict[str, Path]:
        """File name → path of a complete model's files. Raises NotCached if a chunk is missing."""
        if not self.complete(model):
            raise NotCached(
                f"{model.key} is not complete in {self.folder}. Run `edge-net-models pull {model.manifest['id']}`.",
                id=model.manifest["id"],
            )
        artifacts = model.manifest["artifacts"].values()
        rows = {a["filename"]: self.path(a["merkleRoot"]) for a in artifacts}
        return rows | {a["leavesFile"]["filename"]: self.leaves_path(a) for a in artifacts if "leavesFile" in a}


def _json(data: bytes | None) -> dict | None:
    try:
        value = json.loads(data or b"null")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _bits(text, length: int) -> bytearray | None:
    try:
        bits = bytearray.fromhex(text)
    except (TypeError, ValueError):
        return None
    return bits if len(bits) == length else None


def _model(data: bytes | None) -> StoredModel | None:
    record = _json(data)
    if not record or not isinstance(record.get("manifest"), dict):
        return None
    return StoredModel(record["manifest"], *(record.get(key, "") for key in ("url", "state", "acceptedAt", "lastUsed")))
