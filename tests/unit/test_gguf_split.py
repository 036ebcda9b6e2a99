"""Models in several GGUF files: found by name, joined only where the parts say the same."""

import pytest

from edgenet.errors import InvalidGguf
from edgenet.formats.gguf_split import part_names, read_parts
from tests.gguf_bytes import header, padded, pair, tensor

NAMES = ["m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"]


def part(number, count=3, name=None, total=3):
    pairs = [
        pair("split.no", "u16", number),
        pair("split.count", "u16", count),
        pair("split.tensors.count", "i32", total),
    ]
    if number == 0:
        pairs.append(pair("general.architecture", "string", "llama"))
    return padded(header(pairs, [tensor(name or f"w{number}", [4], 0, 0)]), 16)


def model(**changed):
    """The joined header of three parts, some of them other bytes (by position: `_0`)."""
    files = {name: changed.get(f"_{i}", part(i)) for i, name in enumerate(NAMES)}

    def opened(name):
        data = files[name]
        return lambda offset, length: data[offset : offset + length], len(data)

    return read_parts(NAMES[1], opened)


def test_any_part_names_all_parts():
    assert part_names(NAMES[2]) == NAMES
    assert part_names("plain.gguf") == ["plain.gguf"]
    assert len(part_names("m-00001-of-01000.gguf")) == 1000


@pytest.mark.parametrize(
    "name", ["m-00004-of-00003.gguf", "m-00000-of-00003.gguf", "m-00001-of-01001.gguf", "m-00001-of-00000.gguf"]
)
def test_a_part_that_cannot_be_is_refused(name):
    with pytest.raises(InvalidGguf):
        part_names(name)


def test_parts_are_joined():
    found = model()
    assert {name: info.part for name, info in found.tensors.items()} == {"w0": 0, "w1": 1, "w2": 2}
    assert found.architecture == "llama" and found.size == sum(len(part(i)) for i in range(3))


BAD = [
    ({"_1": part(2)}, "a part out of place"),
    ({"_2": part(0)}, "the first part again, going round"),
    ({"_1": part(1, count=2)}, "a part of a model in two parts"),
    ({"_0": part(0, total=4)}, "fewer tensors than promised"),
    ({"_0": part(0, total=2)}, "more tensors than promised"),
    ({"_1": part(1, name="w0")}, "a tensor in two parts"),
    ({"_1": padded(header([], [tensor("w1", [4], 0, 0)]), 16)}, "a file that is no part"),
    ({"_1": padded(header([pair("split.no", "string", "1")]), 0)}, "a number that is a text"),
]


@pytest.mark.parametrize(("changed", "why"), BAD, ids=[row[1] for row in BAD])
def test_parts_that_do_not_belong_together_are_refused(changed, why):
    with pytest.raises(InvalidGguf):
        model(**changed)


def test_a_single_part_of_many_is_no_model():
    data = part(0)
    with pytest.raises(InvalidGguf, match="part 1 of 3"):
        read_parts("renamed.gguf", lambda name: (lambda offset, length: data[offset : offset + length], len(data)))
