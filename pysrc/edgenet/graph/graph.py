"""A model as ops on named tensors. Every method appends one op, judged at once by its row in `ops.py`. Runs anywhere.

Activations are f32 (rows, width); the first axis is a size: "n" (rows of a run), "m" (rows wanted), "s" (sequences) or a number.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from ..errors import InvalidGraph
from .capacity import SLOTS
from .data import GraphData, Leaf, Node, Tensor
from .op import WEIGHTS
from .ops import OPS
from .sizes import Shape
from .training_methods import TrainingMethods
from .validator import judge_graph, judge_node


def _builder() -> str:
    """`file:line` of the code outside this package that is building."""
    frame = sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back
    return f"{'/'.join(frame.f_code.co_filename.split('/')[-2:])}:{frame.f_lineno}"


class Graph(TrainingMethods, GraphData):
    """Ops in the order they were appended. Every method raises InvalidGraph, saying where, what was wanted and what came."""

    def __init__(self, name: str = ""):
        super().__init__(name)
        self._caches: dict[int, Tensor] = {}

    # --- leaves
    def input(self, name: str, dtype: str, shape: Shape) -> Tensor:
        """What the host writes before a run: `dtype` i32, u32 or f32."""
        return self._leaf(Leaf("input", Tensor(name, tuple(shape), dtype)), ("i32", "u32", "f32"), SLOTS)

    def weight(self, name: str, shape: Shape, dtype: str) -> Tensor:
        """A tensor of the model's file: (out, in) or (width,). Asked for again, it is the same tensor."""
        return self._leaf(Leaf("weight", Tensor(name, tuple(shape), dtype)), WEIGHTS)

    def constant(self, name: str, values: Iterable[float]) -> Tensor:
        """Numbers that travel in the Program: f32 (len(values),)."""
        numbers = tuple(float(v) for v in values)
        return self._leaf(Leaf("constant", Tensor(name, (len(numbers),), "f32"), numbers))

    def state(self, name: str, shape: Shape) -> Tensor:
        """f32 memory that outlives runs, zeros at first; the host and every Program of an engine that names it read and write it."""
        return self._leaf(Leaf("state", Tensor(name, tuple(shape), "f32")))

    def part(self, state: Tensor, offset: int, shape: Shape, name: str) -> Tensor:
        """The values of a state from `offset` on, seen as an array of `shape`. What is written to it is written to the state."""
        leaf = Leaf("part", Tensor(name, tuple(shape), "f32"), state=getattr(state, "name", ""), offset=offset)
        tensor = self._leaf(leaf)
        whole = self.leaves.get(leaf.state)
        if whole is None or whole.kind != "state" or not 0 <= offset <= prod(whole.tensor.shape) - prod(shape):
            raise InvalidGraph(
                f"{_builder()}: part {name!r} {tuple(shape)} from value {offset} on does not lie in {state!r}."
            )
        return tensor

    # --- rows in, rows out
    def embed(self, table: Tensor, ids: Tensor, scale: float = 1.0) -> Tensor:
        """Rows of the table, times `scale`: (vocab, d), (r,) -> (r, d)."""
        return self._append("embed", {"table": table, "ids": ids}, scale=scale)

    def rows(self, x: Tensor, wanted: Tensor) -> Tensor:
        """x[wanted]: (r, d), (w,) -> (w, d)."""
        return self._append("rows", {"x": x, "wanted": wanted})

    def rms_norm(self, x: Tensor, weight: Tensor | None = None, *, eps: float, heads: int = 1) -> Tensor:
        """x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019), over each of `heads` equal parts of a row apart."""
        return self._append("rms_norm", {"x": x, "weight": weight}, eps=eps, heads=heads)

    def layer_norm(self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, eps: float) -> Tensor:
        """(x - mean) / sqrt(variance + eps) * weight + bias, over a row."""
        return self._append("layer_norm", {"x": x, "weight": weight, "bias": bias}, eps=eps)

    def matmul(self, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
        """x @ w.T + bias: (r, in), (out, in) -> (r, out)."""
        return self._append("matmul", {"x": x, "w": w, "bias": bias})

    def lora(self, y: Tensor, x: Tensor, a: Tensor, b: Tensor, scale: float) -> Tensor:
        """y + scale * (x @ a.T) @ b.T (Hu et al. 2021): a (rank, in), b (out, rank)."""
        return self._append("lora", {"y": y, "x": x, "a": a, "b": b}, scale=scale)

    # --- attention
    def rope(
        self,
        x: Tensor,
        positions: Tensor,
        frequencies: Tensor,
        *,
        heads: int,
        head_dim: int,
        style: str = "neox",
        magnitude: float = 1.0,
    ) -> Tensor:
        """Rotary positions (Su et al. 2021) on the first 2 * len(frequencies) dimensions of each head. `style`: "neox" pairs the two
        halves, "norm" neighbours. `frequencies` are radians per position, any scaling baked in; cos and sin are times `magnitude`.
        """
        ports = {"x": x, "positions": positions, "frequencies": frequencies}
        return self._append("rope", ports, heads=heads, head_dim=head_dim, style=style, magnitude=magnitude)

    def kv_store(
        self, k: Tensor, v: Tensor, positions: Tensor, sequences: Tensor, *, layer: int, kv_heads: int, head_dim: int
    ) -> Tensor:
        """Write K and V of each row into the layer's cache at (its sequence, its position). The result stands for the cache."""
        ports = {"k": k, "v": v, "positions": positions, "sequences": sequences}
        self._caches[layer] = self._append("kv_store", ports, layer=layer, kv_heads=kv_heads, head_dim=head_dim)
        return self._caches[layer]

    def attention(
        self,
        q: Tensor,
        positions: Tensor,
        sequences: Tensor,
        *,
        layer: int,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
        window: int = 0,
        softcap: float = 0.0,
    ) -> Tensor:
        """Causal attention over the layer's cache: a row at position p of its sequence sees positions p - window < j <= p (all from 0
        when `window` is 0). Scores are q.k * scale, then softcap * tanh(score / softcap) when `softcap` is not 0.
        """
        ports = {"q": q, "positions": positions, "sequences": sequences, "cache": self._caches.get(layer)}
        return self._append(
            "attention",
            ports,
            layer=layer,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            scale=scale,
            window=window,
            softcap=softcap,
        )

    def attention_packed(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        sequences: Tensor,
        *,
        heads: int,
        kv_heads: int,
        head_dim: int,
        scale: float,
    ) -> Tensor:
        """Attention between the rows of this run: a row sees all rows of its own sequence, before and after it."""
        ports = {"q": q, "k": k, "v": v, "sequences": sequences}
        return self._append("attention_packed", ports, heads=heads, kv_heads=kv_heads, head_dim=head_dim, scale=scale)

    def pool(self, x: Tensor, sequences: Tensor, mode: str = "mean", normalize: bool = True) -> Tensor:
        """One row per sequence: the mean of its rows, its first ("cls") or its "last"; made unit length when asked. (r, d) -> ("s", d)."""
        return self._append("pool", {"x": x, "sequences": sequences}, mode=mode, normalize=normalize)

    # --- element by element
    def add(self, x: Tensor, y: Tensor) -> Tensor:
        """x + y."""
        return self._append("add", {"x": x, "y": y})

    def mul(self, x: Tensor, y: Tensor) -> Tensor:
        """x * y."""
        return self._append("mul", {"x": x, "y": y})

    def scale(self, x: Tensor, factor: float) -> Tensor:
        """x * factor."""
        return self._append("scale", {"x": x}, factor=factor)

    def softcap(self, x: Tensor, cap: float) -> Tensor:
        """cap * tanh(x / cap)."""
        return self._append("softcap", {"x": x}, cap=cap)

    def activation(self, x: Tensor, act: str) -> Tensor:
        """silu, gelu (by tanh), gelu_erf (exact) or relu."""
        return self._append("activation", {"x": x}, act=act)

    def glu(self, gate: Tensor, up: Tensor, act: str) -> Tensor:
        """act(gate) * up (Shazeer 2020)."""
        return self._append("glu", {"gate": gate, "up": up}, act=act)

    # --- the whole
    def output(self, name: str, x: Tensor) -> Tensor:
        """What the host reads after a run. Any tensor that ops make may be one."""
        if name in self.outputs or name in self.leaves:
            raise InvalidGraph(f"{_builder()}: the name {name!r} is taken; an output needs one of its own.")
        if self.tensors.get(getattr(x, "name", None)) is not x or x.name in self.leaves:
            raise InvalidGraph(f"{_builder()}: output {name!r} must be the result of an op of this graph, found {x!r}.")
        self.outputs[name] = x
        return x

    def validate(self) -> None:
        """Judge every op again, and the graph as a whole. Raises InvalidGraph."""
        judge_graph(self)

    # --- how it is done
    def _leaf(self, leaf: Leaf, dtypes: Sequence[str] = ("f32",), symbols: Sequence[str] = ()) -> Tensor:
        kind, tensor = leaf.kind, leaf.tensor
        if self.leaves.get(tensor.name) == leaf:
            return self.leaves[tensor.name].tensor
        if tensor.name in self.tensors:
            raise InvalidGraph(f"{_builder()}: {kind} {tensor.name!r} is already there as {self.tensors[tensor.name]}.")
        sized = all(s in symbols if isinstance(s, str) else isinstance(s, int) and s > 0 for s in tensor.shape)
        if tensor.dtype not in dtypes or not 1 <= len(tensor.shape) <= 2 or not sized:
            raise InvalidGraph(
                f"{_builder()}: {kind} {tensor.name!r} must have a dtype of {', '.join(dtypes)} and one or two sizes"
                f" (positive{' or ' + ', '.join(symbols) if symbols else ''}), found {tensor.dtype} {tensor.shape}."
            )
        self.leaves[tensor.name] = leaf
        self.tensors[tensor.name] = tensor
        return tensor

    def _append(self, op: str, ports: dict[str, Tensor | None], **attributes: Any) -> Tensor:
        where = _builder()
        shape = judge_node(op, ports, attributes, self, where)
        output = Tensor(f"{op}.{len(self.nodes)}", shape, OPS[op].dtype)
        self.nodes.append(Node(op, ports, attributes, output, where))
        self.tensors[output.name] = output
        return output
