"""Several Programs in one engine: what training computes is what its graphs say; weights, caches and states are shared or refused."""

from dataclasses import replace

import numpy as np
import pytest

from edgenet.errors import AllocationFailed, InvalidOption, InvalidProgram, ModelTooLarge, ProgramMismatch
from edgenet.formats.blocks import dequantize
from edgenet.graph import Capacity, Graph, Program, compile
from edgenet.kernels.lm.optimizer import hyper
from edgenet.run import GraphEngine, NumpyEngine
from edgenet.run.heap import Heap
from tests.unit.graph_models import FORMS, ask, decoder, learner, now, weights

CAPACITY = Capacity(rows=8, wanted=2, sequences=2, context=32, page=4, sample=False)
FORM = replace(FORMS["llama"], layers=1)
ROWS = {"tokens": [3, 1, 4, 1, 5, 9, 2], "positions": [0, 1, 2, 3, 0, 1, 2], "sequences": [0, 0, 0, 0, 1, 1, 1]}
LABELS = {"targets": [1, 4, 1, -1, 49, 2, 33], "weights": [1, 1, 0.5, 1, 1, 1, 1]}


@pytest.fixture(params=["numpy", "simd", "relaxed"])
def make(request):
    """A function: a fresh engine."""
    if request.param == "numpy":
        yield NumpyEngine
        return
    modules = request.getfixturevalue("lm_modules")
    from edgenet.host.wasmtime_engine import WasmtimeRuntime
    from edgenet.host.wasmtime_lm import WasmtimeLm

    with WasmtimeRuntime(tick_ms=5, budget=4000) as runtime:
        yield lambda: WasmtimeLm(runtime, modules[request.param])


def ranges(graph, seed=0):
    """As `weights`, for row ranges too: bytes of the whole tensor."""
    whole = weights(graph, seed)

    def weight(name):
        tensor, _, part = name.partition("[")
        kind, raw = whole(tensor)
        rows, columns = graph.leaves[tensor].tensor.shape if part else (0, 0)
        first, last = map(int, part[:-1].split(":")) if part else (0, 0)
        return (kind, raw[len(raw) // rows * first : len(raw) // rows * last]) if part else (kind, raw)

    return weight


def opened(engine, dtype="f32", seed=0):
    """An engine with the decoder that a learner of the same form teaches."""
    graph = whole(dtype)
    compiled = graph if isinstance(engine, GraphEngine) else compile(graph, CAPACITY)
    now(engine.load(compiled, ranges(graph, seed)))
    return engine


def whole(dtype):
    """A decoder with norms of heads as the learner's."""
    return decoder(replace(FORM, dtype=dtype, qk_norm=True, tied=True))


def start_of(parts):
    count = parts["train"].leaves["parameters"].tensor.shape[0]
    return np.random.default_rng(5).standard_normal(count).astype(np.float32) * 0.1


def hyper_of(step):
    return hyper(0.01, step=step, decay=0.1, clip=0.5, factor=1 / 6)


def teach(engine, parts, steps=2, dots="f32"):
    """Runs of `train` and `update` with the same rows each time: (losses of each step, norms, parameters)."""
    graphs = isinstance(engine, GraphEngine)
    now(engine.add({n: g if graphs else compile(g, replace(CAPACITY, dots=dots)) for n, g in parts.items()}))
    now(engine.write("parameters", start_of(parts), "train"))
    for name, values in (ROWS | LABELS).items():
        now(engine.write(name, np.array(values, np.float32 if name == "weights" else np.int32), "train"))
    losses, norms = [], []
    for step in range(1, steps + 1):
        now(engine.write("hyper", hyper_of(step), "update"))
        now(engine.run("train", n=7, s=2))
        losses.append(now(engine.read("losses", "train")))
        now(engine.run("update"))
        norms.append(now(engine.read("norm", "update")))
    assert not now(engine.read("gradients", "update")).any()
    return np.array(losses), np.array(norms), now(engine.read("parameters", "update"))


def near(found, wanted, error):
    np.testing.assert_allclose(found, wanted, atol=error * np.abs(wanted).max())


ARITHMETIC = [("f32", "int8", 1e-4, 0.99999), ("q8_0", "f32", 1e-4, 0.99999), ("q8_0", "int8", 0.02, 0.99)]


@pytest.mark.parametrize(("dtype", "dots", "error", "cosine"), ARITHMETIC)
def test_two_steps_of_training_are_those_of_the_graph(make, dtype, dots, error, cosine):
    """Forward, backward, clipping and AdamW, in two Programs over one state; the exact mathematics in f64 beside them."""
    parts = learner(replace(FORM, dtype=dtype))
    exact = teach(opened(GraphEngine(CAPACITY), dtype), parts)
    found = teach(opened(make(), dtype), parts, dots=dots)
    assert exact[0][1].sum() < exact[0][0].sum() - 0.5, "it learns"
    for a, b in zip(found[:2], exact[:2], strict=True):
        near(a, b, error)
    a, b = (parameters - start_of(parts) for _, _, parameters in (found, exact))
    assert a @ b > cosine * np.linalg.norm(a) * np.linalg.norm(b)


def test_what_is_added_changes_nothing_of_what_was_loaded(make):
    """The decoder's logits, with a cache filled before a training step and read after it."""
    rows = {"tokens": [1, 2, 3], "positions": [0, 1, 2], "sequences": [0, 0, 0], "wanted": [2]}
    more = {"tokens": [4], "positions": [3], "sequences": [0], "wanted": [0]}
    pages = np.arange(16).reshape(2, 8)
    alone, beside = opened(make(), "q8_0"), opened(make(), "q8_0")
    for engine in (alone, beside):
        now(engine.write("pages", pages))
        now(ask(engine, "logits", **rows))
    teach(beside, learner(replace(FORM, dtype="q8_0")))
    assert (now(ask(alone, "logits", **more)) == now(ask(beside, "logits", **more))).all()


def test_a_second_program_with_the_cache_goes_on_where_the_first_was(make):
    engine, again = opened(make()), opened(make())
    for one in (engine, again):
        now(one.write("pages", np.arange(16).reshape(2, 8)))
    now(engine.add({"second": compile(whole("f32"), CAPACITY)}))
    now(engine.write("pages", np.arange(16).reshape(2, 8), "second"))
    first = {"tokens": [1, 2], "positions": [0, 1], "sequences": [0, 0], "wanted": [1]}
    now(ask(engine, "logits", **first))
    now(ask(again, "logits", **first))
    then = {"tokens": [3], "positions": [2], "sequences": [0], "wanted": [0]}
    for name, values in then.items():
        now(engine.write(name, np.array(values, np.int32), "second"))
    now(engine.run("second", n=1, m=1, s=1))
    assert (now(engine.read("logits", "second")) == now(ask(again, "logits", **then))).all()


def test_a_hundred_times_added_and_dropped_takes_no_more_memory(lm_modules):
    from edgenet.host.wasmtime_engine import WasmtimeRuntime
    from edgenet.host.wasmtime_lm import WasmtimeLm

    with WasmtimeRuntime() as runtime:
        engine = opened(WasmtimeLm(runtime, lm_modules["simd"]), "q8_0")
        programs = {n: compile(g, CAPACITY) for n, g in learner(replace(FORM, dtype="q8_0")).items()}
        sizes = set()
        for _ in range(100):
            now(engine.add(programs))
            assert not now(engine.read("parameters", "update")).any(), "a state begins as zeros"
            now(engine.write("parameters", np.ones(programs["train"].buffer("parameters").shape), "train"))
            now(engine.drop(["train"]))
            assert now(engine.read("parameters", "update")).all(), "the state stays for who is left"
            now(engine.drop(["update"]))
            sizes.add(engine.memory_bytes)
        assert len(sizes) == 1


def by_weight(name, shape, dtype="q8_0"):
    """A Program that multiplies by one weight."""
    g = Graph()
    g.output("y", g.matmul(g.input("x", "f32", ("n", shape[1])), g.weight(name, shape, dtype)))
    return compile(g, CAPACITY)


@pytest.mark.parametrize("dtype", ["q8_0", "f16"])
def test_rows_of_a_loaded_weight_are_read_where_they_lie(make, dtype):
    engine = opened(make(), dtype)
    graph = whole(dtype)
    x = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    w = dequantize(*ranges(graph)("table"), 50, 64)
    for first, last in ((0, 50), (8, 32), (44, 50)):
        now(engine.add({"part": by_weight(f"table[{first}:{last}]", (last - first, 64), dtype)}))
        now(engine.write("x", x, "part"))
        now(engine.run("part", n=3))
        near(now(engine.read("y", "part")), x @ w[first:last].T, 0.02)
        now(engine.drop(["part"]))


def states(*names):
    g = Graph()
    x = g.input("x", "f32", (1, 8))
    for name in names:
        g.accumulate(g.state(name, (1, 8)), x)
    g.output("y", g.scale(x, 2.0))
    return compile(g, CAPACITY)


MISMATCHED = [
    ("a weight that was not loaded", {"a": by_weight("other", (50, 64))}, "weights"),
    ("a weight of another type", {"a": by_weight("table", (50, 64), "q4_0")}, "weights"),
    ("a weight of another width", {"a": by_weight("table", (100, 32))}, "weights"),
    ("rows behind the last", {"a": by_weight("table[48:52]", (4, 64))}, "weights"),
    ("rows that begin within a group", {"a": by_weight("table[6:10]", (4, 64))}, "weights"),
    ("rows that end within a group", {"a": by_weight("table[4:10]", (6, 64))}, "weights"),
    ("a name that lies about its rows", {"a": by_weight("table[0:8]", (12, 64))}, "weights"),
    ("a name with a number of any length", {"a": by_weight(f"table[{'1' * 5000}:4]", (4, 64))}, "weights"),
    ("a cache of another length", {"a": compile(whole("q8_0"), replace(CAPACITY, pages=99))}, "cache"),
    ("a cache of other pages", {"a": compile(whole("q8_0"), replace(CAPACITY, page=8, pages=8))}, "cache"),
    ("states in another order", {"a": states("p", "q"), "b": states("q", "p")}, "state"),
]


@pytest.mark.parametrize(("programs", "part"), [r[1:] for r in MISMATCHED], ids=[r[0] for r in MISMATCHED])
def test_what_cannot_run_beside_is_refused_and_nothing_is_left(programs, part):
    engine = opened(NumpyEngine(), "q8_0")
    with pytest.raises(ProgramMismatch) as caught:
        now(engine.add({"good": states("p"), **programs} if part != "state" else programs))
    assert caught.value.details["part"] == part
    assert list(engine.held) == [None]


def test_names_are_judged(make):
    engine = opened(make())
    now(engine.add({"a": states("p")}))
    for call in (
        engine.add({"a": states("p")}),
        engine.add({"": states("p")}),
        engine.drop(["b"]),
        engine.drop([None]),
        engine.run("b"),
        engine.run("a", n=9),
    ):
        with pytest.raises(InvalidOption):
            now(call)
    with pytest.raises(InvalidProgram):
        now(engine.read("q", "a"))


def test_what_is_dropped_together_is_dropped_together_or_not_at_all(make):
    engine = opened(make())
    now(engine.add({"a": states("p"), "b": states("p")}))
    with pytest.raises(InvalidOption):
        now(engine.drop(["a", "missing"]))
    assert {"a", "b"} <= set(engine.held)
    now(engine.drop(["a", "b", "a"]))
    assert list(engine.held) == [None]


def test_a_program_that_touches_nothing_of_a_state_it_has_not_runs(make):
    """No bytes of a region that is empty: legal, and its address may be anything."""
    g = Graph()
    g.output("y", g.scale(g.input("x", "f32", (1, 8)), 2.0))
    document = compile(g, CAPACITY).to_data()
    document["code"].append(["accumulate", [["state", 0], ["arena", 0], 0, 8], 1])
    engine = opened(make())
    now(engine.add({"empty": Program.from_json(document)}))
    now(engine.write("x", np.ones((1, 8), np.float32), "empty"))
    now(engine.run("empty"))
    assert (now(engine.read("y", "empty")) == 2).all()


def test_a_machine_without_memory_left_leaves_an_engine_as_it_was(lm_modules, monkeypatch):
    from edgenet.host.wasmtime_engine import Instance, WasmtimeRuntime
    from edgenet.host.wasmtime_lm import WasmtimeLm

    def none_left(self, end):
        raise AllocationFailed("no memory left")

    with WasmtimeRuntime() as runtime:
        engine = opened(WasmtimeLm(runtime, lm_modules["simd"]))
        end = engine._heap.end
        with monkeypatch.context() as patch, pytest.raises(AllocationFailed):
            patch.setattr(Instance, "reserve", none_left)
            now(engine.add({"a": states("p")}))
        assert list(engine.held) == [None] and engine._heap.end == end
        now(engine.add({"a": states("p")}))


def test_programs_beyond_32_bits_are_refused_and_leave_nothing(lm_modules):
    from edgenet.host.wasmtime_engine import WasmtimeRuntime
    from edgenet.host.wasmtime_lm import WasmtimeLm

    g = Graph()
    g.output("y", g.norm(g.state("big", (3 << 28,))))
    program = compile(g, CAPACITY)
    with WasmtimeRuntime() as runtime:
        engine = opened(WasmtimeLm(runtime, lm_modules["simd"]))
        with pytest.raises(ModelTooLarge, match="beside the model"):
            now(engine.add({f"p{i}": replace(program, name=str(i)) for i in range(2)}))
            now(engine.add({"more": program}))
        assert None in engine.held


def test_a_heap_takes_the_lowest_place_that_fits():
    heap = Heap(100)
    a, b, c = heap.take(64), heap.take(1), heap.take(100)
    assert (a, b, c, heap.end) == (128, 192, 256, 384)
    heap.give(b)
    assert (heap.take(65), heap.take(64)) == (384, b)
    for block in (a, b, c, 384):
        heap.give(block)
    assert heap.end == heap.base == 128
