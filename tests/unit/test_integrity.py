"""SHA-256, Merkle trees and artifacts, by RFC 6962's published roots and a recursive definition of the tree."""

import io
from hashlib import sha256

import pytest

from edgenet import integrity
from edgenet.errors import HashMismatch, InvalidOption, SizeMismatch
from tests.trust_vectors import content, load, rows

CHUNK = 64
SIZES = [0, 1, 63, 64, 65, 127, 128, 129, 64 * 7, 64 * 8 + 1]


def root_by_definition(leaves):
    """RFC 6962 2.1: split at the largest power of two below n. Written otherwise than the code under test."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = root_by_definition(leaves[:split]), root_by_definition(leaves[split:])
    return sha256(b"\x01" + left + right).digest()


@pytest.mark.parametrize("row", rows("merkle", "roots"))
def test_roots_are_those_of_rfc_6962(row):
    chunks = [bytes.fromhex(chunk) for chunk in load("merkle")["chunks"][: row["count"]]]
    assert integrity.merkle_root([integrity.leaf_hash(chunk) for chunk in chunks]).hex() == row["root"]


@pytest.mark.parametrize("count", [*range(1, 40), 255, 256, 257])
def test_roots_follow_the_definition(count):
    leaves = [sha256(bytes([i % 251, i // 251])).digest() for i in range(count)]
    assert integrity.merkle_root(leaves) == root_by_definition(leaves)


def test_a_repeated_last_leaf_changes_the_root():
    leaves = [bytes([i]) * 32 for i in range(3)]
    assert integrity.merkle_root(leaves) != integrity.merkle_root([*leaves, leaves[-1]])


def test_a_tree_without_leaves_is_refused():
    with pytest.raises(InvalidOption):
        integrity.merkle_root([])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [1, 7, 64, 1000])
def test_the_digest_does_not_depend_on_how_the_bytes_arrive(size, piece):
    data = content("counter", size)
    found = integrity.digest([data[i : i + piece] for i in range(0, size, piece)], CHUNK)
    chunks = [data[i : i + CHUNK] for i in range(0, size, CHUNK)] or [b""]
    assert found.leaves == tuple(sha256(b"\0" + chunk).digest() for chunk in chunks)
    assert (found.size, found.sha256) == (size, sha256(data).digest())
    assert len(found.leaves) == integrity.chunk_count(size, CHUNK)
    assert integrity.digest(io.BytesIO(data), CHUNK) == found


def test_wide_views_are_taken_as_bytes():
    data = content("counter", 256)
    assert integrity.digest([memoryview(data).cast("I")], CHUNK) == integrity.digest([data], CHUNK)


@pytest.mark.parametrize("size", [0, -1])
def test_a_chunk_size_must_be_positive(size):
    with pytest.raises(InvalidOption):
        integrity.digest([b"x"], size)


def test_few_leaves_stand_in_the_artifact_and_many_in_a_file():
    small, none = integrity.describe([bytes(CHUNK * 1024)], "a.bin", CHUNK)
    large, leaves = integrity.describe([bytes(CHUNK * 1024 + 1)], "a.bin", CHUNK)
    assert (len(small["leaves"]), none) == (1024, None)
    assert large["leavesFile"] == {"filename": "a.bin.leaves", "size": 1025 * 32, "sha256": sha256(leaves).hexdigest()}
    assert "leaves" not in large
    assert integrity.merkle_root(integrity.leaves_of(large, leaves)).hex() == large["merkleRoot"]
    assert [leaf.hex() for leaf in integrity.leaves_of(small)] == small["leaves"]


@pytest.mark.parametrize(
    ("change", "error"),
    [(lambda b: b[:-1], SizeMismatch), (lambda b: b"\1" + b[1:], HashMismatch), (lambda b: None, SizeMismatch)],
)
def test_a_wrong_leaves_file_is_refused(change, error):
    artifact, leaves = integrity.describe([bytes(CHUNK * 1024 + 1)], "a.bin", CHUNK)
    with pytest.raises(error):
        integrity.leaves_of(artifact, change(leaves))


def test_a_leaves_file_of_another_tree_is_refused_though_its_hash_is_named():
    artifact, _ = integrity.describe([bytes(CHUNK * 1024 + 1)], "a.bin", CHUNK)
    _, other = integrity.describe([b"\1" * (CHUNK * 1024 + 1)], "a.bin", CHUNK)
    artifact["leavesFile"]["sha256"] = sha256(other).hexdigest()
    with pytest.raises(HashMismatch):
        integrity.leaves_of(artifact, other)


@pytest.mark.parametrize(("at", "bad"), [(0, [0]), (63, [0]), (64, [1]), (299, [4])])
def test_a_flipped_byte_is_found_in_its_chunk(at, bad):
    data = bytearray(content("counter", 300))
    artifact, _ = integrity.describe([data], "a.bin", CHUNK)
    leaves = integrity.leaves_of(artifact)
    assert integrity.check_file([data], artifact, leaves) == []
    data[at] ^= 1
    assert integrity.check_file([data], artifact, leaves) == bad


def test_a_file_of_another_size_is_named_as_such():
    artifact, _ = integrity.describe([bytes(300)], "a.bin", CHUNK)
    with pytest.raises(SizeMismatch) as caught:
        integrity.check_file([bytes(299)], artifact, integrity.leaves_of(artifact))
    assert caught.value.details == {"file": "a.bin", "expected": 300, "found": 299}
