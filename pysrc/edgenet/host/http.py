"""HTTP by httpx, and the same face over `file:` addresses. CPython only.

`open` answers with a status, a range and a stream of blocks; error statuses and broken connections are named errors.
"""

import re
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import httpx

from ..errors import HttpStatusError, NetworkError, RequestTimeout
from .answer import Answer, Opens

BLOCK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16}|\*)", re.ASCII)


class Http(Opens):
    """Opens http, https and file addresses. Use it as an async context manager; it keeps connections alive inside."""

    def __init__(self, timeout_s: float = 30.0):
        # identity: a compressed answer has no byte ranges of the file itself.
        self._client = httpx.AsyncClient(
            follow_redirects=True,
            timeout=timeout_s,
            headers={"Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=32),
        )

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        await self._client.aclose()

    @asynccontextmanager
    async def open(self, url: str, span: tuple[int, int] | None = None):
        """Answer for an address, or for its bytes span[0] to span[1] (exclusive); a server may ignore the span.

        Raises HttpStatusError, RequestTimeout or NetworkError, also from the block stream.
        """
        opened = _open_file if urlsplit(url).scheme == "file" else self._open_http
        async with opened(url, span) as answer:
            yield answer

    @asynccontextmanager
    async def _open_http(self, url: str, span):
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        with _named(url):
            async with self._client.stream("GET", url, headers=headers) as response:
                if response.status_code not in (200, 206):
                    raise HttpStatusError(
                        f"{url} answered with status {response.status_code}. Check the address and the site.",
                        url=url,
                        status=response.status_code,
                        reason=response.headers.get("X-Error-Code", ""),
                    )
                yield _answer(response)


@contextmanager
def _named(url: str):
    """Turn httpx's exceptions inside the block into ours."""
    try:
        yield
    except httpx.TimeoutException as error:
        text = f"{url}: no byte arrived within the time limit. Try again, or raise `cdn.timeout`."
        raise RequestTimeout(text, url=url) from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        text = f"{url} could not be fetched: {error or type(error).__name__}. Is the site running?"
        raise NetworkError(text, url=url) from error


def _answer(response: httpx.Response) -> Answer:
    length = response.headers.get("Content-Length", "")
    whole = int(length) if length.isdigit() and "Content-Encoding" not in response.headers else None
    blocks, headers = response.aiter_bytes(BLOCK), {}
    for step in (*response.history, response):
        headers |= {name.lower(): value for name, value in step.headers.items()}
    if response.status_code == 200:
        return Answer(str(response.url), None, whole, blocks, headers)
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if not match:
        raise NetworkError(
            f"{response.url} answered a range without saying which; try another source.", url=str(response.url)
        )
    first, last, total = match.groups()
    span = int(first), int(last) + 1
    return Answer(str(response.url), span, None if total == "*" else int(total), blocks, headers)


@asynccontextmanager
async def _open_file(url: str, span):
    path = Path(url2pathname(urlsplit(url).path))
    try:
        with path.open("rb") as file:
            total = path.stat().st_size
            start, stop = span or (0, total)
            file.seek(start)
            yield Answer(url, (start, min(stop, total)) if span else None, total, _blocks(file, stop - start))
    except FileNotFoundError as error:
        raise HttpStatusError(
            f"There is no file {path}. Check the folder given as the site.", url=url, status=404
        ) from error
    except OSError as error:
        raise NetworkError(f"{path} could not be read: {error.strerror or error}.", url=url) from error


async def _blocks(file, left: int):
    while left > 0 and (block := file.read(min(BLOCK, left))):
        left -= len(block)
        yield block
