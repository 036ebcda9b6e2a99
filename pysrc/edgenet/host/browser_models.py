"""`edgenet.open_model` in a page: the site's SDK loads and verifies a model and runs it in its worker; Python, in the page, does the rest
with the code of CPython. Pyodide only.

The page has registered the module `edgenet_js` (`web/playground/python.js`): the SDK's names and `TextTokenizer`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from math import prod

import edgenet_js
import js
import numpy as np
from pyodide.ffi import JsException, to_js

from ..errors import Disposed, EdgeNetError, EmptyBatch, NotSupported
from ..graph import Capacity, Program
from ..lora.config import MOST_RANK_IN_TAB
from ..models.compiled import compile_gguf
from ..opened import Language, Opened
from ..session import InferenceSession
from ..text.encode import TextTokenizer
from .browser import BrowserHost
from .browser_compile import read_model

_OPEN: dict = {}  # sessions of the SDK that nobody disposed of yet, by their handles


async def answered(call: Callable):
    """What the promise of `call(signal)` resolves to; a cancelled task fires the signal. Raises the SDK's errors as EdgeNet's own."""
    controller = js.AbortController.new()
    try:
        return await call(controller.signal)
    except asyncio.CancelledError:
        controller.abort()
        raise
    except JsException as error:
        raise _named(error) from error


def _named(error: JsException) -> Exception:
    code = getattr(error, "code", None)
    if not isinstance(code, str):
        return error
    details = getattr(error, "details", None)
    data = details.to_py() if hasattr(details, "to_py") else {}
    return EdgeNetError.from_data({"code": code, "message": error.message, "details": data})


def _plain(value):
    """Python data as JavaScript objects; one-dimensional arrays become typed arrays of their own."""
    return to_js(value, dict_converter=js.Object.fromEntries)


class SessionEngine:
    """`run.Engine` over a model that the SDK holds in a worker. Messages keep their order, so a write need not wait for its answer: what
    it raises, the next `run` or `read` raises.
    """

    def __init__(self, session, program: Program):
        self._session, self._programs, self._sent = session, {None: program}, []

    async def load(self, program, weights) -> None:
        """Not possible: the SDK loaded the model."""
        raise NotSupported("In a page the SDK loads models. Call edgenet.open_model again.")

    async def add(self, programs: Mapping[str, Program]) -> None:
        """As `Engine` says."""
        data = json.dumps({name: program.to_data() for name, program in programs.items()})
        await self._ask("add", programs=js.JSON.parse(data))
        self._programs.update(programs)

    async def drop(self, names: Iterable[str]) -> None:
        """As `Engine` says."""
        names = list(dict.fromkeys(names))
        await self._ask("drop", names=names)
        for name in names:
            self._programs.pop(name)

    async def write(self, name: str, array, program: str | None = None, first: int = 0) -> None:
        """As `Engine` says, but what is wrong is told by the next `run` or `read`."""
        given = np.ascontiguousarray(array)
        first *= prod(given.shape[1:])
        self._sent.append(
            asyncio.ensure_future(self._post("write", program, name=name, array=given.ravel(), first=first))
        )

    async def run(self, program: str | None = None, **slots: int) -> None:
        """As `Engine` says."""
        await self._settle(self._post("run", program, slots=slots))

    async def read(self, name: str, program: str | None = None) -> np.ndarray:
        """As `Engine` says."""
        flat = np.asarray((await self._settle(self._post("read", program, name=name))).to_py())
        shape = self._programs[program].buffer(name).shape[1:]
        return flat.reshape(-1, *(n if isinstance(n, int) else -1 for n in shape)) if shape else flat

    async def dispose(self) -> None:
        """End the model's worker."""
        await _end(self._session)

    def _post(self, kind: str, program: str | None, **arguments):
        return self._ask(kind, **({"program": program} if program else {}), **arguments)

    async def _settle(self, last):
        """The answer of `last`, once everything sent before was answered."""
        sent, self._sent = self._sent, []
        *_, answer = await asyncio.gather(*sent, last)
        return answer

    async def _ask(self, kind: str, **arguments):
        return await ask(self._session, kind, **arguments)


async def ask(session, kind: str, **arguments):
    """A kind of the model's worker."""
    given = _plain(arguments)
    return await answered(lambda signal: session.askWorker(f"lm.{kind}", given, _plain({"signal": signal})))


class PageLanguage(Language):
    """A Language whose chats are made into tokens by the model's worker: the page's Python has no jinja2."""

    def __init__(self, session, opened: Opened):
        super().__init__(opened)
        self._session = session

    async def chat(self, messages, **options) -> str:
        """As in CPython."""
        return await self.generate(messages, **options)

    async def stream(self, prompt, **options):
        """As in CPython."""
        if not isinstance(prompt, str) and prompt and isinstance(prompt[0], Mapping):
            self._open()
            asked = json.dumps({"messages": list(prompt)})
            prompt = (await ask(self._session, "chat", chat=asked)).tokens.to_py()
        async for piece in super().stream(prompt, **options):
            yield piece

    def create_trainer(self, examples, lora=None, training=None, *, store=None):
        """As in CPython, but a model with a chat template learns from texts only."""
        examples = examples if isinstance(examples, (str, Mapping)) else list(examples)
        if self.generation.get("chatTemplate") and any(isinstance(example, Mapping) for example in examples):
            raise NotSupported(
                "In a page, Python has no chat templates to train on pairs with. Give texts, or train in the app's Personalise tab."
            )
        return super().create_trainer(examples, lora, training, store=store)


class PageVectors(InferenceSession):
    """An InferenceSession whose texts become vectors in the SDK's worker. `split` and `count_tokens` are not there."""

    def __init__(self, session):
        self._session, self.dimensions, self.max_tokens = session, session.dimensions, session.maxTokens

    async def embed_batch(self, texts, on_progress=lambda done, total: None) -> np.ndarray:
        """f32 (n, d), rows of length 1, in order; a longer text is split by the SDK. Raises as in CPython."""
        session = self._open()
        if isinstance(texts, str) or not len(texts):
            raise EmptyBatch("embed_batch takes a list of at least one text; one text goes to embed.")
        given = _plain(list(texts))
        found = await answered(lambda signal: session.embedBatch(given, _plain({"signal": signal})))
        on_progress(len(texts), len(texts))
        return np.stack([np.asarray(vector.to_py()) for vector in found])

    def split(self, text, max_tokens=None, overlap=None):
        """Not in a page's Python: the SDK's own `split` answers JavaScript."""
        raise NotSupported("In a page, Python has no split; embed_batch splits long texts by itself.")

    def count_tokens(self, text):
        """Not in a page's Python."""
        raise NotSupported("In a page, Python counts no tokens of an embedding model.")

    def get_memory_info(self) -> dict[str, int]:
        """Bytes, by the JavaScript names."""
        return self._open().getMemoryInfo().to_py()

    async def dispose(self) -> None:
        """Free the model. Safe to call twice."""
        session, self._session = self._session, None
        if session:
            await _end(session)

    def _open(self):
        if self._session is None:
            raise Disposed("This session was disposed. Load the model again.")
        return self._session


async def open_here(name: str, context: int):
    """As `edgenet.open_model` says; a name that ends in .gguf is an address, relative to the page's."""
    source = {"url": name} if name.endswith(".gguf") else name
    wish = {"context": context} if context else {}
    opening = []

    def create(signal):
        opening.append(edgenet_js.InferenceSession.create(_plain(source), _plain({**wish, "signal": signal})))
        return opening[0]

    try:
        session = await answered(create)
    except asyncio.CancelledError:
        asyncio.ensure_future(_given_back(*opening))
        raise
    _OPEN[session.handle] = session
    try:
        return await _language(session) if session.type == "text-generation" else PageVectors(session)
    except BaseException:
        await _end(session)
        raise


async def _given_back(opening) -> None:
    """Dispose of a model that was opened in the moment in which nobody wanted it any more."""
    with suppress(JsException):
        await (await opening).dispose()


async def close_all() -> None:
    """Dispose of every model that is open: a script has ended."""
    for session in list(_OPEN.values()):
        with suppress(JsException):
            await _end(session)


async def _end(session) -> None:
    _OPEN.pop(session.handle, None)
    await session.dispose()


async def _language(session) -> Language:
    header, values, capacity = await _read(session)
    made = compile_gguf(header, capacity, values)
    sha256 = getattr(session.manifest.artifacts.model, "sha256", "")
    tokenizer = TextTokenizer(made.tokenizer, _plain_encoder)
    opened = Opened(
        SessionEngine(session, made.program),
        header,
        made,
        tokenizer,
        values,
        _seed,
        sha256 or "",
        most_rank=MOST_RANK_IN_TAB,
    )
    return PageLanguage(session, opened)


def _seed() -> int:
    return int.from_bytes(BrowserHost().random_bytes(4))


async def _read(session):
    """(header, values, capacity) of the loaded model, by ranges of its files that the worker reads."""

    async def fetch(artifact: str, offset: int, length: int) -> bytes:
        return (await ask(session, "source", ranges=[[artifact, offset, length]])).parts[0].to_bytes()

    about = (await ask(session, "source")).to_py()
    filenames = {artifact: getattr(session.manifest.artifacts, artifact).filename for artifact in about["sizes"]}
    header, values = await read_model(filenames, about["sizes"], fetch)
    return header, values, Capacity(**about["capacity"])


def _plain_encoder(config: dict):
    """`make_plain` of TextTokenizer, by the SDK's tokenizer."""
    tokenizer = edgenet_js.TextTokenizer.new(js.JSON.parse(json.dumps(config)))
    return lambda text: tokenizer.encode(text).to_py()
