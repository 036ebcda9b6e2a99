"""Adapters of random factors, and the model that each makes when its delta is added to the weights: what the engine must say with it."""

from io import BytesIO

import numpy as np

from edgenet.formats.blocks import dequantize
from edgenet.formats.gguf import Header, read_header
from edgenet.lora import LoraConfig
from edgenet.lora.adapter import Adapter
from edgenet.lora.bound import bind
from edgenet.lora.names import places
from tools.gguf_file import file_pieces
from tools.oracles.small_models import uniform


def header_of(data: bytes) -> Header:
    file = BytesIO(data)
    return read_header(lambda at, length: (file.seek(at), file.read(length))[1], len(data))


def random_adapter(
    header: Header, name: str, rank: int = 4, modules=("q_proj", "v_proj", "down_proj"), size: float = 1.0
) -> Adapter:
    """Factors drawn from the adapter's name; `size` 1: large enough that the logits move."""
    config, tensors = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=modules), {}
    for module, parts in places(header).items():
        if module.endswith(tuple(f".{m}" for m in modules)):
            width, out = parts[0].width, sum(part.last - part.first for part in parts)
            a, b = uniform(f"{name} {module} A", (rank, width)), uniform(f"{name} {module} B", (out, rank))
            tensors[module] = a * np.float32(width**-0.5), b * np.float32(size * rank**-0.5)
    return Adapter(config, tensors, name=name)


def merged(data: bytes, *added: tuple[Adapter, float]) -> bytes:
    """A GGUF file, f32, with the file's own weights, expanded, and each adapter's delta times a scale."""
    header, tensors = header_of(data), {}
    for name, info in header.tensors.items():
        raw = data[info.offset : info.offset + info.bytes]
        tensors[name] = dequantize(info.type, raw, *(1, *info.shape)[-2:]).reshape(info.shape).copy()
    for adapter, scale in added:
        for site, a, b in bind(adapter, header):
            name, _, part = site.partition("[")
            first, _, last = part.rstrip("]").partition(":")
            tensors[f"{name}.weight"][slice(int(first or 0), int(last or len(b)))] += np.float32(scale) * (b @ a)
    return b"".join(file_pieces(header.metadata, tensors, "f32"))
