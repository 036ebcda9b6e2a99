"""Graphs run as written: rows of many sequences together as each alone, the past only, windows and caps, packed encoders."""

import numpy as np
import pytest

from edgenet.errors import Disposed, InvalidOption, InvalidProgram, KernelTrap, NoModel, WrongLength
from edgenet.graph import Capacity, Graph
from edgenet.run import GraphEngine
from tests.unit.graph_models import FORMS, Form, ask, decoder, encoder, now, weights

CAPACITY = Capacity(rows=24, wanted=24, sequences=3, context=64, page=4, sample=False)


def loaded(graph, capacity=CAPACITY):
    engine = GraphEngine(capacity)
    now(engine.load(graph, weights(graph)))
    return engine


def logits(engine, tokens, positions, sequences):
    wanted = range(len(tokens))
    rows = {"tokens": tokens, "positions": positions, "sequences": sequences, "wanted": wanted}
    return now(ask(engine, "logits", **rows))


def alone(graph, tokens):
    return logits(loaded(graph), tokens, range(len(tokens)), [0] * len(tokens))


TEXTS = [[7, 3, 9, 11, 2, 5, 30, 8], [1, 49], [4, 4, 4, 8, 15, 16, 23, 42, 6]]


@pytest.mark.parametrize("form", FORMS)
def test_sequences_mixed_into_runs_anyhow_equal_each_alone(form):
    graph = decoder(FORMS[form])
    engine, rng = loaded(graph), np.random.default_rng(1)
    done, found = [0, 0, 0], [[], [], []]
    while any(d < len(t) for d, t in zip(done, TEXTS, strict=True)):
        batch = []
        for s in rng.permutation(3):
            take = min(int(rng.integers(0, 4)), len(TEXTS[s]) - done[s])
            batch += [(TEXTS[s][done[s] + i], done[s] + i, s) for i in range(take)]
            done[s] += take
        if batch:
            for row, (_, _, s) in zip(logits(engine, *zip(*batch, strict=True)), batch, strict=True):
                found[s].append(row)
    for text, rows in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(rows, alone(graph, text), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_the_future_is_never_seen(form):
    graph = decoder(FORMS[form])
    text = TEXTS[2]
    for cut in (1, 4, 8):
        changed = text[:cut] + [(t + 17) % 50 for t in text[cut:]]
        a, b = alone(graph, text), alone(graph, changed)
        np.testing.assert_array_equal(a[:cut], b[:cut])
        assert not np.allclose(a[cut:], b[cut:])


def test_a_window_forgets_what_lies_before_it():
    graph = decoder(Form(layers=1, window=3))
    text = TEXTS[0]
    first_changed = [(text[0] + 1) % 50, *text[1:]]
    differs = ~np.isclose(alone(graph, text), alone(graph, first_changed)).all(axis=1)
    assert differs.tolist() == [True] * 3 + [False] * 5


def test_a_cap_bounds_scores_as_tanh_does():
    """One head, one query, two keys: the softmax worked out by hand."""
    g = Graph()
    q, k, v = (g.input(n, "f32", ("n", 4)) for n in "qkv")
    places = g.input("positions", "i32", ("n",)), g.input("sequences", "i32", ("n",))
    g.kv_store(k, v, *places, layer=0, kv_heads=1, head_dim=4)
    g.output("y", g.attention(q, *places, layer=0, heads=1, kv_heads=1, head_dim=4, scale=2.0, softcap=1.5))
    engine = loaded(g)
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 4)).astype(np.float32) for _ in range(3))

    async def run():
        for name, value in (("q", q), ("k", k), ("v", v), ("positions", [0, 1]), ("sequences", [0, 0])):
            await engine.write(name, value)
        await engine.run(n=2, s=1)
        return await engine.read("y")

    scores = 1.5 * np.tanh((2.0 * (k @ q[1])) / 1.5)
    weight = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(now(run()), [v[0], weight @ v], rtol=1e-6)


@pytest.mark.parametrize("mode", ["mean", "cls", "last"])
def test_packed_sentences_equal_each_alone_and_have_unit_length(mode):
    graph = encoder(mode)

    def embed(texts):
        flat = {"tokens": sum(texts, []), "positions": sum((list(range(len(t))) for t in texts), [])}
        flat["sequences"] = sum(([i] * len(t) for i, t in enumerate(texts)), [])
        return now(ask(loaded(graph), "embedding", **flat))

    together = embed(TEXTS)
    np.testing.assert_allclose(together, np.concatenate([embed([t]) for t in TEXTS]), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose((together**2).sum(axis=1), 1)
    assert not np.allclose(together[0], together[1])


def test_pages_may_lie_anywhere_and_be_shared():
    graph, text = decoder(FORMS["llama"]), TEXTS[0]
    engine = loaded(graph)
    pages = np.zeros((3, 16), np.int32)
    pages[0, :3], pages[1, :3] = [9, 2, 5], [9, 2, 7]  # sequence 1 shares the first two pages, eight tokens

    async def write():
        await engine.write("pages", pages)

    now(write())
    logits(engine, text, range(8), [0] * 8)
    np.testing.assert_allclose(logits(engine, [6], [8], [1]), alone(graph, [*text, 6])[-1:], rtol=1e-9)


def test_states_outlive_runs_and_parts_are_views_of_them():
    g = Graph()
    x, state = g.input("x", "f32", ("n", 2)), g.state("s", (9,))
    part = g.part(state, 3, (2, 2), "part")
    g.accumulate(part, g.outer(x, x))
    g.output("y", g.dense(x, part))
    engine = loaded(g)

    async def runs():
        await engine.write("s", np.arange(9))
        await engine.write("x", [[1, 2]])
        await engine.run(n=1)
        await engine.run(n=1)
        return await engine.read("s"), await engine.read("y")

    added = np.array([[1, 2], [2, 4]])
    s, y = now(runs())
    np.testing.assert_array_equal(s, [0, 1, 2, *(np.array([[3, 4], [5, 6]]) + 2 * added).ravel(), 7, 8])
    assert y.shape == (1, 2)


def test_what_an_optimiser_does_is_worked_out_by_hand():
    g = Graph()
    states = [g.state(n, (2,)) for n in ("parameters", "gradients", "first", "second")]
    g.adamw(*states, g.output("norm", g.norm(states[1])), g.input("hyper", "f32", (16,)))
    engine = loaded(g)
    hyper = [
        0.1,
        0.5,
        0.75,
        0,
        0.2,
        1.0,
        0.5,
        0.25,
        0.5,
        0,
        0.5,
        0.25,
        0,
        0,
        0,
        0,
    ]  # the gradients' norm of 5 is halved, then clipped to 1

    async def run():
        for name, values in (("parameters", [1, -1]), ("gradients", [3, 4]), ("hyper", hyper)):
            await engine.write(name, values)
        await engine.run()
        return [await engine.read(n) for n in ("parameters", "gradients", "first", "second", "norm")]

    parameters, gradients, first, second, norm = now(run())
    np.testing.assert_allclose(norm, [5])
    np.testing.assert_allclose(first, [0.3, 0.4], rtol=1e-5)
    np.testing.assert_allclose(second, [0.09, 0.16], rtol=1e-5)
    np.testing.assert_allclose(
        parameters, [0.98 - 0.1, -0.98 - 0.1], rtol=1e-6
    )  # the first step is as long as the rate
    assert not gradients.any()


def test_dropout_keeps_its_share_scales_it_and_differs_by_seed_step_and_stream():
    g = Graph()
    x, seeds = g.input("x", "f32", ("n", 60)), g.input("seeds", "u32", (4,))
    for stream in range(2):
        g.output(f"y{stream}", g.dropout(x, seeds, 0.25, stream))
    engine = loaded(g)

    async def masks(*seed):
        await engine.write("seeds", [*seed, 0])
        await engine.write("x", np.ones((24, 60)))
        await engine.run(n=24)
        return [await engine.read(f"y{stream}") for stream in range(2)]

    found = [m for seed in ((1, 2, 3), (1, 2, 4), (9, 2, 3), (1, 9, 3)) for m in now(masks(*seed))]
    for mask in found:
        assert set(np.unique(mask)) == {0, 1 / 0.75} and abs((mask > 0).mean() - 0.75) < 0.05
    kept = [(a > 0) == (b > 0) for i, a in enumerate(found) for b in found[:i]]
    assert all(0.5 < same.mean() < 0.75 for same in kept)  # chance: 0.625


BAD_ROWS = [
    ("a token that is not there", {"tokens": [50]}),
    ("a negative token", {"tokens": [-1]}),
    ("a position behind the context", {"positions": [64]}),
    ("a sequence that is not there", {"sequences": [3], "s": 1}),
    ("a wanted row that is not there", {"wanted": [1]}),
]


@pytest.mark.parametrize("rows", [b[1] for b in BAD_ROWS], ids=[b[0] for b in BAD_ROWS])
def test_bad_indices_are_refused(rows):
    good = {"tokens": [1], "positions": [0], "sequences": [0], "wanted": [0]}
    with pytest.raises(KernelTrap):
        now(ask(loaded(decoder(FORMS["llama"])), "logits", **{**good, **rows}))


def test_the_face_refuses_what_it_cannot_do():
    engine = GraphEngine(CAPACITY)
    with pytest.raises(NoModel):
        now(engine.run(n=1))
    engine = loaded(decoder(FORMS["llama"]))
    for error, call in (
        (InvalidOption, engine.run(n=25)),
        (InvalidOption, engine.run(n=-1)),
        (InvalidOption, engine.run(k=1)),
        (InvalidProgram, engine.read("nothing")),
        (WrongLength, engine.write("tokens", [0] * 25)),
        (WrongLength, engine.write("tokens", [[0]])),
    ):
        with pytest.raises(error):
            now(call)
    now(engine.dispose())
    now(engine.dispose())
    with pytest.raises(Disposed):
        now(engine.read("logits"))
