"""Opens the small models of tools/oracles and runs prompts through an engine: many sequences at once, each in pieces. CPython."""

import asyncio
import base64
import json
from functools import cache
from pathlib import Path

import numpy as np

from edgenet.formats.gguf import Header, read_header
from edgenet.formats.gguf_write import Tensor
from edgenet.graph import Capacity
from edgenet.models import build
from edgenet.models.compiled import compile_gguf, default_capacity, read_values
from tools.gguf_file import file_pieces
from tools.oracles.small_models import ENCODERS, MODELS, PROMPTS, ROWS, vocabulary

FOLDER = Path(__file__).parents[1] / "vectors" / "models"
CONTEXT, PAGE = 128, 16
TURN = 7  # rows of one sequence before the next one's come
TEXT_ENCODERS = [name for name, small in MODELS.items() if small.architecture in ENCODERS]
MIXED = [name for name, small in MODELS.items() if small.mixed]  # of types of their own
DECODERS = [name for name in MODELS if name not in TEXT_ENCODERS + MIXED]


def header_of(data: bytes) -> Header:
    return read_header(lambda offset, length: data[offset : offset + length], len(data))


class SmallModel:
    """A small model as a file with matrices of type `kind`, compiled for less at once than the prompts need."""

    def __init__(self, name: str, kind: str, kv: str = "f32"):
        small = MODELS[name]
        ready = {n: Tensor(n, k, small.shapes()[n], raw) for n, (k, raw) in small.blocks().items()}
        arrays = small.tensors() | ready
        self.data = b"".join(file_pieces(small.metadata | vocabulary(small), arrays, kind))
        self.header = header_of(self.data)
        values = read_values(self.header, lambda part, offset, length: self.data[offset : offset + length])
        decoding = Capacity(rows=13, wanted=4, sequences=len(PROMPTS), context=CONTEXT, page=PAGE, kv=kv, sample=False)
        self.capacity = decoding if name not in TEXT_ENCODERS else default_capacity(self.header)
        self.graph = build(self.header, values, CONTEXT)
        self.program = compile_gguf(self.header, self.capacity, values).program
        self._places = {w.name: w for w in self.program.weights}

    def weights(self, name: str) -> tuple[str, bytes]:
        """(type, bytes) of a weight, cut from the file where the Program says it lies."""
        found = self._places[name]
        return found.type, self.data[found.offset : found.offset + found.bytes]


opened = cache(SmallModel)


def pieces() -> list[list[tuple[int, int, int]]]:
    """Runs of at most 13 rows (token, position, sequence), turn by turn, none with more than 4 rows whose output is compared."""
    rows = [(token, i, s) for s, prompt in enumerate(PROMPTS) for i, token in enumerate(prompt)]
    rows.sort(key=lambda row: (row[1] // TURN, row[2], row[1]))
    runs: list[list[tuple[int, int, int]]] = [[]]
    for row in rows:
        if len(runs[-1]) == 13 or (is_compared(row) and sum(map(is_compared, runs[-1])) == 4):
            runs.append([])
        runs[-1].append(row)
    return runs


def is_compared(row: tuple[int, int, int]) -> bool:
    return row[1] >= len(PROMPTS[row[2]]) - ROWS


async def run(engine, rows: list[tuple[int, int, int]], wanted: list[int]) -> None:
    for name, values in zip(("tokens", "positions", "sequences"), zip(*rows, strict=True), strict=True):
        await engine.write(name, np.array(values, np.int32))
    await engine.write("wanted", np.array(wanted, np.int32))
    await engine.run(n=len(rows), m=len(wanted), s=len(PROMPTS))


async def give_pages(engine, capacity: Capacity) -> None:
    """Every sequence owns pages of its own, not in order: what lies where must not matter."""
    pages = np.random.default_rng(1).permutation(capacity.pages).astype(np.int32)
    await engine.write("pages", pages.reshape(capacity.sequences, -1))


def logits(engine, what, model: SmallModel) -> list[np.ndarray]:
    """The last ROWS rows of logits of each prompt, all prompts running together. `what`: the graph or the Program."""

    async def all_runs():
        await engine.load(what, model.weights)
        await give_pages(engine, model.capacity)
        found = {}
        for rows in pieces():
            wanted = [i for i, row in enumerate(rows) if is_compared(row)]
            await run(engine, rows, wanted)
            for i, values in zip(wanted, await engine.read("logits"), strict=True):
                found[rows[i][2], rows[i][1]] = values
        return [np.stack([found[s, len(p) - ROWS + i] for i in range(ROWS)]) for s, p in enumerate(PROMPTS)]

    return asyncio.run(all_runs())


def greedy(engine, model: SmallModel, count: int) -> list[int]:
    """The likeliest tokens after the first prompt, one by one."""

    async def all_runs():
        await engine.load(model.program, model.weights)
        await give_pages(engine, model.capacity)
        tokens, past, feed = [], 0, PROMPTS[0]
        while len(tokens) < count:
            await run(engine, [(token, past + i, 0) for i, token in enumerate(feed)], [len(feed) - 1])
            tokens.append(int((await engine.read("logits"))[0].argmax()))
            past, feed = past + len(feed), tokens[-1:]
        return tokens

    return asyncio.run(all_runs())


def vectors(engine, what, model: SmallModel) -> np.ndarray:
    """The unit vectors of all prompts, packed into one run."""

    async def one_run():
        await engine.load(what, model.weights)
        rows = [(token, i, s) for s, prompt in enumerate(PROMPTS) for i, token in enumerate(prompt)]
        for name, values in zip(("tokens", "positions", "sequences"), zip(*rows, strict=True), strict=True):
            await engine.write(name, np.array(values, np.int32))
        await engine.run(n=len(rows), m=0, s=len(PROMPTS))
        return await engine.read("embedding")

    return asyncio.run(one_run())


@cache
def recorded(name: str) -> dict:
    """The committed answers of the oracles."""
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


def unpacked(text: str, *shape: int) -> np.ndarray:
    """f32 numbers of a recorded answer."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(*shape)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = np.ravel(a).astype(np.float64), np.ravel(b).astype(np.float64)
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
