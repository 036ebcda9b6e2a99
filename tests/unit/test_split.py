"""Splitting and batching: the same vectors as the browser's, then any text at all. Runs in CPython and Pyodide."""

import json
import math
import random
from pathlib import Path

import pytest

from edgenet.errors import EmptyText, InvalidOption
from edgenet.text import split
from edgenet.text.batching import plan_batches

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/split.json").read_text("utf-8"))
ALPHABET = [*"ab .,!?\n\n\t中文。한글é\u200b\u0301\x00\f🙂👩‍👩", "word ", "x" * 80, "가" * 70, "\u1fa7" * 70]


def count(unit):
    return math.ceil(len(unit) / 4)


@pytest.mark.parametrize("row", VECTORS, ids=[row["why"] for row in VECTORS])
def test_passages_are_those_of_the_vectors(row):
    found = split(row["text"], count, **row["options"])
    assert [[p.start, p.end, p.tokens] for p in found] == row["passages"]
    assert all(p.text == row["text"][p.start : p.end] for p in found)


@pytest.mark.parametrize("text", ["", " \n\t\u3000"], ids=["nothing", "white space"])
def test_text_without_words_is_refused(text):
    with pytest.raises(EmptyText):
        split(text, count)


@pytest.mark.parametrize(
    "options", [{"max_tokens": 15}, {"max_tokens": 257}, {"overlap": -1}, {"overlap": 129}], ids=str
)
def test_limits_that_make_no_sense_are_refused(options):
    with pytest.raises(InvalidOption):
        split("a b", count, **options)


@pytest.mark.parametrize("seed", range(60))
def test_any_text_is_covered_by_passages_that_fit(seed):
    r = random.Random(seed)
    text = "a" + "".join(r.choice(ALPHABET) for _ in range(r.randrange(600)))
    most = r.choice([16, 40, 256])
    covered = set()
    for p in split(text, count, most, r.choice([0, most // 8])):
        assert p.tokens <= most
        covered.update(range(p.start, p.end))
    assert all(i in covered or text[i] in " \n\t" for i in range(len(text)))


def test_passages_go_forward():
    passages = split("Some words here. " * 3000, count)
    assert all(a.start < b.start and a.end < b.end for a, b in zip(passages, passages[1:], strict=False))


def test_batches_hold_every_text_once_within_the_limit_and_pad_little():
    lengths = [3 + (i * 37) % 250 for i in range(200)]
    batches = plan_batches(lengths, 512)
    assert sorted(row for b in batches for row in b.rows) == list(range(200))
    assert all(len(b.rows) * b.length <= 512 and b.length == max(lengths[i] for i in b.rows) for b in batches)
    assert sum(len(b.rows) * b.length for b in batches) < 1.05 * sum(lengths)


def test_a_text_longer_than_a_batch_goes_alone():
    assert [(b.rows, b.length) for b in plan_batches([3, 600, 3], 512)] == [((0, 2), 3), ((1,), 600)]
