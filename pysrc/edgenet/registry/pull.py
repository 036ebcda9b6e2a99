"""Pulling a model into the local cache, checking it again there, and copying it out. CPython; network and disk are passed in.

One true total of progress over all files; two processes share one download; an interrupted pull goes on where it stopped.
"""

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AllSourcesFailed, EdgeNetError, QuotaExceeded
from ..integrity import leaves_of
from ..sources.download import Download
from ..sources.plan import candidates, only, prefer
from .store import Store
from .stored import StoredFile, StoredModel


@dataclass(frozen=True)
class PullOptions:
    """source: only this kind; first: this kind before the others; gateways: IPFS gateways of our own."""

    source: str | None = None
    first: str | None = None
    gateways: tuple[str, ...] = ()
    parallel: int = 4
    retries: int = 3


@dataclass
class Totals:
    """Bytes over all files of one pull: what there is to hold, what is held, what of that this pull fetched."""

    total: int
    loaded: int = 0
    fetched: int = 0


@dataclass
class _Sink:
    """A stored file that also counts and tells."""

    file: StoredFile
    totals: Totals
    tell: object

    def missing(self) -> list[int]:
        return self.file.missing()

    def has(self, i: int) -> bool:
        return self.file.has(i)

    def keep(self, i: int, data: bytes) -> None:
        self.file.keep(i, data)
        self.totals.loaded += len(data)
        self.totals.fetched += len(data)
        self.tell("progress")


@dataclass
class Puller:
    """opener: see `host/http.py`; emit: called with each progress, fallback and notice event."""

    store: Store
    opener: object
    options: PullOptions = field(default_factory=PullOptions)
    emit: object = staticmethod(lambda event: None)

    async def pull(self, manifest: dict, url: str, state: str) -> tuple[StoredModel, Totals]:
        """Make an accepted manifest's model complete in the cache. Raises AllSourcesFailed, SourceUnsupported or a StorageError.

        What was verified before a failure stays for the next try; if that is nothing, no trace of the model is left.
        """
        artifacts = list(manifest["artifacts"].values())
        totals = Totals(sum(a["size"] for a in artifacts), sum(self.store.file(a).held for a in artifacts))
        plans = [(a, self._plan(manifest, a, url)) for a in artifacts]
        self._check_room(manifest, totals)
        fresh = self.store.find(manifest["id"], manifest["version"]) is None
        model = self.store.put(manifest, url, state)
        try:
            for artifact, rows in plans:
                await self._artifact(manifest["id"], artifact, rows, totals)
        except BaseException:
            if fresh and not self.store.bytes_of(model):
                self.store.remove(model)
            raise
        self._tell(manifest["id"], "", totals, "ready", "verify")
        return model, totals

    def _plan(self, manifest: dict, artifact: dict, url: str):
        rows = candidates(manifest, artifact, url, self.options.gateways)
        return prefer(only(rows, self.options.source, f"{manifest['id']}/{artifact['filename']}"), self.options.first)

    def _check_room(self, manifest: dict, totals: Totals) -> None:
        needed, free = totals.total - totals.loaded, self.store.disk.free(self.store.folder)
        if needed > free:
            raise QuotaExceeded(
                f"{manifest['id']} needs {needed:,} more bytes; the disk of {self.store.folder} has {free:,} free. Free some "
                "space (`edge-net-models cache prune`) or move the cache (`config set cache.directory PATH`).",
                needed=needed,
                free=free,
            )

    async def _artifact(self, name: str, artifact: dict, rows, totals: Totals) -> None:
        def tell(status):
            self._tell(name, artifact["filename"], totals, status, "download")

        def waiting():
            self.emit(
                {
                    "status": "notice",
                    "code": "waiting",
                    "reason": f"Another process is fetching {artifact['filename']}; waiting for it.",
                }
            )

        before = self.store.file(artifact).held
        async with self.store.lock(artifact, waiting):
            file = self.store.file(artifact)  # read again: whoever held the lock may have brought it
            totals.loaded += file.held - before
            tell("initiate" if file.complete else "download")
            if not file.complete:
                leaves = await self.leaves(artifact, rows)
                await Download(
                    self.opener,
                    _Sink(file, totals, tell),
                    rows,
                    artifact,
                    leaves,
                    parallel=self.options.parallel,
                    retries=self.options.retries,
                    emit=self.emit,
                ).run()
            tell("done")

    async def leaves(self, artifact: dict, rows) -> list[bytes]:
        """The 32-byte leaf hashes of an artifact; a leaves file is fetched once and kept. Raises AllSourcesFailed."""
        if "leaves" in artifact:
            return leaves_of(artifact)
        kept = self.store.leaves_path(artifact)
        if data := self.store.disk.read(kept):
            return leaves_of(artifact, data)
        attempts = []
        for row in (row for row in rows if row.kind != "ipfs"):  # a gateway knows files by their CID alone
            try:
                data = await self.opener.get(_beside(row, artifact))
                leaves = leaves_of(artifact, data)
                self.store.disk.write(kept, data)
                return leaves
            except EdgeNetError as error:
                attempts.append({"source": row.url, "code": error.code, "message": error.message})
        name = artifact["leavesFile"]["filename"]
        told = " ".join(row["message"] for row in attempts)
        raise AllSourcesFailed(f"{name}: none of {len(rows)} sources gave it. {told}", file=name, attempts=attempts)

    def _tell(self, name, file, totals, status, phase) -> None:
        share = totals.loaded / totals.total if totals.total else 1.0
        self.emit(
            {
                "status": status,
                "phase": phase,
                "name": name,
                "file": file,
                "loaded": totals.loaded,
                "total": totals.total,
                "progress": 100 * share,
            }
        )

    async def check(self, model: StoredModel) -> list[dict]:
        """Hash all held bytes again: one row per file with `wrong` and `missing` chunk numbers. Changes nothing."""
        rows = []
        for name, artifact in model.manifest["artifacts"].items():
            file = self.store.file(artifact)
            leaves = await self.leaves(artifact, self._plan(model.manifest, artifact, model.url))
            rows.append(
                {
                    "artifact": name,
                    "file": artifact["filename"],
                    "size": artifact["size"],
                    "chunks": file.count,
                    "wrong": file.wrong_chunks(leaves),
                    "missing": file.missing(),
                }
            )
        return rows

    def forget(self, model: StoredModel, rows: list[dict]) -> None:
        """Drop the chunks that `check` found wrong; a `pull` then fetches only those."""
        for row in rows:
            if row["wrong"]:
                self.store.file(model.manifest["artifacts"][row["artifact"]]).drop(row["wrong"])


def _beside(row, artifact: dict) -> str:
    """The address of the leaves file that lies beside an artifact's address."""
    return row.url.removesuffix(artifact["filename"]) + artifact["leavesFile"]["filename"]


def export(store: Store, model: StoredModel, folder: Path, disk, manifest_bytes: bytes) -> Path:
    """Copy a complete model to `<folder>/<id>/<version>/` with its manifest; each file appears whole. Returns that folder."""
    target = Path(folder) / model.manifest["id"] / model.manifest["version"]
    for name, path in store.paths(model).items():
        disk.copy(path, target / name)
    disk.write(target / "manifest.json", manifest_bytes)
    return target
