"""SHA-256 of whole files and chunked Merkle trees, streaming. Runs anywhere; opens no file, fetches nothing.

Leaf = SHA-256(0x00 || chunk), node = SHA-256(0x01 || left || right) as in RFC 6962 2.1; an odd node is promoted to
the next level, never duplicated. A file of at most one chunk (the empty file too) has one leaf, which is the root.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

from .cid import CidBuilder
from .errors import HashMismatch, InvalidOption, SizeMismatch

CHUNK_SIZE = 1_048_576
MAX_INLINE_LEAVES = 1024
DIGEST_SIZE = 32
_LEAF, _NODE = b"\x00", b"\x01"


@dataclass(frozen=True)
class FileDigest:
    """What is known of one file after reading it once."""

    size: int
    sha256: bytes  # 32 bytes
    chunk_size: int
    leaves: tuple[bytes, ...]  # 32 bytes each, in file order
    root: bytes  # 32 bytes
    cid: str


def leaf_hash(chunk) -> bytes:
    """The 32-byte leaf of one chunk (any bytes-like object)."""
    digest = sha256(_LEAF)
    digest.update(chunk)
    return digest.digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The 32-byte parent of two 32-byte nodes."""
    return sha256(_NODE + left + right).digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """The 32-byte root over 32-byte leaves. Raises InvalidOption without leaves: no file is without one."""
    if not leaves:
        raise InvalidOption("merkle_root was given no leaf; even an empty file has one, leaf_hash(b'')")
    row = list(leaves)
    while len(row) > 1:
        pairs = [node_hash(row[i], row[i + 1]) for i in range(0, len(row) - 1, 2)]
        row = pairs + row[len(pairs) * 2 :]
    return row[0]


def chunk_count(size: int, chunk_size: int) -> int:
    """How many chunks, and so leaves, a file of `size` bytes has; at least 1."""
    return max(1, -(-size // chunk_size))


def pieces(stream, size: int = CHUNK_SIZE) -> Iterator[bytes]:
    """The bytes of a binary file object (something with `read`), or an iterable of bytes-like objects, in pieces."""
    if not hasattr(stream, "read"):
        yield from stream
        return
    while piece := stream.read(size):
        yield piece


class TreeBuilder:
    """Size, SHA-256, leaves, root and CID of a file whose bytes are given in order, in any pieces."""

    def __init__(self, chunk_size: int = CHUNK_SIZE):
        if chunk_size < 1:
            raise InvalidOption(f"chunk size {chunk_size} is not a positive number of bytes", chunk_size=chunk_size)
        self._chunk_size = chunk_size
        self._size = 0
        self._whole = sha256()
        self._chunk = sha256(_LEAF)
        self._leaves: list[bytes] = []
        self._cid = CidBuilder()

    def update(self, data) -> None:
        """Take the next bytes (any bytes-like object of any length)."""
        self._whole.update(data)
        self._cid.update(data)
        view = memoryview(data).cast("B")
        start = 0
        while start < len(view):
            # A chunk is closed only when a further byte comes, so the last one is closed by `finish`.
            room = self._chunk_size - self._size % self._chunk_size
            if room == self._chunk_size and self._size:
                self._close_chunk()
            part = view[start : start + room]
            self._chunk.update(part)
            self._size += len(part)
            start += len(part)

    def _close_chunk(self) -> None:
        self._leaves.append(self._chunk.digest())
        self._chunk = sha256(_LEAF)

    def finish(self) -> FileDigest:
        """The digest of everything taken. Call it once."""
        self._close_chunk()
        leaves = tuple(self._leaves)
        root = merkle_root(leaves)
        return FileDigest(self._size, self._whole.digest(), self._chunk_size, leaves, root, self._cid.finish())


def digest(stream, chunk_size: int = CHUNK_SIZE) -> FileDigest:
    """Read a binary file object or an iterable of bytes once, in constant memory, and say what it is."""
    builder = TreeBuilder(chunk_size)
    for piece in pieces(stream):
        builder.update(piece)
    return builder.finish()


def describe(stream, filename: str, chunk_size: int = CHUNK_SIZE) -> tuple[dict, bytes | None]:
    """(artifact of manifest v1, bytes of its leaves file or None) for a binary file object or iterable of bytes.

    Above MAX_INLINE_LEAVES the artifact names `<filename>.leaves`; the caller must write the second value there.
    """
    found = digest(stream, chunk_size)
    artifact = {
        "filename": filename,
        "size": found.size,
        "sha256": found.sha256.hex(),
        "chunkSize": found.chunk_size,
        "merkleRoot": found.root.hex(),
        "cid": found.cid,
    }
    if len(found.leaves) <= MAX_INLINE_LEAVES:
        return artifact | {"leaves": [leaf.hex() for leaf in found.leaves]}, None
    data = b"".join(found.leaves)
    leaves_file = {"filename": f"{filename}.leaves", "size": len(data), "sha256": sha256(data).hexdigest()}
    return artifact | {"leavesFile": leaves_file}, data


def leaves_of(artifact: dict, leaves_file: bytes | None = None) -> list[bytes]:
    """The 32-byte leaves of a parsed artifact, from `leaves` or from the bytes of its leaves file, checked.

    Raises SizeMismatch or HashMismatch when the file is not the one that the artifact names.
    """
    if "leaves" in artifact:
        return [bytes.fromhex(leaf) for leaf in artifact["leaves"]]
    entry = artifact["leavesFile"]
    check_bytes(leaves_file or b"", entry["size"], entry["sha256"], entry["filename"])
    leaves = [leaves_file[i : i + DIGEST_SIZE] for i in range(0, len(leaves_file), DIGEST_SIZE)]
    _check_hash(merkle_root(leaves).hex(), artifact["merkleRoot"], entry["filename"])
    return leaves


def check_bytes(data, size: int, sha256_hex: str, name: str) -> None:
    """Return if `data` has this size and SHA-256; raise SizeMismatch or HashMismatch naming `name` if not."""
    _check_size(len(data), size, name)
    _check_hash(sha256(data).hexdigest(), sha256_hex, name)


def check_file(stream, artifact: dict, leaves: Iterable[bytes]) -> list[int]:
    """Indices of the chunks that are wrong in a file (binary file object or iterable of bytes); [] if it is right.

    Raises SizeMismatch when the file's length is not the artifact's, as then no chunk can be told from another.
    """
    found = digest(stream, artifact["chunkSize"])
    _check_size(found.size, artifact["size"], artifact["filename"])
    bad = [i for i, pair in enumerate(zip(found.leaves, leaves, strict=True)) if pair[0] != pair[1]]
    if not bad:
        _check_hash(found.sha256.hex(), artifact["sha256"], artifact["filename"])
    return bad


def _check_size(found: int, wanted: int, name: str) -> None:
    if found != wanted:
        text = f"{name}: expected {wanted} bytes, found {found}; fetch it again from another source"
        raise SizeMismatch(text, file=name, expected=wanted, found=found)


def _check_hash(found: str, wanted: str, name: str) -> None:
    if found != wanted:
        text = f"{name}: expected SHA-256 {wanted}, found {found}; fetch it again from another source"
        raise HashMismatch(text, file=name, expected=wanted, found=found)
