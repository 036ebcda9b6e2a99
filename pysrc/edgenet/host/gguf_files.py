"""GGUF models of this machine: the header of one file or of all parts of a split one, and ranges of their bytes. CPython only."""

from pathlib import Path

from ..errors import ModelNotFound
from ..formats.gguf import Header
from ..formats.gguf_split import part_names, read_parts
from .files import named


class GgufFiles:
    """`path` names the model, or its first part; the others lie beside it. Opens a file for each read and holds none.

    Raises ModelNotFound for a file that is not there, InvalidGguf for one that is not sound, StorageError when it cannot be read.
    """

    def __init__(self, path: str | Path):
        path = Path(path)
        self.paths = [path.with_name(name) for name in part_names(path.name)]
        self.header: Header = read_parts(self.paths[0].name, self._opened)

    def _opened(self, name: str):
        path = self.paths[0].with_name(name)
        if not path.is_file():
            raise ModelNotFound(
                f"There is no file {path}. Give the path of a GGUF model; all parts of a split one lie in one folder."
            )
        return lambda offset, length: _read(path, offset, length), path.stat().st_size

    def read(self, part: int, offset: int, length: int) -> bytes:
        """Bytes of the file number `part`."""
        return _read(self.paths[part], offset, length)


def _read(path: Path, offset: int, length: int) -> bytes:
    with named(path, "read"), open(path, "rb") as file:
        file.seek(offset)
        return file.read(length)
