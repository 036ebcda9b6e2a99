"""Gradients as more ops of the same graph: a table of rules, one function per op, and one walk that applies them. Runs anywhere.

Reverse mode (Linnainmaa 1970). A rule takes the graph, the gradient `dy` of the op's result, the op's inputs by port and its attributes,
and gives for each port that has one a function that appends its gradient: what nobody asked for is never appended. Weights of files
are frozen: they have none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import NamedTuple

from ..errors import InvalidGraph
from .checkpointing import Backward
from .data import Node, Tensor
from .graph import Graph


class Loss(NamedTuple):
    """What stands for the gradient of `token_stats`: the statistics of the whole vocabulary and the weights of the rows."""

    stats: Tensor
    weights: Tensor


def grad(graph: Graph, loss: Tensor, wrt: Iterable[Tensor], keep: set[str] | None = None) -> dict[str, Tensor]:
    """Appends the gradients of the sum of `loss`, a result of `cross_entropy`, and gives them by the names of `wrt`: inputs, states, parts
    or results of ops. Only what lies between them and the loss is walked.

    With `keep`, names of results, all others that gradients need are computed again just before: the same ops, so the same bits.
    Raises InvalidGraph for an op without rule, where the loss does not depend on a tensor, and for the loss itself and its statistics.
    """
    wrt = list(wrt)
    if loss.name not in (n.output.name for n in graph.nodes if n.op == "cross_entropy"):
        raise InvalidGraph(f"Gradients begin at the result of a cross_entropy of this graph, found {loss!r}.")
    nodes, wanted = list(graph.nodes), {t.name for t in wrt}
    alive = _depending(nodes, wanted)
    backward = Backward(graph, keep)
    found: dict[str, Tensor | Loss | None] = {loss.name: None}  # None: ones
    for node in reversed(nodes):
        name = node.output.name
        if name in found and name in alive:
            dy = found[name] if name in wanted else found.pop(name)
            _walk(backward, node, dy, alive, found)
    if lost := wanted - found.keys():
        raise InvalidGraph(f"The loss does not depend on {', '.join(sorted(lost))}.")
    if bare := [name for name in wanted if not isinstance(found[name], Tensor)]:  # None, or what stands for statistics'
        raise InvalidGraph(
            f"These gradients are no tensor: {', '.join(sorted(bare))}. Ask for those of what they are made of."
        )
    return {t.name: found[t.name] for t in wrt}


def _depending(nodes: list[Node], wanted: set[str]) -> set[str]:
    """Names of `wanted` and of all results that depend on them."""
    names = set(wanted)
    for node in nodes:
        if any(t and t.name in names for t in node.inputs.values()):
            names.add(node.output.name)
    return names


def _walk(g: Graph, node: Node, dy: Tensor | Loss | None, alive: set[str], found: dict) -> None:
    """Adds what a node's inputs get from its result's gradient."""
    ports = {port: t for port, t in node.inputs.items() if t and t.name in alive}
    if not ports:
        return
    if isinstance(dy, Loss) and node.op != "token_stats":
        raise InvalidGraph(f"{node.where}: a cross_entropy reads what token_stats made, found {node.op}.", op=node.op)
    parts = RULES[node.op](g, dy, **node.inputs, **node.attributes) if node.op in RULES else {}
    for port, tensor in ports.items():
        if port not in parts:
            raise InvalidGraph(
                f"{node.where}: {node.op} has no gradient rule for its {port} ({tensor.name}).", op=node.op
            )
        part = parts[port]()
        found[tensor.name] = g.add(found[tensor.name], part) if tensor.name in found else part


# --- products
def matmul(g, dy, *, x, w, bias):
    return {"x": lambda: g.matmul_t(dy, w)}


def dense(g, dy, *, x, w, factor):
    return {"x": lambda: g.dense_t(dy, w, factor), "w": lambda: g.outer(dy, x, factor)}


def dense_t(g, dy, *, x, w, factor):
    return {"x": lambda: g.dense(dy, w, factor), "w": lambda: g.outer(x, dy, factor)}


def outer(g, dy, *, x, y, factor):
    return {"x": lambda: g.dense(y, dy, factor), "y": lambda: g.dense_t(x, dy, factor)}


def lora(g, dy, *, y, x, a, b, scale):
    down = cache(lambda: g.dense_t(dy, b, scale))  # the gradient of x @ a.T
    return {
        "y": lambda: dy,
        "x": lambda: g.dense_t(down(), a),
        "a": lambda: g.outer(down(), x),
        "b": lambda: g.outer(dy, g.dense(x, a), scale),
    }


# --- norms, positions, attention
def rms_norm(g, dy, *, x, weight, eps, heads):
    return {"x": lambda: g.rms_norm_grad(x, weight, dy, eps=eps, heads=heads)}


def layer_norm(g, dy, *, x, weight, bias, eps):
    return {"x": lambda: g.layer_norm_grad(x, weight, dy, eps=eps)}


def rope(g, dy, *, x, positions, frequencies, **form):
    """A rotation's transpose is the rotation back."""

    def back():
        leaf = g.leaves[frequencies.name]
        if leaf.kind != "constant":
            raise InvalidGraph(
                f"rope: its gradient negates the frequencies, which must be a constant; found {leaf.kind}."
            )
        negated = g.constant(f"-{frequencies.name}", [-f for f in leaf.values])
        return g.rope(dy, positions, negated, **form)

    return {"x": back}


def attention_rows(g, dy, *, q, k, v, sequences, heads, kv_heads, head_dim, **form):
    form |= {"heads": heads, "kv_heads": kv_heads, "head_dim": head_dim}
    all_three = cache(lambda: g.attention_rows_grad(q, k, v, sequences, dy, **form))
    of_q, of_kv = heads * head_dim, kv_heads * head_dim
    return {
        "q": lambda: g.columns(all_three(), 0, of_q),
        "k": lambda: g.columns(all_three(), of_q, of_kv),
        "v": lambda: g.columns(all_three(), of_q + of_kv, of_kv),
    }


# --- element by element
def add(g, dy, *, x, y):
    return {"x": lambda: dy, "y": lambda: dy}


def mul(g, dy, *, x, y):
    return {"x": lambda: g.mul(dy, y), "y": lambda: g.mul(dy, x)}


def scale(g, dy, *, x, factor):
    return {"x": lambda: g.scale(dy, factor)}


def softcap(g, dy, *, x, cap):
    return {"x": lambda: g.softcap_grad(x, dy, cap)}


def activation(g, dy, *, x, act):
    return {"x": lambda: g.activation_grad(x, dy, act)}


def glu(g, dy, *, gate, up, act):
    return {"gate": lambda: g.activation_grad(gate, g.mul(dy, up), act), "up": lambda: g.glu(gate, dy, act)}


def dropout(g, dy, *, x, seeds, rate, stream):
    return {"x": lambda: g.dropout(dy, seeds, rate, stream)}


# --- the loss
def cross_entropy(g, dy, *, stats, targets, weights):
    return {"stats": lambda: Loss(stats, weights)}


def token_stats(g, dy, *, logits, targets, stats, first):
    return {
        "logits": lambda: g.cross_entropy_grad(logits, dy.stats, targets, dy.weights, first),
        "stats": lambda: dy,
    }


RULES: dict[str, Callable[..., dict[str, Callable[[], Tensor | Loss]]]] = {
    rule.__name__: rule
    for rule in (
        matmul, dense, dense_t, outer, lora, rms_norm, layer_norm, rope, attention_rows, add, mul, scale, softcap, activation, glu,
        dropout, cross_entropy, token_stats,
    )
}  # fmt: skip
