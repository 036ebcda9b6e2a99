"""Reading what a person names (files, folders, standard input) as documents; what is skipped is said with its reason. CPython."""

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ..documents import Document, read_document
from ..errors import EdgeNetError, EmptyText, InputError, InvalidOption, TooManyFiles
from ..host.files import walk
from ..lora.examples import Example, read_examples
from .text import counted

MAX_FILES = 50_000
STDIN = "-"


@dataclass
class Gathered:
    """Documents read, and what was skipped with the reason: [{"file", "code", "reason"}]."""

    documents: list[Document] = field(default_factory=list)
    skipped: list[dict] = field(default_factory=list)

    def skip(self, name: str, error: EdgeNetError) -> None:
        """Note a file that is left out."""
        self.skipped.append({"file": name, "code": error.code, "reason": error.message})

    @property
    def notices(self) -> list[dict]:
        """What happened to files, each a `{code, message}`: skipped, by the code of its error, or `text_repaired`."""
        skipped = [{"code": row["code"], "message": row["reason"]} for row in self.skipped]
        return skipped + [{"code": "text_repaired", "message": repaired(d)} for d in self.documents if d.replaced]


def gather(shell, names: list[str]) -> Gathered:
    """All texts at or below the paths; "-" is standard input. Raises InvalidOption or EmptyText if there is nothing to read."""
    found = Gathered()
    for name in names:
        if name == STDIN:
            _add(found, "stdin", sys.stdin.buffer.read())
        else:
            _add_tree(shell, found, name)
    _tell(shell, found)
    if not found.documents:
        looked = f"left out: {counted(len(found.skipped), 'file')}" if found.skipped else "there is no file"
        raise EmptyText(
            f"Found no text in {', '.join(names)}: {looked}. Name files or folders that hold text (txt, md, html, code).",
            skipped=found.skipped[:20],
        )
    return found


def gather_examples(shell, names: list[str]) -> list[Example]:
    """What a model can learn from all texts at or below the paths; `shell.notices` has what was left out. Raises as `gather`, NotText."""
    found = gather(shell, names)
    shell.notices += found.notices
    return [example for document in found.documents for example in read_examples(document.name, document.text)]


def _add_tree(shell, found: Gathered, name: str) -> None:
    path = Path(name).expanduser()
    if not path.exists():
        raise InvalidOption(f"There is no file or folder {name}.", path=name)
    for count, file in enumerate(walk(path)):
        if count == MAX_FILES:
            raise TooManyFiles(
                f"{name} holds more than {MAX_FILES:,} files. Name smaller folders.", path=name, limit=MAX_FILES
            )
        shown = str(path / os.path.relpath(file, path.resolve())) if path.is_dir() else name
        try:
            data = shell.disk.read(file)
        except EdgeNetError as error:
            found.skip(shown, error)
            continue
        if data is not None:
            _add(found, shown, data)


def _add(found: Gathered, name: str, data: bytes) -> None:
    try:
        found.documents.append(read_document(name, data))
    except InputError as error:
        found.skip(name, error)


def repaired(document: Document) -> str:
    """What was done to a text that was not all UTF-8."""
    return f"{document.name}: {counted(document.replaced, 'character')} not UTF-8, replaced by \ufffd"


def _tell(shell, found: Gathered, shown: int = 5) -> None:
    for row in found.skipped[:shown]:
        shell.say(f"skipped: {row['reason']}")
    if len(found.skipped) > shown:
        shell.say(f"skipped: {counted(len(found.skipped) - shown, 'more file')} without text")
    broken = [document for document in found.documents if document.replaced]
    for document in broken[:shown]:
        shell.say(f"notice: {repaired(document)}")
    if len(broken) > shown:
        shell.say(f"notice: {counted(len(broken) - shown, 'more file')} with characters that are not UTF-8")
