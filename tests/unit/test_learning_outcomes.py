"""What teaching does to search with the real model: the promises of docs/learning.md, printed. CPython only.

The notes, nicknames and queries were written for this test; ordinary queries and their truth come from the machine."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgenet.learn.metrics import bootstrap_interval, mrr, ranks
from edgenet.learn.teach import Teacher

DATA = Path(__file__).parents[1] / "data"
SPLITS, MARKED = 5, 4  # each split marks 4 of the 10 queries of each nickname and holds out the other 6
SHOWN = 13  # results that a mark sees, the marked one among them


@pytest.fixture(scope="module")
def notes(embed):
    texts, names = (json.loads((DATA / f"{f}.json").read_text("utf-8")) for f in ("notes", "nicknames"))
    asked = [(n, note, text) for n, name in enumerate(names.values()) for note, text in name["queries"]]
    plain = [text.replace(name, about["means"]) for name, about in names.items() for _, text in about["queries"]]
    return SimpleNamespace(
        ids=list(texts),
        passages=embed(list(texts.values())),
        words=[a[2] for a in asked],
        queries=embed([a[2] for a in asked]),
        plain=embed(plain),
        name=np.array([a[0] for a in asked]),
        target=np.array([list(texts).index(a[1]) for a in asked]),
    )


@pytest.fixture(scope="module")
def ordinary(embed, ordinary_pairs):
    source, pairs = ordinary_pairs
    return SimpleNamespace(
        source=f"{len(pairs)} {source}",
        queries=embed([line for line, _ in pairs]),
        passages=embed([body for _, body in pairs], tokens=128),
        target=np.arange(len(pairs)),
    )


@pytest.fixture(scope="module")
def taught(notes):
    """For each split: (its held-out queries, a Teacher taught on the marks, one taught on the same marks shuffled)."""
    return [
        (
            held,
            teach(notes, marked, notes.target[marked]),
            teach(notes, marked, np.random.default_rng(100 + seed).permutation(notes.target[marked])),
        )
        for seed, marked, held in splits(notes)
    ]


def splits(notes):
    for seed in range(SPLITS):
        rng = np.random.default_rng(seed)
        marked = np.concatenate([rng.permutation(np.flatnonzero(notes.name == n))[:MARKED] for n in set(notes.name)])
        yield seed, rng.permutation(marked), np.setdiff1d(np.arange(len(notes.name)), marked)


def teach(notes, queries, targets):
    teacher = Teacher(notes.passages.shape[1])
    for q, target in zip(queries, targets, strict=True):
        mark(teacher, notes.words[q], notes.queries[q], notes.passages, int(target))
    return teacher


def mark(teacher, words, query, passages, target, relevant=True):
    """Mark a passage as a page does: beside what the search shows at that moment."""
    shown = [int(i) for i in np.argsort(-(passages @ teacher.apply(query)))[:SHOWN] if i != target]
    return teacher.mark(words, query, str(target), passages[target], relevant, passages[shown], [str(i) for i in shown])


def gains(notes, held, teacher):
    """Change of the reciprocal rank of each held-out query."""
    after, before = (
        1 / ranks(q, notes.passages, notes.target[held])
        for q in (teacher.apply(notes.queries[held]), notes.queries[held])
    )
    return after - before


def by_nickname(notes, taught, which):
    """Mean gain of each nickname over all splits: the independent units that the bootstrap draws from."""
    pairs = [(notes.name[held], gains(notes, held, teachers[which])) for held, *teachers in taught]
    names, values = (np.concatenate(column) for column in zip(*pairs, strict=True))
    return np.array([values[names == n].mean() for n in sorted(set(names))])


@pytest.fixture
def say(capsys):
    def show(text):
        with capsys.disabled():
            print(f"\n  {text}", end="", flush=True)

    return show


@pytest.mark.parametrize("where, highest", [("the first fifty results", 50), ("anywhere", None)])
def test_a_the_marked_document_is_first_after_at_most_three_marks(where, highest, notes, ordinary, say):
    passages, queries = (np.vstack([getattr(a, x) for a in (notes, ordinary)]) for x in ("passages", "queries"))
    rng, counts = np.random.default_rng(1), np.zeros(4, int)
    for q in rng.integers(len(queries), size=150):
        target = int(np.argsort(-(passages @ queries[q]))[rng.integers(1, highest or len(passages))])
        counts[marks_needed(queries[q], passages, target) - 1] += 1
    say(
        f"(a) target from {where} of {len(passages)}, 150 cases: first after 1, 2, 3 marks {counts[:3]}, not {counts[3]}"
    )
    assert counts[3] == 0


def marks_needed(query, passages, target):
    teacher = Teacher(passages.shape[1])
    for n in (1, 2, 3):
        mark(teacher, "what was meant", query, passages, target)
        if ranks(teacher.apply(query)[None], passages, [target])[0] == 1:
            return n
    return 4


def test_a_every_marked_document_is_still_first_after_all_marks(notes, taught, say):
    rates = []
    for (_, marked, _), (_, teacher, _) in zip(splits(notes), taught, strict=True):
        rates.append(np.mean(ranks(teacher.apply(notes.queries[marked]), notes.passages, notes.target[marked]) == 1))
    say(f"(a) after {len(marked)} marks on one adapter, share of them still first, by split: {np.round(rates, 3)}")
    assert min(rates) >= 0.97


def test_b_held_out_queries_with_private_nicknames_rise(notes, taught, say):
    base, means = (
        [f(held, t) for held, t, _ in taught]
        for f in (
            lambda held, _: mrr(notes.queries[held], notes.passages, notes.target[held]),
            lambda held, t: gains(notes, held, t).mean(),
        )
    )
    low, high = bootstrap_interval(by_nickname(notes, taught, 0))
    say(
        f"(b) nicknames, held-out MRR {np.mean(base):.3f} -> {np.mean(base) + np.mean(means):.3f}: {np.mean(means):+.3f} "
        f"(95 % interval over nicknames {low:+.3f} to {high:+.3f}; splits {np.round(means, 3)})"
    )
    new = [gains(notes, fresh, t).mean() for held, t, _ in taught for fresh in [unmarked_notes(notes, held, t)]]
    say(f"(b) of these, queries for notes that were never marked: {np.mean(new):+.3f}")
    assert np.mean(means) >= 0.15 and low > 0 and np.mean(new) > 0


def unmarked_notes(notes, held, teacher):
    marked = {int(m["passage"]) for m in teacher.marks()}
    return np.array([q for q in held if int(notes.target[q]) not in marked])


def test_c_ordinary_queries_fall_by_at_most_a_hundredth(ordinary, taught, say):
    before = mrr(ordinary.queries, ordinary.passages, ordinary.target)
    changes = [mrr(t.apply(ordinary.queries), ordinary.passages, ordinary.target) - before for _, t, _ in taught]
    say(
        f"(c) {ordinary.source}: MRR {before:.3f}, change by the same teaching {np.mean(changes):+.4f} "
        f"(splits {np.round(changes, 4)})"
    )
    assert before > 0.3 and np.mean(changes) >= -0.01


def test_c_the_same_questions_in_plain_words_keep_their_place(notes, taught, say):
    before, after = (
        np.mean([mrr(f(notes.plain[held], t), notes.passages, notes.target[held]) for held, t, _ in taught])
        for f in (lambda q, _: q, lambda q, t: t.apply(q))
    )
    say(f"(c) held-out queries with the plain name in place of the nickname: MRR {before:.3f} -> {after:.3f}")
    assert after - before >= -0.01


def test_d_shuffled_marks_do_not_raise_held_out_queries(notes, taught, say):
    low, high = bootstrap_interval(by_nickname(notes, taught, 1))
    mean = np.mean([gains(notes, held, shuffled).mean() for held, _, shuffled in taught])
    say(f"(d) the same marks on random queries: {mean:+.3f} (95 % interval {low:+.3f} to {high:+.3f})")
    assert low <= 0


def test_wrong_first_results_marked_not_relevant_help_their_queries(notes, ordinary, say):
    rises, falls = [], []
    for _, marked, _ in splits(notes):
        teacher, target = Teacher(notes.passages.shape[1]), notes.target[marked]
        for q in marked:
            first = int(np.argmax(notes.passages @ teacher.apply(notes.queries[q])))
            if first != notes.target[q]:
                mark(teacher, notes.words[q], notes.queries[q], notes.passages, first, relevant=False)
        rises.append(
            mrr(teacher.apply(notes.queries[marked]), notes.passages, target)
            - mrr(notes.queries[marked], notes.passages, target)
        )
        falls.append(
            mrr(teacher.apply(ordinary.queries), ordinary.passages, ordinary.target)
            - mrr(ordinary.queries, ordinary.passages, ordinary.target)
        )
    say(f"only wrong first results marked not relevant: {np.mean(rises):+.3f}, ordinary {np.mean(falls):+.4f}\n")
    assert np.mean(rises) > 0 and np.mean(falls) >= -0.01
