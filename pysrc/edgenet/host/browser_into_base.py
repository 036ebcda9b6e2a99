"""Kept adapters merged into the page's model: a GGUF file, which the page writes piece by piece. Needs NumPy. Pyodide; CPython in tests.

Neither the model nor the new file is ever here: weights are read from the language worker's files by tiles, what was made of them goes on
to the page's disk. A file that is not finished is removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..errors import AdapterNotFound
from ..lora.into_base import merged_into_base
from ..lora.merge import Merged, merge_whole
from ..lora.strategies import MergeOptions
from .browser_library import opened, remember, stem
from .browser_lm import PageModel, open_model, tokenized
from .browser_page import Page
from .browser_train import evaluated

PIECE = 4 << 20  # bytes that go to the page at once, about


class _File:
    """What the page writes on disk, from its beginning to its end."""

    def __init__(self, page: Page, name: str):
        self._page, self._name, self._held, self._size = page, name, [], 0

    async def begin(self, size: int) -> None:
        """Raises QuotaExceeded where there is no room for it, StorageUnavailable, StorageError."""
        await self._page.asked("made.begin", name=self._name, bytes=size)

    async def write(self, piece: bytes) -> None:
        self._held.append(piece)
        self._size += len(piece)
        if self._size >= PIECE:
            await self._flush()

    async def end(self) -> None:
        """It is whole, and on disk."""
        await self._flush()
        await self._page.asked("made.end")

    async def drop(self) -> None:
        """There shall be none."""
        await self._page.asked("made.drop")

    async def _flush(self) -> None:
        data, self._held, self._size = b"".join(self._held), [], 0
        await self._page.asked("made.write", data=data)


async def into_base(
    page: Page, model: dict, ids: Sequence[str], made: str, options=None, name="", type="", data=None
) -> dict:
    """The base with adapters in it, in the page's file `made`. Several are merged first, at a rank that leaves nothing out.

    `type`: what changed matrices become; "": each its own. `data`: texts on which the model is evaluated as it is and with the adapter.
    Returns {"file": its name for people, "merge", "into": reports of `merge` and `merged_into_base`, "evaluation": two or None}.
    Raises as those two, and QuotaExceeded. Ends between two pieces when stopped, and leaves nothing.
    """
    if not ids:
        raise AdapterNotFound("Nothing was chosen that could be merged into the model. Choose an adapter.")
    found = await open_model(page, model["filenames"])
    await remember(page, model, found)
    merged = await _merged(page, ids, options, name)
    evaluation = await _evaluated(page, found, merged, data) if data is not None else None
    report = await _written(page, found, merged, made, type)
    base = found.header.get("general.name", str, found.header.architecture)
    return {
        "file": stem(f"{base}-{merged.adapter.name}") + ".gguf",
        "merge": merged.report,
        "into": report,
        "evaluation": evaluation,
    }


async def _merged(page: Page, ids: Sequence[str], options, name: str) -> Merged:
    pool = await opened(page)
    adapters = [await pool.get(id) for id in ids]
    return await merge_whole(
        adapters, MergeOptions.from_data(options or {}), name=name, show=partial(page.progress, "merge")
    )


async def _evaluated(page: Page, found: PageModel, merged: Merged, data) -> list[dict]:
    tokens = await tokenized(page, data, {**found.generation, "eos": []})  # only what is in the texts counts
    return await evaluated(page, found, tokens, [None, merged.adapter])


async def _written(page: Page, found: PageModel, merged: Merged, made: str, kind: str) -> dict:
    file, read, show = _File(page, made), partial(found.read, page), partial(page.progress, "write")
    try:
        report = await merged_into_base(
            found.header, read, merged.adapter, file.write, type_name=kind, begin=file.begin, show=show
        )
        await file.end()
    except BaseException:
        await file.drop()
        raise
    return report


KINDS = {"into": into_base}
