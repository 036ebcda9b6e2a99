"""A page's language model, from Python: its engine, its tokenizer, its file's header, all in another worker. Needs NumPy.

No weight comes here. What Python adds to the engine it can add again: an engine that broke is replaced by another, which knows nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..errors import EdgeNetError, EngineDeadline, InvalidOption, NoMaskToken, NotSupported, WorkerDied
from ..graph import Program
from ..lora.adapter import base_id
from ..lora.examples import MASKS, Preparing, Question, Tokens, read_examples
from ..models.compiled import part_of
from .browser_compile import read_model
from .browser_page import Page


# --- the engine
class BrowserLm:
    """`run.face.Engine` over messages. Arrays are read flat and written whole or from their beginning.

    `lost`: the engine is another since the last call; the next one adds the Programs to it first, with states of zeros.
    """

    def __init__(self, page: Page):
        self._page = page
        self._added: list[dict[str, str]] = []  # documents by name; those of one call share their state
        self.lost = False

    async def load(self, program: Program, weights: Any) -> None:
        raise NotSupported("The model is loaded by the page. Add Programs beside it.")

    async def add(self, programs: Mapping[str, Program]) -> None:
        documents = {name: program.to_json().decode() for name, program in programs.items()}
        await self._call("lm.add", programs=documents)
        self._added.append(documents)

    async def drop(self, names: Iterable[str]) -> None:
        names = list(names)
        kept = [{n: text for n, text in group.items() if n not in names} for group in self._added]
        self._added = [group for group in kept if group]
        if self.lost:  # and with it what was to be dropped
            return
        try:
            await self._call("lm.drop", names=names)
        except EdgeNetError:
            if not self.lost:
                raise

    async def write(self, name: str, array: Any, program: str | None = None, first: int = 0) -> None:
        if first:
            raise InvalidOption("Over messages a buffer is written from its beginning.", option="first")
        await self._call("lm.write", program=program, name=name, array=np.ascontiguousarray(array))

    async def run(self, program: str | None = None, **slots: int) -> None:
        await self._call("lm.run", program=program, slots=slots)

    async def read(self, name: str, program: str | None = None) -> np.ndarray:
        return np.array(await self._call("lm.read", program=program, name=name))

    async def dispose(self) -> None:
        await self.drop([name for group in self._added for name in group])

    async def _call(self, kind: str, **args: Any) -> Any:
        try:
            if self.lost:
                for documents in self._added:
                    await self._page.asked("lm.add", programs=documents)
                self.lost = False
            return await self._page.asked(kind, **args)
        except EdgeNetError as error:
            self.lost = self.lost or _is_gone(kind, error)
            raise


def _is_gone(kind: str, error: EdgeNetError) -> bool:
    """Whether an error tells that the engine is another now: its worker ended, a run broke it, or somebody else's did."""
    if isinstance(error, InvalidOption):
        return error.details.get("option") == "program"
    return isinstance(error, (WorkerDied, EngineDeadline)) or (kind == "lm.run" and "returned" not in error.details)


# --- the file
@dataclass(frozen=True)
class PageModel:
    """`header`, `values`: of its GGUF file; `generation`: the content of generation.json; `base`: its `base_id`.

    `parts`: the artifact that each of its files is.
    """

    header: Any
    values: Mapping
    generation: Mapping
    base: str
    parts: Sequence[str]

    async def read(self, page: Page, part: int, offset: int, length: int) -> bytes:
        """Bytes of its file number `part`, from where the worker has them."""
        return await _range(page, self.parts[part], offset, length)


async def open_model(page: Page, filenames: Mapping[str, str]) -> PageModel:
    """What training must know of the worker's model. `filenames`: of its artifacts. Only headers are read, and a few short tensors."""
    sizes = (await page.asked("lm.source"))["sizes"]
    header, values = await read_model(filenames, sizes, partial(_range, page))
    generation, parts = json.loads(await page.asked("lm.generation")), sorted(sizes, key=part_of)
    return PageModel(header, values, generation, base_id(header), parts)


async def _range(page: Page, artifact: str, offset: int, length: int) -> bytes:
    return bytes((await page.asked("lm.source", ranges=[[artifact, offset, length]]))["parts"][0])


# --- the tokenizer
async def tokenized(page: Page, data: Iterable, generation: Mapping) -> list[Tokens]:
    """Examples as tokens, by the page's tokenizer: texts, pairs, and files {"name", "text"}. Raises as `examples.tokenize`, and AbortError
    once nobody waits for it any more.
    """
    found = (
        read_examples(item["name"], item["text"]) if isinstance(item, Mapping) and "name" in item else [item]
        for item in data
    )
    work = Preparing((example for examples in found for example in examples), generation)
    for batch in work.batches():
        page.progress("prepare", work.done, work.total)
        work.answers += await _told(page, batch)
    page.progress("prepare", work.done, work.total)
    return work.tokens()


async def _told(page: Page, questions: Iterable[Question]) -> list[list[int]]:
    """What each becomes, in one message: a message takes longer than the tokens of a line."""
    asked = [q if isinstance(q, str) else {"messages": q.messages, "addGenerationPrompt": q.waits} for q in questions]
    found = await page.asked("lm.tokens", asked=json.dumps(asked))
    ids, ends = np.array(found["ids"]), np.cumsum(np.array(found["counts"]))
    return [part.tolist() for part in np.split(ids, ends[:-1])]


async def mask_token(page: Page) -> int:
    """As `examples.mask_token`. Raises NoMaskToken."""
    for name in MASKS:
        tokens = (await page.asked("lm.encode", text=name, special=True))["tokens"]
        if len(tokens) == 1:
            return tokens[0]
    raise NoMaskToken(f"The model's tokenizer has none of {', '.join(MASKS)}. Train with the causal objective.")
