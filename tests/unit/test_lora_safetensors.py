"""safetensors: files of the safetensors package are read as torch holds them, broken ones refused by name. Runs anywhere."""

import base64
import random
from functools import cache

import numpy as np
import pytest

from edgenet.errors import BY_CODE, EdgeNetError, InvalidAdapter, NotFinite
from edgenet.lora import safetensors
from tests.trust_vectors import load

VECTORS = load("safetensors")
SEED, MUTATIONS = 20261121, 6000


def values(text, shape):
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(shape)


@cache
def files(kind):
    return [base64.b64decode(row["file"]) for row in VECTORS[kind]]


@pytest.mark.parametrize("row", VECTORS["good"], ids=lambda row: row["why"])
def test_a_file_of_the_package_is_read_as_torch_holds_it(row):
    tensors, metadata = safetensors.read(base64.b64decode(row["file"]))
    assert metadata == row["metadata"] and sorted(tensors) == sorted(row["tensors"])
    for name, (shape, text) in row["tensors"].items():
        assert tensors[name].dtype == np.float32 and tensors[name].shape == tuple(shape)
        assert tensors[name].tobytes() == values(text, shape).tobytes()


@pytest.mark.parametrize("row", VECTORS["bad"], ids=lambda row: row["why"])
def test_an_unsound_file_is_refused(row):
    with pytest.raises(BY_CODE[row["code"]]):
        safetensors.read(base64.b64decode(row["file"]))


@pytest.mark.parametrize("dtype", list(safetensors.DTYPES))
def test_what_is_written_is_read_again(dtype):
    tensors = {"b": np.float32([[1.5, -2, 0.25]]), "a": np.float32([65504 if dtype == "F16" else 1e30, -0.0])}
    data = safetensors.write(tensors, {"format": "x"}, dtype)
    found, metadata = safetensors.read(data)
    assert metadata == {"format": "x"} and list(found) == ["b", "a"] and len(data) % 2 == 0
    assert all(np.array_equal(found[name], safetensors.rounded(tensors[name], dtype)) for name in tensors)
    assert int.from_bytes(data[:8], "little") % 8 == 0


def test_numbers_beyond_half_precision_are_not_written():
    with pytest.raises(NotFinite):
        safetensors.write({"a": np.float32([1e30])}, dtype="F16")


def test_a_file_cut_anywhere_is_refused():
    whole = safetensors.write({"a": np.ones((3, 2), np.float32), "b": np.ones(1, np.float32)}, {"k": "v"})
    for length in range(len(whole)):
        with pytest.raises(InvalidAdapter):
            safetensors.read(whole[:length])


def test_a_broken_file_is_read_or_refused_by_name_and_never_anything_else():
    draw, refused, read = random.Random(SEED), 0, 0
    for _ in range(MUTATIONS):
        data = bytearray(draw.choice(files("good")))
        for _ in range(draw.randint(1, 3)):
            mutate(data, draw)
        try:
            safetensors.read(bytes(data))
            read += 1
        except EdgeNetError:
            refused += 1
    assert read + refused == MUTATIONS and read > MUTATIONS // 50 and refused > MUTATIONS // 2


def mutate(data: bytearray, draw: random.Random) -> None:
    """One change: a byte flipped, removed, put in or a run of bytes doubled."""
    at = draw.randrange(len(data) + 1)
    change = draw.choice([0, 0, 0, 1, 2, 3])
    if change == 0 and at < len(data):
        data[at] ^= 1 << draw.randrange(8)
    elif change == 1:
        del data[at : at + draw.randint(1, 8)]
    elif change == 2:
        data[at:at] = draw.choice([b"0", b"-", b"[", b"{", b'"', b"9" * 20, b"\xff", b"\0" * 9])
    else:
        data[at:at] = data[at : at + 40]
