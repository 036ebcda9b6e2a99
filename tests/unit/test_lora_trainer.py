"""The course of a training: its events, its end, what interrupts it, and that it goes on as if nothing had."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import (
    CheckpointMismatch,
    InvalidOption,
    NoMaskToken,
    NotSupported,
    QuotaExceeded,
    TrainingDiverged,
)
from edgenet.lora.checkpoint import Checkpoint
from edgenet.lora.data import join, prepare, segments
from edgenet.lora.examples import Tokens, mask_token
from edgenet.lora.runs import losses as losses_of_row
from edgenet.lora.trainer import Trainer
from edgenet.run import NumpyEngine
from tests.unit.lora_runs import loaded, losses, run, trained, trainer
from tests.unit.small_model_runs import opened
from tools.oracles.lora_course import LORA, TRAINING, texts

NAME = "qwen2"
SHORT = replace(
    TRAINING, batch_size=1, max_steps=6, validation=0.2, evaluate_every=2, checkpoint_every=2, warmup_steps=1
)
DROPPING = replace(LORA, lora_dropout=0.3, target_modules=("q_proj", "v_proj"))


class Memory:
    """A store in memory, with every checkpoint it was given."""

    def __init__(self, held=None):
        self.held, self.all = held, []

    async def read(self):
        return self.held

    async def write(self, data):
        self.held = data
        self.all.append(data)


def make(engine, config=SHORT, **more):
    return trainer(engine, NAME, config=config, **{"lora": DROPPING, "data": prepare(texts(), config), **more})


def kinds(events):
    return [(e["kind"], e["step"]) for e in events]


def test_the_events_of_a_training():
    events = run(_events(SHORT))
    assert kinds(events) == [
        ("validation", 0), ("step", 1), ("step", 2), ("validation", 2), ("checkpoint", 2), ("step", 3), ("step", 4),
        ("validation", 4), ("checkpoint", 4), ("step", 5), ("step", 6), ("validation", 6), ("checkpoint", 6), ("done", 6),
    ]  # fmt: skip
    steps = [e for e in events if e["kind"] == "step"]
    assert events[-1]["reason"] == "steps"
    assert all(
        e["tokensPerSecond"] > 0 and e["secondsPerStep"] > 0 and 0 < e["lr"] <= SHORT.learning_rate for e in steps
    )


def test_the_time_left_is_that_of_steps_and_of_validations():
    """By a clock that goes on by a second whenever it is read: a run of a row takes one, and so does an update."""
    a_step = SHORT.gradient_accumulation + 1
    ticks = itertools.count()
    events = run(_events(SHORT, clock=lambda: next(ticks)))
    rows = len(prepare(texts(), SHORT).validation)
    left = {1: (5, 3), 2: (4, 3), 3: (3, 2), 4: (2, 2), 5: (1, 1), 6: (0, 1)}  # steps, validations
    told = {e["step"]: e["etaSeconds"] for e in events if e["kind"] == "step"}
    assert told == {step: a_step * steps + rows * validations for step, (steps, validations) in left.items()}


async def _events(config, **more):
    return await trained(make(await loaded(NAME), config, **more))


def test_the_same_seed_gives_the_same_losses_and_another_one_others():
    first, again, other = (losses(run(_events(replace(SHORT, seed=seed)))) for seed in (1, 1, 2))
    assert first == again != other


def test_the_adapter_is_the_one_with_the_lowest_validation_loss():
    async def worse():
        store = Memory()
        made = make(await loaded(NAME), replace(SHORT, learning_rate=0.5, max_steps=8), store=store)
        events = [e for e in await trained(made) if e["kind"] == "validation"]
        return events, made.adapter(), Checkpoint.from_bytes(store.held)

    events, adapter, kept = run(worse())
    least = min(events, key=lambda e: e["loss"])
    assert least["step"] < 8 and (kept.best_step, kept.best_loss) == (least["step"], least["loss"])
    assert adapter.metadata["training"] == {
        "steps": least["step"],
        "finalLoss": least["loss"],
        "samples": 12,
    }
    assert events[-1]["best"] == least["loss"] < events[-1]["loss"]


def test_what_validation_gained_is_told_in_the_adapter_after_a_stop_too():
    async def stopped_and_taken_up():
        store = Memory()
        first = make(await loaded(NAME), store=store)
        async for event in first:
            if event["kind"] == "checkpoint":
                first.cancel()
                losses_before = event["step"]
        again = make(await loaded(NAME), store=store)
        await trained(again)
        whole = make(await loaded(NAME))
        events = await trained(whole)
        return losses_before, again.adapter(), whole.adapter(), [e["loss"] for e in events if e["kind"] == "validation"]

    stopped, again, whole, found = run(stopped_and_taken_up())
    assert 0 < stopped < SHORT.max_steps and again.metadata == whole.metadata
    assert min(found) < found[0]
    assert whole.metadata["quality"]["perplexityDelta"] == pytest.approx(np.exp(min(found)) - np.exp(found[0]))


def test_patience_ends_a_training_that_no_longer_gets_better_and_it_stays_ended():
    async def patient():
        store, config = Memory(), replace(SHORT, learning_rate=0.5, max_steps=40, patience=2)
        events = await trained(make(await loaded(NAME), config, store=store))
        again = await trained(make(await loaded(NAME), config, store=store))
        return events, again

    events, again = run(patient())
    assert events[-1]["reason"] == "patience" and events[-1]["step"] < 40
    assert again == [events[-1]]


def test_a_course_after_which_nothing_is_better_than_before_is_told():
    class Worsening(NumpyEngine):
        """Foretells what was held back worse with every run."""

        factor = 1.0

        async def read(self, name, program=None):
            self.factor *= 2 if program == "evaluate" else 1
            return await super().read(name, program) * np.float32(self.factor if program == "evaluate" else 1)

    async def taught(**more):
        made = make(await loaded(NAME, engine=Worsening()), replace(SHORT, **more))
        return await trained(made), made

    events, made = run(taught())
    *_, notice, done = events
    assert done["kind"] == "done" and made.learned == 0 and not any(B.any() for _, B in made.adapter().tensors.values())
    assert (notice["kind"], notice["code"], notice["step"]) == ("notice", "nothing_learned", 6)
    assert f"below {SHORT.learning_rate:g}" in notice["message"] and f"{events[0]['loss']:.4f}" in notice["message"]
    assert "notice" not in [kind for kind, _ in kinds(run(taught(validation=0))[0])]


class Failing(NumpyEngine):
    """Gives a loss that is no number in its `at`-th training run."""

    at = 5

    async def run(self, program=None, **slots):
        await super().run(program, **slots)
        self.at -= program == "train"

    async def read(self, name, program=None):
        found = await super().read(name, program)
        return found * np.float32("nan") if (name, program, self.at) == ("losses", "train", 0) else found


class Steep(NumpyEngine):
    """Has a gradient that is no number before its third update."""

    left = 3

    async def run(self, program=None, **slots):
        self.left -= program == "update"
        if program == "update" and self.left == 0:
            await self.write("gradients", np.full(1, np.nan, np.float32), program="update")
        await super().run(program, **slots)


@pytest.mark.parametrize("engine", [Failing, Steep], ids=["a loss", "a gradient"])
def test_what_is_no_number_stops_training_and_the_step_is_named(engine):
    async def diverge():
        store = Memory()
        made, seen = make(await loaded(NAME, engine=engine()), store=store), []
        with pytest.raises(TrainingDiverged, match="step 3") as caught:
            async for event in made:
                seen.append(event)
        return caught.value, seen, made, Checkpoint.from_bytes(store.held)

    error, seen, made, kept = run(diverge())
    assert error.details == {"step": 3, "kept": 2} and kept.step == 2 and seen[-1]["step"] == 2
    assert made.learned == made.adapter().metadata["training"]["steps"] == 2 and "of step 2, is kept" in error.message
    assert all(np.isfinite(part).all() for pair in made.adapter().tensors.values() for part in pair)


def test_a_training_that_diverges_before_anything_was_good_says_so():
    class AtOnce(Failing):
        at = 1

    async def diverge():
        made = make(await loaded(NAME, engine=AtOnce()))
        with pytest.raises(TrainingDiverged, match="nothing was learned before") as caught:
            await trained(made)
        return caught.value.details, made.learned

    assert run(diverge()) == ({"step": 1, "kept": 0}, 0)


def test_parameters_that_are_no_numbers_are_never_kept():
    class Overflowing(NumpyEngine):
        async def read(self, name, program=None):
            found = await super().read(name, program)
            return found * np.float32("inf") if name == "first" and self.steps == 4 else found

        steps = 0

        async def run(self, program=None, **slots):
            await super().run(program, **slots)
            self.steps += program == "update"

    async def overflow():
        store = Memory()
        with pytest.raises(TrainingDiverged, match="step 4"):
            await trained(make(await loaded(NAME, engine=Overflowing()), store=store))
        return Checkpoint.from_bytes(store.held).step

    with np.errstate(invalid="ignore"):
        assert run(overflow()) == 2


@pytest.mark.parametrize(
    "what, more",
    [
        ("configuration", {"config": replace(SHORT, learning_rate=0.5)}),
        ("configuration", {"lora": replace(DROPPING, lora_alpha=5)}),
        ("data", {"data": prepare(texts()[:-1], SHORT)}),
        ("model", {"base_sha256": "ab" * 32}),
    ],
)
def test_another_training_does_not_go_on_from_a_checkpoint(what, more):
    async def mismatched():
        store = Memory()
        await trained(make(await loaded(NAME), store=store))
        with pytest.raises(CheckpointMismatch, match=what) as caught:
            await trained(make(await loaded(NAME), store=store, **more))
        return caught.value.details

    assert run(mismatched()) == {"different": [what], "step": 6}


def test_how_often_a_checkpoint_is_kept_may_change():
    async def changed():
        store = Memory()
        await trained(make(await loaded(NAME), store=store))
        return await trained(make(await loaded(NAME), replace(SHORT, checkpoint_every=1), store=store))

    assert kinds(run(changed())) == [("done", 6)]


def test_a_full_disk_is_named_and_what_was_learned_is_still_there():
    class Full(Memory):
        async def write(self, data):
            raise QuotaExceeded("The disk is full.")

    async def full():
        made = make(await loaded(NAME), store=Full())
        with pytest.raises(QuotaExceeded):
            await trained(made)
        return made.adapter(), made.step

    adapter, step = run(full())
    assert step == 2 and any(B.any() for _, B in adapter.tensors.values())


def test_without_validation_the_last_step_is_kept():
    async def all_of_it():
        config = replace(SHORT, validation=0.0)
        made = make(await loaded(NAME), config)
        return kinds(await trained(made)), made.adapter()

    seen, adapter = run(all_of_it())
    assert "validation" not in dict(seen) and adapter.metadata["training"] == {
        "steps": 6,
        "finalLoss": None,
        "samples": 12,
    }


@pytest.mark.parametrize("change", [{"optimizer": "sgd", "learning_rate": 1.0}, {"scheduler": "linear"}, {"batch_size": 3},
                                    {"gradient_accumulation": 3}, {"dots": "int8"}])  # fmt: skip
def test_every_way_to_train_learns(change):
    events = run(_events(replace(SHORT, **{"max_steps": 16, **change}), lora=LORA))
    checks = [e["loss"] for e in events if e["kind"] == "validation"]
    assert min(checks) < 0.97 * checks[0]


def test_recomputing_layers_changes_nothing_but_rounding():
    plain, again = (losses(run(_events(replace(SHORT, gradient_checkpointing=on)))) for on in (False, True))
    assert again == pytest.approx(plain, rel=1e-5)


def test_dropout_hides_inputs_while_training_and_not_while_validating():
    with_it, without = (run(_events(SHORT, lora=replace(DROPPING, lora_dropout=rate))) for rate in (0.3, 0.0))
    assert with_it[0] == without[0] and losses(with_it)[1:] != losses(without)[1:]


def test_the_masked_objective_learns_only_what_is_hidden():
    config = replace(SHORT, objective="masked", max_steps=16, mask_probability=0.3)
    events = run(_events(config, lora=LORA, mask=290, data=prepare(texts(), config)))
    checks = [e["loss"] for e in events if e["kind"] == "validation"]
    assert min(checks) < 0.97 * checks[0]


def test_a_hidden_token_is_foretold_from_both_sides():
    row = join([segments(Tokens(np.array(ids), np.arange(5) == 2, 0), 8, "masked")[0] for ids in BESIDE])
    for objective, seen in (("masked", [True, True]), ("causal", [True, False])):
        of = run(_losses(replace(SHORT, batch_size=2, objective=objective), row))[[2, 7, 12]]  # of the middle ones
        assert list(of[1:] != of[0]) == seen


BESIDE = [
    [5, 7, 290, 3, 9],
    [5, 8, 290, 3, 9],
    [5, 7, 290, 30, 9],
]  # the same hidden token, other neighbours: before, behind


async def _losses(config, row):
    made, engine = make(None, config, mask=290), await loaded("qwen2")
    await engine.add(made.programs.programs)
    await losses_of_row(engine, row, "evaluate")
    return await engine.read("losses", "evaluate")


def test_an_adapter_says_that_it_was_taught_to_look_both_ways():
    said = {o: make(None, replace(SHORT, objective=o), mask=290).adapter().metadata for o in ("masked", "causal")}
    assert said["masked"]["training"]["objective"] == "masked" and "objective" not in said["causal"]["training"]


def test_an_encoder_is_refused_by_name_whatever_the_objective():
    header = opened("bert", "f32").header
    for objective in ("masked", "causal"):
        config = replace(SHORT, objective=objective)
        with pytest.raises(NotSupported, match="bert is an encoder"):
            Trainer(None, header, prepare(texts(), config), LORA, config, mask=290)


def test_the_masked_objective_needs_a_mask_token():
    with pytest.raises(NoMaskToken):
        make(None, replace(SHORT, objective="masked"))

    class Tokenizer:
        special = {}

    with pytest.raises(NoMaskToken, match="MASK"):
        mask_token(Tokenizer())


def test_rows_longer_than_the_models_context_are_refused():
    with pytest.raises(InvalidOption, match="128 tokens"):
        make(None, replace(SHORT, max_length=129))


def test_a_trainer_leaves_the_engine_as_it_found_it():
    async def used():
        engine = await loaded(NAME)
        for _ in range(2):
            made = make(engine)
            await trained(made)
            await made.dispose()
        await engine.dispose()

    run(used())
