"""Trainings and kept adapters behind messages: the one door of the Python worker to both. Pyodide; CPython in tests."""

import json

from ..errors import EdgeNetError, UnknownKind
from . import browser_into_base, browser_library, browser_train
from .browser_page import Page

__all__ = ["answer"]
KINDS = {
    f"{desk}.{kind}": work
    for desk, kinds in (
        ("train", browser_train.KINDS),
        ("library", browser_library.KINDS | browser_into_base.KINDS),
    )
    for kind, work in kinds.items()
}


async def answer(kind, args, ask, emit, stopped=lambda: False):
    """One message's answer, {"json": text, and bytes by name}; errors are data.

    `args`: `line`, `json` (text: `model` {key, filenames, sha256} and the kind's arguments) and `binary`, bytes by argument. `ask`,
    `emit` and `stopped`: see `Page`.
    """
    try:
        if kind not in KINDS:
            raise UnknownKind(f'Nobody answers "{kind}"; there are {", ".join(KINDS)}.', kind=kind)
        page = Page(ask, emit, args["line"], stopped)
        found = await KINDS[kind](page, **json.loads(args["json"]), **(args.get("binary") or {}))
    except EdgeNetError as error:
        return {"error": error.to_data()}
    binary = found.pop("binary", {}) if found else {}
    return {"result": {"json": json.dumps(found), **binary}}
