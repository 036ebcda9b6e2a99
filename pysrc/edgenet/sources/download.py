"""One artifact's missing chunks, fetched in parallel from several sources, each verified before it is kept. Runs anywhere.

Refuses to hand on a byte that does not fit its leaf. A chunk that one source gives wrong comes from the next; a source that
fails or is often wrong is left out; a server that ignores `Range` is read once from the start for everything still missing.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from ..errors import (
    AccessRefused,
    AllSourcesFailed,
    EdgeNetError,
    HashMismatch,
    HttpStatusError,
    NetworkError,
    SizeMismatch,
)
from ..integrity import leaf_hash
from .chunks import chunk_length, runs
from .plan import Candidate

RUN = 8  # chunks per request: enough to keep a connection busy, few enough that a lost one costs little
WRONG_LIMIT = 3  # wrong chunks after which a source is not asked again
FIRST_WAIT_S = 0.5
_TRY_AGAIN = {408, 425, 429, 500, 502, 503, 504}


@dataclass
class _Source:
    candidate: Candidate
    alive: bool = True
    ranged: bool = True
    wrong: set[int] = field(default_factory=set)
    whole: asyncio.Lock = field(default_factory=asyncio.Lock)


class Download:
    """`await Download(...).run()` returns when `sink` has every chunk.

    opener: `open(url, span)` as in `host/http.py`; sink: `missing() -> list[int]`, `has(i)`, `keep(i, data)`;
    artifact: of a checked manifest; leaves: its 32-byte leaf hashes; emit: called with each event.
    Raises AllSourcesFailed with `details.attempts` when a chunk can be had nowhere; what was verified stays in the sink.
    """

    def __init__(
        self,
        opener,
        sink,
        candidates,
        artifact,
        leaves,
        *,
        parallel=4,
        retries=3,
        wait=asyncio.sleep,
        emit=lambda event: None,
    ):
        self._opener, self._sink, self._leaves = opener, sink, leaves
        self._sources = [_Source(candidate) for candidate in candidates]
        self._name, self._size, self._chunk_size = artifact["filename"], artifact["size"], artifact["chunkSize"]
        self._parallel, self._retries, self._wait, self._emit = parallel, retries, wait, emit
        self._attempts: list[dict] = []
        self._queue: deque[list[int]] = deque()

    async def run(self) -> None:
        """Fetch until nothing is missing. Cancelling it stops every request; no half-written chunk remains."""
        if not self._size:
            return self._sink.keep(0, b"")
        self._queue.extend(runs(self._sink.missing(), RUN))
        tasks = [asyncio.ensure_future(self._work()) for _ in range(max(1, self._parallel))]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self) -> None:
        while self._queue:
            await self._run_of_chunks(self._queue.popleft())

    async def _run_of_chunks(self, chunks: list[int]) -> None:
        for source in self._sources:
            if left := self._left(source, chunks):
                await self._ask(source, left)
        lost = [i for i in chunks if not self._sink.has(i)]
        if lost:
            raise self._failed(lost)

    def _left(self, source: _Source, chunks: list[int]) -> list[int]:
        return [i for i in chunks if source.alive and not self._sink.has(i) and i not in source.wrong]

    async def _ask(self, source: _Source, chunks: list[int]) -> None:
        """Take what `source` has of these chunks; a broken connection is tried again as long as it brings something."""
        failures = 0
        while left := self._left(source, chunks):
            try:
                for run in runs(left, RUN):
                    await self._request(source, run)
            except (NetworkError, SizeMismatch) as error:
                failures = 1 if len(self._left(source, chunks)) < len(left) else failures + 1
                if failures > self._retries or not transient(error):
                    return self._give_up(source, error)
                await self._wait(FIRST_WAIT_S * 2 ** (failures - 1))

    async def _request(self, source: _Source, run: list[int]) -> None:
        if not source.ranged:
            return await self._whole(source, run)
        start, stop = run[0] * self._chunk_size, min((run[-1] + 1) * self._chunk_size, self._size)
        async with self._opener.open(source.candidate.url, (start, stop)) as answer:
            self._check_total(answer)
            if answer.span is not None:
                if answer.span[0] != start:
                    raise NetworkError(
                        f"{answer.url} was asked for byte {start} and answered from {answer.span[0]}.", url=answer.url
                    )
                return await self._take(source, answer, run)
            source.ranged = False
        self._fallback(
            source, "range_unsupported", "the server ignores byte ranges; the file is read once from its start"
        )
        await self._whole(source, run)

    async def _whole(self, source: _Source, run: list[int]) -> None:
        async with source.whole:
            if not self._left(source, run):
                return  # another task's pass brought them
            async with self._opener.open(source.candidate.url) as answer:
                self._check_total(answer)
                await self._take(source, answer, range(len(self._leaves)))

    def _check_total(self, answer) -> None:
        if answer.total not in (None, self._size):
            text = (
                f"{answer.url} is {answer.total} bytes long; the manifest says {self._size}. Another file lies there."
            )
            raise SizeMismatch(text, url=answer.url, expected=self._size, found=answer.total)

    async def _take(self, source: _Source, answer, numbers) -> None:
        """Cut the stream into the chunks `numbers` (consecutive) and keep those that are right."""
        buffer, numbers = bytearray(), iter(numbers)
        i = next(numbers)
        async for block in answer.blocks:
            buffer += block
            while i is not None and len(buffer) >= (length := chunk_length(i, self._chunk_size, self._size)):
                self._judge(source, i, bytes(buffer[:length]))
                del buffer[:length]
                i = next(numbers, None)
        if i is not None:
            raise NetworkError(f"{answer.url}: the connection ended inside chunk {i}.", url=answer.url, chunk=i)

    def _judge(self, source: _Source, i: int, data: bytes) -> None:
        if self._sink.has(i) or i in source.wrong:
            return
        if leaf_hash(data) == self._leaves[i]:
            return self._sink.keep(i, data)
        source.wrong.add(i)
        error = HashMismatch(
            f"chunk {i} of {self._name} from {source.candidate.url} has another hash than the manifest says"
        )
        if len(source.wrong) >= WRONG_LIMIT:
            self._give_up(source, error)
        else:
            self._note(source, error)
            self._fallback(source, error.code, f"{error.message}; asking the next source")

    def _give_up(self, source: _Source, error: EdgeNetError) -> None:
        self._note(source, error)
        if source.alive:
            self._fallback(source, error.code, f"{error.message} This source is not asked again.")
        source.alive = False

    def _note(self, source: _Source, error: EdgeNetError) -> None:
        self._attempts.append({"source": source.candidate.url, "code": error.code, "message": error.message})

    def _fallback(self, source: _Source, code: str, reason: str) -> None:
        self._emit(
            {"status": "fallback", "code": code, "reason": reason, "file": self._name, "source": source.candidate.url}
        )

    def _failed(self, lost: list[int]) -> AllSourcesFailed:
        last = {row["source"]: row["message"] for row in self._attempts}
        told = " ".join(f"[{source}] {message}" for source, message in last.items()) or "no source was left to ask."
        text = (
            f"{self._name}: chunk {lost[0]} could be had from none of {len(self._sources)} sources. {told} "
            "What was verified is kept; run again to go on, or name another --source."
        )
        return AllSourcesFailed(text, file=self._name, chunk=lost[0], attempts=self._attempts)


def transient(error: EdgeNetError) -> bool:
    """Whether asking the same source again can help."""
    if isinstance(error, HttpStatusError):
        return error.details.get("status") in _TRY_AGAIN
    return isinstance(error, NetworkError) and not isinstance(error, AccessRefused)
