"""Models in several GGUF files (`name-00001-of-00003.gguf`): their names, and their headers as one. Opens nothing; runs anywhere.

Source: llama.cpp's `gguf-split`. The first part has the metadata; every part says `split.count`, `split.no` (from 0) and, of the whole,
`split.tensors.count`. Parts that do not say the same, or are not those that their names claim, are refused.
"""

import re
from collections.abc import Callable
from dataclasses import replace

from ..errors import InvalidGguf
from .gguf import Header, read_header

MAX_PARTS = 1000
_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL | re.ASCII)


def part_names(name: str) -> list[str]:
    """The names of all parts of the model that the file `name` belongs to, in order; just `name` where it names no part.

    Raises InvalidGguf for a part that cannot be (4 of 3, 0 of 2, more than MAX_PARTS).
    """
    match = _NAME.fullmatch(name)
    if not match:
        return [name]
    stem, number, count = match[1], int(match[2]), int(match[3])
    if not 1 <= number <= count <= MAX_PARTS:
        raise InvalidGguf(f"{name} names part {number} of {count}; at most {MAX_PARTS} parts make a model.")
    return [f"{stem}-{i:05}-of-{match[3]}.gguf" for i in range(1, count + 1)]


def read_parts(name: str, opened: Callable) -> Header:
    """The header of the whole model that the file `name` belongs to; `opened(name)` gives (read, size) as `read_header` wants them.

    A tensor's `part` is the position of its file in `part_names(name)`. Raises as `read_header` and `join` do.
    """
    names = part_names(name)
    return join([read_header(*opened(part), part) for part in names], names)


def join(headers: list[Header], names: list[str]) -> Header:
    """One header with the tensors of all parts, the first one's metadata, and `size` of all files together.

    Raises InvalidGguf if a part is missing, out of place, of another model, or holds a tensor that another one has.
    """
    tensors = {}
    for number, (header, name) in enumerate(zip(headers, names, strict=True)):
        says = (header.get("split.no", int, 0), header.get("split.count", int, 1))
        if says != (number, len(headers)):
            raise InvalidGguf(
                f"{name} says of itself that it is part {says[0] + 1} of {says[1]}; it should be part {number + 1} of "
                f"{len(headers)}. Give all parts, with the names they were published under.",
                part=number,
            )
        for tensor in header.tensors.values():
            if tensor.name in tensors:
                raise InvalidGguf(
                    f"{name} holds {tensor.name!r}, which another part has too. The parts do not belong together."
                )
            tensors[tensor.name] = replace(tensor, part=number)
    wanted = headers[0].get("split.tensors.count", int, len(tensors))
    if wanted != len(tensors):
        raise InvalidGguf(
            f"{names[0]} promises {wanted} tensors; its parts hold {len(tensors)}. They do not belong together."
        )
    return replace(headers[0], tensors=tensors, size=sum(header.size for header in headers))
