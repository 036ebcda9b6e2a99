"""What Python asks of the page around it: the language worker, storage, events. Pyodide; CPython in tests, where the page is played.

Numbers and texts cross as JSON text, for JavaScript's null is no None; arrays and bytes cross as they are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import AbortError, EdgeNetError

Ask = Callable[[str, dict], Awaitable[Mapping]]


@dataclass(frozen=True)
class Page:
    """`ask(kind, args)` answers {"result": …} or {"error": JSON text of wire data}; `emit(JSON text)` tells whoever made this call.

    `line`: names the way to the language worker, which is another after the model was loaded again. `stopped()`: whether whoever made
    this call wants it no more.
    """

    ask: Ask
    emit: Callable[[str], None]
    line: str = ""
    stopped: Callable[[], bool] = lambda: False

    async def asked(self, kind: str, **args: Any) -> Any:
        """The answer. Raises the error that was answered, as its class."""
        answer = await self.ask(kind, args)
        if error := answer.get("error"):
            raise EdgeNetError.from_data(json.loads(error))
        return answer.get("result")

    def say(self, event: Mapping) -> None:
        """Tell an event, JSON data."""
        self.emit(json.dumps(event))

    def progress(self, phase: str, done: int, total: int, what: str = "") -> None:
        """Tell how far it is, and with what. Raises AbortError once nobody waits for it any more: long work ends where it tells this."""
        if self.stopped():
            raise AbortError("It was stopped.")
        share = 100 * done / total if total else 0
        self.say(
            {"status": "progress", "phase": phase, "file": what, "loaded": done, "total": total, "progress": share}
        )

    def storage(self, folder: str) -> PageStorage:
        """A part of what this origin keeps."""
        return PageStorage(self, folder + "/")

    def now(self) -> float:
        """As `host.base.Clock`."""
        return time.time()


@dataclass(frozen=True)
class PageStorage:
    """`host.base.Storage` over the page's IndexedDB: a write is one transaction, on disk when it is told of. Raises StorageError."""

    page: Page
    folder: str

    async def list(self) -> list[str]:
        keys = await self.page.asked("store.list", prefix=self.folder)
        return sorted(key.removeprefix(self.folder) for key in keys)

    async def get(self, name: str) -> bytes | None:
        data = await self.page.asked("store.get", key=self.folder + name)
        return None if data is None else bytes(data)

    async def put(self, name: str, data: bytes) -> None:
        await self.page.asked("store.put", key=self.folder + name, data=data)

    async def delete(self, name: str) -> None:
        await self.page.asked("store.delete", key=self.folder + name)
