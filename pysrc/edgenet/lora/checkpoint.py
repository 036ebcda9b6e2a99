"""All that training needs to go on as if it had never stopped, as one safetensors file. Needs NumPy; runs anywhere.

The order of the data is no part of it: the seed and the step number tell it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np

from ..canonical import canonicalize
from ..errors import CheckpointInvalid, CheckpointMismatch, EdgeNetError
from ..fields import COUNT, SHA256, Check, Field, check_fields, load_object
from . import safetensors

FORMAT, OWN = "edgenet-checkpoint", "edgenet"  # OWN: our key in the file's metadata
STATES = ("parameters", "first", "second")
_HASHES = Check("hashes by name", lambda v: isinstance(v, dict) and all(isinstance(h, str) for h in v.values()))
_FIELDS = (
    Field("format", Check(f"{FORMAT!r}", lambda v: v == FORMAT), True),
    Field("step", COUNT, True),
    Field("waited", COUNT, True),
    Field("best_step", COUNT, True),
    Field("best_loss", Check("a number or null", lambda v: v is None or isinstance(v, int | float)), True),
    Field("judged", Check("a step or null", lambda v: v is None or COUNT.test(v))),
    Field("first_loss", Check("a number", lambda v: isinstance(v, int | float))),
    Field("identity", _HASHES, True),
    Field("sha256", SHA256, True),
)


class Store(Protocol):
    """Where one training's checkpoint is kept. It is replaced whole or not at all."""

    async def read(self) -> bytes | None:
        """The last checkpoint's bytes, or None if there is none."""

    async def write(self, data: bytes) -> None:
        """Replace it. Raises a StorageError, then the old one is still there."""


class FileStore:
    """A checkpoint in a file. `disk`: `host.files.Disk`, whose writes appear whole."""

    def __init__(self, disk, path: Path):
        self._disk, self.path = disk, Path(path)

    async def read(self) -> bytes | None:
        return self._disk.read(self.path)

    async def write(self, data: bytes) -> None:
        self._disk.write(self.path, data)


@dataclass(frozen=True)
class Checkpoint:
    """Training after `step`. `states`: f32 (count,) each, by name; `best`: the parameters at `best_step`, whose validation loss was the
    lowest, None before the first validation; `waited`: validations since; `judged`: the step of the latest;
    `first_loss`: that of step 0's, None where there was none; `identity`: hashes of what must be the same to go on.
    """

    step: int
    states: Mapping[str, np.ndarray]
    identity: Mapping[str, str]
    best: np.ndarray | None = None
    best_loss: float | None = None
    best_step: int = 0
    waited: int = 0
    judged: int | None = None
    first_loss: float | None = None

    def to_bytes(self) -> bytes:
        """The file; the same for the same checkpoint. Raises NotFinite where a state is not."""
        tensors = {**self.states} | ({} if self.best is None else {"best": self.best})
        told = {"format": FORMAT, "step": self.step, "waited": self.waited, "best_step": self.best_step}
        told |= {
            "judged": self.judged,
            "best_loss": self.best_loss,
            "identity": dict(self.identity),
            "sha256": _digest(tensors),
        } | ({} if self.first_loss is None else {"first_loss": self.first_loss})
        return safetensors.write(tensors, {OWN: json.dumps(told, sort_keys=True)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Checkpoint:
        """Read what `to_bytes` wrote. Raises CheckpointInvalid for anything else, a changed or missing byte too."""
        try:
            tensors, metadata = safetensors.read(data, "the checkpoint")
        except EdgeNetError as error:
            raise CheckpointInvalid(f"{error.message} Or begin the training anew, without it.") from error
        told = load_object(metadata.get(OWN, "{}"), "the checkpoint", CheckpointInvalid, CheckpointInvalid)
        check_fields(told, _FIELDS, "the checkpoint", CheckpointInvalid)
        if told["sha256"] != _digest(tensors) or not set(STATES[:2]) <= set(tensors):
            raise CheckpointInvalid(
                "The checkpoint's numbers are not those it was written with. Begin the training anew."
            )
        best = tensors.pop("best", None)
        kept = {name: told[name] for name in ("step", "identity", "best_step", "waited")}
        losses = {name: told.get(name) for name in ("best_loss", "first_loss")}
        losses = {name: None if loss is None else float(loss) for name, loss in losses.items()}  # JSON reads 2.0 as 2
        judged = told.get("judged", told["step"])  # before it was told, every checkpoint came after its validation
        return cls(states=tensors, best=best, judged=judged, **losses, **kept)

    def require(self, identity: Mapping[str, str]) -> Checkpoint:
        """Itself. Raises CheckpointMismatch naming what is not the same: the data, the model or the configuration."""
        if different := sorted(name for name in identity if self.identity.get(name) != identity[name]):
            raise CheckpointMismatch(
                f"The checkpoint of step {self.step} was made with another {' and another '.join(different)}. "
                "Go on with the same, or begin anew.",
                different=different,
                step=self.step,
            )
        return self


def identity_of(model: Mapping, lora, config, data: str) -> dict[str, str]:
    """Hashes of what must be the same to go on; how often a checkpoint is written is free. `model`: JSON data; `data`: its digest."""
    chosen = {name: value for name, value in asdict(config).items() if name != "checkpoint_every"}
    lora_data = json.loads(lora.to_json())
    return {"model": _hash(dict(model)), "configuration": _hash({"lora": lora_data, "training": chosen}), "data": data}


def _hash(data) -> str:
    return sha256(canonicalize(data)).hexdigest()


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    digest = sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].shape}\n".encode())
        digest.update(np.ascontiguousarray(tensors[name], "<f4"))
    return digest.hexdigest()
