"""Where a Program, its weights and what is added beside it lie in an engine's memory. Runs anywhere. Twin of `web/engine/lm/memory.js`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import EdgeNetError, ModelTooLarge
from ..formats.gguf_info import MEMORY_LIMIT as LIMIT
from ..graph import Program
from ..kernels.lm import layouts
from ..kernels.lm.interpreter import CONTROL_BYTES, align
from ..run.beside import state_bytes
from ..run.heap import Heap

STAGING = 1 << 20  # bytes of a weight repacked at once


@dataclass(frozen=True)
class Places:
    """Where everything of the loaded Program lies: planned once, before anything is written."""

    control: int
    program: int
    regions: dict[str, int]
    weights: tuple[int, ...]
    layouts: tuple[layouts.Layout, ...]
    staging: int  # over arena, cache and state, which are empty while weights come
    end: int


def code_bytes(program: Program) -> int:
    """Bytes of its records and their header, at most."""
    return 4 * (2 + sum(3 + 2 * len(i.arguments) for i in program.code))


def plan_memory(program: Program, base: int) -> Places:
    """Lay a Program out above `base`. Raises ModelTooLarge, with the numbers."""
    end = align(base)

    def place(size: int) -> int:
        nonlocal end
        at, end = end, align(end + size)
        return at

    forms = tuple(layouts.kept(w.type, w.shape) for w in program.weights)
    control, code = place(CONTROL_BYTES), place(code_bytes(program))
    constants = place(program.regions["constants"])
    weights = tuple(place(layouts.kept_bytes(w.type, w.shape)) for w in program.weights)
    staging = end
    regions = {"constants": constants}
    regions |= {name: place(program.regions.get(name, 0)) for name in ("arena", "kv", "state")}
    groups = (f.rows * (w.bytes // (1, *w.shape)[-2]) for w, f in zip(program.weights, forms, strict=True))
    end = max(end, staging + max(STAGING, *groups, 0))
    if end > LIMIT:
        raise ModelTooLarge(
            f"{program.name} needs {end} bytes of engine memory, of which {program.regions['kv']} are the cache for a context of "
            f"{program.capacity.context}; WebAssembly has {LIMIT}. Take a smaller quantization, or a smaller context.",
            needed=end,
            limit=LIMIT,
        )
    return Places(control, code, regions, weights, forms, staging, end)


@dataclass(frozen=True)
class Added:
    """Where an added Program lies: its records, which begin its block, and its regions; without a state, that is at 0."""

    code: int
    regions: dict[str, int]


def place_beside(programs: Mapping[str, Program], heap: Heap, kv: int, grow: Callable[[int], None]) -> dict[str, Added]:
    """Blocks for Programs added together: one for each, one for the state they share, in a memory that `grow` has made long enough.

    Raises ModelTooLarge, and what `grow` raises; then nothing is taken.
    """
    size = state_bytes(programs.values())
    state = heap.take(size) if size else 0
    found = {name: _added(program, heap, kv, state) for name, program in programs.items()}
    try:
        _require_fit(programs, heap.end)
        grow(heap.end)
    except EdgeNetError:
        for block in (*(a.code for a in found.values()), *([state] if size else [])):
            heap.give(block)
        raise
    return found


def _require_fit(programs: Mapping[str, Program], needed: int) -> None:
    if needed > LIMIT:
        raise ModelTooLarge(
            f"{', '.join(programs)} need {needed} bytes of engine memory beside the model; WebAssembly has {LIMIT}."
            " Take fewer rows, a smaller rank, or a smaller quantization.",
            needed=needed,
            limit=LIMIT,
        )


def _added(program: Program, heap: Heap, kv: int, state: int) -> Added:
    constants = align(code_bytes(program))
    arena = constants + align(program.regions["constants"])
    at = heap.take(arena + program.regions["arena"])
    return Added(at, {"constants": at + constants, "arena": at + arena, "kv": kv, "state": state})
