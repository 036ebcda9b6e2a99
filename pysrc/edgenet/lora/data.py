"""Rows of tokens to train and to validate on: examples cut, packed, split and put in order, all by the seed alone. Runs anywhere.

A row holds up to `max_length` tokens of one or more sequences, which do not see each other. The rows of any step can be computed from
(seed, step): nothing of the order needs to be kept in a checkpoint.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby

import numpy as np

from ..errors import ExampleTooLong, TooLittleData
from . import draws
from .config import TrainingConfig
from .examples import Tokens

NONE = -1  # a target without loss
MOST_HELD = 64  # rows to validate on


@dataclass(frozen=True)
class Row:
    """What a run is given; all arrays have one entry per token. `weights` f32: 1 where the loss counts; the others i32."""

    tokens: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    positions: np.ndarray
    sequences: np.ndarray  # from 0, those of a sequence together

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def counted(self) -> float:
        """How many tokens count."""
        return float(self.weights.sum())

    @property
    def last_sequence(self) -> int:
        return int(self.sequences[-1])


def join(rows: Sequence[Row]) -> Row:
    """Rows behind one another, their sequences numbered on."""
    first = np.cumsum([0, *(row.last_sequence + 1 for row in rows)])
    columns = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Row)}
    columns["sequences"] = [s + np.int32(n) for s, n in zip(columns["sequences"], first, strict=False)]
    return Row(**{name: np.concatenate(parts) for name, parts in columns.items()})


def segments(tokens: Tokens, length: int, objective: str = "causal", overlap: int = 0) -> list[Row]:
    """An example cut into sequences of at most `length` tokens. Causal: each token foretells the next, across a cut too; masked: each is
    its own target. The first `overlap` tokens of every piece but the first only give context.
    """
    ahead = int(objective == "causal")
    ids, counts = tokens.ids, tokens.counts
    made = []
    for first in range(0, max(len(ids) - ahead - overlap, 1), length - overlap):
        inputs = ids[first : first + length]
        targets, weights = (a[first + ahead : first + ahead + length] for a in (ids, counts))
        inputs = inputs[: len(targets)]
        if made:
            weights = weights & (np.arange(len(weights)) >= overlap)
        if weights.any():
            made.append(_sequence(inputs, targets, weights))
    return made


def _sequence(inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> Row:
    places = np.arange(len(inputs), dtype=np.int32)
    targets = np.where(weights, targets, NONE).astype(np.int32)
    return Row(inputs.astype(np.int32), targets, weights.astype(np.float32), places, np.zeros_like(places))


def pack(sequences: Sequence[Row], length: int) -> list[Row]:
    """Rows of at most `length` tokens: the longest sequences first, each into the first row with room for it."""
    rows: list[list[Row]] = []
    rooms: list[int] = []
    for size, equal in groupby(sorted(sequences, key=len, reverse=True), len):
        at = 0  # the rows before have no room for one of this size
        for one in equal:
            at = next((i for i in range(at, len(rows)) if rooms[i] >= size), len(rows))
            if at == len(rows):
                rows.append([])
                rooms.append(length)
            rows[at].append(one)
            rooms[at] -= size
    return [join(row) for row in rows]


@dataclass(frozen=True)
class Dataset:
    """Rows to train and to validate on, `notices` for the person, and `digest`, the SHA-256 of it all."""

    train: list[Row]
    validation: list[Row]
    examples: int
    notices: tuple[dict, ...]  # {code, message}
    digest: str

    @property
    def sequences(self) -> int:
        """Most sequences in a row."""
        return max(row.last_sequence + 1 for row in (*self.train, *self.validation))

    def batch(self, config: TrainingConfig, draw: int) -> Row:
        """What run number `draw` from 0 trains on: `batch_size` rows. Each epoch sees every row once, in an order of its own."""
        first = draw * config.batch_size
        return join([self._row(config.seed, first + i) for i in range(config.batch_size)])

    def _row(self, seed: int, drawn: int) -> Row:
        epoch, place = divmod(drawn, len(self.train))
        return self.train[draws.permutation(seed, draws.ORDER, epoch, len(self.train))[place]]


def prepare(examples: Sequence[Tokens], config: TrainingConfig) -> Dataset:
    """The rows of examples. What a person should know of them is in its `notices`: texts that were split, a course that little text makes
    shorter, nothing to validate with.

    Raises TooLittleData where nothing counts, ExampleTooLong for a pair that does not fit. Little text is trained on whole.
    """
    length = config.max_length
    _judge(examples, length + int(config.objective == "causal"))
    cut = [segments(tokens, length, config.objective) for tokens in examples]
    train, held = (pack(side, length) for side in _split(cut, config))
    digest = hashlib.sha256()
    for row in (*train, *held):
        for field in fields(Row):
            digest.update(np.ascontiguousarray(getattr(row, field.name)).tobytes())
        digest.update(b"\n")
    return Dataset(train, held, len(examples), tuple(_notices(cut, train, held, config)), digest.hexdigest())


def _notices(cut: list[list[Row]], train: list[Row], held: list[Row], config: TrainingConfig) -> Iterator[dict]:
    """{code, message}; the codes are listed in docs/training.md."""
    if split := sum(len(parts) > 1 for parts in cut):
        yield _notice(
            "texts_split",
            f"{split} of {len(cut)} texts were split: no more than {config.max_length} tokens are looked at together.",
        )
    if config.validation and not held:
        share = f"{100 * config.validation:g} %"
        yield _notice(
            "nothing_validated",
            f"There is too little text to keep {share} of it apart: all of it is trained on, and nothing is validated.",
        )
    if (steps := config.course(len(train)).max_steps) < config.max_steps:
        yield _notice(
            "course_shortened",
            f"There is little text: training takes {steps} of {config.max_steps} steps, so that none of it is read more often than "
            f"max_epochs says ({config.max_epochs}; 0 lifts that).",
        )
    if config.objective == "masked":
        yield _notice(
            "masked_objective",
            "The masked objective teaches a model that sees both ways to fill in what is hidden. EdgeNet itself writes and evaluates "
            "with models that look back only: the adapter is for who runs it both ways.",
        )


def _notice(code: str, message: str) -> dict:
    return {"code": code, "message": message}


def _judge(examples: Sequence[Tokens], most: int) -> None:
    if not examples:
        raise TooLittleData(
            "There is nothing to learn: no example holds text. Give a text, or pairs of input and output."
        )
    for i, tokens in enumerate(examples, 1):
        if tokens.pair and len(tokens.ids) > most:
            place = tokens.place or i
            raise ExampleTooLong(
                f"Example {place}, a pair, has {len(tokens.ids)} tokens; training's rows hold {most}. Shorten it, or raise max_length.",
                example=place,
                tokens=len(tokens.ids),
                most=most,
            )


def _split(cut: list[list[Row]], config: TrainingConfig) -> tuple[list[Row], list[Row]]:
    """(to train, to validate): whole examples are held back where that can be near the share asked for, else pieces of them, and none
    where one is too many: who has little text wants it learned, and by a few tokens the best step is chosen by chance.

    No more than MOST_HELD rows: to validate must not take longer than to train.
    """
    whole = len(cut) * config.validation >= 1
    units = cut if whole else [[piece] for parts in cut for piece in parts]
    count = min(round(len(units) * config.validation), len(units) - 1)
    held: set[int] = set()
    room = MOST_HELD * config.max_length
    for i in draws.permutation(config.seed, draws.VALIDATION, 0, len(units))[:count].tolist():
        if (size := sum(map(len, units[i]))) <= room or not held:
            held.add(i)
            room -= size
    sides: tuple[list[Row], list[Row]] = ([], [])
    for i, parts in enumerate(units):
        sides[i in held].extend(parts)
    return sides


def masked(row: Row, mask: int, probability: float, seed: int, draw: int) -> Row:
    """The row with some of the tokens that count replaced by the token `mask`; only these count. At least one is."""
    chance = np.where(row.weights > 0, draws.uniform(seed, draws.MASK, draw, len(row)), np.float32(2))
    chosen = chance < max(probability, chance.min() + np.float32(2**-24))
    return Row(
        np.where(chosen, np.int32(mask), row.tokens),
        np.where(chosen, row.targets, np.int32(NONE)),
        chosen.astype(np.float32),
        row.positions,
        row.sequences,
    )
