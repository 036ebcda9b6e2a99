"""A browser that is killed while it trains, again and again, ends with the adapter of one that was not, bit for bit."""

import random

import pytest

from tests.browser.test_sdk_language import prepared
from tests.browser.test_sdk_training import ready

pytestmark = pytest.mark.browser
EVERY, MOST = 3, 8  # steps between checkpoints; before a kill
TRAINING = f"{{ maxSteps: 200, maxEpochs: 0, checkpointEvery: {EVERY}, evaluateEvery: 20 }}"
GO = f"""async () => {{
  window.events = [];
  const [found] = await session.trainers();
  const trainer = (window.trainer = found ? await session.resumeTrainer(found.id) : made({TRAINING}));
  window.going = trainer.train(found ? undefined : text, {{ onEvent: (event) => events.push(event) }});
}}"""
STEPS = "events.filter(({ kind }) => kind === 'step')"


def going(page, url):
    """A page that trains, or goes on."""
    prepared(page, url)
    ready(page, threads=1)
    page.evaluate(GO)
    page.wait_for_function(f"() => {STEPS}.length")
    return page.evaluate("() => events.find(({ kind }) => kind === 'started').step")


def ended(page):
    return page.evaluate("async () => { await going; return (await trainer.adapter()).id; }")


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_a_killed_browser_goes_on_where_it_was(killable, site, kills):
    url, chance = site(), random.Random(4)
    page, kill = killable("whole")
    going(page, url)
    whole = ended(page)
    kill()
    reached = 0
    for _ in range(kills):
        page, kill = killable()
        begun = going(page, url)
        assert reached - EVERY <= begun, "at most so many steps are lost"
        wanted = chance.randint(1, MOST)
        page.wait_for_function(f"(n) => {STEPS}.length >= n", arg=wanted, polling=5)
        reached = page.evaluate(f"() => {STEPS}.at(-1).step")
        kill()
    page, kill = killable()
    assert going(page, url) >= reached - EVERY
    assert ended(page) == whole
