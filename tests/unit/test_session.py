"""InferenceSession over a tiny model made here: order, long texts, refusals. Runs in CPython and Pyodide."""

import asyncio

import numpy as np
import pytest

from edgenet.errors import Disposed, EmptyBatch, EmptyText, NotText, OutputNotFinite
from edgenet.session import InferenceSession


class Letters:
    """A token per word; a text's vector counts its tokens by their number modulo 8."""

    dimensions, max_tokens, memory_bytes = 8, 32, 1

    def __init__(self):
        self.runs, self.closed, self.broken = [], 0, False

    def encode(self, text):
        return [1, *(len(word) for word in text.split()), 2]

    def count_unit(self, unit):
        return 1

    async def run(self, ids, mask):
        self.runs.append(ids.shape)
        counts = np.stack([((ids % 8 == k) * mask).sum(1) for k in range(8)], axis=1).astype(np.float32)
        return np.full_like(counts, np.nan) if self.broken else counts / np.linalg.norm(counts, axis=1, keepdims=True)

    async def close(self):
        self.closed += 1


@pytest.fixture
def model():
    return Letters()


def run(coroutine):
    return asyncio.run(coroutine)


def test_vectors_come_in_the_order_of_the_texts_and_alone_are_the_same(model):
    texts = ["abc " * n for n in (9, 1, 20, 4)] + ["de fgh"]
    together = run(InferenceSession(model).embed_batch(texts))
    alone = [run(InferenceSession(model).embed(text)) for text in texts]
    assert (
        together.shape == (5, 8) and np.allclose(together, alone) and np.allclose(np.linalg.norm(together, axis=1), 1)
    )


def test_a_long_text_is_split_and_every_word_counts(model):
    run(InferenceSession(model).embed("abc " * 100 + "abcdef " * 100))
    assert sum(rows for rows, _ in model.runs) >= 7 and all(length <= 32 for _, length in model.runs)


def test_similarity_is_the_cosine(model):
    assert run(InferenceSession(model).similarity("abc", "abc")) == pytest.approx(1)


def test_progress_ends_at_the_total(model):
    seen = []
    run(InferenceSession(model).embed_batch(["abc"] * 400, lambda *at: seen.append(at)))
    assert seen[-1] == (1200, 1200) and seen == sorted(seen)


@pytest.mark.parametrize(
    "texts, error",
    [([], EmptyBatch), ([" \n"], EmptyText), (["a", 3], NotText), ("abc", NotText)],
    ids=["no texts", "white space", "a number", "one string instead of a list"],
)
def test_what_cannot_be_embedded_is_refused_by_name(model, texts, error):
    with pytest.raises(error):
        run(InferenceSession(model).embed_batch(texts))


def test_nan_from_the_model_is_an_error_that_names_the_text(model):
    model.broken = True
    with pytest.raises(OutputNotFinite, match="text 0"):
        run(InferenceSession(model).embed("abc"))


def test_a_disposed_session_says_so_and_frees_once(model):
    session = InferenceSession(model)
    run(session.dispose())
    run(session.dispose())
    assert model.closed == 1
    with pytest.raises(Disposed):
        run(session.embed("abc"))


def test_a_cancel_is_heard_between_batches(model):
    async def cancelled():
        task = asyncio.create_task(InferenceSession(model).embed_batch(["abc " * 28] * 400))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(cancelled())
    assert len(model.runs) <= 2
