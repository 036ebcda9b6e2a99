"""Adapters among this machine's files: read in any format, written as PEFT does. CPython."""

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

from ..errors import AdapterExists, AdapterNotFound, InvalidOption, QuotaExceeded
from ..formats.gguf import MAGIC
from ..lora import peft
from ..lora.reading import read_adapter as read


def read_adapter(shell, path: str, header=None):
    """The adapter in a folder of PEFT, or in a file of any format; one in GGUF is read by its base's header.

    Raises AdapterNotFound, InvalidOption for a GGUF adapter without header, and what reading it raises.
    """
    place = Path(path)
    places = [place / peft.CONFIG, place / peft.WEIGHTS] if place.is_dir() else [place]
    files = {file.name: data for file in places if (data := shell.disk.read(file)) is not None}
    if not files:
        raise AdapterNotFound(f"There is no adapter at {path}. Give a folder of PEFT, or an adapter's file.", path=path)
    if header is None and any(data.startswith(MAGIC) for data in files.values()):
        raise InvalidOption(
            f"{path} is a GGUF file. What an adapter in one adapts only its base's file can tell; give that too: --base, in a merge "
            "--into.",
            option="base",
        )
    return read(files, header, place.resolve().name, lambda text: shell.say(f"notice: {text}"))


def write_adapter(shell, adapter, folder: Path) -> None:
    """Write PEFT's folder."""
    write_files(shell, {folder / name: content for name, content in peft.write(adapter).items()})


def write_files(shell, files: Mapping[Path, bytes]) -> None:
    """Write all or none: where one fails, those before it go."""
    written = []
    try:
        for path, content in files.items():
            with at_output(path):
                shell.disk.write(path, content)
            written.append(path)
    except BaseException:
        for path in written:
            shell.disk.remove(path)
        raise


@contextmanager
def at_output(path: Path):
    """Where there is no room, the advice is for the place that --output names, not for the cache."""
    try:
        yield
    except QuotaExceeded as error:
        raise QuotaExceeded(
            f"There is no room to write {path}. Free some space there, or choose another --output.", path=str(path)
        ) from error


def require_free(shell, folder: Path) -> None:
    """Raises AdapterExists for a folder that holds an adapter."""
    if shell.disk.read(folder / peft.CONFIG) is not None:
        raise AdapterExists(
            f"{folder} holds an adapter already. Choose another --output, or remove it first.", path=str(folder)
        )
