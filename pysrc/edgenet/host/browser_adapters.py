"""Adapters in the page: what the Python worker answers about them. Needs NumPy; holds no state. Pyodide, and CPython in tests.

As in `browser_compile`, the page holds the model's files and Python asks for the ranges of them that it must see.
"""

from ..errors import EdgeNetError, UnknownKind
from ..formats.gguf_split import part_names, read_parts
from ..graph import Capacity
from ..lora import merge as merging
from ..lora import peft
from ..lora.adapter import require_base
from ..lora.bound import engine_bytes
from ..lora.reading import read_adapter
from ..lora.strategies import MergeOptions
from ..models import adapted as adapting
from ..models.compiled import read_values
from .browser_compile import Files, Wanted

__all__ = ["answer"]


def adapted(known, names, header, capacity):
    """{"document"}: what the engine needs to take adapters beside the Program of this `capacity`."""
    values = read_values(header, lambda part, offset, length: known.read(names[part], offset, length))
    return {"document": adapting.document(header, Capacity(**capacity), values)}


def bind(known, names, header, capacity, adapter):
    """{"bytes"}: the adapter of these files ({path: bytes}), as the engine takes it."""
    return {"bytes": engine_bytes(read_adapter({path: bytes(data) for path, data in adapter.items()}, header), header)}


def merge(known, names, header, capacity, adapters, options=None, name=""):
    """{"files", "bytes", "report"}: several adapters (of each {path: bytes}) made into one, as PEFT's folder and as the engine takes it.

    `options`: JSON data for `MergeOptions`. Raises AdapterMismatch for one of another base, and what `lora.merge.merge` raises.
    """
    found = [read_adapter({path: bytes(data) for path, data in files.items()}, header) for files in adapters]
    for adapter in found:
        require_base(adapter, header)
    made, report = _finished(merging.merge(found, MergeOptions.from_data(options or {}), name=name))
    return {"files": peft.write(made), "bytes": engine_bytes(made, header), "report": report}


def _finished(steps):
    """What a coroutine returns that only steps aside for others: here nobody else is to run meanwhile."""
    try:
        while True:
            steps.send(None)
    except StopIteration as end:
        return end.value


KINDS = {"adapted": adapted, "bind": bind, "merge": merge}


def answer(kind, args):
    """One message's answer, or {"wanted": [file, offset, length]} of the model; errors are data.

    Every kind takes the model's `files` [[name, size], …], the `ranges` of them sent so far, and the `capacity` of its Program.
    """
    try:
        if kind not in KINDS:
            raise UnknownKind(f'Nobody answers "{kind}" about adapters; there are {", ".join(KINDS)}.', kind=kind)
        return {"result": _asked(KINDS[kind], **args)}
    except Wanted as wanted:
        return {"result": {"wanted": list(wanted.args)}}
    except EdgeNetError as error:
        return {"error": error.to_data()}


def _asked(work, files, ranges, **more):
    known, names = Files(files, ranges), part_names(files[0][0])
    return work(known, names, read_parts(names[0], known.open), **more)
