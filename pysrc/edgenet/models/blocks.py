"""The pieces that architectures are put together from. Each appends ops to the graph under construction. Runs anywhere.

`at` is the prefix of a block's tensors ("blk.3."). A tensor's presence in the file decides what is optional: biases, fused matrices,
norms of queries and keys. Names follow llama.cpp's converter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import MissingTensor, WrongTensorShape
from ..graph import Graph, Tensor
from . import rope_scaling
from .config import Config
from .metadata import Metadata


@dataclass
class Build:
    """A graph under construction. `values`: numbers of the small tensors that the graph itself depends on (rope factors)."""

    graph: Graph
    header: object
    config: Config
    context: int
    values: Mapping[str, Sequence[float]]

    def has(self, name: str) -> bool:
        return name in self.header.tensors

    def ids(self, name: str, size: str = "n") -> Tensor:
        return self.graph.input(name, "i32", (size,))

    @cached_property
    def rope(self) -> tuple[Tensor, float]:
        """(frequencies, magnitude), one constant for all layers."""
        rates, magnitude = rope_scaling.frequencies(
            Metadata(self.header.metadata), self.config.rotary, self.context, self.values
        )
        return self.graph.constant("rope", rates), magnitude


# --- weights
def weight(b: Build, name: str, *shape: int, first: int = 0) -> Tensor:
    """A tensor of the file, or `shape[0]` of its rows from `first` on, as the weight `name[first:last]`.

    Raises MissingTensor or WrongTensorShape.
    """
    found = b.header.tensors.get(name)
    if found is None:
        raise MissingTensor(
            f"The file has no tensor {name!r}, which a {b.config.architecture} model needs; it is incomplete or of another kind.",
            tensor=name,
        )
    whole = tuple(found.shape)
    if len(whole) != len(shape) or whole[1:] != shape[1:] or first + shape[0] > whole[0]:
        _refuse_shape(name, whole, shape, first)
    part = f"[{first}:{first + shape[0]}]" if shape[0] < whole[0] else ""
    return b.graph.weight(name + part, shape, found.type)


def _refuse_shape(name: str, found: tuple[int, ...], wanted: tuple[int, ...], first: int = 0) -> None:
    after = f" from row {first}" if first else ""
    raise WrongTensorShape(f"{name} has the shape {found}; the file's metadata asks for {wanted}{after}.", tensor=name)


def linear(b: Build, x: Tensor, name: str, out: int, width: int, first: int = 0) -> Tensor:
    """x @ w.T, and the bias when the file has one. `first`: where in a fused matrix the `out` rows begin."""
    bias = weight(b, f"{name}.bias", out, first=first) if b.has(f"{name}.bias") else None
    return b.graph.matmul(x, weight(b, f"{name}.weight", out, width, first=first), bias)


def rms(b: Build, x: Tensor, name: str, width: int = 0, heads: int = 1) -> Tensor:
    """RMSNorm of rows, or of each of `heads` parts of `width`. Files hold the whole factor (Gemma's "1 + w" too)."""
    scale = weight(b, f"{name}.weight", width or b.config.width)
    return b.graph.rms_norm(x, scale, eps=b.config.epsilon, heads=heads)


def layer_norm(b: Build, x: Tensor, name: str) -> Tensor:
    bias = weight(b, f"{name}.bias", b.config.width) if b.has(f"{name}.bias") else None
    return b.graph.layer_norm(x, weight(b, f"{name}.weight", b.config.width), bias, eps=b.config.epsilon)


Norm = Callable[[Build, Tensor, str], Tensor]


# --- attention
def projections(b: Build, x: Tensor, at: str) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v of rows x: from three matrices, or from one whose rows are q, then k, then v."""
    c = b.config
    q, kv = c.heads * c.head, c.kv_heads * c.head
    if b.has(f"{at}attn_qkv.weight"):
        _judge_fused(b, f"{at}attn_qkv.weight", q + 2 * kv)
        parts = ((q, 0), (kv, q), (kv, q + kv))
        return tuple(linear(b, x, f"{at}attn_qkv", rows, c.width, first) for rows, first in parts)
    return tuple(linear(b, x, f"{at}attn_{part}", rows, c.width) for part, rows in (("q", q), ("k", kv), ("v", kv)))


def _judge_fused(b: Build, name: str, rows: int) -> None:
    """A fused matrix holds its parts and nothing else: of another size, it would be read as parts that begin elsewhere."""
    found, wanted = tuple(b.header.tensors[name].shape), (rows, b.config.width)
    if found != wanted:
        _refuse_shape(name, found, wanted)


def turned(b: Build, x: Tensor, heads: int, style: str) -> Tensor:
    """Rotary positions on each head's first `rotary` values."""
    rates, magnitude = b.rope
    return b.graph.rope(
        x, b.ids("positions"), rates, heads=heads, head_dim=b.config.head, style=style, magnitude=magnitude
    )


def attention(b: Build, x: Tensor, layer: int, style: str, window: int = 0, scale: float = 0.0) -> Tensor:
    """Causal attention of one layer over rows x, with its output matrix. `window` 0: sees all; `scale` 0: the configuration's."""
    c, g, at = b.config, b.graph, f"blk.{layer}."
    positions, sequences = b.ids("positions"), b.ids("sequences")
    q, k, v = projections(b, x, at)
    if b.has(f"{at}attn_q_norm.weight"):
        q, k = rms(b, q, f"{at}attn_q_norm", c.head, c.heads), rms(b, k, f"{at}attn_k_norm", c.head, c.kv_heads)
    q, k = turned(b, q, c.heads, style), turned(b, k, c.kv_heads, style)
    shape = {"layer": layer, "kv_heads": c.kv_heads, "head_dim": c.head}
    g.kv_store(k, v, positions, sequences, **shape)
    y = g.attention(
        q, positions, sequences, heads=c.heads, scale=scale or c.scale, window=window, softcap=c.score_cap, **shape
    )
    return linear(b, y, f"{at}attn_output", c.width, c.heads * c.head)


# --- feed-forward
def gated(b: Build, x: Tensor, at: str, act: str) -> Tensor:
    """down(act(gate x) * (up x)); without a matrix of its own the gate is the first half of `ffn_up`'s rows."""
    c, fused = b.config, not b.has(f"{at}ffn_gate.weight")
    if fused:
        _judge_fused(b, f"{at}ffn_up.weight", 2 * c.ffn)
    gate = linear(b, x, f"{at}ffn_up" if fused else f"{at}ffn_gate", c.ffn, c.width)
    up = linear(b, x, f"{at}ffn_up", c.ffn, c.width, first=c.ffn if fused else 0)
    return linear(b, b.graph.glu(gate, up, act), f"{at}ffn_down", c.width, c.ffn)


def plain(b: Build, x: Tensor, at: str, act: str) -> Tensor:
    """down(act(up x))."""
    c = b.config
    return linear(
        b, b.graph.activation(linear(b, x, f"{at}ffn_up", c.ffn, c.width), act), f"{at}ffn_down", c.width, c.ffn
    )


# --- the whole
def wanted_rows(b: Build, x: Tensor, layer: int) -> Tensor:
    """After the last layer's attention only the rows whose output is wanted go on: the rest of a prefill is not worth computing."""
    return b.graph.rows(x, b.ids("wanted", "m")) if layer == b.config.layers - 1 else x


def decoder(b: Build, layer: Callable[[Build, Tensor, int], Tensor], norm: Norm = rms, scale: float = 1.0) -> None:
    """Embedding (times `scale`), the layers, the last norm and the head, which is the embedding itself when the file has no `output`."""
    c, g = b.config, b.graph
    x = g.embed(weight(b, "token_embd.weight", c.vocabulary, c.width), b.ids("tokens"), scale)
    for i in range(c.layers):
        x = layer(b, x, i)
    head = "output" if b.has("output.weight") else "token_embd"
    logits = linear(b, norm(b, x, "output_norm"), head, c.vocabulary, c.width)
    g.output("logits", g.softcap(logits, c.logit_cap) if c.logit_cap else logits)
