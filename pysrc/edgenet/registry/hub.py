"""A model off a hub into the local cache: nobody signed it, so its chunk hashes are computed here and remembered. CPython.

What will not fit is said before the download. A download goes on where it stopped: what came lies in `incoming/` below the cache
folder until it is whole and, where the hub says its SHA-256, right; only then does it become a file of the cache.
"""

import asyncio
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ..errors import HashMismatch, ModelTooLarge, NetworkError, QuotaExceeded, SizeMismatch
from ..formats import gguf_info
from ..formats.gguf import Header
from ..integrity import describe
from ..sources.chunks import set_bit
from ..sources.download import FIRST_WAIT_S, transient
from ..sources.hub import Hub, Place, Remote
from .hub_manifest import manifest, origin
from .pull import Totals
from .store import Store
from .stored import StoredModel

PIECE = 8 << 20  # bytes flushed to the disk at a time: what a broken connection costs at most
LEAST_CONTEXT = 256  # a model that has no room for so little is of no use


@dataclass
class HubPuller:
    """emit: called with each progress, fallback and notice event; `wait(seconds)` before a broken request is tried again."""

    store: Store
    hub: Hub
    retries: int = 3
    emit: object = staticmethod(lambda event: None)
    wait: object = staticmethod(asyncio.sleep)

    async def pull(self, place: Place) -> tuple[StoredModel, Totals]:
        """Make the model of `place.file` complete in the cache, all its parts. Raises as `Hub.look`, ModelTooLarge, QuotaExceeded,
        HashMismatch, NetworkError; what had come by then is kept for the next try, unless it is wrong.
        """
        remotes, header = await self.hub.look(place)
        totals = Totals(sum(remote.size for remote in remotes))
        if held := self._held(place, remotes):
            self.store.used(held)
            totals.loaded = totals.total
            return held, totals
        self._check_memory(place, header)
        self._check_room(place, totals, remotes)
        files = [await self._file(place, remote, totals) for remote in remotes]
        made = manifest(place, self.hub, remotes, header, files)
        return self.store.put(made, self.hub.folder(place), "unsigned"), totals

    def _held(self, place: Place, remotes: list[Remote]) -> StoredModel | None:
        """The cached model that came from the same place with the same bytes, as far as the hub tells."""
        for model in self.store.models():
            same = model.manifest.get("hub") == origin(place, self.hub, remotes)
            if same and all(remote.tag or remote.sha256 for remote in remotes) and self.store.complete(model):
                return model
        return None

    def _check_memory(self, place: Place, header: Header) -> None:
        least = gguf_info.memory(header, LEAST_CONTEXT, "q8", 1)
        usual = gguf_info.memory(header)
        if least and least["total"] > least["limit"]:
            raise ModelTooLarge(
                f"{place.text} needs {least['total']:,} bytes of memory (weights {least['weights']:,}) even for {LEAST_CONTEXT} tokens; "
                f"the engine can have {least['limit']:,}. Nothing was fetched. Take a smaller quantisation or model.",
                needed=least["total"],
                weights=least["weights"],
                limit=least["limit"],
            )
        if usual and usual["total"] > usual["limit"]:
            self._notice(
                "memory",
                f"{place.text} needs {usual['total']:,} bytes for {usual['context']} tokens; ask for a shorter context.",
            )

    def _check_room(self, place: Place, totals: Totals, remotes: list[Remote]) -> None:
        here = sum(self._received(self._path(remote)) for remote in remotes)
        needed, free = totals.total - here, self.store.disk.free(self.store.folder)
        if needed > free:
            raise QuotaExceeded(
                f"{place.text} needs {needed:,} more bytes; the disk of {self.store.folder} has {free:,} free. Free some space "
                "(`edge-net-models cache prune`) or move the cache (`config set cache.directory PATH`).",
                needed=needed,
                free=free,
            )

    # --- one file ----------------------------------------------------------------------------------------------------
    def _path(self, remote: Remote) -> Path:
        """Where a file grows; another one if the hub has other bytes by then."""
        identity = f"{remote.url}\n{remote.size}\n{remote.sha256 or remote.tag}"
        return self.store.incoming(sha256(identity.encode()).hexdigest())

    def _received(self, path: Path) -> int:
        """Bytes of an incoming file that were flushed."""
        try:
            count = json.loads(self.store.disk.read(path.with_suffix(".json")) or b"0")
        except ValueError:
            return 0
        return count if type(count) is int and 0 <= count <= self.store.disk.size(path) else 0

    async def _file(self, place: Place, remote: Remote, totals: Totals) -> dict:
        """The manifest's entry of a file that is now whole in the cache."""
        path = self._path(remote)
        reason = f"Another process is fetching {remote.name}; waiting for it."
        async with self.store.disk.locked(
            self.store.folder / "locks" / path.name, lambda: self._notice("waiting", reason)
        ):
            await self._fetch(place, remote, path, totals)
            self._tell(place, remote, totals, "verify")
            with path.open("rb") as stream:
                artifact, leaves = describe(stream, remote.name)
            if remote.sha256 not in (None, artifact["sha256"]):
                self._forget(path)
                raise HashMismatch(
                    f"{remote.url} came with the SHA-256 {artifact['sha256']}; the hub says {remote.sha256}. It was thrown away: "
                    "pull again, or from another mirror.",
                    url=remote.url,
                    expected=remote.sha256,
                    found=artifact["sha256"],
                )
            await self._keep(artifact, leaves, path)
        return artifact

    async def _keep(self, artifact: dict, leaves: bytes | None, path: Path) -> None:
        disk = self.store.disk
        async with self.store.lock(artifact):
            if leaves is not None:
                disk.write(self.store.leaves_path(artifact), leaves)
            disk.rename(path, self.store.path(artifact["merkleRoot"]))
            file = self.store.file(artifact)
            for i in range(file.count):
                set_bit(file.have, i)
            file.save()
        self._forget(path)

    def _forget(self, path: Path) -> None:
        for gone in (path, path.with_suffix(".json")):
            self.store.disk.remove(gone)

    async def _fetch(self, place: Place, remote: Remote, path: Path, totals: Totals) -> None:
        """Bring a file to its full length; a broken connection is tried again as long as it brings something."""
        failures, received = 0, self._received(path)
        totals.loaded += received
        while received < remote.size:
            before = received
            try:
                await self._stream(place, remote, path, totals)
            except NetworkError as error:
                failures = 1 if self._received(path) > before else failures + 1
                if failures > self.retries or not transient(error):
                    raise
                await self.wait(FIRST_WAIT_S * 2 ** (failures - 1))
            received = self._received(path)

    async def _stream(self, place: Place, remote: Remote, path: Path, totals: Totals) -> None:
        start = self._received(path)
        async with self.hub.open(place, remote.url, (start, remote.size)) as answer:
            if answer.total not in (None, remote.size):
                text = f"{remote.url} has {answer.total} bytes now and had {remote.size} before; pull again."
                raise SizeMismatch(text, url=remote.url, expected=remote.size, found=answer.total)
            if answer.span is None and start:
                reason = f"{self.hub.base} gives no ranges of a file; it is fetched from its start again."
                self.emit({"status": "fallback", "code": "range_unsupported", "reason": reason})
                totals.loaded, start = totals.loaded - start, 0
            elif answer.span is not None and answer.span[0] != start:
                raise NetworkError(
                    f"{answer.url} was asked for byte {start} and answered from {answer.span[0]}.", url=answer.url
                )
            await self._write(place, remote, path, totals, start, answer.blocks)

    async def _write(self, place, remote, path, totals, at, blocks) -> None:
        """Append a stream; also what came before it broke is flushed and counted."""
        buffer = bytearray()

        def flush():
            nonlocal at
            self.store.disk.write_at(path, at, buffer)
            at += len(buffer)
            self.store.disk.write(path.with_suffix(".json"), json.dumps(at).encode())
            totals.loaded, totals.fetched = totals.loaded + len(buffer), totals.fetched + len(buffer)
            buffer.clear()
            self._tell(place, remote, totals, "download")

        try:
            async for block in blocks:
                buffer += block[: remote.size - at - len(buffer)]
                if len(buffer) >= PIECE:
                    flush()
        finally:
            if buffer:
                flush()
        if at < remote.size:
            raise NetworkError(f"{remote.url}: the connection ended at byte {at} of {remote.size}.", url=remote.url)

    # --- events ------------------------------------------------------------------------------------------------------
    def _tell(self, place: Place, remote: Remote, totals: Totals, phase: str) -> None:
        counts = {
            "loaded": totals.loaded,
            "total": totals.total,
            "progress": 100 * totals.loaded / max(1, totals.total),
        }
        self.emit({"status": "progress", "phase": phase, "name": place.text, "file": remote.name, **counts})

    def _notice(self, code: str, reason: str) -> None:
        self.emit({"status": "notice", "code": code, "reason": reason})
