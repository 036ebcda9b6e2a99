"""Graph -> Program: fuse, quantise rows, find phases, plan memory, write instructions. Runs anywhere; imports no NumPy."""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import prod
from typing import Any

from ..errors import InvalidGraph
from ..formats.types import row_bytes
from ..kernels.lm import table
from ..kernels.lm.interpreter import align
from .capacity import Capacity
from .data import Node, Tensor
from .fusion import add_quantize, choose_kernels, fuse, judge_kernels, share_angles, spare_inputs
from .graph import Graph
from .plan import STORES, Plan, stride
from .program import Buffer, Instruction, Program, Weight
from .states import States

Locate = Callable[[str], tuple[str, int]]

# Names of attributes whose values are positions in a kernel's list.
CODES = {"act": table.ACT_NAMES, "style": table.STYLE_NAMES, "mode": table.POOL_NAMES}


def compile(graph: Graph, capacity: Capacity | None = None, locate: Locate | None = None) -> Program:  # noqa: A001
    """The Program of a graph. `locate(weight's name)` tells (artifact, byte offset in it); without it weights are taken to lie one after
    another in the artifact "model", each at a multiple of 32, in the order of their first use.

    Raises InvalidGraph; UnsupportedFeature for a weight type that no kernel multiplies; InvalidProgram if the result is out of bounds.
    """
    capacity = capacity or Capacity()
    graph.validate()
    kept = {t.name for t in graph.outputs.values()}
    nodes = choose_kernels(graph.order(), capacity.dots)
    changed = _changed(graph, nodes)
    nodes = fuse(nodes, kept, changed)
    judge_kernels(nodes, capacity.kv)
    nodes = share_angles(add_quantize(nodes, kept, changed), graph.leaves, changed)
    nodes = _with_sampling(graph, spare_inputs(nodes, kept, set(graph.leaves)), capacity)
    program = _Compiler(graph, nodes, capacity, locate or _Packed(graph)).program()
    program.validate()
    return program


def _changed(graph: Graph, nodes: list[Node]) -> set[str]:
    """Names of the states that some node changes, and of all their parts."""
    whole = {name: leaf.state or name for name, leaf in graph.leaves.items() if leaf.kind in ("state", "part")}
    pairs = (
        [(a, n.inputs.get(a.name)) for n in nodes for a in table.op(n.op).args if a.kind == "inout"] if whole else []
    )
    found = {whole[t.name] for _, t in pairs if t and t.name in whole}
    return {name for name, state in whole.items() if state in found}


class _Packed:
    """Where weights lie when nobody says: behind one another."""

    def __init__(self, graph: Graph):
        self.graph, self.end = graph, 0

    def __call__(self, name: str) -> tuple[str, int]:
        offset = -(-self.end // 32) * 32
        self.end = offset + _weight_bytes(self.graph.leaves[name].tensor)
        return "model", offset


def _weight_bytes(tensor: Tensor) -> int:
    *rows, columns = tensor.shape
    return prod(rows) * row_bytes(tensor.dtype, columns)


def _with_sampling(graph: Graph, nodes: list[Node], capacity: Capacity) -> list[Node]:
    logits = graph.outputs.get("logits")
    if not capacity.sample or logits is None:
        return nodes
    if logits.shape[0] != "m":
        raise InvalidGraph(
            f'Sampling needs logits of the rows wanted, ("m", vocabulary), found {logits.shape}; take rows(x, wanted) first.'
        )
    inputs = {
        "logits": logits,
        "params": Tensor("sampling", ("m", table.SAMPLING_WORDS), "u32"),
        "history": Tensor("history", ("m", table.HISTORY), "i32"),
    }
    return [*nodes, Node("sample", inputs, {}, Tensor("picked", ("m",), "i32"))]


class _Compiler:
    """One compilation: the nodes after fusion, where everything of theirs lies, and their kernels' arguments."""

    def __init__(self, graph: Graph, nodes: list[Node], capacity: Capacity, locate: Locate):
        self.graph, self.nodes, self.capacity = graph, nodes, capacity
        self.rows = [table.op(n.op) for n in nodes]
        self.inputs, self.outputs = self._hosted()
        self.states = States(graph.leaves)
        hosted = self.inputs.values(), self.outputs.values()
        self.plan = Plan(nodes, capacity, *hosted, self._scratch(), self.states)
        self.weights = self._weights(locate)
        self.weight_index = {name: i for i, name in enumerate(self.weights)}
        self.constants, self.constant_offsets = self._constants()
        self.kv, self.kv_bytes = self._caches()

    def program(self) -> Program:
        """What was planned, as plain data."""
        phases = [*self.plan.phases, self.plan.phases[-1]]  # the end is a barrier in any case
        code = [
            Instruction(node.op, self._arguments(node, row), phases[i] != phases[i + 1])
            for i, (node, row) in enumerate(zip(self.nodes, self.rows, strict=True))
        ]
        hosted = {**self.inputs, **self.outputs}
        buffers = [Buffer(n, "arena", self.plan.offset(t), t.dtype, t.shape) for n, t in hosted.items()]
        buffers += [Buffer(n, "state", self.states.offset(n), t.dtype, t.shape) for n, t in self.states.tensors.items()]
        regions = {"arena": self.plan.peak, "kv": self.kv_bytes, "constants": len(self.constants)}
        if self.states.size:
            regions["state"] = self.states.size
        weights = tuple(self.weights.values())
        return Program(self.graph.name, self.capacity, regions, self.constants, weights, tuple(buffers), tuple(code))

    def _hosted(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What the host writes, and what it reads, by name."""
        inputs = {n: leaf.tensor for n, leaf in self.graph.leaves.items() if leaf.kind == "input"}
        outputs = dict(self.graph.outputs)
        own = {}
        if any(a.name == "pages" for r in self.rows for a in r.args):
            own["pages"] = Tensor("pages", (self.capacity.sequences, self.capacity.max_pages), "i32")
        if self.nodes[-1].op == "sample":
            sample = self.nodes[-1]
            own |= {"sampling": sample.inputs["params"], "history": sample.inputs["history"]}
            outputs["picked"] = sample.output
        if taken := [n for n in (*own, "picked") if n in inputs or n in self.graph.outputs]:
            raise InvalidGraph(
                f"The name {taken[0]!r} is the compiler's own; give the graph's input or output another."
            )
        return {**inputs, **own}, outputs

    def _scratch(self) -> dict[str, int]:
        """Bytes of scratch, by the name of a node's result."""
        found = {}
        for node, row in zip(self.nodes, self.rows, strict=True):
            for arg in row.args:
                if arg.kind == "scratch":
                    largest = {k: self.capacity.slots.get(v, v) for k, v in self._values(node, row).items()}
                    found[node.output.name] = table.extent(arg, largest)
        return found

    def _caches(self) -> tuple[dict[int, tuple[int, int]], int]:
        """Layer -> (offset of its K pages, of its V pages), and the bytes of all."""
        found, end = {}, 0
        stores = {n.attributes["layer"]: n.attributes for n in self.nodes if n.op in STORES}
        for layer, a in sorted(stores.items()):
            page = table.kv_page_bytes(
                a["kv_heads"], self.capacity.page, a["head_dim"], self._cache_values()["kv_type"]
            )
            size = align(self.capacity.pages * page)
            found[layer] = end, end + size
            end += 2 * size
        return found, end

    def _weights(self, locate: Locate) -> dict[str, Weight]:
        found: dict[str, Weight] = {}
        for node in self.nodes:
            for tensor in node.inputs.values():
                leaf = self.graph.leaves.get(tensor.name) if tensor else None
                if leaf and leaf.kind == "weight" and tensor.name not in found:
                    place = locate(tensor.name)
                    found[tensor.name] = Weight(tensor.name, *place, _weight_bytes(tensor), tensor.dtype, tensor.shape)
        return found

    def _constants(self) -> tuple[bytes, dict[str, int]]:
        data, offsets = b"", {}
        for name, leaf in self.graph.leaves.items():
            if leaf.kind == "constant":
                data += b"\0" * (align(len(data)) - len(data))
                offsets[name] = len(data)
                data += struct.pack(f"<{len(leaf.values)}f", *leaf.values)
        return data, offsets

    def _arguments(self, node: Node, row: table.Op) -> tuple[Any, ...]:
        values = self._values(node, row)
        return tuple(self._argument(node, arg, values) for arg in row.args)

    def _argument(self, node: Node, arg: table.Arg, values: dict[str, Any]) -> Any:
        if arg.kind == "value":
            value = values[arg.name]
            return ("slot", value) if isinstance(value, str) else value
        if arg.dtype == "kv":
            return "kv", self.kv[node.attributes["layer"]][arg.name == "vcache"]
        if arg.kind == "scratch":
            return "arena", self.plan.scratch_offset(node)
        tensor = self._tensor(node, arg)
        if tensor is None:
            return 0
        if tensor.name in self.weight_index:
            if arg.kind != "weight" and len(tensor.shape) > 1:
                raise InvalidGraph(
                    f"{node.where}: {node.op} reads {arg.name} as plain f32; make it an input, not a weight of the file."
                )
            return "weight", self.weight_index[tensor.name]
        if tensor.name in self.states.ranges:
            return "state", self.states.offset(tensor.name)
        if tensor.name in self.constant_offsets:
            return "constants", self.constant_offsets[tensor.name]
        return "arena", self.plan.offset(tensor)

    def _tensor(self, node: Node, arg: table.Arg) -> Tensor | None:
        if arg.name == "pages":
            return self.inputs["pages"]
        return node.output if arg.kind == "out" else node.inputs.get(arg.name)

    def _values(self, node: Node, row: table.Op) -> dict[str, Any]:
        """Scalar arguments by name: sizes from the shapes of the arrays, the rest from attributes and capacity."""
        values: dict[str, Any] = {"act": 0, "stride": 0, **self._cache_values()}
        for name, value in node.attributes.items():
            values[name] = (
                CODES[name].index(value) if name in CODES else int(value) if isinstance(value, bool) else value
            )
        for arg in row.args:
            tensor = None if arg.kind in ("value", "scratch") or arg.dtype == "kv" else self._tensor(node, arg)
            if tensor is not None:
                values.update(_sizes(arg.shape, tensor.shape, values))
                values["stride"] = values["stride"] or stride(tensor, self.capacity)
        return values

    def _cache_values(self) -> dict[str, int]:
        c = self.capacity
        kv_type = table.KV_NAMES.index(c.kv)
        return {
            "page": c.page,
            "max_pages": c.max_pages,
            "seqs": c.sequences,
            "cache_pages": c.pages,
            "kv_type": kv_type,
        }


def _sizes(names: tuple[str | int, ...], shape: tuple[int | str, ...], known: dict[str, Any]) -> dict[str, int | str]:
    """What a tensor's shape tells of the sizes its kernel calls `names`. Axes that lie in one axis of the tensor (heads and their width)
    are told apart by what is known of all but one; a kernel that sees all values in a row has their number.
    """
    if len(names) == 1:
        shape = shape if len(shape) == 1 else (prod(shape),)
    if len(names) == len(shape):
        return {k: v for k, v in zip(names, shape, strict=True) if isinstance(k, str)}
    first, *inner = names
    unknown = [k for k in inner if isinstance(k, str) and k not in known]
    rest = prod(known[k] if isinstance(k, str) else k for k in inner if k not in unknown)
    return {first: shape[0], **{k: prod(shape[1:]) // rest for k in unknown}}
