"""A training that is killed, cancelled or paused, at any point, ends as one that was not: bit for bit."""

import asyncio
import sys

import pytest

from edgenet.lora.checkpoint import Checkpoint
from tests.unit.lora_runs import loaded, losses, run, trained
from tests.unit.test_lora_trainer import NAME, Memory, kinds, make


def same(a, b):
    """Whether two adapters are equal bit for bit."""
    return a.tensors.keys() == b.tensors.keys() and all(
        x.tobytes() == y.tobytes() for path in a.tensors for x, y in zip(a.tensors[path], b.tensors[path], strict=True)
    )


async def _whole():
    made = make(await loaded(NAME))
    return await trained(made), made.adapter()


@pytest.mark.parametrize("stop", range(1, 15), ids=lambda n: f"killed after {n} events")
def test_a_killed_training_ends_as_if_it_had_not_been(stop, whole):
    async def killed():
        store = Memory()
        events = make(await loaded(NAME), store=store).__aiter__()
        seen = [await anext(events) for _ in range(stop)]  # and then nothing more: all but the store is gone
        made = make(await loaded(NAME), store=Memory(store.held))
        return [*seen, *await trained(made)], made.adapter()

    (events, adapter), (want_events, want) = run(killed()), whole
    assert same(adapter, want)
    by_step = {e["step"]: e["loss"] for e in want_events if e["kind"] == "step"}
    assert all(e["loss"] == by_step[e["step"]] for e in events if e["kind"] == "step")


@pytest.fixture(scope="module")
def whole():
    return run(_whole())


@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_a_cancelled_training_keeps_its_last_step_and_goes_on_when_asked(at, whole):
    async def cancelled():
        store = Memory()
        made, seen = make(await loaded(NAME), store=store), []
        async for event in made:
            seen.append(event)
            if event["kind"] in ("step", "validation") and event["step"] == at:
                made.cancel()
        assert seen[-1] == {"kind": "done", "reason": "cancelled", "step": at} and made.step == at
        if at:
            assert Checkpoint.from_bytes(store.held).step == at
        await trained(made)
        return made.adapter()

    assert same(run(cancelled()), whole[1])


@pytest.mark.parametrize("at", [0, 2, 4, 6])
@pytest.mark.parametrize("goes_on", ["in this page", "in the next"])
def test_a_cancel_is_heard_while_it_validates_and_the_end_is_the_same(at, goes_on, whole):
    async def cancelled():
        store, engine = Memory(), await loaded(NAME)
        made, seen, ran = make(engine, store=store), [], engine.run

        async def heard(program=None, **slots):
            if program == "evaluate" and len(losses(seen)) == at:
                made.cancel()
            await ran(program=program, **slots)

        engine.run = heard
        async for event in made:
            seen.append(event)
        engine.run = ran
        assert ("validation", at) not in kinds(seen) and seen[-1] == {"kind": "done", "reason": "cancelled", "step": at}
        if goes_on == "in the next":
            made = make(await loaded(NAME), store=store)
        seen += await trained(made)
        return made.adapter(), {e["step"]: e["loss"] for e in seen if e["kind"] == "validation"}

    adapter, validations = run(cancelled())
    assert same(adapter, whole[1])
    assert validations == {e["step"]: e["loss"] for e in whole[0] if e["kind"] == "validation"}


def test_a_pause_after_a_cancel_holds_nothing_up_and_training_goes_on_when_asked(whole):
    async def cancelled():
        made = make(await loaded(NAME))
        async for event in made:
            if event["kind"] == "step" and event["step"] == 1:
                made.cancel()
                made.pause()
        assert event["reason"] == "cancelled"
        await trained(made)
        return made.adapter()

    assert same(run(cancelled()), whole[1])


@pytest.mark.skipif(sys.platform == "emscripten", reason="a page's Python cannot start an event loop")
def test_nothing_runs_while_training_is_paused(whole):
    async def paused():
        made, seen = make(await loaded(NAME)), []

        async def follow():
            async for event in made:
                seen.append(event)
                if event == {**event, "kind": "step", "step": 3}:
                    made.pause()

        task = asyncio.create_task(follow())
        while not (seen and seen[-1]["step"] == 3):
            await asyncio.sleep(0)
        before = len(seen)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(seen) == before and not task.done()
        made.resume()
        await task
        return made.adapter()

    assert same(asyncio.run(paused()), whole[1])
