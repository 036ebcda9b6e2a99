"""A GGUF header made into what runs: Program, tokenizer, generation settings, and the memory they ask for. Runs anywhere; imports no NumPy.

Beside the header only the numbers of a few short tensors are needed (`values_needed`, `read_values`); no weight is read.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from ..errors import InvalidOption, NotSupported, WrongTensorShape
from ..formats.gguf_info import CONTEXT, PAGE, is_encoder
from ..graph import Capacity, Program, compile
from ..graph.fusion import HEAD_STEP
from ..graph.ranges import range_of
from ..kernels.lm import layouts
from ..kernels.lm.table import KV_NAMES, MAX_HEAD_DIM
from ..text.generation import generation_json
from ..text.gguf_tokenizer import tokenizer_json
from . import config
from .table import build, values_needed

MOST_VALUES = 4 * MAX_HEAD_DIM // 2  # bytes: a factor for each pair of a head's values
ENCODER_ROWS, ENCODER_TEXTS = 512, 32


@dataclass(frozen=True)
class Compiled:
    """`tokenizer` and `generation`: the JSON data of tokenizer.json and generation.json. `memory`: bytes by use, with their `total`."""

    program: Program
    tokenizer: dict
    generation: dict
    memory: dict[str, int]


def compile_gguf(
    header, capacity: Capacity | None = None, values: Mapping[str, Sequence[float]] | None = None
) -> Compiled:
    """The Program of a GGUF header for `capacity` (default: `default_capacity`), and what goes beside it.

    `values`: the numbers of `values_needed(header)`. Raises what `build`, `graph.compile` and `tokenizer_json` raise; InvalidOption
    for a context longer than the model was made for; ProgramTooLarge when all of it does not fit in 4 GiB.
    """
    capacity = capacity or default_capacity(header)
    made = config.read(header)
    _judge_context(made, capacity.context)
    _judge_head(made.head, capacity.kv)
    graph = build(header, values, capacity.context)
    program = compile(graph, capacity, lambda name: locate(header, name))
    parameters = sum(prod(t.shape) for t in header.tensors.values())
    return Compiled(
        program, tokenizer_json(header.metadata), generation_json(header.metadata, parameters), memory(program)
    )


def default_capacity(header, context: int = 0, kv: str = "f32") -> Capacity:
    """Room for four conversations of up to `context` tokens (default 2048, or what the model was made for); for encoders, runs of
    32 texts and 512 tokens (or what one text may have). Raises InvalidOption for a context or a `kv` that cannot be.
    """
    if kv not in KV_NAMES:
        raise InvalidOption(f"Keys and values can be kept as {', '.join(KV_NAMES)}; found {kv!r}.", option="kv")
    made = config.read(header)
    _judge_context(made, context)
    length = (context or min(CONTEXT, made.context)) // PAGE * PAGE or PAGE
    if is_encoder(made.architecture):
        rows = min(ENCODER_ROWS, length)
        return Capacity(
            rows=rows, wanted=1, sequences=min(ENCODER_TEXTS, rows), context=length, page=PAGE, sample=False
        )
    return Capacity(context=length, page=PAGE, kv=kv)


def _judge_context(made: config.Config, asked: int) -> None:
    if made.context < PAGE:
        raise NotSupported(f"The model's context of {made.context} tokens is shorter than one page of {PAGE}.")
    if asked > made.context:
        raise InvalidOption(f"A context of {asked} tokens was asked for; the model was made for {made.context}.")


def _judge_head(width: int, kv: str) -> None:
    step = HEAD_STEP[kv]
    if width % step or width > MAX_HEAD_DIM:
        raise NotSupported(
            f"The model's attention heads are {width} values wide; with keys and values in {kv} the engine takes multiples of {step}"
            f" up to {MAX_HEAD_DIM}."
        )


def locate(header, name: str) -> tuple[str, int]:
    """(artifact, byte offset in it) of a weight: a tensor of the file, or `tensor[first:last]`, some of its rows.

    The files of a split model are the artifacts "model", "model-2", "model-3" …
    """
    whole, first, _ = range_of(name) or (name, 0, 0)
    tensor = header.tensors[whole]
    return artifact(tensor.part), tensor.offset + first * (tensor.bytes // tensor.shape[0])


def artifact(part: int) -> str:
    """The artifact's name of a model's file number `part`."""
    return f"model-{part + 1}" if part else "model"


def part_of(artifact: str) -> int:
    """The number of the file that an artifact is: the way back from `artifact`."""
    return int(artifact.partition("-")[2] or 1) - 1


def memory(program: Program) -> dict[str, int]:
    """Bytes an engine needs to hold: {"weights", "kv", "arena", "constants", "total"}, weights in the engine's layouts."""
    weights = sum(layouts.kept_bytes(w.type, w.shape) for w in program.weights)
    parts = {"weights": weights, **{k: program.regions[k] for k in ("kv", "arena", "constants")}}
    return parts | {"total": sum(parts.values())}


def read_values(header, read) -> dict[str, list[float]]:
    """The numbers of `values_needed(header)`; `read(part, offset, length)` gives bytes of the files.

    Raises NotSupported when a file keeps them in another type than f32, WrongTensorShape when there are more than any head could use.
    """
    found = {}
    for name in values_needed(header):
        tensor = header.tensors[name]
        if tensor.type != "f32":
            raise NotSupported(f"{name} is {tensor.type}; rope factors are read as f32. Convert the model again.")
        if tensor.bytes > MOST_VALUES:
            raise WrongTensorShape(
                f"{name} has {tensor.bytes} bytes; the factors of the widest head have {MOST_VALUES}. The file is damaged.",
                tensor=name,
            )
        found[name] = list(struct.unpack(f"<{tensor.bytes // 4}f", read(tensor.part, tensor.offset, tensor.bytes)))
    return found
