"""Training and evaluating in CPython: data of this machine's files, the engine in wasmtime, an adapter's folder at the end."""

import signal
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import AdapterExists, CheckpointMismatch, TrainingDiverged
from ..lora.config import Preset
from ..lora.curve import Point, ends
from ..lora.data import prepare
from ..lora.evaluate import Evaluator
from ..lora.examples import Example, Tokens, mask_token, tokenize
from ..lora.trainer import Trainer
from .adapter_files import require_free, write_adapter
from .adapter_pool import find_fitting
from .checkpoints import CHECKPOINT, Checkpoints
from .language import open_engine
from .progress import progress
from .shell import Result
from .text import counted, table
from .texts import gather_examples

SMALL = 16  # tokens of the loaded Program's context: only its weights are used


# --- training
async def run_training(
    shell, model: str, names: list[str], folder: Path, adapter_name: str, chosen: Preset, resume: bool
) -> Result:
    """Train and write the adapter's folder. Raises AdapterExists for a folder with an adapter or, without `resume`, a checkpoint."""
    store = Checkpoints(shell, folder / CHECKPOINT)
    _require_free(shell, folder, resume)
    shell.disk.probe(folder)
    examples = gather_examples(shell, names)
    async with open_engine(shell, model, SMALL) as it:
        data = prepare(_tokens(shell, examples, it.tokenizer, it.made.generation), chosen.training)
        for notice in data.notices:
            shell.notice(notice)
        masked = chosen.training.objective == "masked"
        trainer = Trainer(
            it.engine, it.source.header, data, chosen.lora, chosen.training, store=store, values=it.values,
            mask=mask_token(it.tokenizer) if masked else None, base_sha256=it.sha256,
        )  # fmt: skip
        report = Report(shell, trainer.steps)
        with _interrupt(shell, trainer), progress(shell, "Training", "step") as show:
            show((await _restored(trainer, folder)).step, trainer.steps)
            await report.take_all(trainer, show)
        return _finished(shell, model, store, adapter_name, trainer, report)


def _tokens(shell, examples: list[Example], tokenizer, generation: dict) -> list[Tokens]:
    with progress(shell, "Preparing", "character") as show:
        return tokenize(examples, tokenizer, generation, show)


async def _restored(trainer: Trainer, folder: Path) -> Trainer:
    try:
        return await trainer.restore()
    except CheckpointMismatch as error:
        raise CheckpointMismatch(
            f"{error.message} Going on takes the very options and data it was begun with; to train with others, such as another --lr, "
            f"choose another --output, or remove {folder / CHECKPOINT}.",
            **error.details,
        ) from error


def _finished(shell, model: str, store: Checkpoints, name: str, trainer: Trainer, report: "Report") -> Result:
    folder = store.path.parent
    data = {"model": model, "output": str(folder), **report.to_data(), "notices": shell.notices}
    if report.reason == "cancelled":
        return Result(data, error=store.stopped(report.step))
    if report.diverged and not trainer.learned:
        store.forget()
        return Result(data, error=report.diverged)
    adapter = trainer.adapter(name, {"baseModel": Path(model).name})  # not where it lies on this machine
    with store.kept():
        write_adapter(shell, adapter, folder)
    store.forget()
    data |= {"name": name, "parameters": trainer.programs.parameters, "bytes": adapter.bytes, "id": adapter.id}
    if error := report.diverged:
        where = f"The adapter of step {trainer.learned} is in {folder}."
        return Result(data, error=TrainingDiverged(f"{error.message} {where}", **error.details))
    effect = "" if trainer.learned else "; it changes nothing"
    told = f"{report.summary()}\nThe adapter {name} ({counted(adapter.bytes, 'byte')}) is in {folder}{effect}."
    return Result(data, told if effect else f'{told}\nTry it: edge-net-models run {model} "…" --adapter {folder}')


def _require_free(shell, folder: Path, resume: bool) -> None:
    require_free(shell, folder)
    if not resume and shell.disk.size(folder / CHECKPOINT):
        raise AdapterExists(
            f"{folder} holds the checkpoint of a training that was stopped. Go on with --resume, or choose another --output.",
            path=str(folder),
        )


@dataclass
class Report:
    """What came of a training, from its events."""

    shell: object
    steps: int
    step: int = 0
    reason: str = ""
    losses: list[Point] = field(default_factory=list)
    validations: list[dict] = field(default_factory=list)
    last: dict = field(default_factory=dict)
    diverged: TrainingDiverged | None = None

    async def take_all(self, trainer: Trainer, show) -> None:
        """Note the events of a training and show them, until it ends or diverges."""
        try:
            async for event in trainer:
                getattr(self, f"_{event['kind']}")(event, show)
        except TrainingDiverged as error:
            self.reason, self.diverged = "diverged", error

    def _step(self, event: dict, show) -> None:
        self.step, self.last = event["step"], event
        self.losses.append((event["step"], event["loss"]))
        show(self.step, self.steps, f"loss {event['loss']:.3f}, {event['tokensPerSecond']:.0f} tokens/s")

    def _validation(self, event: dict, show) -> None:
        self.validations.append(event)
        self.shell.say(f"step {event['step']}: validation loss {event['loss']:.4f}, best {event['best']:.4f}")

    def _checkpoint(self, event: dict, show) -> None:
        self.step = event["step"]

    def _notice(self, event: dict, show) -> None:
        self.shell.notice({name: event[name] for name in ("code", "message")})

    def _done(self, event: dict, show) -> None:
        self.step, self.reason = event["step"], event["reason"]

    def to_data(self) -> dict:
        """As JSON data. Losses before and after as `ends` has them: with --resume the beginning was not seen."""
        before, after = self._ends()
        return {
            "steps": self.step,
            "reason": self.reason,
            "lossBefore": before,
            "lossAfter": after,
            "losses": [loss for _, loss in self.losses],
            "validation": [{"step": event["step"], "loss": event["loss"]} for event in self.validations],
            "tokensPerSecond": self.last.get("tokensPerSecond", 0.0),
            "secondsPerStep": self.last.get("secondsPerStep", 0.0),
        }

    def _ends(self) -> tuple[float | None, float | None]:
        best = [(event["step"], event["best"]) for event in self.validations]  # also of before --resume
        return ends(self.losses, best)

    def summary(self) -> str:
        """For people."""
        found = zip(self._ends(), ("before", "after"), strict=True)
        told = ", ".join(f"{loss:.4f} {when}" for loss, when in found if loss is not None)
        if not told:
            return f"All {self.step} steps were taken before."
        kind = "validation loss" if self.validations else "training loss"
        why = ", stopped early: no validation was better for a while" if self.reason == "patience" else ""
        return f"{counted(self.step, 'step')}{why}; {kind} {told}; {self.last.get('secondsPerStep', 0.0):.2f} s a step."


@contextmanager
def _interrupt(shell, trainer: Trainer):
    """The first Ctrl-C lets the run under way end and keeps a checkpoint; a second one stops at once."""

    def stop(*_):
        signal.signal(signal.SIGINT, before)
        shell.say("Stopping; a checkpoint is being kept.")
        trainer.cancel()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# --- evaluating
async def run_evaluation(shell, model: str, names: list[str], ref: str | None, length: int) -> Result:
    """Loss, perplexity and bits per byte over files, without an adapter and with one. `ref`: of a kept one, or a path."""
    examples = gather_examples(shell, names)
    async with open_engine(shell, model, SMALL) as it:
        adapter = await find_fitting(shell, ref, it) if ref else None
        tokens = _tokens(
            shell, examples, it.tokenizer, {**it.made.generation, "eos": []}
        )  # only what is in the texts counts
        rows = []
        async with Evaluator(it.engine, it.source.header, like=adapter, length=length, values=it.values) as evaluator:
            for name, used in [("the model", None), *([(adapter.name, adapter)] if adapter else [])]:
                with progress(shell, f"Evaluating {name}", "window") as show:
                    rows.append({"of": name, **(await evaluator.evaluate(tokens, used, show)).to_data()})
    shown = [{**row, **{k: f"{row[k]:.4f}" for k in ("loss", "perplexity", "bitsPerByte")}} for row in rows]
    heads = {
        "of": "",
        "loss": "loss",
        "perplexity": "perplexity",
        "bitsPerByte": "bits per byte",
        "tokens": "tokens",
        "bytes": "bytes",
    }
    data = {"model": model, **rows[0], **({"adapter": rows[1]} if adapter else {}), "notices": shell.notices}
    return Result({k: v for k, v in data.items() if k != "of"}, table(shown, heads))
