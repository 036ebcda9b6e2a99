"""LanguageSession: a person's handle on a loaded language model in Python; names as in the JavaScript SDK. Runs anywhere.

The decode loop of Python hosts: one conversation at a time, a prompt that begins like the last one keeps its K and V. Engine and tokenizer
are passed in.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from .errors import ContextFull, Disposed, EmptyText, InvalidOption, KernelTrap, NotSupported, OutputNotFinite
from .graph import Program
from .kernels.codes import INVALID_INPUT
from .run import Engine
from .run.adapters import ADAPTED, Choice, EngineAdapters
from .text.encode import TextTokenizer
from .text.sampling import HISTORY, WORDS, Sampling
from .text.stops import StopSequences


@dataclass
class Answer:
    """What was generated. `reason`: "stop" (the model or a stop sequence ended it), "length" or "context"; times in seconds."""

    seed: int
    prompt_tokens: int
    cached_tokens: int = 0
    text: str = ""
    tokens: list[int] = field(default_factory=list)
    reason: str | None = None
    prefill_s: float = 0.0
    decode_s: float = 0.0


class LanguageSession:
    """Generates text with a Program that samples. `random_seed()` gives a seed where the caller names none. `adapters`: of the engine.

    Trap: one call at a time; start the next when the stream has ended or was closed.
    """

    def __init__(
        self,
        engine: Engine,
        program: Program,
        tokenizer: TextTokenizer,
        generation: dict,
        random_seed: Callable[[], int],
        adapters: EngineAdapters | None = None,
    ):
        self._engine: Engine | None = engine
        self.capacity, self.generation, self.tokenizer = program.capacity, generation, tokenizer
        self.context = min(self.capacity.context, self.capacity.pages * self.capacity.page)  # a cache may be smaller
        self.vocabulary = program.buffer("logits").shape[1]
        self._random_seed = random_seed
        self._adapters, self._used = adapters, {}
        self._kept: list[int] = []  # tokens whose K and V are in the cache
        self._kept_with: dict[str, float] = {}  # adapters that they were computed with
        self.last: Answer | None = None
        self._tables = np.arange(self.capacity.max_pages, dtype=np.int32)[None]

    async def generate(self, prompt, **options) -> str:
        """The whole answer; see `stream`."""
        return "".join([piece async for piece in self.stream(prompt, **options)])

    async def chat(self, messages: Sequence[dict], **options) -> str:
        """The answer to `[{"role", "content"}, …]`. Raises NoChatTemplate where the model only goes on with texts."""
        return await self.generate(self.tokens_of(messages), **options)

    # --- adapters
    async def load_adapter(self, adapter, id: str | None = None) -> str:  # noqa: A002
        """Take an `Adapter` of this model under an id, its own name if none is given; answer the id. Nothing runs with it until `use`, or
        a request's `adapters`, names it. Raises AdapterMismatch, AdapterPoolFull, NotSupported.
        """
        name = await self._loaded().load(adapter, id)
        self._forget(name)
        return name

    def unload_adapter(self, id: str) -> None:  # noqa: A002
        """Forget an adapter. Raises AdapterNotFound."""
        self._loaded().unload(id)
        self._forget(id)
        self._used.pop(id, None)

    def use(self, adapters: Choice) -> None:
        """What requests run with that name no `adapters`: an id, several, or {id: scale}; None for none. Raises AdapterNotFound."""
        self._used = self._loaded().choice(adapters)

    def _loaded(self) -> EngineAdapters:
        self._open()
        if self._adapters is None:
            raise NotSupported("This session was opened without a place for adapters.")
        return self._adapters

    def _forget(self, name: str) -> None:
        if name in self._kept_with:  # another may take the name
            self.clear_kv_cache()

    def tokens_of(self, prompt: str | Sequence) -> list[int]:
        """The tokens of a text, of messages, or tokens themselves. Raises EmptyText, InvalidOption for a number that is no token of
        the model, and as `tokenize_chat` does.
        """
        if isinstance(prompt, str):
            bos, wanted = self.generation["bos"], self.generation["addBos"]
            ids = [*([bos] if wanted and bos is not None else []), *self.tokenizer.encode(prompt)]
        elif prompt and isinstance(prompt[0], dict):
            from .text.chat import Chat, tokenize_chat  # needs jinja2, which completion does not

            ids = tokenize_chat(self.tokenizer, self.generation, Chat(prompt))
        else:
            ids = [int(i) for i in prompt]
        if not ids:
            raise EmptyText("The prompt is empty. Give it at least a word.")
        if (wrong := next((i for i in ids if not 0 <= i < self.vocabulary), None)) is not None:
            raise InvalidOption(f"The token {wrong} is not one of the model's {self.vocabulary}.", option="tokens")
        return ids

    async def stream(self, prompt, *, adapters: Choice = None, **options) -> AsyncIterator[str]:
        """Pieces of the answer as they are known, never a broken character; figures in `last`. Options: the fields of `Sampling`;
        `adapters` in place of those of `use`, `()` for none.

        Raises InvalidOption, EmptyText, ContextFull, OutputNotFinite, Disposed, AdapterNotFound.
        """
        if unknown := set(options) - set(Sampling.__dataclass_fields__):
            raise InvalidOption(
                f"There is no option {min(unknown)!r}. Options: {', '.join(Sampling.__dataclass_fields__)}."
            )
        sampling = Sampling(**{"seed": self._random_seed(), **options})
        stops = StopSequences([*sampling.stop_sequences, *self.generation["stop"]])
        text = self.tokenizer.stream()
        self.last = answer = Answer(sampling.seed, 0)
        self._with(self._used if adapters is None else self._loaded().choice(adapters))
        async for token in self._draw(self.tokens_of(prompt), sampling, answer):
            if piece := stops.push(text.push(token)):
                answer.text += piece
                yield piece
            if stops.found is not None:
                answer.reason = "stop"
                break
        if rest := stops.push(text.end()) + stops.end():
            answer.text += rest
            yield rest

    async def _draw(self, tokens: list[int], sampling: Sampling, answer: Answer) -> AsyncIterator[int]:
        """Tokens one by one; says in `answer` why it ended."""
        if len(tokens) > self.context:
            text = f"The prompt has {len(tokens)} tokens, the context holds {self.context}. Shorten it."
            raise ContextFull(text, tokens=len(tokens), context=self.context)
        answer.prompt_tokens = len(tokens)
        answer.cached_tokens = done = self._begin(tokens)
        start = time.perf_counter()
        while answer.reason is None:
            token = await self._step(tokens, done, sampling, len(answer.tokens))
            done = len(tokens)
            spent = time.perf_counter() - start
            if not answer.tokens:
                answer.prefill_s = spent
            answer.decode_s = spent - answer.prefill_s
            if token in self.generation["eos"]:
                answer.reason = "stop"
                return
            tokens = [*tokens, token]
            answer.tokens.append(token)
            yield token
            if len(answer.tokens) == sampling.max_tokens:
                answer.reason = "length"
            elif len(tokens) > self.context:
                answer.reason = "context"

    def _with(self, adapters: dict[str, float]) -> None:
        """What the next runs are computed with; nothing that was computed with others is believed."""
        if adapters != self._kept_with:
            self._kept, self._kept_with = [], adapters

    def _begin(self, tokens: list[int]) -> int:
        """How many leading tokens need no work: those of the last run's, but never the last, whose logits are wanted."""
        same = next(
            (i for i, (a, b) in enumerate(zip(tokens, self._kept, strict=False)) if a != b),
            min(len(tokens), len(self._kept)),
        )
        return min(same, len(tokens) - 1)

    async def _step(self, tokens: list[int], done: int, sampling: Sampling, drawn: int) -> int:
        """Compute tokens[done:] in runs of at most `rows`, and draw the next."""
        engine = self._open()
        words, history = sampling.row(drawn, tokens)
        padded = np.zeros((1, HISTORY), np.int32)
        padded[0, : len(history)] = history
        await engine.write("pages", self._tables, self._program)
        await engine.write("sampling", np.frombuffer(words, "<u4").reshape(1, WORDS), self._program)
        await engine.write("history", padded, self._program)
        for first in range(done, len(tokens), self.capacity.rows):
            chunk = tokens[first : first + self.capacity.rows]
            await self._run(engine, chunk, first, last=first + len(chunk) == len(tokens))
            self._kept = tokens[: first + len(chunk)]
        return int((await engine.read("picked", self._program))[0])

    @property
    def _program(self) -> str | None:
        """Which of the engine's Programs runs."""
        return ADAPTED if self._kept_with else None

    async def _run(self, engine: Engine, chunk: list[int], first: int, last: bool) -> None:
        self._kept = self._kept[:first]  # what a run that fails half-way leaves is not believed
        await engine.write("tokens", np.array(chunk, np.int32), self._program)
        await engine.write("positions", np.arange(first, first + len(chunk), dtype=np.int32), self._program)
        await engine.write("sequences", np.zeros(len(chunk), np.int32), self._program)
        await engine.write("wanted", np.array([len(chunk) - 1], np.int32), self._program)
        if self._kept_with:
            await self._loaded().mix(self._kept_with, len(chunk))
        await asyncio.sleep(0)  # an engine of this process never suspends: here whoever wants to stop is heard
        try:
            await engine.run(self._program, n=len(chunk), m=int(last))
        except KernelTrap as trap:
            if trap.details.get("returned") != INVALID_INPUT:
                raise
            raise OutputNotFinite(  # tokens and positions were checked here: what is left are logits
                "With these adapters and scales the model gives numbers that are not finite. Lower the scales."
                if self._kept_with
                else "The model gave numbers that are not finite. Load it again; if it goes on, its file is damaged."
            ) from trap

    def clear_kv_cache(self) -> None:
        """Forget the last prompt; the next one is computed whole."""
        self._kept = []

    async def dispose(self) -> None:
        """Free the engine. Safe to call twice."""
        engine, self._engine = self._engine, None
        if engine:
            await engine.dispose()

    def _open(self) -> Engine:
        if self._engine is None:
            raise Disposed("This session was disposed. Load the model again.")
        return self._engine
