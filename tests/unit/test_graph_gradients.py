"""Every gradient rule against central finite differences in f64, on odd shapes; what has no gradient is refused by name."""

import inspect

import numpy as np
import pytest

from edgenet.errors import InvalidGraph
from edgenet.graph import Capacity, Graph
from edgenet.graph.gradients import RULES, grad
from edgenet.graph.ops import OPS
from edgenet.run import GraphEngine
from tests.unit.graph_models import now, weights

ROWS, STEP = 5, 1e-5
IDS = {"sequences": [0, 0, 0, 1, 1], "positions": [0, 1, 2, 7, 8], "targets": [3, -1, 0, 6, 5]}


class Case:
    """A graph under test. What `x` and `part` make is differentiated."""

    def __init__(self):
        self.g, self.wrt = Graph(), []

    def x(self, width, rows="n"):
        self.wrt.append(self.g.input(f"x{len(self.wrt)}", "f32", (rows, width)))
        return self.wrt[-1]

    def part(self, offset, *shape):
        self.wrt.append(self.g.part(self.g.state("parameters", (60,)), offset, shape, f"p{len(self.wrt)}"))
        return self.wrt[-1]

    def w(self, out, width, kind="f32"):
        return self.g.weight("w", (out, width), kind)

    def v(self, width, name="v"):
        return self.g.weight(name, (width,), "f32")

    def ids(self, name):
        return self.g.input(name, "i32", ("n",))

    def seeds(self):
        return self.g.input("seeds", "u32", (4,))

    def loss(self, z):
        """-log softmax over the columns of z, each number times one of its own first: a gradient without symmetries."""
        z = self.g.mul(z, self.g.input("factors", "f32", z.shape))
        return self.closed([(0, z)])

    def closed(self, chunks):
        rows, stats = (chunks[0][1].shape[0],), None
        targets = self.g.input("targets", "i32", rows)
        for first, z in chunks:
            stats = self.g.token_stats(z, targets, first, stats)
        return self.g.cross_entropy(stats, targets, self.g.input("weights", "f32", rows))


def turned(c, style, half, magnitude=1.3):
    rates = c.g.constant("rates", [0.7**i for i in range(half)])
    return c.g.rope(c.x(12), c.ids("positions"), rates, heads=2, head_dim=6, style=style, magnitude=magnitude)


def attended(c, heads=6, kv_heads=2, head_dim=3, **mask):
    q, k, v = c.x(heads * head_dim), c.x(kv_heads * head_dim), c.x(kv_heads * head_dim)
    form = {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "scale": 0.9}
    return c.g.attention_rows(q, k, v, c.ids("sequences"), **form, **mask)


def twice(make):
    """x read by two ops: its gradient is a sum."""

    def build(c):
        x = c.x(7)
        return c.g.add(make(c, x), c.g.scale(x, 3.0))

    return build


def between(c):
    """A result of an op that the loss depends on in two ways."""
    y = c.g.activation(c.x(7), "silu")
    c.wrt.append(y)
    return c.g.mul(y, c.g.softcap(y, 2.0))


CASES = {  # what is differentiated -> how it is built
    "matmul": lambda c: c.g.matmul(c.x(7), c.w(9, 7), c.v(9)),
    "matmul by a quantised weight": lambda c: c.g.matmul(c.x(32), c.w(9, 32, "q4_0")),
    "dense, both factors": lambda c: c.g.dense(c.x(7), c.x(7, 9), 0.7),
    "dense_t, both factors": lambda c: c.g.dense_t(c.x(9), c.x(7, 9), 0.7),
    "outer, both factors": lambda c: c.g.outer(c.x(3), c.x(7), 0.7),
    "lora, all four, factors in a state": lambda c: c.g.lora(c.x(9), c.x(7), c.part(1, 3, 7), c.part(22, 9, 3), 1.7),
    "rms_norm": lambda c: c.g.rms_norm(c.x(7), c.v(7), eps=0.1),
    "rms_norm without weight": lambda c: c.g.rms_norm(c.x(7), eps=0.1),
    "rms_norm of three heads": lambda c: c.g.rms_norm(c.x(15), c.v(5), eps=0.1, heads=3),
    "layer_norm": lambda c: c.g.layer_norm(c.x(7), c.v(7), c.v(7, "bias"), eps=0.1),
    "layer_norm without bias": lambda c: c.g.layer_norm(c.x(7), c.v(7), eps=0.1),
    "rope by halves": lambda c: turned(c, "neox", 3),
    "rope of neighbours": lambda c: turned(c, "norm", 3),
    "rope by halves of a part": lambda c: turned(c, "neox", 2),
    "rope of neighbours of a part": lambda c: turned(c, "norm", 1, 1.0),
    "attention of grouped queries": attended,
    "attention of one head": lambda c: attended(c, 1, 1, 7),
    "attention of as many keys": lambda c: attended(c, 3, 3),
    "attention both ways": lambda c: attended(c, causal=False),
    "attention in a window": lambda c: attended(c, window=2),
    "attention with capped scores": lambda c: attended(c, softcap=1.5),
    "attention with all of it": lambda c: attended(c, 4, 2, window=2, softcap=1.5),
    "add": lambda c: c.g.add(c.x(7), c.x(7)),
    "add to itself": twice(lambda c, x: c.g.add(x, x)),
    "mul": lambda c: c.g.mul(c.x(7), c.x(7)),
    "mul by itself": twice(lambda c, x: c.g.mul(x, x)),
    "a result of an op": between,
    "scale": lambda c: c.g.scale(c.x(7), -0.3),
    "softcap": lambda c: c.g.softcap(c.x(7), 0.8),
    "dropout": lambda c: c.g.dropout(c.x(7), c.seeds(), 0.4, 3),
    **{f"activation {a}": lambda c, a=a: c.g.activation(c.x(7), a) for a in ("silu", "gelu", "gelu_erf", "relu")},
    **{f"glu {a}": lambda c, a=a: c.g.glu(c.x(7), c.x(7), a) for a in ("silu", "gelu", "gelu_erf")},
    "cross_entropy in chunks": lambda c: c.closed([(0, c.x(3)), (3, c.x(1)), (4, c.x(4))]),
}


def values(tensor, rng):
    shape = [ROWS if s == "n" else s for s in tensor.shape]
    if tensor.name in IDS:
        return (IDS[tensor.name] * 2)[: shape[0]]
    return [11, 22, 33, 0] if tensor.dtype == "u32" else rng.standard_normal(shape)


def loaded(graph):
    """An engine with random values in every input and state."""
    engine, rng = GraphEngine(Capacity(rows=ROWS, sample=False), "f64"), np.random.default_rng(7)
    now(engine.load(graph, weights(graph)))
    for leaf in graph.leaves.values():
        if leaf.kind in ("input", "state"):
            now(engine.write(leaf.tensor.name, values(leaf.tensor, rng)))
    return engine


async def ran(engine, output):
    await engine.run(n=ROWS)
    return await engine.read(output)


def slopes(engine, name):
    """The derivative of the summed loss by each value of an input, or of a state, from either side."""
    at = now(engine.read(name))
    found = np.zeros_like(at)
    for i in np.ndindex(at.shape):
        sides = []
        for sign in (1, -1):
            moved = at.copy()
            moved[i] += sign * STEP
            now(engine.write(name, moved))
            sides.append(now(ran(engine, "loss")).sum())
        found[i] = (sides[0] - sides[1]) / (2 * STEP)
    now(engine.write(name, at))
    return found


def prepared(build):
    """An engine that has run the case's loss and gradients (`d` and the name), and the case."""
    c = Case()
    z = build(c)
    loss = z if len(z.shape) == 1 else c.loss(z)
    for name, tensor in grad(c.g, loss, c.wrt).items():
        c.g.output(f"d {name}", tensor)
    c.g.output("loss", loss)
    engine = loaded(c.g)
    now(engine.run(n=ROWS))
    return engine, c


@pytest.mark.parametrize("title", CASES)
def test_a_gradient_is_the_slope_of_the_loss(title):
    engine, c = prepared(CASES[title])
    found = {t.name: now(engine.read(f"d {t.name}")) for t in c.wrt}
    for tensor in c.wrt:
        leaf = c.g.leaves.get(tensor.name)
        if leaf is None:
            continue  # a result: the inputs before it are judged, and its own gradient is on their path
        wanted = slopes(engine, leaf.state or tensor.name)
        if leaf.state:
            wanted = wanted[leaf.offset :][: np.prod(tensor.shape)].reshape(tensor.shape)
        assert np.abs(wanted).max() > 1e-3
        np.testing.assert_allclose(found[tensor.name], wanted, rtol=1e-6, atol=1e-8)


def test_every_rule_has_a_case_and_takes_the_ports_and_attributes_of_its_op():
    seen = set()
    for build in CASES.values():
        c = Case()
        build(c)
        seen |= {n.op for n in c.g.nodes} | {"token_stats", "cross_entropy"}
    assert seen == set(RULES)
    for name, rule in RULES.items():
        op, taken = OPS[name], inspect.signature(rule).parameters
        names = {p.name for p in op.ports} | {a.name for a in op.attributes}
        assert set(taken) - {"g", "dy", "form"} <= names and (names <= set(taken) or "form" in taken), name


def test_nothing_is_appended_for_what_lies_below_or_is_not_asked_for():
    c = Case()
    below = c.g.activation(c.g.matmul(c.g.embed(c.w(9, 7), c.ids("tokens")), c.g.weight("u", (7, 7), "f32")), "silu")
    loss = c.loss(c.g.lora(below, below, c.part(0, 2, 7), c.part(14, 7, 2), 1.0))
    before = len(c.g.nodes)
    grad(c.g, loss, c.wrt[:1])
    assert [n.op for n in c.g.nodes[before:]] == ["cross_entropy_grad", "mul", "dense_t", "outer"]


def two_segments(c):
    """softcap(silu(softcap(silu(p x)))): what each half gives passes on."""
    first = c.g.softcap(c.g.activation(c.g.dense(c.g.input("x", "f32", ("n", 3)), c.part(0, 4, 3)), "silu"), 2.0)
    return first, c.loss(c.g.softcap(c.g.activation(c.g.dense(first, c.part(12, 5, 4)), "silu"), 2.0))


def test_what_is_not_kept_is_computed_again_once_and_just_before_it_is_needed():
    c = Case()
    first, loss = two_segments(c)
    before = len(c.g.nodes)
    grad(c.g, loss, c.wrt, keep={first.name})
    again = ["dense", "activation"]  # the end of a segment nobody reads
    assert [n.op for n in c.g.nodes[before:]] == [
        *again, "softcap", "mul", "cross_entropy_grad", "mul", "softcap_grad", "activation_grad", "dense_t", "outer",
        *again, "softcap_grad", "activation_grad", "outer",
    ]  # fmt: skip


@pytest.mark.parametrize("keep", [set(), {"dense.0"}, {"softcap.2", "dense.3"}])
def test_computing_again_changes_no_bit(keep):
    c, found = Case(), []
    _, loss = two_segments(c)
    for kept in (None, keep):
        found += [c.g.output(f"d{len(found) + i}", t) for i, t in enumerate(grad(c.g, loss, c.wrt, kept).values())]
    engine = loaded(c.g)
    now(engine.run(n=ROWS))
    (a, b), (again_a, again_b) = ([now(engine.read(f"d{i}")) for i in pair] for pair in ((0, 1), (2, 3)))
    np.testing.assert_array_equal(a, again_a)
    np.testing.assert_array_equal(b, again_b)
    assert a.any() and b.any()


def _rows(c):
    return c.loss(c.g.rows(c.x(7), c.ids("wanted")))


def _weight(c):
    w = c.w(9, 7)
    c.wrt.append(w)
    return c.loss(c.g.matmul(c.x(7), w))


def _input_rates(c):
    c.wrt.append(c.g.input("x", "f32", ("n", 6)))
    return c.loss(c.g.rope(c.wrt[0], c.ids("positions"), c.g.input("rates", "f32", (2,)), heads=1, head_dim=6))


def _unrelated(c):
    c.x(3)
    return c.loss(c.g.scale(c.x(7), 2.0))


def _statistics(c):
    loss = c.loss(c.g.scale(c.x(7), 2.0))
    c.wrt.append(next(n.output for n in c.g.nodes if n.op == "token_stats"))
    return loss


def _itself(c):
    c.wrt.append(c.loss(c.g.scale(c.x(7), 2.0)))
    return c.wrt[-1]


def _made_up_statistics(c):
    stats = c.g.token_stats(c.x(9), c.ids("targets"), 0)
    return c.g.cross_entropy(c.g.add(stats, stats), c.ids("targets"), c.g.input("weights", "f32", ("n",)))


REFUSED = {  # reason -> the loss, what the message says
    "an op without rule": (_rows, "rows has no gradient rule for its x"),
    "a frozen weight": (_weight, "matmul has no gradient rule for its w"),
    "frequencies that are no constant": (_input_rates, "must be a constant; found input"),
    "a tensor that the loss does not see": (_unrelated, "does not depend on x0"),
    "statistics, whose gradient is no tensor": (_statistics, "no tensor: token_stats"),
    "the loss itself": (_itself, "no tensor: cross_entropy"),
    "statistics that are none": (_made_up_statistics, "reads what token_stats made, found add"),
    "a loss that is none": (lambda c: c.g.scale(c.x(7), 2.0), "begin at the result of a cross_entropy"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_has_no_gradient_is_refused_by_name(title):
    build, says = REFUSED[title]
    c = Case()
    with pytest.raises(InvalidGraph, match=says):
        grad(c.g, build(c), c.wrt)
