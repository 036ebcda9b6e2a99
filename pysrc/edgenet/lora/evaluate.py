"""How well a model foretells texts, with an adapter or without: loss, perplexity, bits per byte. Needs NumPy; runs anywhere."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ..errors import TooLittleData
from ..models.training import sites_of, training_programs
from ..run import Engine
from .adapter import Adapter
from .bound import bind
from .config import LoraConfig
from .curve import perplexity
from .data import Row, pack, segments
from .examples import Tokens
from .runs import losses

LENGTH = 512  # tokens a window sees; half of them it only sees as context


@dataclass(frozen=True)
class Evaluation:
    """`nats`: the sum of losses over `tokens`, which stand for `size` bytes of UTF-8."""

    nats: float
    tokens: int
    size: int

    @property
    def loss(self) -> float:
        """Nats a token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        return perplexity(self.loss)

    @property
    def bits_per_byte(self) -> float:
        """Does not depend on the tokenizer. Infinite for tokens of which nobody told what text they are."""
        return self.nats / math.log(2) / self.size if self.size else math.inf

    def to_data(self) -> dict:
        """As JSON data."""
        return {
            "loss": self.loss,
            "perplexity": self.perplexity,
            "bitsPerByte": self.bits_per_byte,
            "tokens": self.tokens,
            "bytes": self.size,
        }


def windows(examples: Iterable[Tokens], length: int) -> list[Row]:
    """Rows of at most `length` tokens, in which every token counts once and, but for the beginning of a text, sees length / 2 before it."""
    return pack(list(chain.from_iterable(segments(tokens, length, overlap=length // 2) for tokens in examples)), length)


class Evaluator:
    """An engine, which holds the model already, made ready to evaluate: without an adapter, or with each of some in turn.

    `model`: the GGUF header; `values`, `dots`: as `training_programs` takes them. Any adapter must have the sites of `like`.
    """

    def __init__(
        self,
        engine: Engine,
        model,
        *,
        like: Adapter | None = None,
        length: int = LENGTH,
        values=None,
        dots: str = "int8",
    ):
        context = model.metadata.get(f"{model.architecture}.context_length", length)
        self._engine, self._model, self.length = engine, model, min(length, context)
        self._lora = _plain(model, like)
        made = training_programs(
            model, self._lora, rows=self.length, sequences=self.length, dots=dots, values=values, dropout=0.0
        )
        self._program, self._count = made.programs["evaluate"], made.parameters

    async def __aenter__(self) -> Evaluator:
        await self._engine.add({"evaluation": self._program})
        return self

    async def __aexit__(self, *_) -> None:
        await self._engine.drop(["evaluation"])

    async def evaluate(
        self,
        examples: Sequence[Tokens],
        adapter: Adapter | None = None,
        show: Callable[[int, int], None] = lambda done, of: None,
    ) -> Evaluation:
        """What the examples cost; `show` is told how many windows of how many are done. Raises TooLittleData, AdapterMismatch."""
        if not examples:
            raise TooLittleData("There is nothing to evaluate: no example holds text.")
        await self._engine.write("parameters", self._flat(adapter), program="evaluation")
        rows, nats, counted = windows(examples, self.length), 0.0, 0.0
        for done, row in enumerate(rows):
            show(done, len(rows))
            await asyncio.sleep(0)  # an engine of this process never suspends: here whoever wants to stop is heard
            nats += await losses(self._engine, row, "evaluation")
            counted += row.counted
        show(len(rows), len(rows))
        return Evaluation(nats, int(counted), sum(tokens.size for tokens in examples))

    def _flat(self, adapter: Adapter | None) -> np.ndarray:
        """The flat state (count,): the adapter's factors with the scale in B, zeros where it has none."""
        flat = np.zeros(self._count, np.float32)
        factors = {site: (A, B) for site, A, B in bind(adapter, self._model)} if adapter else {}
        for site in sites_of(self._model, self._lora):
            if site.site in factors:
                A, B = factors[site.site]
                wide = np.zeros((site.out, site.rank), np.float32)  # its own rank may be lower: the rest stays zero
                wide[:, : B.shape[1]] = B
                flat[site.a : site.a + A.size] = A.ravel()
                flat[site.b : site.b + wide.size] = wide.ravel()
        return flat


def _plain(model, adapter: Adapter | None) -> LoraConfig:
    """A configuration with room for the adapter at every site of its modules, and a scale of 1, for `bind` puts the scale into B."""
    if adapter is None:
        return LoraConfig(r=1, lora_alpha=1)
    rank = max(len(A) for A, _ in adapter.tensors.values())
    return replace(LoraConfig(r=rank, lora_alpha=rank), target_modules=tuple(adapter.modules))
