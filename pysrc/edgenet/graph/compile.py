"""Graph -> Program: fuse, quantise rows, find phases, plan memory, write instructions. Runs anywhere; imports no NumPy."""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import prod
from typing import Any

from ..errors import InvalidGraph
from ..formats.types import row_bytes
from ..kernels.lm import table
from ..kernels.lm.layouts import quantized_bytes
from .capacity import Capacity
from .fusion import INOUT, add_quantize, fuse, judge_kernels, share_angles, spare_inputs
from .graph import Graph, Node, Tensor
from .program import Buffer, Instruction, Program, Weight
from .schedule import IN_PLACE, Access, Life, align, phases, place

Locate = Callable[[str], tuple[str, int]]

# Names of attributes whose values are positions in a kernel's list.
CODES = {"act": table.ACT_NAMES, "style": table.STYLE_NAMES, "mode": table.POOL_NAMES}
_STORES = ("kv_store", "rope_kv")
# Up to so many rows every thread quantises all of them for itself, which costs less than a barrier; more are split between threads.
PRIVATE_ROWS = 64


def compile(graph: Graph, capacity: Capacity | None = None, locate: Locate | None = None) -> Program:  # noqa: A001
    """The Program of a graph. `locate(weight's name)` tells (artifact, byte offset in it); without it weights are taken to lie one after
    another in the artifact "model", each at a multiple of 32, in the order of their first use.

    Raises InvalidGraph; UnsupportedFeature for a weight type that no kernel multiplies; InvalidProgram if the result is out of bounds.
    """
    capacity = capacity or Capacity()
    graph.validate()
    kept = {t.name for t in graph.outputs.values()}
    nodes = fuse(graph.order(), kept)
    judge_kernels(nodes, capacity.kv)
    nodes = share_angles(add_quantize(nodes, kept))
    nodes = _with_sampling(graph, spare_inputs(nodes, kept, set(graph.leaves)), capacity)
    program = _Compiler(graph, nodes, capacity, locate or _Packed(graph)).program()
    program.validate()
    return program


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
    """One compilation: the nodes after fusion, and where everything of theirs lies."""

    def __init__(self, graph: Graph, nodes: list[Node], capacity: Capacity, locate: Locate):
        self.graph, self.nodes, self.capacity = graph, nodes, capacity
        self.rows = [table.op(n.op) for n in nodes]
        self.inputs, self.outputs = self._hosted()
        self.storage: dict[str, str] = {}  # tensor -> the buffer it lives in
        for node in nodes:
            over = node.inputs[INOUT[node.op]].name if node.op in INOUT else node.output.name
            self.storage[node.output.name] = self.storage.get(over, over)
        self.phases = phases(self._accesses(n, r) for n, r in zip(nodes, self.rows, strict=True))
        self._reuse_inputs()
        self.lives = self._lives()
        self.offsets, self.peak = place(self.lives)
        self.weights = self._weights(locate)
        self.constants, self.constant_offsets = self._constants()
        self.kv, self.kv_bytes = self._caches()

    def program(self) -> Program:
        """What was planned, as plain data."""
        last = len(self.nodes) - 1
        code = [
            Instruction(n.op, self._arguments(n, r), i < last and self.phases[i] != self.phases[i + 1])
            for i, (n, r) in enumerate(zip(self.nodes, self.rows, strict=True))
        ]
        hosted = {**self.inputs, **self.outputs}
        buffers = [Buffer(n, "arena", self._offset(t), t.dtype, t.shape) for n, t in hosted.items()]
        regions = {"arena": self.peak, "kv": self.kv_bytes, "constants": len(self.constants)}
        weights = tuple(self.weights.values())
        return Program(self.graph.name, self.capacity, regions, self.constants, weights, tuple(buffers), tuple(code))

    # --- what the host writes and reads
    def _hosted(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        inputs = {n: leaf.tensor for n, leaf in self.graph.leaves.items() if leaf.kind == "input"}
        outputs = dict(self.graph.outputs)
        own = {}
        if any(a.name == "pages" for r in self.rows for a in r.args):
            own["pages"] = Tensor("pages", (self.capacity.sequences, self.capacity.max_pages), "i32")
        if self.nodes and self.nodes[-1].op == "sample":
            sample = self.nodes[-1]
            own |= {"sampling": sample.inputs["params"], "history": sample.inputs["history"]}
            outputs["picked"] = sample.output
        taken = [n for n in (*own, "picked") if n in inputs or (n in outputs and n in self.graph.outputs)]
        if taken:
            raise InvalidGraph(
                f"The name {taken[0]!r} is the compiler's own; give the graph's input or output another."
            )
        return {**inputs, **own}, outputs

    # --- hazards
    def _accesses(self, node: Node, row: table.Op) -> list[Access]:
        found = [
            Access(self.storage.get(t.name, t.name), False, self._stride(t) > 0)
            for t in node.inputs.values()
            if t and t.dtype != "kv"
        ]
        if "layer" in node.attributes:
            found.append(Access(f"kv.{node.attributes['layer']}", node.op in _STORES))
        if any(a.kind == "scratch" for a in row.args):
            found.append(Access(f"{node.output.name}.scratch", True))
        if node.op != "kv_store":
            found.append(Access(self.storage[node.output.name], True, self._stride(node.output) > 0))
        return found

    def _reuse_inputs(self) -> None:
        """Results take the bytes of an input that nothing needs from this phase on."""
        last = self._last_uses()
        fixed = {t.name for t in (*self.inputs.values(), *self.outputs.values())} | set(self.graph.leaves)
        for node, phase in zip(self.nodes, self.phases, strict=True):
            for port in IN_PLACE.get(node.op, ()):
                tensor = node.inputs.get(port)
                if tensor is None or tensor.name in fixed or node.output.dtype != tensor.dtype:
                    continue
                old, new = self.storage[tensor.name], self.storage[node.output.name]
                read_as = {name for name, t in node.inputs.items() if t and self.storage.get(t.name) == old}
                later = any(n is not node and p >= phase for n, p in last[old])
                needed = later or not read_as <= set(IN_PLACE[node.op])
                if old != new and not needed:
                    self.storage = {t: old if s == new else s for t, s in self.storage.items()}
                    last[old] = last[old] + last.pop(new)
                    break

    def _last_uses(self) -> dict[str, list[tuple[Node, int]]]:
        uses: dict[str, list[tuple[Node, int]]] = {}
        for node, row, phase in zip(self.nodes, self.rows, self.phases, strict=True):
            for access in self._accesses(node, row):
                uses.setdefault(access.storage, []).append((node, phase))
        return uses

    # --- memory
    def _size(self, tensor: Tensor) -> int:
        """Bytes at the largest legal sizes, of all copies."""
        shape = [self.capacity.slots.get(s, s) for s in tensor.shape]
        if tensor.dtype == "q8":
            return table.MAX_THREADS * self._stride(tensor) or quantized_bytes(*shape)
        return 4 * prod(shape)

    def _stride(self, tensor: Tensor) -> int:
        """Bytes between the threads' copies of quantised rows; 0 where there is one for all."""
        if tensor.dtype != "q8":
            return 0
        rows = self.capacity.slots.get(tensor.shape[0], tensor.shape[0])
        return align(quantized_bytes(rows, tensor.shape[1])) if rows <= PRIVATE_ROWS else 0

    def _lives(self) -> dict[str, Life]:
        lives: dict[str, Life] = {}
        end = self.phases[-1] if self.phases else 0
        sizes = {t.name: self._size(t) for t in self.inputs.values()}
        for node, row, phase in zip(self.nodes, self.rows, self.phases, strict=True):
            if node.output.dtype != "kv":
                sizes[node.output.name] = self._size(node.output)
            if scratch := next((a for a in row.args if a.kind == "scratch"), None):
                sizes[f"{node.output.name}.scratch"] = table.extent(scratch, self._largest(self._values(node, row)))
            for access in self._accesses(node, row):
                if access.storage in sizes:
                    life = lives.setdefault(access.storage, Life(sizes[access.storage], phase, phase))
                    life.last = phase
        for tensor in self.inputs.values():  # the host may write once and run many times
            lives[tensor.name] = Life(sizes[tensor.name], 0, end)
        for tensor in self.outputs.values():
            lives[self.storage[tensor.name]].last = end
        return lives

    def _offset(self, tensor: Tensor) -> int:
        return self.offsets[self.storage.get(tensor.name, tensor.name)]

    def _caches(self) -> tuple[dict[int, tuple[int, int]], int]:
        """Layer -> (offset of its K pages, of its V pages), and the bytes of all."""
        found, end = {}, 0
        stores = {n.attributes["layer"]: n.attributes for n in self.nodes if n.op in _STORES}
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
        self.weight_index = {name: i for i, name in enumerate(found)}
        return found

    def _constants(self) -> tuple[bytes, dict[str, int]]:
        data, offsets = b"", {}
        for name, leaf in self.graph.leaves.items():
            if leaf.kind == "constant":
                data += b"\0" * (align(len(data)) - len(data))
                offsets[name] = len(data)
                data += struct.pack(f"<{len(leaf.values)}f", *leaf.values)
        return data, offsets

    # --- arguments
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
            return "arena", self.offsets[f"{node.output.name}.scratch"]
        tensor = self._tensor(node, arg)
        if tensor is None:
            return 0
        if tensor.name in self.weight_index:
            if arg.kind != "weight" and len(tensor.shape) > 1:
                raise InvalidGraph(
                    f"{node.where}: {node.op} reads {arg.name} as plain f32; make it an input, not a weight of the file."
                )
            return "weight", self.weight_index[tensor.name]
        if tensor.name in self.constant_offsets:
            return "constants", self.constant_offsets[tensor.name]
        return "arena", self._offset(tensor)

    def _tensor(self, node: Node, arg: table.Arg) -> Tensor | None:
        if arg.name == "pages":
            return self.inputs["pages"]
        return node.output if arg.kind == "out" else node.inputs.get(arg.name)

    def _values(self, node: Node, row: table.Op) -> dict[str, Any]:
        """Scalar arguments by name: sizes from the shapes of the arrays, the rest from attributes and capacity."""
        values: dict[str, Any] = {"act": 0, "stride": 0, **self._cache_values()}
        for arg in row.args:
            tensor = None if arg.kind in ("value", "scratch") or arg.dtype == "kv" else self._tensor(node, arg)
            if tensor is not None and len(tensor.shape) == len(arg.shape):
                values.update((k, v) for k, v in zip(arg.shape, tensor.shape, strict=True) if isinstance(k, str))
            elif tensor is not None:  # heads and their width lie in one axis; the attributes tell them apart
                values[arg.shape[0]] = tensor.shape[0]
            if tensor is not None:
                values["stride"] = values["stride"] or self._stride(tensor)
        for name, value in node.attributes.items():
            values[name] = (
                CODES[name].index(value) if name in CODES else int(value) if isinstance(value, bool) else value
            )
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

    def _largest(self, values: dict[str, Any]) -> dict[str, Any]:
        return {k: self.capacity.slots.get(v, v) if isinstance(v, str) else v for k, v in values.items()}
