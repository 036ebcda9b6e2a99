"""Adapters in the page: what the Python worker answers about them. Needs NumPy; holds no state. Pyodide, and CPython in tests.

As in `browser_compile`, the page holds the model's files and Python asks for the ranges of them that it must see.
"""

from ..errors import EdgeNetError, UnknownKind
from ..formats.gguf_split import part_names, read_parts
from ..graph import Capacity
from ..lora.bound import engine_bytes
from ..lora.reading import read_adapter
from ..lora.signature import claim
from ..models import adapted as adapting
from ..models.compiled import read_values
from .browser_compile import Files, Wanted

__all__ = ["answer"]


def adapted(known, names, header, capacity):
    """{"document"}: what the engine needs to take adapters beside the Program of this `capacity`."""
    values = read_values(header, lambda part, offset, length: known.read(names[part], offset, length))
    return {"document": adapting.document(header, Capacity(**capacity), values)}


def bind(known, names, header, capacity, adapter):
    """{"bytes"}: the adapter of these files ({path: bytes}), as the engine takes it; `signed`: what judges its signature."""
    found = read_adapter({path: bytes(data) for path, data in adapter.items()}, header)
    vouched = claim(found)
    return {"bytes": engine_bytes(found, header)} | ({"signed": vouched} if vouched else {})


KINDS = {"adapted": adapted, "bind": bind}


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
