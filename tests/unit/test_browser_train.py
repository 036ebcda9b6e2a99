"""Training in the page, by messages, over a played page whose engine is NumpyEngine: what is told, what is kept, what is survived."""

import json

import numpy as np
import pytest

from edgenet.errors import (
    EdgeNetError,
    ExampleTooLong,
    KernelTrap,
    NotFound,
    TooLittleData,
    TrainingDiverged,
    TrainingUnderWay,
)
from edgenet.host import browser_train
from tests.unit.lora_runs import run
from tests.unit.played_page import MODEL, PlayedPage

DATA = ["hello world, this is a text to learn from " * 8, {"input": "ask", "output": "answer"}]
CHOSEN = {
    "lora": {"r": 2, "targetModules": ["q", "v"]},
    "training": {"maxSteps": 6, "maxLength": 32, "checkpointEvery": 2, "evaluateEvery": 2, "dots": "f32"},
}


@pytest.fixture
def page():
    return PlayedPage().reloaded()


def start(page, id="one", **more):
    return page.call("train.start", id=id, **({"data": DATA, "name": "mine"} | CHOSEN | more))


def learned(page, id="one"):
    """The id of the adapter: what does the same has the same."""
    return page.call("train.adapter", id=id)["id"]


def whole():
    page = PlayedPage().reloaded()
    result = start(page)
    return [point["loss"] for point in result["metrics"]["losses"]], learned(page)


def test_a_training_tells_its_course_and_leaves_the_engine_as_it_was(page):
    result = start(page)
    kinds = [event["kind"] for event in page.events if "kind" in event]
    assert (result["reason"], result["step"], kinds[0], kinds[-1]) == ("steps", 6, "started", "done")
    assert page.added == set() and page.of("started")[0]["parameters"] == 896
    metrics = result["metrics"]
    assert [p["step"] for p in metrics["losses"]] == [1, 2, 3, 4, 5, 6]
    assert metrics["lossBefore"] == metrics["validations"][0]["loss"]
    assert metrics["lossAfter"] == min(p["loss"] for p in metrics["validations"])
    record = json.loads(page.kept["runs/one.json"])
    assert (record["state"], record["step"], record["model"]) == ("done", 6, MODEL["key"])


def test_a_course_that_little_text_makes_shorter_is_told_as_it_starts(page):
    start(page, training=CHOSEN["training"] | {"maxSteps": 900, "maxEpochs": 1})
    (started,) = page.of("started")
    assert f"training takes {started['steps']} of 900 steps" in started["notices"][-1]["message"]
    assert started["notices"][-1]["code"] == "course_shortened"


def test_only_the_header_of_the_model_is_read(page):
    start(page)
    assert page.asked.count("lm.source") == 2, "its size, and one range"


BREAKS = {"in the first step": [0], "after a checkpoint": [3], "twice": [2, 1], "between two": [5]}


@pytest.mark.parametrize("when", BREAKS)
def test_an_engine_that_broke_is_replaced_and_the_end_is_the_same(page, when):
    page.breaking = list(BREAKS[when])
    result = start(page)
    assert len(page.of("notice")) == len(BREAKS[when])
    assert ([p["loss"] for p in result["metrics"]["losses"]], learned(page)) == whole()


def test_where_an_engine_broke_no_validation_is_lost_or_told_twice():
    curves, training = [], CHOSEN["training"] | {"checkpointEvery": 6}
    for breaking in ([], [5]):
        page = PlayedPage().reloaded()
        page.breaking = breaking
        curves.append([point["step"] for point in start(page, training=training)["metrics"]["validations"]])
    assert curves == [[0, 2, 4, 6]] * 2


def test_an_engine_that_breaks_again_and_again_ends_the_training_which_is_kept(page):
    page.breaking = [0] * 9
    with pytest.raises(KernelTrap):
        start(page)
    page.breaking = []
    assert len(page.of("notice")) == 3
    assert page.call("train.start", id="one")["reason"] == "steps"
    assert learned(page) == whole()[1]


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_a_killed_tab_goes_on_from_its_last_checkpoint_bit_for_bit(page, step):
    class Killed(BaseException):
        pass

    def kill(event):
        if event.get("kind") == "step" and event["step"] == step:
            raise Killed

    page.on_event = kill
    with pytest.raises(Killed):
        start(page)
    after = page.reloaded()
    result = after.call("train.start", id="one")
    assert after.of("started")[0]["step"] == (step - 1) // 2 * 2, "no more than `checkpointEvery` steps are lost"
    assert ([p["loss"] for p in result["metrics"]["losses"]], learned(after)) == whole()


def test_passages_of_what_is_learned_are_told_with_the_adapter_also_after_a_reload_and_are_in_none_of_its_files(page):
    start(page, sample=["my diary", "of this year"])
    for now in (page, page.reloaded()):
        found = now.call("train.adapter", id="one")
        assert found["sample"] == ["my diary", "of this year"] and b"diary" not in found["packed"] + found["ready"]
    start(page, "two")
    assert page.call("train.adapter", id="two")["sample"] == []


def test_a_cancelled_training_goes_on_when_it_is_asked_to(page):
    page.on_event = lambda e: e.get("step") == 3 and e.get("kind") == "step" and page.call("train.cancel", id="one")
    assert start(page)["reason"] == "cancelled"
    page.on_event = lambda event: None
    assert page.call("train.start", id="one")["reason"] == "steps" and learned(page) == whole()[1]


@pytest.mark.parametrize(
    ("line", "id", "reason"),
    [
        ("one", "one", "the training itself"),
        ("one", "two", "another of this session, whose engine trains"),
        ("two", "one", "the training itself, taken up in another session"),
    ],
)
def test_a_session_trains_one_training_and_a_training_trains_in_one_session(page, line, id, reason):
    def again(event):
        if event.get("kind") == "step" and event["step"] == 2:
            page.line, page.on_event = line, lambda event: None
            with pytest.raises(TrainingUnderWay, match="[Cc]ancel it"):
                start(page, id)
            page.line = "one"

    page.on_event = again
    assert [p["loss"] for p in start(page)["metrics"]["losses"]] == whole()[0], "the first goes on as if nothing was"
    assert not any(key.startswith("runs/two") for key in page.kept)


def test_a_second_training_is_refused_while_the_first_is_made_ready(page):
    asked = page.ask

    async def ask(kind, args):
        page.ask = asked
        with pytest.raises(TrainingUnderWay):
            await page.calling("train.start", id="two", data=DATA)
        return await asked(kind, args)

    page.ask = ask
    assert start(page)["reason"] == "steps" and start(page, "two")["reason"] == "steps"


def test_a_wish_to_cancel_is_heard_from_the_first_event_on_and_a_pause_after_it_is_not(page):
    wishes = ("train.cancel", "train.pause")
    page.on_event = lambda e: e.get("kind") == "started" and [run(page.calling(kind, id="one")) for kind in wishes]
    assert start(page)["reason"] == "cancelled" and page.of("step") == page.of("paused") == []


@pytest.mark.parametrize("when", ["while it makes tokens", "when all are made"])
def test_a_wish_to_cancel_is_heard_before_a_training_begins(page, when):
    share = {"while it makes tokens": 0, "when all are made": 100}[when]
    page.on_event = lambda e: e.get("progress") == share and run(page.calling("train.cancel", id="one"))
    found = start(page, data=["line\n" * 30_000])
    assert (found["reason"], found["step"], found["metrics"]["steps"], page.of("step")) == ("cancelled", 0, 0, [])
    page.on_event = lambda e: None
    assert start(page)["reason"] == "steps", "the wish was for that once"


def test_full_storage_is_said_and_training_goes_on(page):
    page.on_event = lambda event: setattr(page, "full", event.get("kind") == "started" or page.full)
    result = start(page)
    assert (result["reason"], result["kept"]) == ("steps", False)
    assert [event["code"] for event in page.of("notice")] == ["quota_exceeded"], "once, not at every checkpoint"
    assert learned(page) == whole()[1], "what was learned is in memory still"


def test_storage_that_was_full_before_is_an_error_by_name_and_nothing_is_kept_half(page):
    page.full = True
    with pytest.raises(EdgeNetError) as caught:
        start(page)
    assert caught.value.code == "quota_exceeded" and "runs/one.json" not in page.kept


def test_storage_that_fills_up_while_a_training_begins_keeps_nothing_of_it(page):
    put = page.store_put

    async def store_put(key, data):
        await put(key, data)
        page.full = key == "runs/one.tokens"  # that was the last that went in

    page.store_put = store_put
    with pytest.raises(EdgeNetError, match="no room"):
        start(page)
    assert [key for key in page.kept if key.startswith("runs/")] == []


def test_evaluation_is_of_the_model_alone_of_a_training_or_of_a_kept_adapter(page):
    start(page)
    kept = page.call("train.keep", binary={"packed": page.call("train.adapter", id="one")["packed"]}, name="kept")
    of = {"alone": None, "run": {"run": "one"}, "kept": {"saved": kept["id"]}}
    found = {
        what: page.call("train.evaluate", id="one", data=[DATA[0]], adapter=adapter)["loss"]
        for what, adapter in of.items()
    }
    assert found["run"] == found["kept"] < found["alone"]


def cancelled_at(page, step, kind="step"):
    """Trains, and cancels after that step, or its validation."""
    page.on_event = lambda e: e.get("step") == step and e.get("kind") == kind and page.call("train.cancel", id="one")
    start(page)
    page.on_event = lambda event: None


@pytest.fixture
def turn(page, monkeypatch):
    """Two tabs over one storage, each with trainings of its own in memory: `turn(i)` is the one whose turn it is."""
    pages, live = (page, PlayedPage(page.kept)), ({}, {})

    def turn(i):
        monkeypatch.setattr(browser_train, "LIVE", live[i])
        return pages[i]

    return turn


def test_a_tab_goes_on_from_where_another_took_the_training(page, turn):
    cancelled_at(turn(0), 3)
    assert turn(1).call("train.start", id="one")["reason"] == "steps"
    result = turn(0).call("train.start", id="one")
    assert page.of("started")[-1]["step"] == 6 and len(result["metrics"]["losses"]) == 6
    assert learned(turn(0)) == whole()[1]


def test_a_tab_does_not_bring_back_what_another_discarded(page, turn):
    cancelled_at(turn(0), 3)
    turn(1).call("train.discard", id="one")
    with pytest.raises(NotFound):
        turn(0).call("train.start", id="one")
    assert [key for key in page.kept if key.startswith("runs/")] == []


def test_what_could_not_be_stored_is_gone_on_with_from_memory(page):
    def hear(event):
        page.full = page.full or event.get("kind") == "checkpoint"
        if event.get("kind") == "step" and event["step"] == 5:
            page.call("train.cancel", id="one")

    page.on_event = hear
    start(page)
    page.on_event, page.full = lambda event: None, False
    assert page.call("train.start", id="one")["kept"]
    assert page.of("started")[-1]["step"] == 5 and learned(page) == whole()[1]


def test_what_was_learned_is_read_from_storage_that_is_full(page):
    start(page)
    after = page.reloaded()
    after.full = True
    assert learned(after) == whole()[1]


@pytest.mark.parametrize("python", ["the one that trained", "another"])
def test_a_training_that_is_done_and_kept_is_forgotten(page, python):
    start(page)
    packed = page.call("train.adapter", id="one")["packed"]
    page = page if python == "the one that trained" else page.reloaded()
    page.call("train.keep", binary={"packed": packed}, name="kept", run="one")
    assert [key for key in page.kept if key.startswith("runs/")] == [] and browser_train.LIVE == {}
    for kind in ("train.adapter", "train.start"):
        with pytest.raises(NotFound):
            page.call(kind, id="one")


def test_a_discarded_training_leaves_nothing(page):
    start(page)
    page.call("train.discard", id="one")
    assert [key for key in page.kept if key.startswith("runs/")] == []
    with pytest.raises(NotFound):
        page.call("train.start", id="one")


def test_a_training_of_another_model_is_not_found(page):
    start(page)
    after = page.reloaded()
    key, MODEL["key"] = MODEL["key"], "other@1"
    try:
        with pytest.raises(NotFound):
            after.call("train.start", id="one")
    finally:
        MODEL["key"] = key


def test_of_a_training_that_diverged_what_was_good_last_is_there_also_after_a_reload(page):
    read = page.lm_read

    async def lm_read(program, name):
        found = await read(program, name)
        over = page.of("step") and page.of("step")[-1]["step"] == 3
        return found * np.float32("nan") if over and (program, name) == ("train", "losses") else found

    page.lm_read = lm_read
    with pytest.raises(TrainingDiverged, match="step 4") as caught:
        start(page)
    assert caught.value.details == {"step": 4, "kept": 2}
    good = learned(page)
    assert learned(page.reloaded()) == good
    other = PlayedPage().reloaded()
    cancelled_at(other, 2, "validation")
    assert learned(other) == good, "what two steps give"


def test_nothing_is_left_of_an_evaluation(page):
    page.call("train.evaluate", data=["some text"])
    assert not browser_train.EVALUATING


def test_data_without_a_character_is_refused_and_nothing_is_kept(page):
    with pytest.raises(TooLittleData):
        start(page, data=["  "])
    assert page.kept == {}


WRONG = {
    "numbers for LoRA's options": ("invalid_option", {"lora": 5}),
    "a list of options": ("invalid_option", {"training": [1]}),
    "a rank that there is nowhere": ("rank_invalid", {"lora": {"r": 300}}),
    "a preset that is no text": ("invalid_option", {"preset": 5}),
    "a list among modules": ("target_module_unknown", {"lora": {"targetModules": [["q"]]}}),
    "a name that is none": ("invalid_option", {"name": ""}),
    "a name of two lines": ("invalid_option", {"name": "a\nb"}),
    "a name that is no text": ("invalid_option", {"name": 5}),
}


@pytest.mark.parametrize("what", WRONG)
def test_options_of_the_wrong_kind_are_refused_by_name_before_anything_is_kept(page, what):
    code, chosen = WRONG[what]
    with pytest.raises(EdgeNetError) as caught:
        start(page, **chosen)
    assert caught.value.code == code and page.kept == {} and "256, found" not in caught.value.message


def test_a_pair_that_is_too_long_is_named_by_its_place_among_all_that_was_given(page):
    lines = {"name": "x.jsonl", "text": '"one"\n{"input": "a", "output": "' + "b" * 99 + '"}\n'}
    with pytest.raises(ExampleTooLong, match="Example 4, a pair,"):
        start(page, data=["text", {"input": "q", "output": " "}, lines])
