"""Arithmetic of chunks: which are missing, how they group into requests, how long each is. Pure; runs anywhere.

A set of chunks is a `bytearray` of bits: bit i of the set is bit i % 8 of byte i >> 3 (the browser's store keeps the same).
"""

from collections.abc import Iterable, Iterator


def bitset(count: int) -> bytearray:
    """A set with room for `count` chunks, all clear."""
    return bytearray((count + 7) // 8)


def has_bit(bits, i: int) -> bool:
    """Whether chunk `i` is in the set."""
    return bool(bits[i >> 3] & 1 << (i & 7))


def set_bit(bits: bytearray, i: int, on: bool = True) -> None:
    """Put chunk `i` into the set, or take it out."""
    if on:
        bits[i >> 3] |= 1 << (i & 7)
    else:
        bits[i >> 3] &= ~(1 << (i & 7)) & 0xFF


def missing(bits, count: int) -> list[int]:
    """The chunk numbers below `count` that are not in the set, ascending."""
    return [i for i in range(count) if not has_bit(bits, i)]


def runs(chunks: Iterable[int], limit: int) -> Iterator[list[int]]:
    """Contiguous runs of ascending chunk numbers, none longer than `limit`."""
    run: list[int] = []
    for i in chunks:
        if run and (i != run[-1] + 1 or len(run) == limit):
            yield run
            run = []
        run.append(i)
    if run:
        yield run


def chunk_length(i: int, chunk_size: int, size: int) -> int:
    """Bytes of chunk `i` of a file of `size` bytes; only the last one is shorter than `chunk_size`."""
    return max(0, min(chunk_size, size - i * chunk_size))


def bytes_held(bits, count: int, chunk_size: int, size: int) -> int:
    """How many bytes of the file the chunks in the set hold."""
    return sum(chunk_length(i, chunk_size, size) for i in range(count) if has_bit(bits, i))
