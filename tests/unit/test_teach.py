"""The teacher on made-up vectors: what a mark does, what taking it back does, and what is refused."""

import json

import numpy as np
import pytest

from edgenet import errors
from edgenet.learn import MicroLoRA, marks, policy, saved
from edgenet.learn.metrics import bootstrap_interval, mrr, ranks
from edgenet.learn.teach import Teacher


def units(n, dim, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class World:
    """Passages, queries and a Teacher, with marks made on the ranking of the moment, as a page does."""

    def __init__(self, passages=40, queries=12, dim=64, **options):
        self.passages, self.queries = units(passages, dim, 1), units(queries, dim, 2)
        self.teacher = Teacher(dim, **options)

    def order(self, q):
        return list(np.argsort(-(self.passages @ self.teacher.apply(self.queries[q])), kind="stable"))

    def mark(self, q, p, relevant=True, text=None):
        shown = [int(i) for i in self.order(q) if i != p][:10]
        return self.teacher.mark(
            text or f"query {q}",
            self.queries[q],
            f"p{p}",
            self.passages[p],
            relevant,
            self.passages[shown],
            [f"p{i}" for i in shown],
        )


def weights(teacher):
    return teacher.adapter()["A"].tobytes() + teacher.adapter()["B"].tobytes()


# --- the gradient ----------------------------------------------------------------------------------------------------
def rows_in_f64(n=5, p=7, dim=6, mixed=True):
    wanted, beaten = np.eye(n, p), ~np.eye(n, p, dtype=bool)
    if mixed:  # one row that wants a mean to beat one passage, as a "not relevant" mark makes it
        wanted[-1], beaten[-1] = np.array([0, 0, 0, 0, 0, 0.5, 0.5]), np.eye(1, p, 2, dtype=bool)[0]
    return policy.Rows(units(n, dim, 3).astype(float), units(p, dim, 4).astype(float), wanted, beaten)


def test_the_gradient_is_that_of_the_loss_by_finite_differences():
    rows, options, rng = rows_in_f64(), policy.Options(softness=0.2), np.random.default_rng(5)
    A, B = rng.standard_normal((6, 3)) * 0.5, rng.standard_normal((3, 6)) * 0.5

    def loss(A, B):
        return policy.forward(rows, rows.queries @ rows.pool.T, A, B, options).loss * len(rows.queries)

    state = policy.forward(rows, rows.queries @ rows.pool.T, A, B, options)
    e = policy.gradient_of_output(rows, state)
    analytic = {"A": rows.queries.T @ (e @ B.T), "B": state.hidden.T @ e}
    for name, i, j in [(m, i, j) for m, shape in (("A", (6, 3)), ("B", (3, 6))) for i, j in np.ndindex(shape)]:
        step = np.zeros({"A": A, "B": B}[name].shape)
        step[i, j] = 1e-6
        up, down = ((A + s * step, B) if name == "A" else (A, B + s * step) for s in (1, -1))
        assert analytic[name][i, j] == pytest.approx((loss(*up) - loss(*down)) / 2e-6, abs=1e-6)


def test_a_step_of_the_policy_is_a_step_of_microlora():
    rows, options = rows_in_f64(n=1, mixed=False), policy.Options(reach=1e9, rate=0.1)
    A, B = (0.3 * units(6, 3, 7)).astype(np.float32), (0.3 * units(3, 6, 8)).astype(np.float32)
    lora = MicroLoRA(6, options.alpha, options.rate, rank=3)
    lora.a, lora.b = A.T.copy(), B.copy()
    state = policy.forward(rows, rows.queries @ rows.pool.T, A, B, options)
    lora.adapt_array(policy.gradient_of_output(rows, state)[0], input=rows.queries[0])
    stepped = policy.descend(rows, state, A, B, options)
    np.testing.assert_allclose(lora.a.T, stepped[0], atol=1e-6)
    np.testing.assert_allclose(lora.b, stepped[1], atol=1e-6)


# --- what a mark does ------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("dim, rank", [(8, 2), (64, 1), (64, 16), (384, 16)])
def test_a_relevant_mark_leads_what_it_was_shown_with(dim, rank):
    world = World(dim=dim, rank=rank)
    last = world.order(0)[-1]
    report = world.mark(0, last)
    assert report["before_rank"] > 1 and report["after_rank"] == 1 and report["held"] and not report["unmet"]
    assert report["loss_after"] < report["loss_before"] and report["steps"] > 0 and report["candidates"] == 11


def test_a_passage_that_leads_already_changes_nothing():
    world = World()
    world.queries[0] = world.passages[3]
    assert world.mark(0, 3)["steps"] == 0
    assert not world.teacher.adapter()["B"].any()


def test_what_is_marked_not_relevant_leaves_the_top_half():
    world = World()
    first = world.order(0)[0]
    report = world.mark(0, first, relevant=False)
    assert report["before_rank"] == 1 and report["after_rank"] > 5 and report["held"]


def test_earlier_marks_still_hold_after_later_ones():
    world = World()
    targets = {q: world.order(q)[-1 - q] for q in range(12)}
    reports = [world.mark(q, p) for q, p in targets.items()]
    assert reports[-1]["unmet"] == []
    assert all(world.order(q)[0] == p for q, p in targets.items())


def test_two_relevant_passages_of_a_query_both_lead_the_rest():
    world = World()
    wanted = set(world.order(0)[-2:])
    for p in wanted:
        world.mark(0, p)
    assert set(world.order(0)[:2]) == wanted


def test_a_query_at_right_angles_to_all_marked_ones_stays():
    world = World(queries=3)
    world.mark(0, world.order(0)[-1])
    other = world.queries[1] - (world.queries[1] @ world.queries[0]) * world.queries[0]
    other /= np.linalg.norm(other)
    assert world.teacher.apply(other) @ other == pytest.approx(1, abs=1e-5)


def test_passages_of_the_same_text_do_not_stand_in_each_others_way():
    world = World()
    world.passages[5] = world.passages[6]
    report = world.mark(0, 5)
    assert report["held"] and report["after_rank"] == 1


def test_the_only_passage_is_kept_and_counts_once_there_are_others():
    world = World()
    report = world.teacher.mark("alone", world.queries[0], "p0", world.passages[0], True, [], [])
    assert not report["held"] and "no other passage" in report["message"] and report["steps"] == 0
    world.mark(1, world.order(1)[0])
    assert weights(world.teacher) != weights(World().teacher)


def test_the_same_mark_again_keeps_its_number_and_learns_from_the_new_rivals():
    world = World()
    first, more = world.mark(0, 9), world.passages[30:34]
    again = world.teacher.mark("query 0", world.queries[0], "p9", world.passages[9], True, more, ["a", "b", "c", "d"])
    assert again["n"] == first["n"] == 1 and again["replaced"] is None and len(world.teacher.marks()) == 1
    assert world.teacher.knows("a") and world.teacher.knows(f"p{world.order(0)[1]}")


def test_the_opposite_mark_takes_the_place_of_the_first():
    world, clean = World(), World()
    world.mark(0, 9)
    report = world.mark(0, 9, relevant=False)
    assert report["replaced"] == 1 and [m["relevant"] for m in world.teacher.marks()] == [False]
    clean.mark(0, 9, relevant=False)
    assert world.order(0).index(9) > 4 and clean.order(0).index(9) > 4


def test_like_queries_that_ask_opposite_things_are_named():
    world = World(queries=1)
    a, b = world.order(0)[-2:]
    world.mark(0, a, text="one way")
    report = world.mark(0, b, text="the same vector, other words")
    assert report["unmet"] and "undo one" in report["message"]
    assert world.teacher.undo(report["unmet"][0]) and not world.teacher.unmet()


def test_a_thousand_passages_are_compared_by_the_marked_ones_and_the_newest_rivals():
    book = marks.Book()
    for n in range(1, 101):
        names = [f"r{n}-{k}" for k in range(12)]
        vectors = dict(zip([f"p{n}", *names], units(13, 8, n), strict=True))
        book = book.with_mark(marks.Mark(n, f"q{n}", f"p{n}", True, tuple(names)), units(1, 8, n)[0], vectors)
    ids = marks.known(book)
    assert len(ids) == marks.POOL and {f"p{n}" for n in range(1, 101)} < set(ids)
    assert "r100-0" in ids and "r1-0" not in ids


def test_the_clock_given_is_the_clock_used():
    ticks = iter([10.0, 10.25])
    world = World(clock=lambda: next(ticks))
    assert world.mark(0, 1)["milliseconds"] == 250
    assert World().mark(0, 1)["milliseconds"] is None


# --- taking back -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("which", [1, 2, 3])
def test_an_undone_mark_leaves_the_weights_as_if_it_had_never_been_made(which):
    world = World()
    given = [(q, world.passages[world.order(q)[-1]], world.order(q)) for q in range(3)]

    def taught(skip=None):
        teacher = Teacher(64)
        for q, passage, order in given:
            shown = [int(i) for i in order[:10]]
            if q + 1 != skip:
                teacher.mark(
                    f"{q}",
                    world.queries[q],
                    f"p{order[-1]}",
                    passage,
                    True,
                    world.passages[shown],
                    [f"p{i}" for i in shown],
                )
        return teacher

    teacher = taught()
    teacher.undo(which)
    assert weights(teacher) == weights(taught(skip=which)) != weights(taught())


def test_everything_undone_is_the_untaught_search():
    world = World()
    for q in range(3):
        world.mark(q, world.order(q)[-1])
    world.teacher.undo(2)
    world.teacher.undo()
    assert [m["n"] for m in world.teacher.marks()] == [1]
    world.teacher.undo()
    np.testing.assert_allclose(world.teacher.apply(world.queries), world.queries, atol=1e-6)
    with pytest.raises(errors.NothingToUndo):
        world.teacher.undo()


def test_reset_forgets_and_numbers_are_not_used_again():
    world = World()
    world.mark(0, world.order(0)[-1])
    world.teacher.reset()
    assert world.teacher.marks() == [] and not world.teacher.adapter()["B"].any() and not world.teacher.knows("p1")
    assert world.mark(0, 1)["n"] == 2


def test_a_deleted_passage_takes_its_marks_along_and_is_nobodys_rival():
    world = World()
    world.mark(0, 3)
    rival = f"p{[i for i in world.order(0) if i != 3][0]}"
    world.mark(1, 4)
    assert world.teacher.forget(["p3"]) == [1] and [m["n"] for m in world.teacher.marks()] == [2]
    if world.teacher.knows(rival):
        assert world.teacher.forget([rival]) in ([], [2])
    assert not world.teacher.knows(rival) and not world.teacher.knows("p3")


# --- keeping ---------------------------------------------------------------------------------------------------------
def taught_world():
    world = World(model="m@1")
    world.mark(0, world.order(0)[-1])
    world.mark(1, world.order(1)[0], relevant=False)
    return world


def test_an_export_read_back_gives_the_same_weights_and_goes_on_from_there():
    world = taught_world()
    back = Teacher.restore(json.loads(json.dumps(world.teacher.export())), model="m@1")
    assert weights(back) == weights(world.teacher) and back.marks() == world.teacher.marks() and back.unmet() == []
    assert json.dumps(back.export(), sort_keys=True) == json.dumps(world.teacher.export(), sort_keys=True)
    world.teacher.undo(1)
    back.undo(1)
    assert weights(back) == weights(world.teacher)


def test_equal_marks_give_equal_weights():
    assert weights(taught_world().teacher) == weights(taught_world().teacher)


@pytest.mark.parametrize("reason, lone", [("nothing taught", 0), ("one mark without rivals", 1)])
def test_an_export_with_nothing_to_rank_reads_back(reason, lone):
    teacher = Teacher(64)
    for _ in range(lone):
        teacher.mark("alone", units(1, 64)[0], "p", units(1, 64)[0], True, [], [])
    assert len(Teacher.restore(teacher.export()).marks()) == lone


DAMAGE = [
    ("not an object", lambda d: [1]),
    ("another format", lambda d: {**d, "format": "x"}),
    ("a later version", lambda d: {**d, "version": 2}),
    ("a changed word", lambda d: {**d, "queries": {**d["queries"], "query 9": "AAAA"}}),
    ("no checksum", lambda d: {k: v for k, v in d.items() if k != "checksum"}),
    ("NaN weights", lambda d: signed(d, adapter={**d["adapter"], "B": saved.pack(np.full((16, 64), np.nan))})),
    ("weights of another shape", lambda d: signed(d, rank=8)),
    ("weights missing", lambda d: signed(d, adapter={})),
    ("a width that is no number", lambda d: signed(d, dim="64")),
    ("a rank out of range", lambda d: signed(d, rank=0)),
    ("a mark without vectors", lambda d: signed(d, passages={})),
    ("a mark from the future", lambda d: signed(d, next=1)),
    ("a vector that is not base64", lambda d: signed(d, queries={k: "!" for k in d["queries"]})),
    ("a zero vector", lambda d: signed(d, queries={k: saved.pack(np.zeros(64)) for k in d["queries"]})),
]


def signed(data, **changes):
    data = {**{k: v for k, v in data.items() if k != "checksum"}, **changes}
    return {**data, "checksum": saved.checksum(data)}


@pytest.mark.parametrize("reason, damage", DAMAGE, ids=[r for r, _ in DAMAGE])
def test_a_damaged_export_is_refused(reason, damage):
    with pytest.raises(errors.BackupInvalid):
        Teacher.restore(damage(taught_world().teacher.export()))


def test_an_export_of_another_model_is_refused_and_both_are_named():
    with pytest.raises(errors.BackupInvalid, match=r"'m@1'.*'other@2'"):
        Teacher.restore(taught_world().teacher.export(), model="other@2")


# --- bad input -------------------------------------------------------------------------------------------------------
GOOD = {
    "query_text": "q",
    "query_vector": units(1, 64)[0],
    "passage_id": "p",
    "passage_vector": units(2, 64)[1],
    "relevant": True,
    "rivals": units(3, 64),
    "rival_ids": ["a", "b", "c"],
}
NAN = np.full(64, np.nan, np.float32)
BAD = [
    ("query of another model", {"query_vector": units(1, 256)[0]}, errors.WrongLength),
    ("passage of another model", {"passage_vector": units(1, 256)[0]}, errors.WrongLength),
    ("rivals of another model", {"rivals": units(3, 256)}, errors.WrongLength),
    ("more ids than rivals", {"rival_ids": ["a", "b", "c", "d"]}, errors.WrongLength),
    ("NaN from the model", {"query_vector": NAN}, errors.NotFinite),
    ("infinite passage", {"passage_vector": NAN * 0 + np.inf}, errors.NotFinite),
    ("no direction", {"query_vector": np.zeros(64)}, errors.InvalidOption),
    ("words for a vector", {"query_vector": "abc"}, errors.WrongType),
    ("empty query", {"query_text": " \n"}, errors.EmptyText),
    ("query is no text", {"query_text": 5}, errors.WrongType),
    ("passage without id", {"passage_id": ""}, errors.EmptyText),
    ("a grade for a yes", {"relevant": 1}, errors.WrongType),
]


@pytest.mark.parametrize("reason, change, error", BAD, ids=[r for r, *_ in BAD])
def test_bad_marks_are_refused_and_change_nothing(reason, change, error):
    world = taught_world()
    before = world.teacher.export()
    with pytest.raises(error):
        world.teacher.mark(**{**GOOD, **change})
    assert world.teacher.export() == before


@pytest.mark.parametrize(
    "options", [{"dim": 0}, {"dim": 3.5}, {"dim": 64, "rank": 0}, {"dim": 64, "rank": 17}, {"dim": 4, "rank": 8}]
)
def test_sizes_out_of_range_are_refused(options):
    with pytest.raises(errors.InvalidOption):
        Teacher(**options)


def test_unknown_passages_and_marks_are_named():
    teacher = taught_world().teacher
    with pytest.raises(errors.DocumentNotFound, match="nowhere"):
        teacher.forget(["nowhere"])
    with pytest.raises(errors.NothingToUndo, match="99"):
        teacher.undo(99)
    assert len(teacher.marks()) == 2


# --- the figures -----------------------------------------------------------------------------------------------------
def test_ranks_count_what_is_strictly_better():
    passages = np.array([[1, 0], [0, 1], [1, 0], [-1, 0]], np.float32)
    assert list(ranks(np.array([[1, 0], [1, 0], [0, 1]]), passages, [0, 3, 1])) == [1, 4, 1]
    assert mrr(np.array([[1, 0], [1, 0]]), passages, [2, 3]) == pytest.approx((1 + 1 / 4) / 2)


def test_the_bootstrap_interval_covers_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    intervals = [bootstrap_interval(rng.standard_normal(60), rounds=400, seed=i) for i in range(200)]
    assert 0.89 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.99
