"""From a graph's ops to the kernels' ops: fusion as a table of patterns, shared tables of angles, quantised rows. Runs anywhere.

What is here changes the order of rounding, never the mathematics: a fused node stands for the ops it took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ..errors import InvalidGraph
from ..kernels.lm.layouts import BLOCK, layout_of
from ..kernels.lm.table import MAX_HEAD_DIM
from .data import Leaf, Node, Tensor

Parts = dict[str, Node]
# The ports that take a weight in a layout.
MATRICES = {"matmul": ("w",), "matmul_t": ("w",), "gated": ("gate", "up"), "embed": ("table",)}


class Pattern(NamedTuple):
    """A tree of ops that one or more nodes replace. `parts`: path of ports from the root to the op found there, whose result nothing
    else uses; `fits`: what else must hold; `make`: the nodes that come instead, at the root's place.
    """

    name: str
    root: str
    parts: dict[str, str]
    fits: Callable[[Node, Parts], bool]
    make: Callable[[Node, Parts], list[Node]]


def quantised(node: Node) -> bool:
    """Whether the node's matrices want quantised rows. Raises UnsupportedFeature for a type no kernel multiplies."""
    return all(layout_of(node.inputs[p].dtype).quantized for p in MATRICES[node.op])


# Kernels whose ports are named otherwise than their ops': port of the op -> argument of the kernel.
PORTS = {"matmul_t": {"y": "x"}, "token_stats": {"stats": "before"}, "accumulate": {"state": "into"}}


def choose_kernels(nodes: list[Node], dots: str) -> list[Node]:
    """Every op by the name and ports of its kernel; `dots`: how quantised weights are multiplied (`Capacity.dots`)."""
    taught = {node.inputs["w"].name for node in nodes if node.op == "matmul_t"}
    return [_chosen(node, dots, taught) for node in nodes]


def _chosen(node: Node, dots: str, taught: set[str]) -> Node:
    """`taught`: weights that gradients go through, so of runs with many rows. Gradients take them with 7 bits, so 8-bit ones give their
    products with 7, too: it is a half faster than with rows of 16 bits, which are for who generates. 16-bit floats are expanded once.
    """
    if node.op in PORTS:
        node = replace(node, inputs={PORTS[node.op].get(port, port): t for port, t in node.inputs.items()})
    many = node.op == "matmul" and node.inputs["w"].name in taught
    if (node.op == "matmul" and dots == "f32" and quantised(node)) or (many and _layout(node) in ("f16", "bf16")):
        return replace(node, op="matmul_f32")
    if many and dots == "int8" and _layout(node) == "q8":
        return replace(node, op="matmul_int8")
    if node.op == "matmul_t" and dots == "int8" and quantised(node) and node.inputs["w"].shape[0] % BLOCK == 0:
        return replace(node, op="matmul_t_int8")
    return node


def _layout(node: Node) -> str:
    return layout_of(node.inputs["w"].dtype).name


def _plain(node: Node) -> bool:
    return not node.inputs.get("residual") and "act" not in node.attributes


def _with_act(root: Node, parts: Parts) -> list[Node]:
    matmul = parts["x"]
    return [replace(matmul, attributes={"act": root.attributes["act"]}, output=root.output)]


def _with_residual(port: str, other: str) -> Callable[[Node, Parts], list[Node]]:
    def make(root: Node, parts: Parts) -> list[Node]:
        inputs = {**parts[port].inputs, "residual": root.inputs[other]}
        return [replace(parts[port], inputs=inputs, output=root.output)]

    return make


def _one_x(root: Node, parts: Parts) -> bool:
    gate, up = parts["gate"], parts["up"]
    bare = all(_plain(p) and not p.inputs["bias"] for p in (gate, up))
    return bare and gate.inputs["x"] is up.inputs["x"] and quantised(gate) == quantised(up)


def _gated(root: Node, parts: Parts) -> list[Node]:
    gate, up = parts["gate"].inputs, parts["up"].inputs
    return [replace(root, op="gated", inputs={"x": gate["x"], "gate": gate["w"], "up": up["w"]})]


def _same_angles(root: Node, parts: Parts) -> bool:
    q, k = parts["q"], parts["cache.k"]
    same = all(q.attributes[a] == k.attributes[a] for a in ("head_dim", "style", "magnitude"))
    places = {q.inputs["positions"].name, k.inputs["positions"].name, parts["cache"].inputs["positions"].name}
    return same and q.inputs["frequencies"] is k.inputs["frequencies"] and len(places) == 1


def _same_norms(root: Node, parts: Parts) -> bool:
    q, k = parts["q.x"], parts["cache.k.x"]
    heads = all(parts[p + ".x"].attributes["heads"] == parts[p].attributes["heads"] for p in ("q", "cache.k"))
    weights = q.inputs["weight"] is not None and k.inputs["weight"] is not None
    return _same_angles(root, parts) and heads and weights and q.attributes["eps"] == k.attributes["eps"]


def _rope_kv(root: Node, parts: Parts) -> list[Node]:
    q, k, store = parts["q"], parts["cache.k"], parts["cache"]
    q_norm, k_norm = parts.get("q.x"), parts.get("cache.k.x")
    inputs = {
        "q": q_norm.inputs["x"] if q_norm else q.inputs["x"],
        "k": k_norm.inputs["x"] if k_norm else k.inputs["x"],
        "v": store.inputs["v"],
        "frequencies": q.inputs["frequencies"],
        "q_norm": q_norm.inputs["weight"] if q_norm else None,
        "k_norm": k_norm.inputs["weight"] if k_norm else None,
        "positions": store.inputs["positions"],
        "sequences": store.inputs["sequences"],
    }
    attributes = {**q.attributes, **store.attributes, "eps": q_norm.attributes["eps"] if q_norm else 1e-6}
    return [Node("rope_kv", inputs, attributes, q.output, q.where), root]


_ROPES = {"q": "rope", "cache": "kv_store", "cache.k": "rope"}
PATTERNS = (
    *(
        Pattern(f"{op}, activation", "activation", {"x": op}, lambda r, p: _plain(p["x"]), _with_act)
        for op in ("matmul", "matmul_f32")
    ),
    Pattern("gate, up, glu", "glu", {"gate": "matmul", "up": "matmul"}, _one_x, _gated),
    *(
        Pattern(f"{op}, add", "add", {p: op}, lambda r, m, p=p: not m[p].inputs.get("residual"), _with_residual(p, o))
        for op in ("matmul", "matmul_f32", "matmul_int8", "matmul_t", "matmul_t_int8", "dense_t")
        for p, o in (("y", "x"), ("x", "y"))
    ),
    Pattern("head norms, rope, store", "attention", {**_ROPES, "q.x": "rms_norm", "cache.k.x": "rms_norm"}, _same_norms, _rope_kv),
    Pattern("rope, store", "attention", _ROPES, _same_angles, _rope_kv),
)  # fmt: skip


def fuse(nodes: list[Node], kept: set[str], changed: set[str]) -> list[Node]:
    """The nodes with every pattern applied, in the table's order; RMSNorms of heads that none took have a kernel of their own.
    `kept`: names of tensors that must exist (outputs); `changed`: of states that some op changes, so that no reader of them may wait.
    """
    for pattern in PATTERNS:
        nodes = _apply(pattern, nodes, kept, changed)
    heads = lambda n: n.op == "rms_norm" and n.attributes["heads"] > 1  # noqa: E731
    return [replace(n, op="head_norm") if heads(n) else n for n in nodes]


def _apply(pattern: Pattern, nodes: list[Node], kept: set[str], changed: set[str]) -> list[Node]:
    makers = {n.output.name: n for n in nodes}
    uses = Counter(t.name for n in nodes for t in n.inputs.values() if t)
    instead: dict[str, list[Node]] = {n.output.name: [n] for n in nodes}
    for root in [n for n in nodes if n.op == pattern.root]:
        parts = _found(pattern, root, makers, uses, kept)
        if parts is None or not pattern.fits(root, parts) or any(_reads(p, changed) for p in parts.values()):
            continue
        made = pattern.make(root, parts)
        for part in parts.values():
            instead[part.output.name] = []
        instead[root.output.name] = made
        makers.update((n.output.name, n) for n in made)
    return [n for group in instead.values() for n in group]


def _found(pattern: Pattern, root: Node, makers: Parts, uses: Counter, kept: set[str]) -> Parts | None:
    parts: Parts = {"": root}
    for path, op in pattern.parts.items():
        parent, _, port = path.rpartition(".")
        tensor = parts[parent].inputs.get(port)
        maker = makers.get(tensor.name) if tensor else None
        if maker is None or maker.op != op or uses[tensor.name] != 1 or tensor.name in kept:
            return None
        parts[path] = maker
    del parts[""]
    return parts


def _reads(node: Node, names: set[str]) -> bool:
    return any(t and t.name in names for t in node.inputs.values())


def share_angles(nodes: list[Node], leaves: dict[str, Leaf], changed: set[str]) -> list[Node]:
    """One `rope_table` for each (positions, frequencies by value, magnitude), before everything; ropes read it instead. One of a state
    that some op changes is made for each rope anew.
    """
    tables: dict[tuple, Node] = {}
    done = []
    for node in nodes:
        if node.op in ("rope", "rope_kv"):
            inputs = dict(node.inputs)
            positions, frequencies = inputs["positions"], inputs.pop("frequencies")
            magnitude = node.attributes["magnitude"]
            own = node.output.name if frequencies.name in changed else ""
            key = (positions.name, leaves[frequencies.name].values or frequencies.name, magnitude, own)
            if key not in tables:
                shape = (positions.shape[0], 2, frequencies.shape[0])
                output = Tensor(f"rope_table.{len(tables)}", shape, "f32")
                ports = {"positions": positions, "frequencies": frequencies}
                tables[key] = Node("rope_table", ports, {"magnitude": magnitude}, output, node.where)
                done += [tables[key]] if own else []
            node = replace(node, inputs={**inputs, "table": tables[key].output})
        done.append(node)
    return [*(table for key, table in tables.items() if not key[-1]), *done]


_NORMS = {"rms_norm": "rms_norm_quantize", "layer_norm": "layer_norm_quantize"}


def add_quantize(nodes: list[Node], kept: set[str], changed: set[str]) -> list[Node]:
    """Rows quantised once before the matmuls of quantised weights that read them, those of a state that some op changes before each; a
    norm that only they read quantises itself.
    """
    readers: dict[str, list[Node]] = {}
    for node in nodes:
        for tensor in node.inputs.values():
            if tensor:
                readers.setdefault(tensor.name, []).append(node)
    done: list[Node] = []
    rows: dict[str, Tensor] = {}
    for node in nodes:
        x = node.inputs.get("x")
        if _reads_rows(node):
            if x.name not in rows or x.name in changed:
                rows[x.name] = _rows_of(x, f"{node.output.name}.{x.name}" if x.name in changed else x.name)
                done.append(Node("quantize", {"x": x}, {}, rows[x.name], node.where))
            node = replace(node, inputs={**node.inputs, "x": rows[x.name]})
        elif node.op in _NORMS and node.attributes.get("heads", 1) == 1 and node.output.name not in kept:
            after = readers.get(node.output.name, ())
            if after and all(_reads_rows(r) and node.output.name not in _others(r) for r in after):
                rows[node.output.name] = _rows_of(node.output, node.output.name)
                node = replace(node, op=_NORMS[node.op], output=rows[node.output.name])
        done.append(node)
    return done


def _reads_rows(node: Node) -> bool:
    return node.op in ("matmul_int8", "matmul_t_int8") or (node.op in ("matmul", "gated") and quantised(node))


def _others(node: Node) -> set[str]:
    return {t.name for port, t in node.inputs.items() if t and port != "x"}


def _rows_of(x: Tensor, name: str) -> Tensor:
    return Tensor(f"{name}.q8", x.shape, "q8")


# Kernels that write over one of their inputs, whose bytes the result takes.
INOUT = {"rope": "x", "rope_kv": "q", "lora": "y", "adapters": "y"}


def spare_inputs(nodes: list[Node], kept: set[str], leaves: set[str]) -> list[Node]:
    """A copy (scale by 1) before a kernel that would overwrite what something else reads."""
    uses = Counter(t.name for n in nodes for t in n.inputs.values() if t)
    done = []
    for node in nodes:
        port = INOUT.get(node.op)
        if port and (uses[node.inputs[port].name] > 1 or node.inputs[port].name in kept | leaves):
            x = node.inputs[port]
            copy = Tensor(f"{node.output.name}.copy", x.shape, "f32")
            done.append(Node("scale", {"x": x}, {"factor": 1.0}, copy, node.where))
            node = replace(node, inputs={**node.inputs, port: copy})
        done.append(node)
    return done


UNCACHED = ("attention_packed", "attention_rows", "attention_rows_grad")
HEAD_STEP = {"f32": 4, "q8": 16, "q4": 16}  # what a head's values must be a multiple of, by the type of the cache


def judge_kernels(nodes: list[Node], kv: str) -> None:
    """Raises InvalidGraph for what no kernel runs. `kv`: how K and V are kept."""
    for node in nodes:
        step = HEAD_STEP["f32" if node.op in UNCACHED else kv]
        width = node.attributes.get("head_dim", step)
        if node.op != "rope" and (width % step or width > MAX_HEAD_DIM):
            raise InvalidGraph(
                f"{node.where}: {node.op} takes heads of up to {MAX_HEAD_DIM} values, a multiple of {step}; found {width}."
                + ' Keep K and V as "f32".' * (step > 4 and width % 4 == 0),
                where=node.where,
            )
