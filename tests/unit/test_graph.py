"""Building graphs: each op is judged when it is appended, the whole before it is compiled."""

import inspect
import subprocess
import sys
from dataclasses import replace

import pytest

from edgenet.errors import InvalidGraph
from edgenet.graph import Capacity, Graph, Node, compile
from edgenet.graph.cost import cost, total
from edgenet.graph.ops import OPS
from tests.unit.graph_models import FORMS, decoder, encoder


@pytest.fixture
def g():
    return Graph("t")


def rows(g, width=64, size="n"):
    return g.input(f"x{width}{size}", "f32", (size, width))


def ids(g, name="positions", size="n"):
    return g.input(name, "i32", (size,))


def attend(g, **more):
    return g.attention(rows(g), ids(g), ids(g), layer=0, heads=4, kv_heads=4, head_dim=16, scale=1, **more)


def packed(g, kv_heads):
    k = rows(g, 16 * kv_heads)
    return g.attention_packed(rows(g), k, k, ids(g), heads=4, kv_heads=kv_heads, head_dim=16, scale=1)


def turn(g, half, head_dim):
    return g.rope(rows(g), ids(g), g.constant("f", [1] * half), heads=4, head_dim=head_dim)


def lora(g, rank_a, rank_b):
    return g.lora(rows(g), rows(g), g.input("a", "f32", (rank_a, 64)), g.input("b", "f32", (64, rank_b)), 1.0)


def descend(g, *counts):
    states = [g.state(f"s{count}", (count,)) for count in counts]
    return g.sgd(*states, g.norm(states[1]), g.input("hyper", "f32", (16,)))


def pooled(g, site=0, entries=12):
    table = g.input("table", "i32", (2, entries))
    return g.adapters(rows(g), rows(g), g.state("pool", (99,)), table, rows(g, 3), site)


BAD = [  # reason, what is built, what the message must say
    ("a matrix of another width", lambda g: g.matmul(rows(g), g.weight("w", (3, 32), "f32")), "w (w) must have the shape (out = 3, in"),
    ("a bias of another length", lambda g: g.matmul(rows(g), g.weight("w", (3, 64), "f32"), g.weight("b", (4,), "f32")), "(out = 3)"),
    ("a matrix made of activations", lambda g: g.matmul(rows(g), g.scale(rows(g), 2.0)), "must have the shape"),
    ("activations that are numbers of tokens", lambda g: g.scale(ids(g), 2.0), "x (positions) must be f32, found i32"),
    ("a tensor of another graph", lambda g: g.scale(Graph().input("x", "f32", ("n", 4)), 2.0), "tensor of this graph"),
    ("no tensor at all", lambda g: g.add(rows(g), None), "y is missing"),
    ("sums of unlike widths", lambda g: g.add(rows(g), rows(g, 32)), "y (x32n) must have the shape (r = n, d = 64), found ('n', 32)"),
    ("sums of unlike rows", lambda g: g.add(rows(g), rows(g, 64, "m")), "found ('m', 64)"),
    ("eps of zero", lambda g: g.rms_norm(rows(g), eps=0), "eps must be a positive number, found 0"),
    ("eps that is not a number", lambda g: g.rms_norm(rows(g), eps=float("nan")), "eps must be"),
    ("a norm of three heads in 64", lambda g: g.rms_norm(rows(g), g.weight("w", (21,), "f32"), eps=1, heads=3), "must have the shape"),
    ("an unknown activation", lambda g: g.activation(rows(g), "tanh"), "act must be one of silu, gelu, gelu_erf, relu"),
    ("an unknown gate", lambda g: g.glu(rows(g), rows(g), "relu"), "act must be one of"),
    ("an unknown pooling", lambda g: g.pool(rows(g), ids(g), "max"), "mode must be one of"),
    ("heads that do not fill a row", lambda g: turn(g, 1, 8), "heads*head_dim = 32"),
    ("more angles than a head has", lambda g: turn(g, 9, 16), "twice the number"),
    ("ungroupable heads", lambda g: packed(g, 3), "multiple of kv_heads"),
    ("attention before its store", attend, "no kv_store of this layer"),
    ("a negative window", lambda g: attend(g, window=-1), "window must be"),
    ("a cap of zero", lambda g: g.softcap(rows(g), 0), "cap must be a positive number"),
    ("LoRA factors of unlike rank", lambda g: lora(g, 4, 5), "must have the shape"),
    ("one name for two weights", lambda g: (g.weight("w", (2, 2), "f32"), g.weight("w", (2, 3), "f32")), "already there"),
    ("a weight of no known type", lambda g: g.weight("w", (2, 2), "q9"), "dtype of"),
    ("a weight sized by a slot", lambda g: g.weight("w", ("n", 2), "f32"), "one or two sizes"),
    ("an input of three axes", lambda g: g.input("x", "f32", ("n", 2, 2)), "one or two sizes"),
    ("an input of no rows", lambda g: g.input("x", "f32", (0, 2)), "one or two sizes"),
    ("an input that is an output", lambda g: g.output("y", rows(g)), "result of an op"),
    ("an output's name taken", lambda g: (g.output("y", g.scale(rows(g), 2)), g.output("y", g.scale(rows(g), 2))), "taken"),
    ("a state sized by a slot", lambda g: g.state("s", ("n", 2)), "one or two sizes"),
    ("one name for two states", lambda g: (g.state("s", (2,)), g.state("s", (3,))), "already there"),
    ("a part beyond its state", lambda g: g.part(g.state("s", (9,)), 4, (2, 3), "p"), "(2, 3) from value 4 on does not lie in"),
    ("a part before its state", lambda g: g.part(g.state("s", (9,)), -1, (2,), "p"), "does not lie in"),
    ("a part of a part", lambda g: g.part(g.part(g.state("s", (9,)), 0, (4,), "p"), 0, (2,), "q"), "does not lie in"),
    ("a part of another graph's state", lambda g: g.part(Graph().state("s", (9,)), 0, (2,), "p"), "does not lie in"),
    ("an input to add to", lambda g: g.accumulate(g.input("a", "f32", (2, 2)), g.input("b", "f32", (2, 2))), "a state or a part"),
    ("a sum of unlike shapes", lambda g: g.accumulate(g.state("a", (2, 2)), g.input("b", "f32", (3, 2))), "must have the shape"),
    ("states of unlike lengths", lambda g: descend(g, 4, 4, 5), "(count = 4)"),
    ("rows in place of a plain matrix", lambda g: g.dense(rows(g), rows(g)), "must have the shape"),
    ("a quantised plain matrix", lambda g: g.dense(rows(g), g.weight("w", (3, 64), "q8_0")), "must be f32, found q8_0"),
    ("columns beyond the last", lambda g: g.columns(rows(g), 60, 5), "must not exceed the width"),
    ("dropping everything", lambda g: g.dropout(rows(g), g.input("seeds", "u32", (4,)), 1.0, 0), "from 0 and below 1"),
    ("seeds that are i32", lambda g: g.dropout(rows(g), g.input("seeds", "i32", (4,)), 0.1, 0), "must be u32"),
    ("a site that the table has not", lambda g: pooled(g, site=2), "site must be a row of the table"),
    ("a table of other slots", lambda g: pooled(g, entries=8), "slots*4 = 12"),
    ("an empty constant", lambda g: g.constant("c", []), "one or two sizes"),
]  # fmt: skip


@pytest.mark.parametrize(("build", "says"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_wrong_op_is_refused_where_it_is_built(g, build, says):
    with pytest.raises(InvalidGraph) as caught:
        build(g)
    assert says in caught.value.message
    assert caught.value.message.startswith("unit/test_graph.py:")


WHOLE = [  # reason, what is done to a good graph, what the message must say
    ("no output", lambda g: g.outputs.clear(), "has no output"),
    ("an op nobody knows", lambda g: g.nodes.append(Node("fft", {}, {}, g.nodes[0].output)), "no such op"),
    ("an op twice", lambda g: g.nodes.append(g.nodes[3]), "made twice"),
    ("a forged shape", lambda g: _change(g, 3, shape=("n", 7)), "its result must be f32"),
    ("a layer stored twice", lambda g: _store_again(g), "stored twice"),
    ("a cache of other heads", lambda g: _misread(g), "K and V were stored with"),
    ("a cycle", lambda g: _cycle(g), "no cycles"),
]


def _change(g, i, **fields):
    g.nodes[i] = replace(g.nodes[i], output=replace(g.nodes[i].output, **fields))


def _store_again(g):
    store = next(n for n in g.nodes if n.op == "kv_store")
    k, v, positions, sequences = store.inputs.values()
    g.kv_store(k, v, positions, sequences, **store.attributes)


def _misread(g):
    i = next(i for i, n in enumerate(g.nodes) if n.op == "attention")
    g.nodes[i] = replace(g.nodes[i], attributes={**g.nodes[i].attributes, "kv_heads": 4})


def _cycle(g):
    """The first norm takes the first add, which needs it."""
    norm = next(i for i, n in enumerate(g.nodes) if n.op == "rms_norm")
    added = next(n for n in g.nodes if n.op == "add")
    g.nodes[norm] = replace(g.nodes[norm], inputs={**g.nodes[norm].inputs, "x": added.output})


@pytest.mark.parametrize(("spoil", "says"), [w[1:] for w in WHOLE], ids=[w[0] for w in WHOLE])
def test_a_wrong_whole_is_refused_before_it_is_compiled(spoil, says):
    graph = decoder(FORMS["llama"])
    spoil(graph)
    with pytest.raises(InvalidGraph, match=says):
        compile(graph, Capacity())


def test_ops_are_ordered_by_what_they_read_and_the_unused_left_out():
    graph = decoder(FORMS["qwen3"])
    unused = graph.scale(graph.nodes[0].output, 2.0)
    graph.nodes.reverse()
    made = set(graph.leaves)
    for node in graph.order():
        assert {t.name for t in node.inputs.values() if t} <= made
        made.add(node.output.name)
    assert unused.name not in made and graph.outputs["logits"].name in made


def test_every_op_has_a_method_of_its_ports_and_attributes_and_a_reference():
    for name, op in OPS.items():
        taken = set(inspect.signature(getattr(Graph, name)).parameters) - {"self"}
        assert taken == {p.name for p in op.ports if p.kind != "cache"} | {a.name for a in op.attributes}, name
        reference = set(inspect.signature(op.reference()).parameters) - {"run"}
        assert reference == {p.name for p in op.ports} | {a.name for a in op.attributes}, name


def test_a_weight_asked_for_again_is_the_same_tensor(g):
    assert g.weight("w", (2, 2), "f32") is g.weight("w", (2, 2), "f32")
    assert g.input("x", "i32", ("n",)) is g.input("x", "i32", ("n",))


def test_a_part_asked_for_again_is_the_same_tensor(g):
    state = g.state("p", (8,))
    first, again = (g.part(state, 4, (2, 2), "q") for _ in range(2))
    assert again is first
    g.accumulate(again, g.input("x", "f32", (2, 2)))


BAD_CAPACITIES = [
    {"rows": 0}, {"rows": 5000}, {"rows": True}, {"context": 100, "page": 16}, {"kv": "f16"}, {"pages": -1}, {"page": 0}, {"wanted": 1.5},
]  # fmt: skip


@pytest.mark.parametrize("fields", BAD_CAPACITIES)
def test_a_capacity_out_of_its_limits_is_refused(fields):
    with pytest.raises(InvalidGraph, match="Capacity"):
        Capacity(**fields)


@pytest.mark.skipif(sys.platform == "emscripten", reason="a browser starts no process")
def test_compiling_imports_no_numpy():
    code = (
        "import sys; sys.modules['numpy'] = None\n"
        "from edgenet.graph import Graph, Capacity, compile\n"
        "g = Graph(); x = g.embed(g.weight('e', (9, 32), 'q8_0'), g.input('tokens', 'i32', ('n',)))\n"
        "g.output('y', g.matmul(x, g.weight('w', (9, 32), 'q4_0')))\n"
        "print(len(compile(g, Capacity()).to_json()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": "pysrc"})
    assert int(done.stdout or 0) > 300, done.stderr


def test_encoders_and_decoders_of_every_form_are_valid():
    for graph in (*map(decoder, FORMS.values()), encoder()):
        graph.validate()


def test_the_cost_of_a_run_is_counted_by_hand():
    g = Graph()
    x = g.embed(g.weight("e", (9, 32), "q8_0"), ids(g, "tokens"))
    x = g.matmul(x, g.weight("w", (64, 32), "q4_0"), g.weight("b", (64,), "f32"))
    places = ids(g), ids(g, "sequences")
    g.kv_store(g.scale(x, 2.0), x, *places, layer=0, kv_heads=2, head_dim=32)
    g.output("y", g.attention(x, *places, layer=0, heads=2, kv_heads=2, head_dim=32, scale=1))
    found = {node.op: tuple(c) for node, c in cost(g, {"n": 3}, context=10)}
    assert found == {
        "embed": (3 * 32, 3 * 34, 4 * 3 * 32 + 4 * 3),
        "matmul": (2 * 3 * 32 * 64, 64 * 18 + 4 * 64, 4 * 3 * (32 + 64)),
        "scale": (3 * 64, 0, 2 * 4 * 3 * 64),
        "kv_store": (0, 0, 2 * 4 * 3 * 64 + 2 * 4 * 3),
        "attention": (4 * 3 * 10 * 64, 0, 2 * 4 * 3 * 64 + 2 * 4 * 3 + 2 * 4 * 3 * 10 * 64),
    }
    assert total(cost(g, {"n": 3}, 10)) == tuple(map(sum, zip(*found.values(), strict=True)))


def test_every_op_of_every_form_has_a_cost():
    g = Graph()
    g.output("y", lora(g, 4, 4))
    assert total(cost(g, {"n": 2})).flops == 2 * 2 * 4 * (64 + 64)
    for graph in (*map(decoder, FORMS.values()), encoder()):
        for node, (flops, weights, moved) in cost(graph, {"n": 4, "m": 2, "s": 1}, 8):
            assert flops >= 0 and weights >= 0 and (moved > 0 or node.op == "kv_store"), node.op


def test_the_cost_of_a_step_is_counted_by_hand():
    g = Graph()
    state = g.state("s", (2 * 3 + 5 * 2,))
    x, y, seeds = g.input("x", "f32", ("n", 3)), g.input("y", "f32", ("n", 5)), g.input("seeds", "u32", (4,))
    g.dropout(x, seeds, 0.5, 0)
    g.accumulate(g.part(state, 0, (3, 5), "p"), g.outer(x, y))
    g.output("norm", g.norm(state))
    found = {node.op: tuple(c) for node, c in cost(g, {"n": 4})}
    outer, accumulate = (2 * 4 * 3 * 5, 0, 4 * (12 + 20 + 15)), (15, 0, 4 * 2 * 15)
    assert found == {"outer": outer, "accumulate": accumulate, "norm": (2 * 16, 0, 4 * (16 + 1))}
