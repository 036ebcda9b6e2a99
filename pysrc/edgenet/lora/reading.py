"""An adapter out of a person's files, whatever their format: PEFT's folder, a zip, GGUF, `LoRAAdapter` JSON. Needs NumPy; runs anywhere."""

import zipfile
from collections.abc import Mapping
from io import BytesIO

from ..errors import InvalidAdapter
from ..formats.gguf import Header
from . import document, gguf, peft
from .adapter import Adapter

MAX_BYTES = 1 << 30  # of a file in a zip, unpacked


def read_adapter(files: Mapping[str, bytes], header: Header, what: str | None = None) -> Adapter:
    """The adapter in `files` (bytes by path) for the model of a GGUF header. `what`: its name where the files tell none.

    Raises InvalidAdapter for files that are none, and what the reader of their format raises.
    """
    what = what or _stem(next(iter(files), ""))
    if len(files) == 1:
        data = next(iter(files.values()))
        for start, read in _FORMATS.items():
            if data[:64].lstrip().startswith(start):
                return read(data, header, what)
    folder = {path.rpartition("/")[2]: path for path in files}
    if peft.CONFIG not in folder:
        raise InvalidAdapter(
            f"{what} is no adapter: found {', '.join(sorted(folder)[:5]) or 'no file'}. Give the folder that PEFT wrote ({peft.CONFIG} and "
            f"{peft.WEIGHTS}), a zip of it, a GGUF adapter, or EdgeNet's JSON."
        )
    return peft.read({name: files[path] for name, path in folder.items()}, what)


def _stem(path: str) -> str:
    """What to call what came out of a file."""
    name = path.rstrip("/").rpartition("/")[2]
    return name.rpartition(".")[0] or name or "adapter"


def _zip(data: bytes, header: Header, what: str) -> Adapter:
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            infos = [i for i in archive.infolist() if i.filename.rpartition("/")[2] in (peft.CONFIG, peft.WEIGHTS)]
            if too_large := [i.filename for i in infos if i.file_size > MAX_BYTES]:
                raise InvalidAdapter(f"{what}: {too_large[0][:80]!r} would unpack to more than {MAX_BYTES} bytes.")
            files = {i.filename: archive.read(i) for i in infos}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise InvalidAdapter(f"{what} is a damaged zip ({error}). Get it again.") from error
    return read_adapter(files, header, what)


# How a file begins, white space aside -> who reads it.
_FORMATS = {
    b"GGUF": gguf.read,
    b"PK\x03\x04": _zip,
    b"{": lambda data, header, what: document.read(data, what),
}
