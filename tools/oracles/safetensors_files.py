"""Files that the safetensors package writes, with the numbers torch holds, and unsound ones by hand: tests/vectors/safetensors.json.

python -m tools.oracles.safetensors_files     needs torch and safetensors beside this repository's own needs
"""

import base64
import json
import struct
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors.torch import save

TARGET = Path(__file__).parents[2] / "tests" / "vectors" / "safetensors.json"
_VALUES = torch.arange(-6, 6, dtype=torch.float32) / 3
_EDGES = torch.tensor([[0.0, -0.0, 65504.0, 6e-8, 1.5, -2.0]])

GOOD = [
    ("one matrix", {"a": _VALUES.reshape(3, 4)}, None),
    (
        "metadata and two tensors",
        {"blk.0.attn_q.lora_a": _VALUES[:4].reshape(2, 2), "b": _VALUES[:1]},
        {"format": "edgenet-adapter", "name": "Grüße 👋"},
    ),
    ("half precision, its edges", {"a": _EDGES.half()}, {"format": "pt"}),
    ("brain floats", {"a": _EDGES.bfloat16()}, None),
    ("three types side by side", {"x": _VALUES[:3].half(), "y": _VALUES[:5].bfloat16(), "z": _VALUES[:2]}, None),
    ("a scalar", {"a": torch.tensor(2.5)}, None),
    ("three sides", {"a": _VALUES.reshape(2, 3, 2)}, None),
    ("no tensors", {}, {"format": "pt"}),
]


def file(header, data: bytes = b"", length: int | None = None) -> bytes:
    """A file by hand; `header`: JSON data or raw bytes; `length`: what it claims its header has."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def entry(dtype="F32", shape=(2,), first=0, last=8) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [first, last]}


_EIGHT = struct.pack("<ff", 1, 2)
BAD = [
    ("nothing", b""),
    ("seven bytes", b"1234567"),
    ("a header longer than the file", file({}, length=100)),
    ("a header of 2^63 bytes", file({}, length=1 << 63)),
    ("a header beyond the bound", struct.pack("<Q", 5 << 20) + b" " * 16),
    ("no JSON", file(b"{a}")),
    ("JSON that is not UTF-8", file(b'{"\xff": 1}')),
    ("a list", file([])),
    ("nested without end", file(b'{"a":' + b"[" * 5000)),
    ("metadata that is no object", file({"__metadata__": "x"})),
    ("metadata that holds a number", file({"__metadata__": {"a": 1}})),
    ("a tensor that is no object", file({"a": 1})),
    ("a tensor without a type", file({"a": {"shape": [2], "data_offsets": [0, 8]}}, _EIGHT)),
    ("whole numbers", file({"a": entry("I32")}, _EIGHT)),
    ("a type that is none", file({"a": entry("F31")}, _EIGHT)),
    ("a type that is a list", file({"a": entry([])}, _EIGHT)),
    ("a negative side", file({"a": entry(shape=(-2,))}, _EIGHT)),
    ("a broken side", file({"a": entry(shape=(2.5,))}, _EIGHT)),
    ("nine sides", file({"a": entry(shape=(1,) * 8 + (2,))}, _EIGHT)),
    ("sides whose product wraps around", file({"a": entry(shape=(1 << 32, 1 << 32, 2))}, _EIGHT)),
    ("a side of zero", file({"a": entry(shape=(0,), last=0)})),
    ("offsets that run backwards", file({"a": entry(first=8, last=0)}, _EIGHT)),
    ("one offset", file({"a": entry() | {"data_offsets": [0]}}, _EIGHT)),
    ("fewer bytes than the shape takes", file({"a": entry(shape=(3,))}, _EIGHT)),
    ("more bytes than the shape takes", file({"a": entry(shape=(1,))}, _EIGHT)),
    ("offsets beyond the file", file({"a": entry(first=8, last=16)}, _EIGHT)),
    ("a hole before the first tensor", file({"a": entry(first=4, last=12)}, b"1234" + _EIGHT)),
    ("bytes shared by two tensors", file({"a": entry(), "b": entry()}, _EIGHT)),
    ("tensors that overlap", file({"a": entry(), "b": entry(first=4, last=12)}, _EIGHT + b"1234")),
    ("bytes after the last tensor", file({"a": entry()}, _EIGHT + b"\0")),
    ("cut in the last tensor", file({"a": entry()}, _EIGHT[:7])),
]
NOT_FINITE = [
    ("NaN", file({"a": entry()}, struct.pack("<ff", 1, float("nan")))),
    ("an infinity", file({"a": entry()}, struct.pack("<ff", float("-inf"), 1))),
    ("NaN in half precision", file({"a": entry("F16", (1,), 0, 2)}, struct.pack("<e", float("nan")))),
    ("an infinity in a brain float", file({"a": entry("BF16", (1,), 0, 2)}, b"\x80\x7f")),
]


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def good(why: str, tensors: dict, metadata: dict | None) -> dict:
    told = {
        name: [list(t.shape), text(t.float().contiguous().numpy().astype("<f4").tobytes())]
        for name, t in tensors.items()
    }
    return {
        "why": why,
        "file": text(save({name: t.clone() for name, t in tensors.items()}, metadata)),
        "tensors": told,
        "metadata": metadata or {},
    }


def main() -> None:
    rows = [good(*row) for row in GOOD]
    bad = [{"why": why, "file": text(data), "code": "adapter_invalid"} for why, data in BAD]
    bad += [{"why": why, "file": text(data), "code": "not_finite"} for why, data in NOT_FINITE]
    oracle = {package: version(package) for package in ("safetensors", "torch")}
    TARGET.write_text(json.dumps({"oracle": oracle, "good": rows, "bad": bad}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
