"""An embedding model compiled to a Program, on the engine in wasmtime: the CPython side of `session.TextModel`. Not for Pyodide."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from ..errors import NotSupported
from ..models.compiled import Compiled
from ..run.face import Weights
from .tokenizer import text_tokenizer
from .wasmtime_engine import WasmtimeRuntime
from .wasmtime_lm import WasmtimeLm


class ProgramModel:
    """Implements `session.TextModel`. `made`: what a GGUF header compiles to; `module`: the engine build.

    Special tokens that a text spells out count as such, as with `OnnxModel`.
    """

    def __init__(self, made: Compiled, module: bytes):
        widths = [b.shape[1] for b in made.program.buffers if b.name == "embedding"]
        if not widths:
            raise NotSupported(f"{made.program.name} gives no vectors: it generates text. Use `run`.")
        capacity = made.program.capacity
        self.dimensions, self.max_tokens = widths[0], min(capacity.rows, capacity.context)
        self.memory_bytes = made.memory["total"]
        self._program, self._tokenizer = made.program, text_tokenizer(made.tokenizer)
        self._runtime = WasmtimeRuntime()
        self._engine = WasmtimeLm(self._runtime, module)
        self.count_unit = lru_cache(20_000)(self._count_unit)

    async def load(self, weights: Weights) -> None:
        """Take the weights. Raises ModelTooLarge, WrongLength, ModelInvalid."""
        await self._engine.load(self._program, weights)

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, special=True, around=True)

    def _count_unit(self, unit: str) -> int:
        return self._tokenizer.count_tokens(unit, special=True)

    async def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The engine takes no padding: what the mask leaves out is never computed. Raises KernelTrap."""
        texts = [row[kept == 1] for row, kept in zip(ids, mask, strict=True)]
        return np.concatenate([await self._embed(batch) for batch in self._batches(texts)])

    def _batches(self, texts: list[np.ndarray]) -> Iterator[list[np.ndarray]]:
        """Texts in order, as many at once as one run takes."""
        capacity, batch = self._program.capacity, []
        for text in texts:
            if len(batch) == capacity.sequences or sum(map(len, batch)) + len(text) > capacity.rows:
                yield batch
                batch = []
            batch.append(text)
        yield batch

    async def _embed(self, texts: list[np.ndarray]) -> np.ndarray:
        lengths = [len(text) for text in texts]
        rows = {
            "tokens": np.concatenate(texts),
            "positions": np.concatenate([np.arange(n) for n in lengths]),
            "sequences": np.repeat(np.arange(len(texts)), lengths),
        }
        for name, values in rows.items():
            await self._engine.write(name, values.astype(np.int32))
        await self._engine.run(n=sum(lengths), m=0, s=len(texts))
        return await self._engine.read("embedding")

    async def close(self) -> None:
        await self._engine.dispose()
        self._runtime.close()
