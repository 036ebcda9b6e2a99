"""The adapters that a page keeps: added, named, merged, exported. Needs NumPy. Pyodide; CPython in tests, with a played page.

Who lists them or loads one reads storage without Python: beside each adapter lies what an engine takes, beside each model its `base_id`.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from io import BytesIO

from ..errors import AdapterNotFound, InvalidOption, StorageError
from ..lora import document, gguf, peft
from ..lora.adapter import Adapter, for_base
from ..lora.bound import engine_bytes
from ..lora.merge import merge as merged
from ..lora.pool import Entry, Pool
from ..lora.reading import read_adapter
from ..lora.routing import Profile
from ..lora.signature import claim
from ..lora.strategies import MergeOptions
from .browser_lm import PageModel, open_model
from .browser_page import Page


async def opened(page: Page) -> Pool:
    """What is kept now: another tab may have changed it."""
    return await Pool(page.storage("library"), page).open()


async def saved(page: Page, id: str) -> Adapter:
    """Raises AdapterNotFound."""
    return await (await opened(page)).get(id)


async def noted(page: Page, folder: str, name: str, data: bytes) -> None:
    """Keep what can be made again at any time: storage that is full is in nobody's way."""
    with suppress(StorageError):
        await page.storage(folder).put(name, data)


async def remember(page: Page, model: Mapping, found: PageModel) -> None:
    """Note which base a model of the page is."""
    await noted(page, "bases", model["key"], found.base.encode())


async def _model(page: Page, model: Mapping) -> PageModel:
    found = await open_model(page, model["filenames"])
    await remember(page, model, found)
    return found


async def _kept(page: Page, adapter: Adapter, header, name: str | None, metrics: Mapping | None, profile=None) -> dict:
    key = await _signed_by(page, adapter)
    adapter = for_base(adapter.renamed(name) if name else adapter, header)
    key = key if adapter.signature else None  # it was not over this base
    entry: Entry = await (await opened(page)).add(adapter, metrics, profile and Profile.from_data(profile), key)
    await noted(page, "ready", entry.id, engine_bytes(adapter, header))
    return {"id": entry.id}


async def _signed_by(page: Page, adapter: Adapter) -> str | None:
    """The site's key that vouches for it. None: nobody does, or a key that the site does not know, which says no more.

    Raises SignatureInvalid, KeyRevoked, KeyIncapable, KeyExpired or KeyNotYetValid.
    """
    claimed = claim(adapter)
    return (await page.asked("trust.signed", **claimed))["keyId"] or None if claimed else None


# --- kinds: page, what the page tells of the model, and arguments
async def base(page: Page, model: dict) -> dict:
    """Which base the model is, for who lists adapters."""
    return {"base": (await _model(page, model)).base}


async def keep(page: Page, model: dict, packed, name=None, metrics=None, profile=None) -> dict:
    """One that Python packed. `profile`: JSON data of a `lora.routing.Profile`."""
    found = await _model(page, model)
    return await _kept(page, peft.unpacked(bytes(packed), name or "adapter"), found.header, name, metrics, profile)


async def import_(page: Page, model: dict, files: Mapping, name=None, metrics=None, profile=None) -> dict:
    """Files of any format. Raises what is wrong with a signature, as the site judges it."""
    found = await _model(page, model)
    adapter = read_adapter({path: bytes(data) for path, data in files.items()}, found.header)
    return await _kept(page, adapter, found.header, name, metrics, profile)


async def rename(page: Page, model: dict, id: str, name: str) -> dict:
    return {"id": (await (await opened(page)).rename(id, name)).id}


async def describe(page: Page, model: dict, id: str, profile=None) -> dict:
    """What it was trained on, in place of what was known of that; None: nothing is known. Raises InvalidAdapter for no profile."""
    made = profile and Profile.from_data(profile)
    return {"id": (await (await opened(page)).redescribe(id, made)).id}


async def remove(page: Page, model: dict, id: str) -> None:
    pool = await opened(page)
    entry = pool.find(id)
    for folder in ("ready", "pinned"):  # first: who is stopped in between has lost nothing, and left nothing
        await page.storage(folder).delete(entry.id)
    await pool.remove(entry.id)


async def ready(page: Page, model: dict, id: str) -> dict:
    """As the engine takes it."""
    adapter = await saved(page, id)
    data = engine_bytes(adapter, (await _model(page, model)).header)
    await noted(page, "ready", id, data)
    return {"name": adapter.name, "binary": {"bytes": data}}


async def export(page: Page, model: dict, id: str, format: str = "peft") -> dict:
    """A file: {"name", "type", "bytes"}. Raises InvalidOption for another format."""
    if not isinstance(format, str) or format not in FORMATS:
        raise InvalidOption(f"There is no format {format!r:.40}. Formats: {', '.join(FORMATS)}.", option="format")
    end, kind, write = FORMATS[format]
    pool = await opened(page)
    entry, adapter = pool.find(id), await pool.get(id)
    header = (await _model(page, model)).header if format == "gguf" else None
    return {"name": stem(adapter.name) + end, "type": kind, "binary": {"bytes": write(adapter, entry, header)}}


def stem(name: str) -> str:
    """A file's name of an adapter's or a model's, less its end."""
    return "".join(c if c.isalnum() or c in "-_. " else "_" for c in name).strip(". ") or "adapter"


def _zipped(adapter: Adapter, entry: Entry, header) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # factors do not shrink
        for name, data in peft.write(adapter).items():
            archive.writestr(name, data)
    return file.getvalue()


async def merge(page: Page, model: dict, ids: list, options=None, name=None) -> dict:
    """Several kept ones made into one, which is kept beside them. Raises as `lora.merge.merge`; ends between two modules when stopped."""
    pool = await opened(page)
    if len(ids) < 2:
        raise AdapterNotFound("To merge takes two adapters or more. Choose another one too.")
    found = await _model(page, model)
    made, report = await merged(
        [await pool.get(id) for id in ids],
        MergeOptions.from_data(options or {}),
        name=name or "",
        show=partial(page.progress, "merge"),
    )
    return await _kept(page, made, found.header, None, {"merge": report})


# format -> end of the file's name, its type, who writes it
FORMATS = {
    "peft": (".zip", "application/zip", _zipped),
    "json": (
        ".json",
        "application/json",
        lambda adapter, entry, header: document.exported(adapter, entry.created, entry.metrics),
    ),
    "gguf": (".gguf", "application/octet-stream", lambda adapter, entry, header: b"".join(gguf.write(adapter, header))),
}
KINDS = {f.__name__.strip("_"): f for f in (base, import_, rename, describe, remove, ready, export, merge)}
