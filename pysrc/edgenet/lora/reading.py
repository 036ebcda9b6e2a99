"""An adapter out of a person's files, whatever their format: PEFT's folder, a zip, GGUF, `LoRAAdapter` JSON. Needs NumPy; runs anywhere."""

import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import PurePosixPath

from ..errors import InvalidAdapter
from ..formats.gguf import Header
from . import document, gguf, peft
from .adapter import Adapter

MAX_BYTES = 1 << 30  # of the files in a zip, unpacked
_DAMAGED = (  # what `zipfile` raises of a zip that is
    zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, OSError, EOFError, ValueError,
)  # fmt: skip
Warn = Callable[[str], None]


def read_adapter(
    files: Mapping[str, bytes], header: Header | None, what: str | None = None, warn: Warn = warnings.warn
) -> Adapter:
    """The adapter in `files` (bytes by path) for the model of a GGUF header, which only one in GGUF needs. `what`: its name where the
    files tell none; `warn` is told what of a config is left out.

    Raises InvalidAdapter for files that are none, and what the reader of their format raises.
    """
    path = next(iter(files), "")
    what = what or _stem(path)
    if len(files) == 1 and PurePosixPath(path).name != peft.CONFIG:
        data = files[path]
        for start, read in _FORMATS.items():
            if data[:64].lstrip().startswith(start):
                return read(data, header, what, warn)
    return peft.read(_folder(files, what), what, warn)


def _folder(files: Mapping[str, bytes], what: str) -> dict[str, bytes]:
    """PEFT's files of the outermost folder that has them: below it a training left those of its checkpoints."""
    folders: dict[PurePosixPath, dict[str, bytes]] = {}
    for path, data in files.items():
        place = PurePosixPath(path)
        folders.setdefault(place.parent, {})[place.name] = data
    found = [place for place, held in folders.items() if peft.CONFIG in held]
    outer = [place for place in found if len(place.parts) == min(len(other.parts) for other in found)]
    if len(outer) == 1:
        return folders[outer[0]]
    if outer:
        raise InvalidAdapter(
            f"{what} holds several adapters: {', '.join(sorted(map(str, outer))[:5])}. Give one of them."
        )
    names = sorted({name for held in folders.values() for name in held})
    raise InvalidAdapter(
        f"{what} is no adapter: found {', '.join(names[:5]) or 'no file'}. Give the folder that PEFT wrote ({peft.CONFIG} and "
        f"{peft.WEIGHTS}), a zip of it, a GGUF adapter, or EdgeNet's JSON."
    )


def _stem(path: str) -> str:
    """What to call what came out of a file."""
    name = path.rstrip("/").rpartition("/")[2]
    return name.rpartition(".")[0] or name or "adapter"


def _zip(data: bytes, header: Header | None, what: str, warn: Warn) -> Adapter:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = [i for i in archive.infolist() if i.filename.rpartition("/")[2] in (peft.CONFIG, peft.WEIGHTS)]
            if (size := sum(i.file_size for i in infos)) > MAX_BYTES:
                raise InvalidAdapter(
                    f"{what} would unpack to {size} bytes; {MAX_BYTES} is the most. Give the folder instead."
                )
            files = {i.filename: archive.read(i) for i in infos}
    except _DAMAGED as error:
        raise InvalidAdapter(f"{what} is a damaged zip ({error}). Get it again.") from error
    return peft.read(_folder(files, what), what, warn)


# How a file begins, white space aside -> who reads it.
_FORMATS = {
    b"GGUF": lambda data, header, what, warn: gguf.read(data, header, what),
    b"PK\x03\x04": _zip,
    b"{": lambda data, header, what, warn: document.read(data, what),
}
