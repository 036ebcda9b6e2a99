"""Programs mutated without end: a value or a named error, in bounded memory."""

import json
import shutil
import subprocess
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet.errors import InvalidProgram
from edgenet.graph import Program
from edgenet.graph.lowering import lower
from tests.unit.test_program_judge import GOOD, ROOT

NASTY = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            2**31,
            2**32,
            2**53,
            2**60,
            1.5,
            1e39,
            -0.0,
            "",
            "n",
            "arena",
            "__proto__",
            [],
            {},
        ]
    ),
    st.integers(-(2**33), 2**33),
    st.tuples(st.sampled_from(["arena", "kv", "constants", "weight", "slot"]), st.integers(-64, 2**33)).map(list),
    st.sampled_from(["n", "m", "s"]).map(lambda s: ["slot", s]),
    st.integers(0, 2**21).map(lambda n: n * 64),
)


def _keys(at):
    return list(at) if isinstance(at, dict) else list(range(len(at)))


@st.composite
def mutations(draw):
    """A good Program with one to four places of it replaced, removed, doubled or exchanged."""
    document = json.loads(json.dumps(GOOD[draw(st.sampled_from(sorted(GOOD)))]["program"]))
    for _ in range(draw(st.integers(1, 4))):
        at, key = document, draw(st.sampled_from(_keys(document) + ["code"] * ("code" in document) * 4))
        while isinstance(at[key], dict | list) and at[key] and draw(st.integers(0, 9)):
            at = at[key]
            key = draw(st.sampled_from(_keys(at)))
        match draw(st.integers(0, 4)):
            case 0 if len(document) > 1:
                at.pop(key)
            case 1 if isinstance(at, list) and at:
                at.insert(key, at[draw(st.integers(0, len(at) - 1))])
            case 2 if isinstance(at, list) and at:
                other = draw(st.integers(0, len(at) - 1))
                at[key], at[other] = at[other], at[key]
            case _:
                at[key] = draw(NASTY)
    return json.dumps(document)


def outcome(text):
    try:
        return Program.from_json(text)
    except InvalidProgram as error:
        return error.code


def records(program):
    none = [0] * len(program.weights)
    return lower(program, {"arena": 0, "kv": 0, "constants": 0, "state": 0, "weights": none}, none)


def check(text):
    """A value that survives its own JSON and lowers to whole records, or a named error."""
    found = outcome(text)
    if isinstance(found, Program):
        assert Program.from_json(found.to_json()) == found
        assert len(records(found)) % 4 == 0


@given(mutations())
def test_a_mutated_program_is_a_program_or_a_named_error(text):
    check(text)


@pytest.mark.long
@settings(max_examples=50_000, deadline=None)
@given(mutations())
def test_fifty_thousand_mutated_programs(text):
    check(text)


@settings(max_examples=60)
@given(mutations())
def test_judging_allocates_no_more_than_the_text_is_worth(text):
    tracemalloc.start()
    outcome(text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000 + 40 * len(text)


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node")
@settings(max_examples=10, deadline=None)
@given(st.lists(mutations(), min_size=50, max_size=50))
def test_python_and_javascript_judge_alike(texts):
    judge = ["node", str(ROOT / "tests/node/judge_many.mjs")]
    done = subprocess.run(judge, input=json.dumps(texts), capture_output=True, text=True, check=True)
    here = [found if isinstance(found, str) else records(found).hex() for found in map(outcome, texts)]
    assert json.loads(done.stdout) == here
