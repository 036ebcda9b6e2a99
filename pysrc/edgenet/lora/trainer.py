"""Trains an adapter on an engine: what is computed when, and what is told of it. Needs NumPy; runs anywhere.

A step is one or more runs of `train`, which add to the gradients, and one of `update`. Everything random comes from (seed, step), so a
run that was killed ends, bit for bit, as one that was not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import numpy as np

from ..errors import InvalidOption, KernelTrap, NoMaskToken, TrainingDiverged
from ..kernels.codes import INVALID_INPUT
from ..models.training import STATES, TrainingPrograms, training_programs
from ..run import Engine
from . import draws
from .adapter import Adapter, base_id
from .bound import unbind
from .checkpoint import Checkpoint, Store, identity_of
from .config import LoraConfig, TrainingConfig
from .curve import perplexity
from .data import Dataset, Row, masked
from .runs import losses
from .schedule import hyper, learning_rate

Event = dict[str, object]


class Trainer:
    """Iterate over it for its events: `{"kind": "step", step, loss, lr, secondsPerStep, tokensPerSecond, etaSeconds}`, `{"kind":
    "validation", step, loss, best}` (step 0: the model as it was), `{"kind": "checkpoint", step}`, `{"kind": "notice", step, code,
    message}` where no validation was better than the first, at last `{"kind": "done", reason, step}`; `reason`: "steps", "patience" or
    "cancelled". A loss is the mean over the tokens that count. Iterate again after a cancel.

    The engine holds the model already. `model`: its GGUF header; `store`: where a checkpoint is looked for and kept; `values`: as
    `training_programs` takes them; `mask`: the mask token of the masked objective; `base_sha256`: of the model's file, for the adapter.

    Raises TrainingDiverged where a loss is no number, CheckpointMismatch and CheckpointInvalid, a StorageError where a checkpoint cannot
    be kept, and what `training_programs` and the engine raise. After any of them `adapter()` gives what was good last.
    """

    def __init__(
        self,
        engine: Engine,
        model,
        data: Dataset,
        lora: LoraConfig,
        config: TrainingConfig,
        *,
        store: Store | None = None,
        values: Mapping | None = None,
        mask: int | None = None,
        base_sha256: str = "",
        clock: Callable[[], float] = time.perf_counter,
    ):
        if config.objective == "masked" and mask is None:
            raise NoMaskToken("The masked objective needs a model with a mask token. Train with the causal one.")
        config = config.course(len(data.train))
        self._engine, self._model, self._data, self._lora, self._config = engine, model, data, lora, config
        self._store, self._mask, self._base_sha256, self._clock = store, mask, base_sha256, clock
        self.programs = compiled(model, data, lora, config, values)
        about = {"base_id": base_id(model), "base_sha256": base_sha256}
        self._identity = identity_of(about, lora, config, data.digest)
        self._last = self._kept = self._fresh()
        self._going = asyncio.Event()
        self._going.set()
        self._cancelled = self._loaded = self._restored = False
        self._spent: list[float] = []  # seconds of each step of this run, pauses left out
        self._judging: list[float] = []  # of each validation
        self._tokens = 0

    # --- what whoever watches may do
    def pause(self) -> None:
        """Stop after the run under way, until `resume` or `cancel`; after a `cancel` there is nothing to pause."""
        if not self._cancelled:
            self._going.clear()

    def resume(self) -> None:
        """Go on after `pause`."""
        self._going.set()

    def cancel(self) -> None:
        """Stop after the run under way and keep a checkpoint of the last whole step."""
        self._cancelled = True
        self._going.set()

    @property
    def steps(self) -> int:
        """How many there will be, unless it ends early."""
        return self._config.max_steps

    @property
    def step(self) -> int:
        """The step of the last checkpoint, which `adapter` may be asked for."""
        return self._last.step

    @property
    def judged(self) -> int | None:
        """The step of the latest validation, None where none was made. Those up to it count, and are not made again."""
        return self._last.judged

    @property
    def learned(self) -> int:
        """The step that `adapter` is of; 0: nothing was learned, or no validation was better than that of the model as it was."""
        return self._last.step if self._last.best is None else self._last.best_step

    def adapter(self, name: str = "adapter", metadata: Mapping | None = None) -> Adapter:
        """What was learned: the parameters with the lowest validation loss, else those of the last checkpoint."""
        kept = self._last
        flat = kept.states["parameters"] if kept.best is None else kept.best
        factors = {s.site: factors_of(flat, s) for s in self.programs.sites}
        config, tensors = unbind(factors, self._model, self._lora.weakened(self._config.strength))
        about = {"base_id": base_id(self._model), "base_sha256": self._base_sha256, "family": self._model.architecture}
        training = {"steps": self.learned, "finalLoss": kept.best_loss, "samples": self._data.examples}
        training |= {} if self._config.objective == "causal" else {"objective": self._config.objective}
        told = {"training": training, **self._quality(), **(metadata or {})}
        return Adapter(config, tensors, name, **about, metadata=told)

    def _quality(self) -> dict:
        """How much less perplexed the adapter leaves the model by what was held back; nothing where that was not measured."""
        first, best = self._last.first_loss, self._last.best_loss
        if first is None or best is None:
            return {}
        return {"quality": {"perplexityDelta": perplexity(best) - perplexity(first)}}

    async def restore(self) -> Trainer:
        """Itself, with the store's checkpoint, if there is one; nothing runs. Raises CheckpointMismatch and CheckpointInvalid."""
        if not self._restored and self._store and (found := await self._store.read()):
            self._last = self._kept = Checkpoint.from_bytes(found).require(self._identity)
        self._restored = True
        return self

    async def dispose(self) -> None:
        """Take its Programs out of the engine, which goes on."""
        if self._loaded:
            await self._engine.drop(self.programs.programs)
        self._loaded = False

    # --- the course of it
    async def __aiter__(self) -> AsyncIterator[Event]:
        await self._begin()
        done = self._last.step
        while True:
            if self._unjudged(done):
                if (event := await self._validate(done)) is None:
                    break
                yield event
            over, new = self._over(done), self._last.step < done or self._last is not self._kept
            if done and new and (over or _due(done, self._config.checkpoint_every)):
                yield await self._save(done)
            if over or (event := await self._step(done + 1)) is None:
                break
            done += 1
            yield event
        if self._last.step < done:
            yield await self._save(done)
        reason = "cancelled" if self._unjudged(done) else self._over(done) or "cancelled"
        if reason != "cancelled" and not self.learned:
            yield self._in_vain(done)
        yield {"kind": "done", "reason": reason, "step": done}

    def _in_vain(self, step: int) -> Event:
        return {
            "kind": "notice",
            "step": step,
            "code": "nothing_learned",
            "message": f"No validation was better than that of the model as it was ({self._last.best_loss:.4f}): nothing was learned, and "
            f"the adapter changes nothing. Train with a learning rate below {self._config.learning_rate:g}, or on more text.",
        }

    def _unjudged(self, done: int) -> bool:
        """Whether a validation is due after `done` steps that was not made, or was cut short by a cancel."""
        judged, config = self._last.judged, self._config
        due = done in (0, config.max_steps) or _due(done, config.evaluate_every)
        return bool(self._data.validation) and due and (judged is None or judged < done)

    def _over(self, done: int) -> str:
        """Why training is over after `done` steps; empty where it is not."""
        patience = self._config.patience
        early = "patience" if 0 < patience <= self._last.waited else ""
        return "steps" if done >= self._config.max_steps else early

    async def _begin(self) -> None:
        """Programs and states into the engine: of the last checkpoint of this trainer, of the store, or as training starts."""
        self._cancelled, self._spent, self._judging, self._tokens = False, [], [], 0
        await self.restore()
        if not self._loaded:
            await self._engine.add(self.programs.programs)
            self._loaded = True
        for name, values in self._last.states.items():
            await self._engine.write(name, values, program="update")
        await self._engine.write("gradients", np.zeros(self.programs.parameters, np.float32), program="update")

    async def _step(self, step: int) -> Event | None:
        """One step's event, or None where it was cancelled before it was whole."""
        config, total, counted, spent = self._config, 0.0, 0.0, 0.0
        for draw in range((step - 1) * config.gradient_accumulation, step * config.gradient_accumulation):
            if not await self._may_go_on():
                return None
            began = self._clock()
            row = self._masked(self._data.batch(self._config, draw), draw)
            total += await self._train(row, draw)
            counted += row.counted
            self._tokens += len(row)
            spent += self._clock() - began
        began = self._clock()
        await self._update(step, total / counted, counted)
        self._spent.append(spent + self._clock() - began)
        seconds = sum(self._spent)
        a_step = seconds / len(self._spent)
        return {
            "kind": "step",
            "step": step,
            "loss": total / counted,
            "lr": learning_rate(config, step),
            "secondsPerStep": a_step,
            "tokensPerSecond": self._tokens / seconds if seconds else 0.0,
            "etaSeconds": (config.max_steps - step) * a_step + self._validating(step),
        }

    def _validating(self, step: int) -> float:
        """Seconds that the validations from this step on will take, by those of this run; 0 before the first."""
        if not self._judging:
            return 0.0
        most, every = self._config.max_steps, self._config.evaluate_every or self._config.max_steps
        return (-(-most // every) - (step - 1) // every) * sum(self._judging) / len(self._judging)

    async def _update(self, step: int, loss: float, counted: float) -> None:
        self._require_finite(step, loss)
        await self._engine.write("hyper", hyper(self._config, step, counted), program="update")
        try:
            await self._engine.run(program="update")
        except KernelTrap as trap:  # gradients that are not finite change nothing
            if trap.details.get("returned") != INVALID_INPUT:
                raise
            raise self._diverged(step) from trap

    def _require_finite(self, step: int, *found) -> None:
        if not all(np.isfinite(values).all() for values in found):
            raise self._diverged(step)

    def _diverged(self, step: int) -> TrainingDiverged:
        kept = f"what was good last, of step {self.learned}, is kept" if self.learned else "nothing was learned before"
        return TrainingDiverged(
            f"The loss of step {step} is no number, or its gradients are not. Training stopped; {kept}. Train with a learning rate below "
            f"{self._config.learning_rate:g}.",
            step=step,
            kept=self.learned,
        )

    async def _may_go_on(self) -> bool:
        await asyncio.sleep(0)  # an engine of this process never suspends: here whoever wants to stop is heard
        await self._going.wait()
        return not self._cancelled

    def _masked(self, row: Row, draw: int) -> Row:
        if self._config.objective == "causal":
            return row
        return masked(row, self._mask, self._config.mask_probability, self._config.seed, draw)

    async def _train(self, row: Row, draw: int) -> float:
        """Adds the row's gradients to those of the step; the sum of its losses."""
        if self._lora.lora_dropout:
            seeds = np.array([self._config.seed & 0xFFFFFFFF, self._config.seed >> 32, draw, 0], np.uint32)
            await self._engine.write("seeds", seeds, program="train")
        return await losses(self._engine, row, "train")

    async def _validate(self, step: int) -> Event | None:
        """Its event, or None where it was cancelled, and nothing of it counts."""
        total = counted = spent = 0.0
        for draw, row in enumerate(self._data.validation):
            if not await self._may_go_on():
                return None
            began = self._clock()
            row = self._masked(row, draw)
            total += await losses(self._engine, row, "evaluate")
            counted += row.counted
            spent += self._clock() - began
        self._judging.append(spent)
        loss, kept = total / counted, replace(self._last, judged=step)
        self._require_finite(step, loss)
        if kept.best_loss is None or loss < kept.best_loss:
            better = {"best": await self._read("parameters"), "best_loss": loss, "best_step": step, "waited": 0}
            better |= {"first_loss": loss} if step == 0 else {}
            self._last = replace(kept, **better)
        else:
            self._last = replace(kept, waited=kept.waited + 1)
        return {"kind": "validation", "step": step, "loss": loss, "best": self._last.best_loss}

    async def _save(self, step: int) -> Event:
        states = {name: await self._read(name) for name in self._last.states}
        self._require_finite(step, *states.values())
        self._last = self._kept = replace(self._last, step=step, states=states)
        if self._store:
            await self._store.write(self._last.to_bytes())
        return {"kind": "checkpoint", "step": step}

    async def _read(self, state: str) -> np.ndarray:
        return await self._engine.read(state, program="update")

    def _fresh(self) -> Checkpoint:
        count = self.programs.parameters
        states = {name: np.zeros(count, np.float32) for name in STATES[self._config.optimizer] if name != "gradients"}
        for i, site in enumerate(self.programs.sites):
            states["parameters"][site.a : site.a + site.rank * site.width] = first_a(self._config.seed, i, site).ravel()
        return Checkpoint(0, states, self._identity)


def compiled(
    model, data: Dataset, lora: LoraConfig, config: TrainingConfig, values: Mapping | None
) -> TrainingPrograms:
    """The Programs of one training, as large as its rows need."""
    context = model.metadata.get(f"{model.architecture}.context_length", config.max_length)
    if config.max_length > context:
        raise InvalidOption(
            f"max_length is {config.max_length}; the model was made for {context} tokens.", option="max_length"
        )
    return training_programs(
        model,
        lora,
        rows=config.batch_size * config.max_length,
        sequences=config.batch_size * data.sequences,
        dots=config.dots,
        checkpoint=config.gradient_checkpointing,
        values=values,
        optimizer=config.optimizer,
        strength=config.strength,
        causal=config.objective == "causal",
    )


def first_a(seed: int, index: int, site) -> np.ndarray:
    """f32 (r, in): even in ±1/sqrt(in), as PEFT begins (Kaiming with a = sqrt 5). B begins with zeros, so nothing changes at first."""
    drawn = draws.uniform(seed, draws.START, index, site.rank * site.width).reshape(site.rank, site.width)
    return (2 * drawn - 1) * np.float32(site.width**-0.5)


def factors_of(flat: np.ndarray, site) -> tuple[np.ndarray, np.ndarray]:
    """A (r, in) and B (out, r) of a site in the flat state (count,)."""
    A = flat[site.a : site.a + site.rank * site.width].reshape(site.rank, site.width)
    return A, flat[site.b : site.b + site.out * site.rank].reshape(site.out, site.rank)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
