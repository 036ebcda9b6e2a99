"""What holds of Programs that are added to an engine beside the one it was loaded with: they read its weights, use its cache if any, and
share one state. Judged before anything of theirs is placed. Runs anywhere; imports no NumPy. Twin of `web/engine/lm/beside.js`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ..errors import InvalidOption, ProgramMismatch
from ..graph.program import Buffer, Program, Weight
from ..graph.ranges import range_of
from ..kernels.lm import layouts


class Slice(NamedTuple):
    """Where an added Program's weight lies: which of the loaded ones, and how many bytes into it, as the engine keeps it."""

    index: int
    offset: int


def judge_beside(programs: Mapping[str, Program], loaded: Program, taken: Collection) -> dict[str, list[Slice]]:
    """Where the weights of each Program lie. Raises InvalidProgram or one of its kinds; ProgramMismatch for weights, a cache or a state
    that do not agree; InvalidOption for a name that is taken.
    """
    for name, program in programs.items():
        if name in taken or not isinstance(name, str) or not name:
            raise InvalidOption(
                f"A Program cannot be added as {name!r}: the name is taken, or no text. Drop that one first."
            )
        program.validate()
        _judge_cache(name, program, loaded)
    _judge_states(programs)
    return {name: [_slice(name, w, loaded.weights) for w in program.weights] for name, program in programs.items()}


def state_bytes(programs: Iterable[Program]) -> int:
    """Bytes of the one state of Programs that are added together."""
    return max((p.regions.get("state", 0) for p in programs), default=0)


def _refuse(name: str, part: str, what: str) -> None:
    raise ProgramMismatch(f"The Program {name!r} cannot run beside the loaded one: {what}.", program=name, part=part)


def _judge_cache(name: str, program: Program, loaded: Program) -> None:
    own = program.regions["kv"], program.caches()
    if own[0] and own != (loaded.regions["kv"], loaded.caches()):
        found = f"its cache has {own[0]} bytes, the loaded one's {loaded.regions['kv']}, or other pages"
        _refuse(name, "cache", f"{found}; compile both with the same capacity")


def _judge_states(programs: Mapping[str, Program]) -> None:
    """A buffer of one name has one place in all of them."""
    seen: dict[str, Buffer] = {}
    for name, program in programs.items():
        for buffer in program.buffers:
            if buffer.region == "state" and seen.setdefault(buffer.name, buffer) != buffer:
                found = f"the state {buffer.name!r} lies elsewhere than in another Program added with it"
                _refuse(name, "state", f"{found}; compile them with the same states in the same order")


def _slice(name: str, weight: Weight, loaded: Iterable[Weight]) -> Slice:
    tensor, first, last = _rows(weight)
    for index, whole in enumerate(loaded):
        base, start, end = _rows(whole)
        if base != tensor or whole.type != weight.type or whole.shape[1:] != weight.shape[1:]:
            continue
        if (start, end) == (first, last):
            return Slice(index, 0)
        if not start <= first <= last <= end:
            continue
        if len(weight.shape) == 1:  # kept as f32
            return Slice(index, 4 * (first - start))
        form = layouts.layout_of(weight.type)
        at, rest = divmod(first - start, form.rows)
        whole_groups = not rest and (last == end or (last - first) % form.rows == 0)
        if whole_groups:
            return Slice(index, layouts.bytes(form.name, at * form.rows, weight.shape[1]))
    wanted = f"{weight.name} ({weight.type}, {list(weight.shape)})"
    _refuse(
        name, "weights", f"it reads {wanted}, which is no weight of the loaded Program nor whole groups of rows of one"
    )


def _rows(weight: Weight) -> tuple[str, int, int]:
    """(tensor, first row, row behind the last); the name of a range says them."""
    found = range_of(weight.name)
    return found if found and found[2] - found[1] == weight.shape[0] else (weight.name, 0, weight.shape[0])
