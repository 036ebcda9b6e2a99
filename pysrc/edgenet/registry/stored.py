"""What the local cache holds: one file with its verified chunks, one accepted manifest. CPython; see `store.py`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from ..integrity import chunk_count, leaf_hash
from ..sources.chunks import bytes_held, chunk_length, has_bit, missing, set_bit


@dataclass
class StoredFile:
    """One artifact in the cache: the `sink` of a download. `have` is the bitset of verified chunks."""

    disk: object
    path: Path
    size: int
    chunk_size: int
    have: bytearray = field(repr=False)

    @property
    def count(self) -> int:
        """How many chunks the file has."""
        return chunk_count(self.size, self.chunk_size)

    @property
    def complete(self) -> bool:
        """Whether every chunk was verified."""
        return not self.missing()

    @property
    def held(self) -> int:
        """Bytes of verified chunks."""
        return bytes_held(self.have, self.count, self.chunk_size, self.size)

    def missing(self) -> list[int]:
        """Numbers of the chunks not verified yet."""
        return missing(self.have, self.count)

    def has(self, i: int) -> bool:
        """Whether chunk `i` was verified."""
        return has_bit(self.have, i)

    def keep(self, i: int, data: bytes) -> None:
        """Write a verified chunk, flush it, then set its bit."""
        self.disk.write_at(self.path, i * self.chunk_size, data)
        set_bit(self.have, i)
        self.save()

    def drop(self, chunks) -> None:
        """Forget chunks, so that the next download fetches them again."""
        for i in chunks:
            set_bit(self.have, i, False)
        self.save()

    def wrong_chunks(self, leaves) -> list[int]:
        """Numbers of the chunks counted as verified whose bytes on the disk no longer fit their leaf."""
        wrong = []
        if not self.path.exists():
            return [i for i in range(self.count) if self.has(i)]
        with self.path.open("rb") as file:
            for i in range(self.count):
                data = file.read(chunk_length(i, self.chunk_size, self.size))
                if self.has(i) and leaf_hash(data) != leaves[i]:
                    wrong.append(i)
        return wrong

    def save(self) -> None:
        """Write the record beside the file."""
        record = {
            "size": self.size,
            "chunkSize": self.chunk_size,
            "have": bytes(self.have).hex(),
            "complete": self.complete,
        }
        self.disk.write(self.path.with_suffix(".json"), json.dumps(record).encode())


@dataclass(frozen=True)
class StoredModel:
    """One accepted manifest. `state` is "signed" or "unsigned"; times are RFC 3339, UTC."""

    manifest: dict
    url: str
    state: str
    accepted_at: str
    last_used: str

    @property
    def key(self) -> str:
        """`<id>@<version>`."""
        return f"{self.manifest['id']}@{self.manifest['version']}"

    def roots(self) -> set[str]:
        """Merkle roots of its artifacts."""
        return {artifact["merkleRoot"] for artifact in self.manifest["artifacts"].values()}


def version_order(version: str) -> tuple:
    """A sort key for semantic versions: numbers by value, a pre-release before its release (semver.org, 11)."""
    core, _, pre = version.partition("+")[0].partition("-")
    numbers = tuple(int(part) if part.isdigit() else 0 for part in core.split("."))
    marks = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".") if part)
    return numbers, not marks, marks
