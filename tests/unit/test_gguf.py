"""The GGUF reader: sound headers are read whole, unsound ones are refused by name, and neither makes it ask for more than it may."""

import json
import random
import tracemalloc
from array import array
from pathlib import Path

import pytest

from edgenet.errors import InvalidGguf, UnsupportedTensorType
from edgenet.formats import gguf
from edgenet.formats.cursor import MAX_HEADER
from tests.gguf_bytes import header, padded, pair, tensor
from tests.trust_vectors import run

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "gguf" / "headers.json").read_text("utf-8"))
REFUSALS = (InvalidGguf, UnsupportedTensorType)
MIB = 1 << 20


class Bytes:
    """A file of `size` bytes: the ones given, then zeros. Counts what is asked of it."""

    def __init__(self, data: bytes, size: int | None = None):
        self.data, self.size, self.asked = data, len(data) if size is None else size, 0

    def __call__(self, offset, length):
        assert 0 <= offset and length >= 0 and offset + length <= self.size
        self.asked += length
        return self.data[offset : offset + length].ljust(length, b"\0")

    def header(self):
        return gguf.read_header(self, self.size)


def rows(part):
    return [pytest.param(row, id=row["why"]) for row in VECTORS[part]]


def plain(value):
    return value.tolist() if isinstance(value, array) else value


@pytest.mark.parametrize("row", rows("good"))
def test_a_sound_header_is_read_whole(row):
    found, wanted = Bytes(bytes.fromhex(row["hex"]), row["size"]).header(), row["header"]
    assert (found.version, found.alignment, found.length, found.data_offset) == tuple(
        wanted[key] for key in ("version", "alignment", "length", "dataOffset")
    )
    assert [[k, found.types[k], plain(v)] for k, v in found.metadata.items()] == wanted["metadata"]
    assert [[t.name, t.type, list(t.shape), t.offset, t.bytes] for t in found.tensors.values()] == wanted["tensors"]


@pytest.mark.parametrize("row", rows("bad"))
def test_an_unsound_header_is_refused_without_making_what_it_claims(row):
    file = Bytes(bytes.fromhex(row["hex"]), row["size"])
    tracemalloc.start()
    try:
        with pytest.raises(REFUSALS) as caught:
            file.header()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == row["code"]
    assert file.asked <= 5 * MIB and peak < 32 * MIB


@pytest.mark.parametrize(
    "row", [row for row in VECTORS["good"] if row["header"]["tensors"]], ids=lambda row: row["why"]
)
def test_a_file_cut_anywhere_is_refused(row):
    whole = bytes.fromhex(row["hex"]).ljust(row["size"], b"\0")
    ends = [offset + size for *_, offset, size in row["header"]["tensors"]]
    for length in range(max(ends)):
        with pytest.raises(InvalidGguf):
            Bytes(whole[:length]).header()


def test_bytes_that_do_not_come_are_a_named_error():
    whole = bytes.fromhex(VECTORS["good"][0]["hex"])
    with pytest.raises(InvalidGguf, match="cut short"):
        gguf.read_header(lambda offset, length: whole[offset : offset + length - 1], len(whole))


def test_a_long_header_is_asked_for_in_growing_pieces_and_never_the_weights():
    tokens = [f"token {i}" for i in range(100_000)]
    raw = header(
        [pair("general.architecture", "string", "llama"), pair("t", "[string]", tokens)], [tensor("w", [4], 0, 0)]
    )
    file = Bytes(padded(raw, 16), len(raw) + (1 << 30))
    assert file.header().metadata["t"] == tokens
    assert len(raw) <= file.asked <= gguf.GROWTH * len(raw)


def test_a_header_beyond_the_bound_is_refused_at_the_bound():
    file = Bytes(header([pair("k", "[u8]", [])[:-8] + (MAX_HEADER + 1).to_bytes(8, "little")]), 1 << 40)
    with pytest.raises(InvalidGguf, match=f"{MAX_HEADER}"):
        file.header()
    assert file.asked <= MIB


def test_the_same_header_comes_from_awaited_ranges():
    row = VECTORS["good"][3]
    file = Bytes(bytes.fromhex(row["hex"]), row["size"])

    async def read(offset, length):
        return file(offset, length)

    assert run(gguf.read_header_async(read, file.size)) == file.header()


GET = [
    ("general.architecture", str, "llama", "a full key"),
    (".block_count", int, 2, "a leading dot is the architecture's"),
    (".eps", float, 0.5, "a number"),
    (".block_count", float, 2.0, "a whole number where any will do"),
    (".tokens", list, array("i", [1, 2]), "an array"),
    (".flag", bool, True, "a truth"),
]
PAIRS = [
    pair("general.architecture", "string", "llama"),
    pair("llama.block_count", "u32", 2),
    pair("llama.eps", "f32", 0.5),
    pair("llama.tokens", "[i32]", [1, 2]),
    pair("llama.flag", "bool", 1),
]


@pytest.mark.parametrize(("key", "kind", "value", "why"), GET)
def test_metadata_is_asked_for_with_its_type(key, kind, value, why):
    assert Bytes(header(PAIRS)).header().get(key, kind) == value


@pytest.mark.parametrize(
    ("key", "kind"), [(".eps", int), (".flag", int), (".block_count", str), (".tokens", str), (".none", int)]
)
def test_metadata_of_another_type_is_a_named_error(key, kind):
    with pytest.raises(InvalidGguf):
        Bytes(header(PAIRS)).header().get(key, kind)


def test_absent_metadata_has_its_default_but_a_wrong_one_has_none():
    found = Bytes(header(PAIRS)).header()
    assert found.get(".none", int, 7) == 7
    with pytest.raises(InvalidGguf):
        found.get(".eps", int, 7)
    with pytest.raises(InvalidGguf):
        Bytes(header()).header().architecture  # noqa: B018 - it is the reading that raises


def mutated(rng, seeds):
    """Bytes near those of a sound file: some changed, cut out, doubled, or overwritten by a number that is seldom right."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at : at + 1] = rng.randbytes(1)
            case 1:
                del data[at : at + rng.randint(1, 16)]
            case 2:
                data[at:at] = data[at : at + rng.randint(1, 32)]
            case _:
                number = rng.choice([0, 1, 7, 1 << 31, (1 << 32) - 1, 1 << 60, (1 << 63), (1 << 64) - 1])
                data[at : at + 8] = number.to_bytes(8, "little")
    return bytes(data)


def test_mutated_files_are_read_or_refused_by_name(request):
    cases = 60_000 if request.config.getoption("--long") else 3_000
    rng = random.Random(20)
    seeds = [
        bytes.fromhex(row["hex"]).ljust(min(row["size"], 2048), b"\0")
        for part in ("good", "bad")
        for row in VECTORS[part]
    ]
    read = refused = 0
    for _ in range(cases):
        data = mutated(rng, seeds)
        file = Bytes(data, rng.choice([len(data), 1 << 20, 1 << 42]))
        try:
            found = file.header()
            read += 1
            assert all(
                found.data_offset <= t.offset and t.offset + t.bytes <= file.size for t in found.tensors.values()
            )
        except REFUSALS as error:
            refused += 1
            assert len(error.message) < 1000
        assert file.asked <= min(file.size, MAX_HEADER)
    print(f"\n{cases} mutated GGUF headers: {read} read, {refused} refused by name")
    assert read > cases // 100 and refused > cases // 10
