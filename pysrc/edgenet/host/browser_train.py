"""Training in the page: what the Python worker answers about it. Needs NumPy. Pyodide; CPython in tests, with a played page.

The same Trainer as on the command line, over an engine in another worker. Trainings stay in storage until they are discarded, so that a tab
that is killed loses at most `checkpoint_every` steps.
"""

from __future__ import annotations

from asyncio import Lock
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from weakref import WeakValueDictionary

from ..errors import AbortError, Disposed, EdgeNetError, InvalidOption, NotFound, TrainingUnderWay
from ..fields import time_text
from ..lora import peft
from ..lora.adapter import NAME, Adapter
from ..lora.bound import engine_bytes
from ..lora.config import LoraConfig, TrainingConfig
from ..lora.data import Dataset, prepare
from ..lora.evaluate import Evaluator
from ..lora.trainer import Trainer
from . import browser_library as library
from .browser_lm import BrowserLm, PageModel, mask_token, open_model, tokenized
from .browser_page import Page
from .browser_runs import Run, Runs, RunStore, configured

# by line, while it is held: an engine has room for one's Program
EVALUATING: WeakValueDictionary[str, Lock] = WeakValueDictionary()
PATIENCE = 3  # engines that may break with no checkpoint between
LIVE: dict[str, Course] = {}  # by run
STARTED: dict[str, str] = {}  # run by line: an engine has room for the Programs of one
GIVEN_UP: set[str] = set()  # runs that were cancelled before they began
NOTHING = Run("", "", "", "", LoraConfig(), TrainingConfig()).metrics


@dataclass
class Course:
    """A training as it is now. `line`: of the page it was made for; `kept`: the run as this tab last had it in storage."""

    line: str
    run: Run
    runs: Runs
    kept: Run
    model: PageModel | None = None
    data: Dataset | None = None
    engine: BrowserLm | None = None
    store: RunStore | None = None
    trainer: Trainer | None = None
    page: Page | None = None  # who hears of it; None: it does not run
    cancelled: bool = False
    warned: bool = False  # that something could not be kept

    async def train(self) -> dict:
        """Until it ends. Raises what the Trainer raises; an engine that broke and was replaced is gone on with from the checkpoint."""
        trainer, self.run, self.warned = self.trainer, self.so_far(), False
        told = {"examples": self.data.examples, "parameters": trainer.programs.parameters, "notices": self.data.notices}
        self.page.say({"kind": "started", **told, "steps": self.run.training.max_steps, "step": trainer.step})
        broken, reason = (trainer.step, 0), "cancelled"
        try:
            while not self.cancelled:
                try:
                    async for event in trainer:
                        await self._take(event)
                        reason = event.get("reason", reason)
                    break
                except EdgeNetError as error:
                    broken = (trainer.step, broken[1] + 1 if broken[0] == trainer.step else 1)
                    if not self.engine.lost or isinstance(error, Disposed) or broken[1] > PATIENCE:
                        raise
                    self._replaced(error)
        finally:
            await self._rest()
        await self._keep("stopped" if reason == "cancelled" else "done")
        told = {"reason": reason, "step": trainer.step, "metrics": self.run.metrics}
        return told | {"binary": {"kept": self.store.kept}}  # beside the text: the Hub reads it

    async def _take(self, event: Mapping) -> None:
        kind, step = event["kind"], event["step"]
        if kind == "step":
            self.run.losses.append((step, event["loss"]))
            self.run = replace(self.run, speed=event["tokensPerSecond"], pace=event["secondsPerStep"])
        elif kind == "validation":
            self.run.validations.append((step, event["loss"]))
        elif kind == "checkpoint":
            await self._keep("stopped")
        self.page.say(event)

    async def _keep(self, state: str) -> None:
        self.run = replace(self.run, step=self.trainer.step, state=state)
        try:
            await self.runs.put(self.run)
            self.kept = self.run
        except EdgeNetError as error:
            self.failed(error)

    async def is_latest(self) -> bool:
        """Whether no other tab has trained it on, begun it anew or forgotten it since."""
        found = await self.runs.find(self.run.id)
        return bool(found) and (found.created, found.step) == (self.kept.created, self.kept.step)

    def failed(self, error: EdgeNetError) -> None:
        """A checkpoint or a record could not be kept: said once, for what cannot be kept now will mostly not be kept later."""
        text = "Training goes on; if this tab is closed, it begins again at the last checkpoint that was kept."
        if not self.warned:
            self.page.say({"kind": "notice", "code": error.code, "message": f"{error.message} {text}"})
        self.warned = True

    def _replaced(self, error: EdgeNetError) -> None:
        self.run = self.so_far()
        text = f"The engine broke ({error.message}) and was replaced; training goes on from step {self.trainer.step}."
        self.page.say({"kind": "notice", "code": "engine_restarted", "message": text})

    async def _rest(self) -> None:
        """Its Programs leave the engine; an engine that is gone has none."""
        try:
            await self.trainer.dispose()
        except EdgeNetError:
            self.engine.lost = True

    # --- what whoever watches may do
    def pause(self) -> None:
        if self.cancelled:
            return
        self.trainer.pause()
        self.page.say({"kind": "paused"})

    def resume(self) -> None:
        self.trainer.resume()
        self.page.say({"kind": "resumed"})

    def cancel(self) -> None:
        self.cancelled = True
        self.trainer.cancel()

    def so_far(self) -> Run:
        """What is told of what the Trainer has."""
        return self.run.until(self.trainer.step, self.trainer.judged)

    def adapter(self) -> Adapter:
        """What was learned so far."""
        return self.trainer.adapter(self.run.name)


# --- kinds: page, what the page tells of the model, and arguments
async def start(page: Page, model: dict, id: str, data=None, **chosen) -> dict:
    """Train on data, or go on without. Raises TrainingUnderWay before anything is begun."""
    _require_rest(id)
    if page.line in STARTED:
        raise TrainingUnderWay(
            "This session trains already, and a model learns one thing at a time. Wait for that training to end, or cancel it; it can "
            "go on later.",
            id=STARTED[page.line],
        )
    STARTED[page.line], course = id, None
    page = replace(page, stopped=lambda: id in GIVEN_UP)
    try:
        course = await (_course(page, model, id) if data is None else _begun(page, model, id, data, **chosen))
        course.page, course.cancelled, LIVE[id] = page, id in GIVEN_UP, course
        return await course.train()
    except AbortError:
        if course:
            raise
        return {"reason": "cancelled", "step": 0, "metrics": NOTHING, "binary": {"kept": True}}
    finally:
        GIVEN_UP.discard(id)
        del STARTED[page.line]
        if course:
            course.page = None


async def _begun(
    page: Page, model: dict, id: str, data, name="adapter", preset=None, lora=None, training=None, sample=()
) -> Course:
    """A new training, kept from now on. `sample`: passages that say what its adapter is trained on."""
    if not NAME.test(name):  # now, not when all is learned
        raise InvalidOption(f"The adapter's name must have {NAME.expected}; found {name!r:.80}.", option="name")
    lora, training = configured(preset, lora, training)
    opened = await open_model(page, model["filenames"])
    tokens = await tokenized(page, data, opened.generation)
    prepared = prepare(tokens, training)
    training = training.course(len(prepared.train))
    run = Run(id, name, model["key"], time_text(page.now()), lora, training, samples=prepared.examples, sample=sample)
    runs = Runs(page.storage("runs"))
    course = await _made(Course(page.line, run, runs, run, opened, prepared), page, model)
    await runs.begin(run, tokens)
    return course


async def _course(page: Page, model: dict, id: str) -> Course:
    """A training that is here, or in storage. Raises NotFound."""
    if (live := LIVE.get(id)) and (live.page or live.line == page.line and await live.is_latest()):
        return live
    runs = Runs(page.storage("runs"))
    run, tokens = await runs.get(id)
    if run.model != model["key"]:
        raise NotFound(f"The training {run.name!r} is of the model {run.model}, not of {model['key']}.", id=id)
    opened = await open_model(page, model["filenames"])
    course = await _made(Course(page.line, run, runs, run, opened, prepare(tokens, run.training)), page, model)
    await course.trainer.restore()
    LIVE[id] = course
    return course


async def _made(course: Course, page: Page, model: dict) -> Course:
    """With a Trainer."""
    await library.remember(page, model, course.model)
    run, course.engine = course.run, BrowserLm(page)
    course.store = course.runs.checkpoint(run.id, lambda error: course.failed(error))
    mask = await mask_token(page) if run.training.objective == "masked" else None
    course.trainer = Trainer(
        course.engine, course.model.header, course.data, run.lora, run.training,
        store=course.store, values=course.model.values, mask=mask,
        base_sha256=model.get("sha256", ""),
    )  # fmt: skip
    return course


def _running(id: str) -> Course | None:
    return course if (course := LIVE.get(id)) and course.page else None


def _require_rest(id: str) -> None:
    if id in STARTED.values():
        raise TrainingUnderWay("This training is under way. Cancel it first; it can go on later.", id=id)


async def pause(page: Page, model: dict, id: str) -> None:
    """As `resume`: of a training that tells it is `started`; of another nothing is to be steered. `cancel` is heard from its first event
    on, be that of its progress.
    """
    if course := _running(id):
        course.pause()


async def resume(page: Page, model: dict, id: str) -> None:
    if course := _running(id):
        course.resume()


async def cancel(page: Page, model: dict, id: str) -> None:
    if course := _running(id):
        course.cancel()
    elif id in STARTED.values():
        GIVEN_UP.add(id)


async def adapter(page: Page, model: dict, id: str) -> dict:
    """What was learned: about it, all of it in one file, and as the engine takes it."""
    course = await _course(page, model, id)
    found = course.adapter()
    about = {"id": found.id, "name": found.name, "rank": found.config.r, "modules": found.modules, "bytes": found.bytes}
    files = {"packed": peft.packed(found), "ready": engine_bytes(found, course.model.header)}
    told = {"metrics": course.so_far().metrics, "sample": course.run.sample}
    return {"run": id, **about, **told, "binary": files}


async def evaluate(page: Page, model: dict, data: list, id: str = "", adapter: Mapping | None = None) -> dict:
    """How well texts are foretold, by the model alone or with an adapter: {"run": id} or {"saved": id}."""
    opened = await open_model(page, model["filenames"])
    tokens = await tokenized(page, data, {**opened.generation, "eos": []})  # only what is in the texts counts
    used = None
    if adapter:
        used = (
            await library.saved(page, adapter["saved"])
            if "saved" in adapter
            else (await _course(page, model, id)).adapter()
        )
    return (await evaluated(page, opened, tokens, [used]))[0]


async def evaluated(page: Page, model: PageModel, tokens: list, adapters: list[Adapter | None]) -> list[dict]:
    """How well the model foretells tokens, with each of these; all have the sites of the last one."""
    show = partial(page.progress, "evaluate")
    evaluator = Evaluator(BrowserLm(page), model.header, like=adapters[-1], values=model.values)
    async with EVALUATING.setdefault(page.line, Lock()), evaluator:
        return [(await evaluator.evaluate(tokens, used, show)).to_data() for used in adapters]


async def keep(page: Page, model: dict, run: str = "", **more) -> dict:
    """As `library.keep`; a training of which all steps are taken is forgotten with that."""
    made = await library.keep(page, model, **more)
    course, runs = LIVE.get(run), Runs(page.storage("runs"))
    told = course.run if course else await runs.find(run)  # Python may be another than the one that trained
    if told and told.state == "done" and not _running(run):
        LIVE.pop(run, None)
        await runs.remove(run)
    return made


async def discard(page: Page, model: dict, id: str) -> None:
    """Raises TrainingUnderWay while it runs."""
    _require_rest(id)
    LIVE.pop(id, None)
    await Runs(page.storage("runs")).remove(id)


KINDS = {f.__name__: f for f in (start, pause, resume, cancel, adapter, evaluate, keep, discard)}
