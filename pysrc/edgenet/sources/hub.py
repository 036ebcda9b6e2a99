"""Model hubs: any address laid out like Hugging Face's, read without an account. Runs anywhere; keeps nothing.

`GET {base}/{owner}/{name}/resolve/{revision}/{file}` gives a file, with its SHA-256 in `X-Linked-ETag` or `ETag` where it is known;
`GET {base}/api/models/{owner}/{name}/tree/{revision}?recursive=true` lists them. A mirror needs the first only.
"""

import json
import re
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from ..errors import (
    AccessRefused,
    HttpStatusError,
    InvalidOption,
    ModelNotFound,
    NetworkError,
    RangeUnsupported,
)
from ..formats.gguf import Header, read_header_async
from ..formats.gguf_split import join, part_names

PREFIX, MAIN, ENDING = "hf:", "main", ".gguf"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_FORM = re.compile(rf"hf:({_NAME})/({_NAME})(?:@({_NAME}))?(?:/([A-Za-z0-9_][A-Za-z0-9._+@/-]{{0,199}}))?", re.ASCII)
_SHA256 = re.compile(r"(?:W/)?\"?([0-9a-f]{64})\"?", re.ASCII)
_COUNT = re.compile(r"\d{1,16}", re.ASCII)
_GATED = {"GatedRepo"}
_ABSENT = {"RepoNotFound", "EntryNotFound", "RevisionNotFound"}


@dataclass(frozen=True)
class Place:
    """A repository on a hub, or a file in it. `text` is how people write it."""

    owner: str
    name: str
    revision: str = MAIN
    file: str | None = None

    @property
    def text(self) -> str:
        """`hf:owner/name@revision/file`, without what is not needed."""
        at = "" if self.revision == MAIN else f"@{self.revision}"
        return f"{PREFIX}{self.owner}/{self.name}{at}" + (f"/{self.file}" if self.file else "")


def parse(text: str) -> Place:
    """The place that a text `hf:owner/name[@revision][/file.gguf]` names. Raises InvalidOption."""
    match = _FORM.fullmatch(text)
    if not match or ".." in text or "//" in text:
        raise InvalidOption(
            f"{text!r} names no model on a hub. Write hf:owner/name/file.gguf, or hf:owner/name to see its files."
        )
    owner, name, revision, file = match.groups()
    if file and not file.lower().endswith(ENDING):
        raise InvalidOption(
            f"{text}: only {ENDING} files can be pulled; `hf:{owner}/{name}` lists those there are.", file=file
        )
    return Place(owner, name, revision or MAIN, file)


@dataclass(frozen=True)
class Remote:
    """A file as a hub tells it before it is fetched. `sha256`: hex, or None where the hub does not say; `tag`: changes with the bytes."""

    name: str
    url: str
    size: int
    sha256: str | None
    tag: str


class Hub:
    """`base`: the hub's address; `opener`: see `host/http.py`. Every failure is a named error that says what to do."""

    def __init__(self, base: str, opener):
        if not re.match(r"https?://[^/]", base):
            raise InvalidOption(
                f"The hub {base!r} is no http(s) address. Set one: `--hub ADDRESS`, or `hub.endpoint`.", hub=base
            )
        self.base, self._opener = base.rstrip("/"), opener

    def folder(self, place: Place) -> str:
        """The address that the files of a repository lie below; ends in "/"."""
        return f"{self.base}/{place.owner}/{place.name}/resolve/{place.revision}/"

    async def files(self, place: Place) -> list[dict]:
        """The repository's GGUF files by name: [{"file", "size"}]. Raises ModelNotFound, AccessRefused or NetworkError."""
        url = f"{self.base}/api/models/{place.owner}/{place.name}/tree/{place.revision}?recursive=true"
        with _named(place, self.base):
            data = await self._opener.get(url)
        try:
            rows = [(row["path"], row["size"]) for row in json.loads(data) if row.get("type") == "file"]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise NetworkError(
                f"{url} did not answer with a list of files. Name the file: {place.text}/FILE.gguf.", url=url
            ) from error
        found = sorted(
            (str(path), size) for path, size in rows if str(path).lower().endswith(ENDING) and type(size) is int
        )
        return [{"file": path, "size": size} for path, size in found]

    async def look(self, place: Place) -> tuple[list[Remote], Header]:
        """All files of the model that `place.file` belongs to, and its header, read by range before anything is fetched whole.

        Raises as `files` does, RangeUnsupported where the header cannot be had alone, InvalidGguf, UnsupportedTensorType.
        """
        remotes, headers = [], []
        folder, _, name = place.file.rpartition("/")
        names = [f"{folder}/{part}" if folder else part for part in part_names(name)]
        for name in names:
            remote, header = await self._header(place, name)
            remotes.append(remote)
            headers.append(header)
        return remotes, join(headers, names)

    async def _header(self, place: Place, name: str) -> tuple[Remote, Header]:
        url = self.folder(place) + quote(name)
        async with self.open(place, url, (0, 1)) as answer:
            remote = Remote(name, url, _size(answer), _digest(answer.headers), answer.headers.get("etag", ""))
        return remote, await read_header_async(
            lambda offset, length: self._read(place, url, offset, length), remote.size, name
        )

    async def _read(self, place: Place, url: str, offset: int, length: int) -> bytes:
        data = bytearray()
        if not length:
            return b""
        async with self.open(place, url, (offset, offset + length)) as answer:
            if answer.span is None and offset or answer.span is not None and answer.span[0] != offset:
                raise RangeUnsupported(
                    f"{url}: the hub gives no ranges of a file, so its header cannot be read alone.", url=url
                )
            async for block in answer.blocks:
                data += block[: length - len(data)]
                if len(data) == length:
                    break
        return bytes(data)

    @asynccontextmanager
    async def open(self, place: Place, url: str, span: tuple[int, int] | None = None):
        """An answer as the opener gives it, a hub's refusals named."""
        with _named(place, self.base):
            async with self._opener.open(url, span) as answer:
                yield answer


@contextmanager
def _named(place: Place, base: str):
    """A hub's refusals inside the block become errors that say what they mean."""
    try:
        yield
    except HttpStatusError as error:
        status, reason = error.details.get("status"), error.details.get("reason", "")
        details = {"address": place.text, "hub": base, "status": status}
        if reason in _ABSENT or (status in (404, 410) and reason not in _GATED):
            text = f"{base} has no {place.text}. `edge-net-models pull hf:{place.owner}/{place.name}` lists its files."
            raise ModelNotFound(text, **details) from error
        if reason in _GATED or status in (401, 403):
            text = (
                f"{base} does not give {place.text} to everybody (status {status}): the name is wrong, or its owner wants a "
                "sign-in or an accepted licence. Download it in a browser, then use the file's path instead."
            )
            raise AccessRefused(text, **details) from error
        raise


def _size(answer) -> int:
    told = answer.headers.get("x-linked-size", "")
    size = answer.total if answer.total is not None else int(told) if _COUNT.fullmatch(told) else None
    if size is None:
        raise NetworkError(
            f"{answer.url} does not say how large it is. Try another mirror: `--hub ADDRESS`.", url=answer.url
        )
    return size


def _digest(headers: dict[str, str]) -> str | None:
    found = (_SHA256.fullmatch(headers.get(name, "")) for name in ("x-linked-etag", "etag"))
    return next((match[1] for match in found if match), None)
