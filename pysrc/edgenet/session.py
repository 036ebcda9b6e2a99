"""InferenceSession: a person's handle on a loaded embedding model; names as in the JavaScript SDK. Runs anywhere.

It opens no file and imports no runtime: the model is passed in.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from .errors import Disposed, EmptyBatch, EmptyText, NotText, OutputNotFinite
from .text import MAX_TOKENS, Passage, split
from .text.batching import Batch, plan_batches


class TextModel(Protocol):
    """What a session needs of a host: a tokenizer and an encoder (`host/onnx.py` in CPython)."""

    dimensions: int
    max_tokens: int
    memory_bytes: int

    def encode(self, text: str) -> list[int]:
        """Token ids with [CLS] and [SEP], never cut."""

    def count_unit(self, unit: str) -> int:
        """Tokens of one unit of `text.split`, without [CLS] and [SEP]."""

    async def run(self, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """ids, mask i32 (batch, tokens) -> f32 (batch, d), rows of length 1."""

    async def close(self) -> None:
        """Free the model."""


class InferenceSession:
    """Texts to unit vectors. A text longer than the model reads is split and its vector is the mean of its passages'.

    Calls are coroutines and can be cancelled between batches; `dispose` frees the model.
    """

    def __init__(self, model: TextModel):
        self._model: TextModel | None = model
        self.dimensions = model.dimensions
        self.max_tokens = min(model.max_tokens, MAX_TOKENS)

    async def embed(self, text: str) -> np.ndarray:
        """One vector f32 (d,) of length 1."""
        return (await self.embed_batch([text]))[0]

    async def embed_batch(
        self, texts: Sequence[str], on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> np.ndarray:
        """f32 (n, d), rows of length 1, in order. `on_progress(done, total)` counts tokens.

        Raises EmptyBatch, EmptyText, NotText, OutputNotFinite, Disposed.
        """
        model = self._open()
        _check(texts)
        pieces = [(i, ids) for i, text in enumerate(texts) for ids in self._pieces(text)]
        done, total = 0, sum(len(ids) for _, ids in pieces)
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        for batch in plan_batches([len(ids) for _, ids in pieces]):
            group = [pieces[row] for row in batch.rows]
            vectors = await model.run(*_padded(group, batch))
            for (i, ids), vector in zip(group, vectors, strict=True):
                sums[i] += len(ids) * vector
            done += sum(len(ids) for _, ids in group)
            on_progress(done, total)
            await asyncio.sleep(0)
        return _unit(sums)

    async def similarity(self, a: str, b: str) -> float:
        """Cosine of two texts, -1 to 1."""
        x, y = await self.embed_batch([a, b])
        return float(x @ y)

    def split(self, text: str, max_tokens: int | None = None, overlap: int | None = None) -> list[Passage]:
        """Passages that fit the model. Raises EmptyText, InvalidOption."""
        return split(text, self._open().count_unit, max_tokens or self.max_tokens, overlap)

    def count_tokens(self, text: str) -> int:
        """Tokens with the model's own marks; not split."""
        return len(self._open().encode(text))

    def get_memory_info(self) -> dict[str, int]:
        """Bytes, by the JavaScript names."""
        return {"modelBytes": self._open().memory_bytes, "wasmBytes": 0, "indexBytes": 0, "kvCacheBytes": 0}

    async def dispose(self) -> None:
        """Free the model. Safe to call twice."""
        model, self._model = self._model, None
        if model:
            await model.close()

    def _open(self) -> TextModel:
        if self._model is None:
            raise Disposed("This session was disposed. Load the model again.")
        return self._model

    def _pieces(self, text: str) -> list[list[int]]:
        ids = self._open().encode(text)
        if len(ids) <= self.max_tokens:
            return [ids]
        return [self._open().encode(passage.text) for passage in self.split(text, overlap=0)]


def _check(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise NotText("embed_batch takes a list of texts; one text goes to embed.")
    if not len(texts):
        raise EmptyBatch("There are no texts to embed. Give a list with at least one.")
    for item, text in enumerate(texts):
        if not isinstance(text, str):
            raise NotText(f"A text must be a string; item {item} is {type(text).__name__}.", item=item)
        if not text.strip():
            raise EmptyText(
                f"Text {item} is empty or only white space; it has no meaning to embed. Leave it out.", item=item
            )


def _padded(group: list[tuple[int, list[int]]], batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """ids and mask i32 (rows, length); padding is id 0 with mask 0."""
    ids, mask = np.zeros((2, len(group), batch.length), np.int32)
    for row, (_, tokens) in enumerate(group):
        ids[row, : len(tokens)], mask[row, : len(tokens)] = tokens, 1
    return ids, mask


def _unit(sums: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    bad = np.flatnonzero(~np.isfinite(norms[:, 0]) | (norms[:, 0] == 0))
    if len(bad):
        raise OutputNotFinite(
            f"The model's vector for text {bad[0]} is not a finite direction. Verify the model's files; "
            "if they are whole, the model cannot read this text.",
            item=int(bad[0]),
        )
    return sums / norms
