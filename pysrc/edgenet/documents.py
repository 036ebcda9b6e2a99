"""From a file's bytes to text that can be searched: binary files refused, broken UTF-8 replaced and told, HTML stripped. Runs anywhere.

Line numbers of the text are those of the file. It opens no file.
"""

from dataclasses import dataclass
from hashlib import sha256
from html.parser import HTMLParser

from .errors import EmptyText, NotText, TextTooLarge

MAX_BYTES = 16 << 20
_BROKEN_SHARE = 0.1  # above this share of bytes that are not UTF-8, a file is another encoding or no text
_LOOK = 8192
_HTML = (".html", ".htm", ".xhtml")
_UNSEEN = {"script", "style", "template", "noscript"}


@dataclass(frozen=True)
class Document:
    """One text. `digest` is the SHA-256 (hex) of the file's bytes, `replaced` counts characters that were not UTF-8."""

    name: str
    digest: str
    text: str
    replaced: int = 0


def read_document(name: str, data: bytes) -> Document:
    """The text of a file's bytes. Raises NotText, TextTooLarge or EmptyText, naming the file."""
    if len(data) > MAX_BYTES:
        raise TextTooLarge(
            f"{name} has {len(data):,} bytes; texts up to {MAX_BYTES:,} are read. Split it.", file=name, size=len(data)
        )
    if b"\0" in data[:_LOOK]:
        raise NotText(f"{name} is not a text: it holds zero bytes.", file=name)
    text = data.decode("utf-8-sig", errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n")  # as the page reads files
    replaced = text.count("\ufffd") - data.count("\ufffd".encode())
    if replaced > _BROKEN_SHARE * len(text):
        raise NotText(
            f"{name} is not UTF-8 text: {replaced:,} of {len(text):,} characters are broken. Convert it to UTF-8.",
            file=name,
        )
    if name.lower().endswith(_HTML):
        text = html_text(text)
    if not text.strip():
        raise EmptyText(f"{name} holds no text.", file=name)
    return Document(name, sha256(data).hexdigest(), text, replaced)


def html_text(html: str) -> str:
    """The text of an HTML page. Newlines inside tags are kept, so each line keeps its number."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return "".join(reader.parts)


class _Reader(HTMLParser):
    """Collects text and, for everything else, the newlines it spans."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._hidden = 0
        self._line = 1

    def _catch_up(self):
        line = self.getpos()[0]
        self.parts.append("\n" * max(0, line - self._line) or " ")
        self._line = max(line, self._line)

    def handle_starttag(self, tag, attrs):
        self._catch_up()
        self._hidden += tag in _UNSEEN

    def handle_endtag(self, tag):
        self._catch_up()
        self._hidden = max(0, self._hidden - (tag in _UNSEEN))

    def handle_data(self, data):
        self._catch_up()
        self.parts.append("\n" * data.count("\n") if self._hidden else data)
        self._line += data.count("\n")


def line_of(text: str, offset: int) -> int:
    """The 1-based number of the line that holds the character at `offset`."""
    return text.count("\n", 0, offset) + 1
