"""Programs in NumPy equal the graphs they were compiled from: fused, planned, on small random models of every form."""

import numpy as np
import pytest

from edgenet.errors import KernelTrap, WrongLength
from edgenet.graph import Capacity, Graph, compile
from edgenet.kernels.lm import table
from edgenet.run import GraphEngine, NumpyEngine
from tests.unit.graph_models import FORMS, Form, ask, decoder, encoder, now, tangle, weights

CAPACITY = Capacity(rows=24, wanted=24, sequences=3, context=32, page=4, sample=False)
SILENT = Capacity(**{**CAPACITY.to_data(), "kv": "q8"})


def program_engine(graph, capacity=CAPACITY):
    engine = NumpyEngine()
    now(engine.load(compile(graph, capacity), weights(graph)))
    return engine


def graph_engine(graph):
    engine = GraphEngine(CAPACITY)
    now(engine.load(graph, weights(graph)))
    return engine


def pages(rng):
    """Every sequence's pages anywhere."""
    return rng.permutation(24).reshape(3, 8)


def batches(seed):
    """Runs of mixed sequences: (tokens, positions, sequences) until each has 9 tokens; the last run wants only some rows."""
    rng, done = np.random.default_rng(seed), [0, 0, 0]
    while min(done) < 9:
        batch = []
        for s in rng.permutation(3):
            take = min(int(rng.integers(0, 5)), 9 - done[s])
            batch += [(int(rng.integers(50)), done[s] + i, int(s)) for i in range(take)]
            done[s] += take
        if batch:
            yield [list(column) for column in zip(*batch, strict=True)]


def together(graph, capacity=CAPACITY, seed=0):
    """(of the graph, of the Program): all logits of the same runs."""
    rng = np.random.default_rng(seed)
    engines, table_of_pages = (graph_engine(graph), program_engine(graph, capacity)), pages(rng)
    answers = ([], [])
    for engine, found in zip(engines, answers, strict=True):
        now(engine.write("pages", table_of_pages))
        for tokens, positions, sequences in batches(seed):
            wanted = np.random.default_rng(len(tokens)).permutation(len(tokens))[: 1 + len(tokens) // 2]
            rows = {"tokens": tokens, "positions": positions, "sequences": sequences, "wanted": wanted}
            found.append(now(ask(engine, "logits", **rows)))
    return [np.concatenate(a) for a in answers]


@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize("name", FORMS)
def test_a_fused_decoder_equals_its_graph(name, dtype):
    exact, found = together(decoder(Form(**{**FORMS[name].__dict__, "dtype": dtype})))
    np.testing.assert_allclose(found, exact, atol=2e-5 * np.abs(exact).max())


@pytest.mark.parametrize("seed", range(20))
def test_a_decoder_of_any_form_equals_its_graph(seed):
    rng = np.random.default_rng(seed)
    flags = {name: bool(rng.integers(2)) for name in ("bias", "qk_norm", "post_norm", "parallel", "gated", "tied")}
    kv_heads, head_dim = int(rng.integers(1, 4)), 4 * int(rng.integers(1, 5))
    form = Form(
        **flags,
        layers=int(rng.integers(1, 4)),
        heads=kv_heads * int(rng.integers(1, 4)),
        kv_heads=kv_heads,
        head_dim=head_dim,
        half=int(rng.integers(1, head_dim // 2 + 1)),
        ffn=int(rng.integers(1, 70)),
        norm="rms" if flags["qk_norm"] else str(rng.choice(["rms", "layer"])),
        style=str(rng.choice(["neox", "norm"])),
        window=int(rng.choice([0, 1, 4])),
        softcap=float(rng.choice([0, 5])),
        logit_cap=float(rng.choice([0, 3])),
    )
    exact, found = together(decoder(form), seed=seed)
    np.testing.assert_allclose(found, exact, atol=2e-5 * np.abs(exact).max())


@pytest.mark.parametrize("seed", range(60))
def test_a_tangle_of_ops_equals_its_graph(seed):
    """Every output of a random graph, while results are read again after others could have taken their bytes."""
    rng = np.random.default_rng(seed)
    graph = tangle(rng)
    given = {
        "x": rng.standard_normal((5, 16)),
        "positions": np.arange(5),
        "a": rng.standard_normal((2, 16)),
        "b": rng.standard_normal((16, 2)),
    }
    engines = graph_engine(graph), program_engine(graph)
    for engine in engines:
        for name, value in given.items():
            now(engine.write(name, value.astype(np.float32)))
        now(engine.run(n=5))
    for name in graph.outputs:
        exact, found = (now(e.read(name)) for e in engines)
        np.testing.assert_allclose(found, exact, atol=1e-4 * max(1, np.abs(exact).max()), err_msg=name)


@pytest.mark.parametrize("name", FORMS)
def test_a_quantised_decoder_is_near_its_graph(name):
    exact, found = together(decoder(Form(**{**FORMS[name].__dict__, "dtype": "q8_0"})), SILENT)
    cosines = (exact * found).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(found, axis=1)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("mode", ["mean", "cls", "last"])
@pytest.mark.parametrize(("dtype", "error"), [("f32", 1e-5), ("q8_0", 0.03)])
def test_a_packed_encoder_equals_its_graph(mode, dtype, error):
    graph = encoder(mode, dtype)
    rng = np.random.default_rng(3)
    sequences = [0] * 5 + [1] + [2] * 9
    positions = [*range(5), 0, *range(9)]
    rows = {"tokens": rng.integers(0, 50, 15), "positions": positions, "sequences": sequences}
    exact, found = (now(ask(e, "embedding", **rows)) for e in (graph_engine(graph), program_engine(graph)))
    np.testing.assert_allclose(found, exact, atol=error * np.abs(exact).max())


def _turned(g, state, x):
    return g.rope(x, g.input("positions", "i32", (4,)), g.part(state, 0, (16,), "rates"), heads=2, head_dim=32)


@pytest.mark.parametrize(
    "read",
    [
        lambda g, state, x: g.matmul(state, g.weight("w", (8, 64), "q8_0")),
        _turned,
    ],
    ids=["quantised rows", "angles"],
)
def test_a_state_that_changes_between_two_readers_is_read_twice(read):
    """What is made once for all readers of a tensor (quantised rows, tables of angles) is made anew for each reader of such a state."""
    g = Graph()
    x, state = g.input("x", "f32", (4, 64)), g.state("state", (4, 64))
    g.output("before", read(g, state, x))
    g.accumulate(state, x)
    g.output("after", read(g, state, x))
    engines = graph_engine(g), program_engine(g)
    for engine in engines:
        now(engine.write("x", np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32)))
        if "positions" in g.leaves:
            now(engine.write("positions", np.arange(4)))
        now(engine.run())
    for name in g.outputs:
        exact, found = (now(e.read(name)) for e in engines)
        np.testing.assert_allclose(found, exact, atol=0.02 * max(1, np.abs(exact).max()), err_msg=name)


def test_memory_left_by_earlier_runs_changes_nothing():
    """The arena and unused cache full of NaN: a Program reads only what it has written."""
    graph = decoder(FORMS["gemma2"])
    clean, dirty = program_engine(graph), program_engine(graph)
    for engine in (clean, dirty):
        rows = {"tokens": [3, 1, 4, 1], "positions": [0, 1, 2, 3], "sequences": [1] * 4, "wanted": [3]}
        if engine is dirty:
            hosted = {n: engine.buffers[n][0].copy() for n in ("pages",)}
            for region in ("arena", "kv"):
                engine.regions[region][:] = 255
            engine.buffers["pages"][0][:] = hosted["pages"]
        now(ask(engine, "logits", **rows))
    np.testing.assert_array_equal(*(now(e.read("logits")) for e in (clean, dirty)))


def test_greedy_sampling_picks_the_best_logit():
    graph = decoder(FORMS["llama"])
    engine = program_engine(graph, Capacity(rows=8, wanted=4, sequences=2, context=32, page=4))
    params = np.zeros((3, table.SAMPLING_WORDS), np.uint32)
    params[:, [0, 4]] = np.float32(1).view(np.uint32)  # temperature, repetition penalty
    params[:, 11] = table.GREEDY
    now(engine.write("sampling", params))
    rows = {"tokens": [3, 1, 4], "positions": [0, 1, 2], "sequences": [0] * 3, "wanted": [0, 1, 2]}
    picked = now(ask(engine, "picked", **rows))
    assert picked.tolist() == now(engine.read("logits")).argmax(axis=1).tolist()


def test_wrong_weights_and_bad_tokens_are_refused():
    graph = decoder(FORMS["llama"])
    engine = NumpyEngine()
    with pytest.raises(WrongLength, match="must be"):
        now(engine.load(compile(graph, CAPACITY), lambda name: ("f32", b"1234")))
    with pytest.raises(KernelTrap):
        now(ask(program_engine(graph), "logits", tokens=[50], positions=[0], sequences=[0], wanted=[0]))
