"""f32 arrays as a GGUF file: matrices in a type of one's choice, what is short or looked up by position in f32. Needs NumPy."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgenet.formats.blocks import quantize
from edgenet.formats.gguf_write import Tensor, pieces

FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7}  # general.file_type
PLAIN = ("position_embd", "token_types")  # tables too small to be worth less precision


def is_quantised(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a tensor takes the file's type: matrices that are multiplied, and the token embedding."""
    return len(shape) == 2 and not name.startswith(PLAIN)


def file_pieces(metadata: dict, arrays: dict[str, np.ndarray | Tensor], kind: str) -> Iterator[bytes]:
    """The file's bytes in order. `arrays`: f32, (out, in) or (width,), by GGUF's names, or tensors ready to write;
    `kind`: a key of FILE_TYPES.
    """
    written = metadata | {"general.file_type": FILE_TYPES[kind], "general.quantization_version": 2}
    return pieces(written, [_tensor(name, array, kind) for name, array in arrays.items()])


def write(path: Path, metadata: dict, arrays: dict[str, np.ndarray], kind: str) -> int:
    """Write the file, whole or not at all; its size in bytes."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        for piece in file_pieces(metadata, arrays, kind):
            file.write(piece)
    part.replace(path)
    return path.stat().st_size


def _tensor(name: str, array: np.ndarray | Tensor, kind: str) -> Tensor:
    if isinstance(array, Tensor):
        return array
    used = kind if is_quantised(name, array.shape) else "f32"
    values = np.ascontiguousarray(array, np.float32)
    return Tensor(name, used, values.shape, quantize(used, values.reshape(-1, values.shape[-1])))
