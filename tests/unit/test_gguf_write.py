"""What we write as GGUF is read back the same by our reader; by the `gguf` package in `test_gguf_package.py`."""

from array import array

import numpy as np
import pytest

from edgenet.errors import InvalidGguf, InvalidOption, WrongLength
from edgenet.formats.blocks import quantize
from edgenet.formats.gguf import read_header
from edgenet.formats.gguf_write import Tensor, pieces

RNG = np.random.default_rng(1)
WEIGHTS = {"a": RNG.standard_normal((3, 64)).astype(np.float32), "b": RNG.standard_normal((2, 96)).astype(np.float32)}
METADATA = {
    "general.architecture": "llama",
    "general.name": "Grüße 👋",
    "llama.block_count": 2,
    "llama.rope.freq_base": 10000.0,
    "tokenizer.ggml.add_bos_token": True,
    "tokenizer.ggml.tokens": ["<s>", "", "é", "\n"],
    "tokenizer.ggml.scores": array("f", [0.0, -1.5]),
    "tokenizer.ggml.token_type": [1, 2, -3],
    "split.no": 1,
    "x.negative": -7,
    "x.large": 1 << 40,
    "x.flags": [True, False],
}
TYPES = {"split.no": "u16"}


def tensors():
    return [
        Tensor("a", "q8_0", (3, 64), quantize("q8_0", WEIGHTS["a"])),
        Tensor("b", "f32", (2, 96), iter([WEIGHTS["b"][:1].tobytes(), WEIGHTS["b"][1:].tobytes()])),
        Tensor("c", "f32", (1,), np.float32(3).tobytes()),
    ]


def written(**changes):
    return b"".join(pieces(METADATA | changes, tensors(), TYPES))


def header(data):
    return read_header(lambda offset, length: data[offset : offset + length], len(data))


@pytest.mark.parametrize("alignment", [8, 32, 4096])
def test_our_reader_finds_what_was_written(alignment):
    data = written(**{"general.alignment": alignment})
    found = header(data)
    assert {k: list(v) if isinstance(v, array) else v for k, v in found.metadata.items()} == {
        k: list(v) if isinstance(v, array) else v for k, v in METADATA.items()
    } | {"general.alignment": alignment}
    assert found.types["split.no"] == "u16" and found.types["x.negative"] == "i32" and found.types["x.large"] == "u64"
    b = found.tensors["b"]
    assert b.shape == (2, 96) and b.offset % alignment == 0
    assert data[b.offset : b.offset + b.bytes] == WEIGHTS["b"].tobytes()


def test_a_file_read_and_written_again_is_the_same_byte_for_byte():
    data = written()
    found = header(data)
    again = [Tensor(t.name, t.type, t.shape, data[t.offset : t.offset + t.bytes]) for t in found.tensors.values()]
    assert b"".join(pieces(found.metadata, again, found.types)) == data


BAD = [
    ({"k": None}, [], None, InvalidOption, "a value of no type"),
    ({"k": []}, [], None, InvalidOption, "an empty list whose type nobody says"),
    ({"k": [1, "a"]}, [], None, InvalidOption, "a list of two types"),
    ({"k": 300}, [], {"k": "u8"}, InvalidOption, "a number that its type cannot hold"),
    ({"k": 1 << 64}, [], None, InvalidOption, "a number beyond 64 bits"),
    ({"k": 1}, [], {"k": "u128"}, InvalidOption, "a type that is none"),
    ({"general.alignment": 20}, [], None, InvalidOption, "an alignment of 20"),
    ({}, [Tensor("w", "q9_9", (32,), b"")], None, InvalidOption, "a tensor type that is none"),
    ({}, [Tensor("w" * 65, "f32", (1,), b"")], None, InvalidOption, "a name of 65 bytes"),
    ({}, [Tensor("w", "f32", (1,), b"1234")] * 2, None, InvalidOption, "a name twice"),
    ({}, [Tensor("w", "f32", (1,) * 5, b"1234")], None, InvalidOption, "five dimensions"),
    ({}, [Tensor("w", "f32", (0,), b"")], None, InvalidOption, "a tensor that holds nothing"),
    ({}, [Tensor("w", "q4_0", (48,), b"")], None, InvalidGguf, "half a block"),
    ({}, [Tensor("w", "f32", (2,), b"1234")], None, WrongLength, "half of the data"),
]


@pytest.mark.parametrize(("metadata", "rows", "types", "error", "why"), BAD, ids=[row[-1] for row in BAD])
def test_what_gguf_cannot_hold_is_a_named_error(metadata, rows, types, error, why):
    with pytest.raises(error):
        b"".join(pieces(metadata, rows, types))
