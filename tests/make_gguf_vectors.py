"""Writes tests/vectors/gguf/headers.json: `python -m tests.make_gguf_vectors`. Any host with Python.

The rows, with the verdict each must get in both languages, are written here by hand after the GGUF specification; a test holds the
sound ones against the `gguf` package too. `hex` is the file without the zeros at its end, `size` the file's length.
"""

import json
import struct
from pathlib import Path

from .gguf_bytes import ARRAY, NUMBERS, header, padded, pair, tensor, text

TARGET = Path(__file__).parent / "vectors" / "gguf" / "headers.json"
ARCH = pair("general.architecture", "string", "llama")
KINDS = [
    ("u8", 255), ("i8", -128), ("u16", 65535), ("i16", -2), ("u32", 1 << 31), ("i32", -3), ("f32", 0.5), ("bool", 1),
    ("string", "Grüße 👋"), ("u64", 1 << 52), ("i64", -(1 << 52)), ("f64", 1e300),
]  # fmt: skip
ARRAYS = [
    ("[string]", ["a", "", "é", "\n"]),
    ("[f32]", [0.5, -2.0]),
    ("[i32]", [-1, 2, 3]),
    ("[u32]", []),
    ("[bool]", [1, 0]),
]
VALUES = [(f"x.{kind}", kind, value) for kind, value in KINDS + ARRAYS]
F32, Q4_0, Q4_K = 0, 2, 12
W = tensor("w", [4], F32, 0)


def good_rows():
    arch = [["general.architecture", "string", "llama"]]
    yield good("no tensors at all", arch, [])
    yield good("no metadata", [], [("w", "f32", [2, 3], 0, 24)])
    yield good("version 2 is laid out alike", arch, [("w", "f32", [3], 0, 12)], version=2)
    yield good("every type of value", arch + [list(row) for row in VALUES], [])
    yield good(
        "tensors in another order than their bytes, with a hole between",
        arch,
        [("b", "q4_0", [3, 64], 128, 108), ("a", "f32", [4], 0, 16), ("c", "q4_k", [2, 2, 256], 256, 576)],
    )
    yield good("a wider alignment", [*arch, ["general.alignment", "u32", 64]], [("w", "f32", [1], 64, 4)], alignment=64)
    yield good("a tensor of no dimension is one number", arch, [("w", "f32", [], 0, 4)])
    yield good("four dimensions", arch, [("w", "f32", [2, 3, 4, 5], 0, 480)])
    yield good("a name of 64 bytes", arch, [("é" * 32, "f32", [1], 0, 4)])


def good(why, metadata, tensors, version=3, alignment=32):
    numbers = {"f32": F32, "q4_0": Q4_0, "q4_k": Q4_K}
    raw = header(
        [pair(*row) for row in metadata],
        [tensor(name, shape[::-1], numbers[kind], offset) for name, kind, shape, offset, _ in tensors],
        version=version,
    )
    start = -(-len(raw) // alignment) * alignment
    found = {
        "version": version,
        "alignment": alignment,
        "length": len(raw),
        "dataOffset": start,
        "metadata": [[key, kind, truths(value, kind)] for key, kind, value in metadata],
        "tensors": [[name, kind, shape, start + offset, size] for name, kind, shape, offset, size in tensors],
    }
    end = max([start + offset + size for *_, offset, size in tensors], default=start)
    return {"why": why, "hex": raw.hex(), "size": end, "header": found}


def truths(value, kind):
    """The value as a reader gives it: 1 in the file is true there."""
    return [bool(v) for v in value] if kind == "[bool]" else bool(value) if kind == "bool" else value


def bad_rows():
    """(why, the file's bytes, its size if there is more of it, the error's code if not gguf_invalid)."""
    yield from bad_counts()
    yield from bad_metadata()
    yield from bad_tensors()


def bad_counts():
    yield "nothing", b""
    yield "half a magic", b"GG"
    yield "another magic", header([ARCH], magic=b"GGML")
    yield "an old version", header([ARCH], version=1)
    yield "a version to come", header([ARCH], version=4)
    yield "version 0", header([ARCH], version=0)
    yield "big-endian numbers", b"GGUF" + struct.pack(">IQQ", 3, 0, 0)
    yield "2^60 tensors", header([ARCH], tensor_count=1 << 60)
    yield "2^60 keys", header([], pair_count=1 << 60)
    yield "2^63 tensors, negative to a careless reader", header([], tensor_count=1 << 63)
    yield "10,001 tensors in a file of a gigabyte", header([], tensor_count=10_001), 1 << 30
    yield "10,001 keys in a file of a gigabyte", header([], pair_count=10_001), 1 << 30
    yield "a tensor more than there are", header([ARCH], [W], tensor_count=2)


def bad_metadata():
    count = struct.pack("<Q", 1 << 60)
    yield "a key of 2^40 bytes", header([struct.pack("<Q", 1 << 40) + b"k"])
    yield "a key of 2^40 bytes in a file of 2^41", header([struct.pack("<Q", 1 << 40) + b"k"]), 1 << 41
    yield "a value of 2^40 bytes in a file of 2^41", header([text("k") + struct.pack("<IQ", 8, 1 << 40)]), 1 << 41
    yield "a text of 2^64 - 1 bytes", header([text("k") + struct.pack("<IQ", 8, (1 << 64) - 1)])
    yield "an array of 2^60 texts", header([text("k") + struct.pack("<II", ARRAY, 8) + count])
    yield (
        "an array of 2^60 bytes in a file of 2^41",
        header([text("k") + struct.pack("<II", ARRAY, 0) + count]),
        1 << 41,
    )
    yield (
        "an array of 2^62 doubles, 0 bytes to a careless product",
        header([text("k") + struct.pack("<IIQ", ARRAY, 12, 1 << 61)]),
    )
    yield "an array of arrays", header([text("k") + struct.pack("<IIQ", ARRAY, ARRAY, 1) + struct.pack("<IQ", 0, 0)])
    yield "an array of an unknown type", header([text("k") + struct.pack("<IIQ", ARRAY, 13, 0)])
    yield "a value of an unknown type", header([text("k") + struct.pack("<I", 13)])
    yield "a truth of 2", header([text("k") + struct.pack("<IB", NUMBERS["bool"], 2)])
    yield "an array with a truth of 2", header([text("k") + struct.pack("<IIQ", ARRAY, 7, 2) + b"\1\2"])
    yield "a text that is not UTF-8", header([pair("k", "string", b"\xff\xfe")])
    yield "an array with a text that is not UTF-8", header([pair("k", "[string]", [b"ok", b"\xc3("])])
    yield "a key that is not UTF-8", header([pair(b"\xed\xa0\x80", "u8", 1)])
    yield "a key twice", header([ARCH, ARCH])
    yield "a key of 65,536 bytes", header([struct.pack("<Q", 65_536)]), 1 << 30
    yield "an alignment of 0", header([pair("general.alignment", "u32", 0)], [W])
    yield "an alignment of 48", header([pair("general.alignment", "u32", 48)], [W])
    yield "an alignment of 1", header([pair("general.alignment", "u32", 1)], [W])
    yield "an alignment that is a text", header([pair("general.alignment", "string", "32")], [W])


def bad_tensors():
    yield "a name of 65 bytes", padded(header([ARCH], [tensor("w" * 65, [4], F32, 0)]), 16)
    yield "five dimensions", padded(header([ARCH], [tensor("w", [1] * 5, F32, 0)]), 4)
    yield "2^32 - 1 dimensions", header([ARCH], [tensor("w", [1], F32, 0, (1 << 32) - 1)])
    yield "a side of 0", padded(header([ARCH], [tensor("w", [4, 0], F32, 0)]), 16)
    yield (
        "sides whose product is 2^64, 0 to a careless one",
        header([ARCH], [tensor("w", [1 << 32, 1 << 32], F32, 0)]),
        1 << 40,
    )
    yield "sides whose product is 2^256", header([ARCH], [tensor("w", [1 << 63] * 4, F32, 0)]), 1 << 40
    yield "half a block in a row", padded(header([ARCH], [tensor("w", [48], Q4_0, 0)]), 64)
    yield "a quantised tensor of no dimension", padded(header([ARCH], [tensor("w", [], Q4_0, 0)]), 64)
    yield "an offset past the end", padded(header([ARCH], [tensor("w", [4], F32, 1 << 20)]), 16)
    yield (
        "an offset of 2^64 - 32, past the end by going round",
        padded(header([ARCH], [tensor("w", [16], F32, (1 << 64) - 32)]), 64),
    )
    yield "a byte less than the tensor needs", padded(header([ARCH], [W]), 15)
    yield "an offset between alignments", padded(header([ARCH], [tensor("w", [1], F32, 4)]), 64)
    yield "two tensors in one place", padded(header([ARCH], [W, tensor("v", [4], F32, 0)]), 64)
    yield (
        "tensors that overlap in part",
        padded(header([ARCH], [tensor("w", [16], F32, 0), tensor("v", [16], F32, 32)]), 96),
    )
    yield "a tensor twice", padded(header([ARCH], [W, tensor("w", [4], F32, 32)]), 64)
    for gone in (4, 5, 31, 38, 1 << 31):
        yield (
            f"tensor type {gone}",
            padded(header([ARCH], [tensor("w", [32], gone, 0)]), 64),
            None,
            "tensor_type_unsupported",
        )


def bad(why, raw, size=None, code="gguf_invalid"):
    return {"why": why, "hex": raw.rstrip(b"\0").hex(), "size": size or len(raw), "code": code}


def main():
    rows = {"good": list(good_rows()), "bad": [bad(*row) for row in bad_rows()]}
    note = "GGUF headers and what a reader must say of them; made by tests/make_gguf_vectors.py. The file is `hex` and zeros up to `size`."
    parts = [
        f'"{name}": [\n' + ",\n".join(" " + json.dumps(row) for row in part) + "\n]" for name, part in rows.items()
    ]
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(f'{{"note": {json.dumps(note)},\n' + ",\n".join(parts) + "}\n")


if __name__ == "__main__":
    main()
