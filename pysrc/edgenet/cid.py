"""IPFS CIDv1 of a file, streaming: raw leaves of 256 KiB, UnixFS dag-pb parents of at most 174 links. Runs anywhere.

The layout is the one of `ipfs add --cid-version=1`: balanced DAG, sha2-256, a file of one leaf is that raw leaf.
Sources: the IPFS specifications "UnixFS", "DAG-PB" and "CID". It reads only such CIDs; it fetches nothing.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256

from .errors import InvalidCid

LEAF_SIZE = 262_144
MAX_LINKS = 174
RAW, DAG_PB = 0x55, 0x70
_MULTIHASH = b"\x12\x20"  # sha2-256, 32 bytes
_UNIXFS_FILE = 2


@dataclass(frozen=True)
class _Block:
    cid: bytes  # 36 bytes: version, codec, multihash
    file_size: int  # bytes of the file below this block
    total_size: int  # bytes of all blocks at and below this one


class CidBuilder:
    """Computes a file's CID from bytes given in order, in memory of one leaf and one row of links per level."""

    def __init__(self):
        self._pending = bytearray()
        self._levels: list[list[_Block]] = [[]]

    def update(self, data) -> None:
        """Take the next bytes (any length, any bytes-like object)."""
        self._pending += data
        # A full leaf waits until a further byte shows that the file goes on; the end is then always non-empty.
        start = 0
        while len(self._pending) - start > LEAF_SIZE:
            self._push(0, _leaf(self._pending[start : start + LEAF_SIZE]))
            start += LEAF_SIZE
        del self._pending[:start]

    def finish(self) -> str:
        """The CID as base32 text (`bafkrei…` for one leaf, else `bafybei…`). Call it once."""
        self._push(0, _leaf(self._pending))
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            row, self._levels[level] = self._levels[level], []
            if row:
                self._push(level + 1, _parent(row))
            level += 1
        return _text(self._levels[level][0].cid)

    def _push(self, level: int, block: _Block) -> None:
        if level == len(self._levels):
            self._levels.append([])
        row = self._levels[level]
        if len(row) == MAX_LINKS:
            self._levels[level] = row = self._fold(level, row)
        row.append(block)

    def _fold(self, level: int, row: list[_Block]) -> list[_Block]:
        self._push(level + 1, _parent(row))
        return []


def file_cid(chunks) -> str:
    """The CID of the concatenation of `chunks`, an iterable of bytes-like objects."""
    builder = CidBuilder()
    for chunk in chunks:
        builder.update(chunk)
    return builder.finish()


def parse_cid(text: str) -> tuple[int, bytes]:
    """(codec, 32-byte sha2-256 digest) of a base32 CIDv1. Raises InvalidCid for any other kind."""
    try:
        raw = base64.b32decode(text[1:].upper() + "=" * (-len(text[1:]) % 8))
    except ValueError:
        raw = b""
    known = len(raw) == 36 and raw[0] == 1 and raw[1] in (RAW, DAG_PB) and raw[2:4] == _MULTIHASH
    if not known or _text(raw) != text:
        raise InvalidCid(f"{text!r} is not a base32 CIDv1 of sha2-256; convert it with `ipfs cid base32`", cid=text)
    return raw[1], raw[4:]


def _text(cid: bytes) -> str:
    return "b" + base64.b32encode(cid).decode("ascii").rstrip("=").lower()


def _block_cid(codec: int, block: bytes) -> bytes:
    return bytes([1, codec]) + _MULTIHASH + sha256(block).digest()


def _leaf(data) -> _Block:
    return _Block(_block_cid(RAW, data), len(data), len(data))


def _parent(children: list[_Block]) -> _Block:
    file_size = sum(child.file_size for child in children)
    sizes = b"".join(_uint(4, child.file_size) for child in children)
    unixfs = _uint(1, _UNIXFS_FILE) + _uint(3, file_size) + sizes
    # DAG-PB writes the links before the data, and an empty name in each link of a file.
    links = (_bytes(1, child.cid) + _bytes(2, b"") + _uint(3, child.total_size) for child in children)
    block = b"".join(_bytes(2, link) for link in links) + _bytes(1, unixfs)
    return _Block(_block_cid(DAG_PB, block), file_size, len(block) + sum(child.total_size for child in children))


# --- protobuf, as far as needed --------------------------------------------------------------------------------------
def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _uint(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
