"""Trainings that a page keeps: what is trained on, how far it came, the last checkpoint. Needs NumPy; runs anywhere.

A run is three entries of a storage, the record last and first to go: it is there whole or not at all. The checkpoint alone decides where
training goes on; the record only tells of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO

import numpy as np

from ..errors import CheckpointInvalid, InvalidOption, NotFound, StorageError
from ..lora.config import DEFAULT_PRESET, MOST_RANK_IN_TAB, PRESETS, LoraConfig, TrainingConfig, require_rank
from ..lora.curve import Point, ends
from ..lora.examples import Tokens
from ..options import python_names

RECORD, TOKENS, CHECKPOINT = ".json", ".tokens", ".checkpoint"


def configured(preset: str | None, lora: dict | None, training: dict | None) -> tuple[LoraConfig, TrainingConfig]:
    """A preset with what was chosen otherwise, names in either language's style. Raises InvalidOption, InvalidRank, UnknownTargetModule."""
    name = preset or DEFAULT_PRESET
    if not isinstance(name, str) or name not in PRESETS:
        raise InvalidOption(f"There is no preset {name!r:.80}. Presets: {', '.join(PRESETS)}.", option="preset")
    given, known = python_names(lora or {}), asdict(PRESETS[name].lora)
    if unknown := sorted(set(given) - set(known)):
        raise InvalidOption(f"LoRA has no option {unknown[0]!r}. Options: {', '.join(known)}.", option=unknown[0])
    chosen = known | given
    require_rank(chosen["r"], MOST_RANK_IN_TAB)  # before the configuration tells of the CLI's most
    chosen = LoraConfig(**chosen).check_rank(MOST_RANK_IN_TAB)
    return chosen, TrainingConfig.from_data(asdict(PRESETS[name].training) | python_names(training or {}))


@dataclass(frozen=True)
class Run:
    """`losses`, `validations`: [(step, loss)]; `state`: "stopped" or "done"; `sample`: passages of what is trained on."""

    id: str
    name: str
    model: str  # its id and version
    created: str
    lora: LoraConfig
    training: TrainingConfig
    state: str = "stopped"
    step: int = 0
    samples: int = 0
    sample: Sequence[str] = ()
    speed: float = 0.0  # tokens a second
    pace: float = 0.0  # seconds a step
    losses: list[Point] = field(default_factory=list)
    validations: list[Point] = field(default_factory=list)

    def until(self, step: int, judged: int | None) -> Run:
        """As a Trainer goes on with it: from a checkpoint, with its validations, the last of them after the step `judged`."""
        losses = [point for point in self.losses if point[0] <= step]
        validations = [point for point in self.validations if judged is not None and point[0] <= judged]
        return replace(self, step=step, losses=losses, validations=validations)

    @property
    def metrics(self) -> dict:
        """JSON data."""
        before, after = ends(self.losses, self.validations)
        points = {name: [{"step": s, "loss": v} for s, v in getattr(self, name)] for name in ("losses", "validations")}
        return {
            "steps": self.step,
            "lossBefore": before,
            "lossAfter": after,
            **points,
            "samples": self.samples,
            "tokensPerSecond": self.speed,
            "secondsPerStep": self.pace,
        }

    def to_bytes(self) -> bytes:
        """The record, whose names are the page's: it reads it without Python."""
        data = {name: getattr(self, name) for name in ("id", "name", "model", "created", "state", "step", "sample")}
        data |= {"steps": self.training.max_steps, "metrics": self.metrics}
        return json.dumps(data | {"lora": asdict(self.lora), "training": asdict(self.training)}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Run:
        """Raises CheckpointInvalid."""
        try:
            told = json.loads(data)
            metrics = told["metrics"]
            points = {n: [(p["step"], p["loss"]) for p in metrics[n]] for n in ("losses", "validations")}
            configs = {"lora": LoraConfig(**told["lora"]), "training": TrainingConfig(**told["training"])}
            kept = {name: told[name] for name in ("id", "name", "model", "created", "state", "step")}
            figures = {"samples": metrics["samples"], "speed": metrics["tokensPerSecond"]}
            figures["pace"] = metrics.get("secondsPerStep", 0.0)  # records of before do not have it
            return cls(**kept, **configs, **points, **figures, sample=told.get("sample", ()))
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointInvalid(f"What is kept of a training cannot be read ({error}). Begin it anew.") from error


class Runs:
    """The runs in a storage (`host.base.Storage`)."""

    def __init__(self, storage):
        self._storage = storage

    async def begin(self, run: Run, tokens: Sequence[Tokens]) -> None:
        """Keep a new run; one of the same id goes with its checkpoint. Raises a StorageError, and then nothing is kept of either."""
        await self.remove(run.id)
        try:
            await self._storage.put(run.id + TOKENS, tokens_to_bytes(tokens))
            await self.put(run)
        except StorageError:
            await self.remove(run.id)
            raise

    async def put(self, run: Run) -> None:
        await self._storage.put(run.id + RECORD, run.to_bytes())

    async def get(self, id: str) -> tuple[Run, list[Tokens]]:
        """Raises NotFound, CheckpointInvalid."""
        run, tokens = await self.find(id), await self._storage.get(id + TOKENS)
        if run is None or tokens is None:
            raise NotFound(f"No training {id[:80]!r} is kept here. Begin it with data.", id=id[:200])
        return run, tokens_from_bytes(tokens)

    async def find(self, id: str) -> Run | None:
        """What is told of a run, if it is kept. Raises CheckpointInvalid."""
        record = await self._storage.get(id + RECORD)
        return None if record is None else Run.from_bytes(record)

    async def remove(self, id: str) -> None:
        """Forget a run; one that is not there is no error."""
        for end in (RECORD, CHECKPOINT, TOKENS):
            await self._storage.delete(id + end)

    def checkpoint(self, id: str, failed: Callable[[StorageError], None]) -> RunStore:
        """Where the Trainer keeps a run's checkpoint."""
        return RunStore(self._storage, id + CHECKPOINT, failed)


@dataclass
class RunStore:
    """`lora.checkpoint.Store` of one run. A checkpoint that cannot be kept ends no training: `failed(error)` is told.

    `kept`: whether the latest is in storage.
    """

    storage: object  # host.base.Storage
    name: str
    failed: Callable[[StorageError], None]
    kept: bool = True

    async def read(self) -> bytes | None:
        return await self.storage.get(self.name)

    async def write(self, data: bytes) -> None:
        try:
            await self.storage.put(self.name, data)
            self.kept = True
        except StorageError as error:
            self.kept = False
            self.failed(error)


# --- what is trained on
def tokens_to_bytes(tokens: Sequence[Tokens]) -> bytes:
    """Tokenised examples as an .npz file."""
    file = BytesIO()
    np.savez(
        file,
        ids=np.concatenate([t.ids for t in tokens] or [np.zeros(0, np.int32)]),
        counts=np.concatenate([t.counts for t in tokens] or [np.zeros(0, bool)]),
        lengths=np.array([len(t.ids) for t in tokens], np.int64),
        sizes=np.array([t.size for t in tokens], np.int64),
        pairs=np.array([t.pair for t in tokens], bool),
    )
    return file.getvalue()


def tokens_from_bytes(data: bytes) -> list[Tokens]:
    """Raises CheckpointInvalid."""
    try:
        with np.load(BytesIO(data), allow_pickle=False) as file:
            found = {name: file[name] for name in ("ids", "counts", "lengths", "sizes", "pairs")}
        ends = np.cumsum(found["lengths"])[:-1]
        rows = zip(
            np.split(found["ids"], ends), np.split(found["counts"], ends), found["sizes"], found["pairs"], strict=True
        )
        return [Tokens(ids, counts, int(size), bool(pair)) for ids, counts, size, pair in rows]
    except (ValueError, KeyError, OSError, EOFError) as error:
        raise CheckpointInvalid(f"What was trained on cannot be read again ({error}). Begin anew.") from error
