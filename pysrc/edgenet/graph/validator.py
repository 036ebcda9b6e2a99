"""Judges a node by its row in `ops.py`, and a graph as a whole. Runs anywhere."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from ..errors import InvalidGraph
from .data import GraphData, Node, Tensor
from .op import KINDS, Op, Port
from .ops import OPS
from .sizes import Known, Shape, match, resolve, shown

STATES = ("state", "part")  # kinds of leaves that ops may change


def _refuse(where: str, op: str, what: str) -> NoReturn:
    raise InvalidGraph(f"{where}: {op}: {what}", op=op, where=where)


def judge_node(op: str, ports: dict, attributes: dict[str, Any], graph: GraphData, where: str) -> Shape:
    """The shape of the result. Raises InvalidGraph naming the place, what was wanted and what came."""
    row = OPS[op]
    known = sizes_of(row, attributes, where)
    for port in row.ports:
        _judge_port(row, port, ports.get(port.name), graph, known, where)
    if row.rule and not row.rule[1](known):
        found = {k: v for k, v in known.items() if k in attributes or not isinstance(v, str)}
        _refuse(where, op, f"{row.rule[0]}, found {found}.")
    return resolve(row.result, {"s": "s", **known})


def sizes_of(row: Op, attributes: dict[str, Any], where: str) -> Known:
    """The attributes that are sizes. Raises InvalidGraph for a missing or unfit attribute."""
    for name, expected, test in row.attributes:
        if name not in attributes or not test(attributes[name]):
            _refuse(where, row.name, f"{name} must be {expected}, found {attributes.get(name)!r}.")
    return {k: v for k, v in attributes.items() if isinstance(v, int) and not isinstance(v, bool)}


def _judge_port(row: Op, port: Port, tensor: Tensor | None, graph: GraphData, known: Known, where: str) -> None:
    if tensor is None:
        if port.optional:
            return
        _refuse(where, row.name, f"{port.name} is missing" + _MISSING.get(port.kind, "; give a tensor."))
    if graph.tensors.get(getattr(tensor, "name", None)) is not tensor:
        _refuse(where, row.name, f"{port.name} must be a tensor of this graph, found {tensor!r}.")
    if tensor.dtype not in KINDS[port.kind]:
        _refuse(
            where,
            row.name,
            f"{port.name} ({tensor.name}) must be {' or '.join(KINDS[port.kind])}, found {tensor.dtype} {tensor.shape}.",
        )
    if port.kind == "state" and (tensor.name not in graph.leaves or graph.leaves[tensor.name].kind not in STATES):
        _refuse(where, row.name, f"{port.name} ({tensor.name}) must be a state or a part of one.")
    fixed = port.kind in ("rows", "ids") or all(isinstance(size, int) for size in tensor.shape)
    if not fixed or not match(port.shape, tensor.shape, known):
        wanted = shown(port.shape, {k: v for k, v in known.items() if k in re.findall(r"\w+", port.shape)})
        _refuse(where, row.name, f"{port.name} ({tensor.name}) must have the shape {wanted}, found {tensor.shape}.")


_MISSING = {"cache": ": no kv_store of this layer came before; store K and V first."}


def judge_graph(graph: GraphData) -> None:
    """Every node again, then the whole: it has an output, no name is made twice, one store per layer, no cycle."""
    made: set[str] = set(graph.leaves)
    layers: set[int] = set()
    for node in graph.nodes:
        if node.op not in OPS:
            _refuse(node.where, node.op, f"there is no such op; known: {', '.join(OPS)}.")
        shape = judge_node(node.op, node.inputs, node.attributes, graph, node.where)
        if node.output.shape != shape or node.output.dtype != OPS[node.op].dtype:
            _refuse(node.where, node.op, f"its result must be {OPS[node.op].dtype} {shape}, found {node.output}.")
        if node.output.name in made:
            _refuse(node.where, node.op, f"{node.output.name} is made twice.")
        made.add(node.output.name)
        if node.op == "kv_store":
            layer = node.attributes["layer"]
            if layer in layers:
                _refuse(node.where, node.op, f"layer {layer} is stored twice; give every layer a number of its own.")
            layers.add(layer)
        if node.op == "attention":
            _judge_cache(graph, node)
    if not graph.outputs:
        raise InvalidGraph(
            f"The graph {graph.name!r} has no output: nothing could be read from it. Name one with output()."
        )
    graph.order()


def _judge_cache(graph: GraphData, node: Node) -> None:
    """The cache an attention reads was stored with the same layer, heads and width."""
    store = next(n for n in graph.nodes if n.output is node.inputs["cache"])
    for name in ("layer", "kv_heads", "head_dim"):
        if store.attributes[name] != node.attributes[name]:
            _refuse(
                node.where,
                node.op,
                f"{name} is {node.attributes[name]}, but K and V were stored with {store.attributes[name]}.",
            )
