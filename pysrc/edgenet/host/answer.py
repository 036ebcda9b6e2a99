"""What the HTTP of CPython and of a page share: an open answer, and a small document read whole. Runs anywhere."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from ..errors import NetworkError


@dataclass
class Answer:
    """An open answer. `span` is (first byte, byte after the last) of a partial one, None for the whole file; `total`: bytes of the whole
    file, if the server says; `headers` have names in lower case; what a redirect said counts where the end says nothing.
    """

    url: str
    span: tuple[int, int] | None
    total: int | None
    blocks: AsyncIterator[bytes]
    headers: dict[str, str] = field(default_factory=dict)


class Opens:
    """What can open an address; subclasses say how."""

    def open(self, url: str, span: tuple[int, int] | None = None) -> AbstractAsyncContextManager[Answer]:
        """Answer for an address, or for its bytes span[0] to span[1] (exclusive). Raises HttpStatusError or NetworkError."""
        raise NotImplementedError

    async def get(self, url: str, limit: int = 1 << 26) -> bytes:
        """The whole body of a small document. Raises as `open` does, and NetworkError above `limit` bytes."""
        body = bytearray()
        async with self.open(url) as answer:
            async for block in answer.blocks:
                body += block
                if len(body) > limit:
                    raise NetworkError(f"{url} is larger than {limit} bytes, too large for what it should be.", url=url)
        return bytes(body)
