"""Named bytes in a folder. Implements `base.Storage`. CPython."""

import re
from pathlib import Path

from ..errors import InvalidOption
from .files import named

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class FolderStorage:
    """`disk`: `host.files.Disk`, whose writes appear whole. The folder is made by the first write."""

    def __init__(self, folder, disk):
        self.folder, self._disk = Path(folder), disk

    async def list(self) -> list[str]:
        with named(self.folder, "read"):
            return sorted(path.name for path in self.folder.glob("*") if _NAME.fullmatch(path.name) and path.is_file())

    async def get(self, name: str) -> bytes | None:
        return self._disk.read(self._path(name))

    async def put(self, name: str, data: bytes) -> None:
        self._disk.write(self._path(name), data)

    async def delete(self, name: str) -> None:
        self._disk.remove(self._path(name))

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise InvalidOption(
                f"{name[:80]!r} cannot be a file's name here; use letters, digits and . _ -", name=name[:200]
            )
        return self.folder / name
