"""The pieces that architectures are put together from. Each appends ops to the graph under construction. Runs anywhere.

`at` is the prefix of a block's tensors ("blk.3."). A tensor's presence in the file decides what is optional: biases, fused matrices,
norms of queries and keys. Names follow llama.cpp's converter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import MissingTensor, WrongTensorShape
from ..graph import Graph, Tensor
from ..graph.ranges import ranged
from . import rope_scaling
from .config import Config
from .metadata import Metadata


@dataclass
class Build:
    """A graph under construction, of a model that runs. `values`: numbers of the small tensors that the graph itself depends on (rope
    factors); `stream`: what passed from layer to layer. Subclasses build the same architectures for another purpose (training.py).
    """

    graph: Graph
    header: object
    config: Config
    context: int
    values: Mapping[str, Sequence[float]]
    stream: list[Tensor] = field(default_factory=list)

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

    # --- what depends on the purpose
    def adapted(self, y: Tensor, x: Tensor, site: str) -> Tensor:
        """The result y of a matrix and rows x, with what adapters add to it. `site`: the weight's name less `.weight`."""
        return y

    def attend(self, q: Tensor, k: Tensor, v: Tensor, layer: int, **mask) -> Tensor:
        """Causal attention of one layer. `mask`: scale, window, softcap."""
        c, places = self.config, (self.ids("positions"), self.ids("sequences"))
        shape = {"layer": layer, "kv_heads": c.kv_heads, "head_dim": c.head}
        self.graph.kv_store(k, v, *places, **shape)
        return self.graph.attention(q, *places, heads=c.heads, **mask, **shape)

    def wanted(self, x: Tensor) -> Tensor:
        """The rows whose output is wanted."""
        return self.graph.rows(x, self.ids("wanted", "m"))

    def head(self, x: Tensor, name: str) -> None:
        """The graph's outputs, from the last rows x and the matrix `name` of the vocabulary."""
        self.graph.output("logits", logits(self, x, name, self.config.vocabulary))


# --- weights
def weight(b: Build, name: str, *shape: int, first: int = 0, of: int = 0) -> Tensor:
    """A tensor of the file. With `of`, the rows from `first` on of one that has `of` rows: the weight `name[first:last]`.

    Raises MissingTensor or WrongTensorShape.
    """
    found = b.header.tensors.get(name)
    if found is None:
        raise MissingTensor(
            f"The file has no tensor {name!r}, which a {b.config.architecture} model needs; it is incomplete or of another kind.",
            tensor=name,
        )
    wanted = (of or shape[0], *shape[1:])
    if tuple(found.shape) != wanted:
        raise WrongTensorShape(
            f"{name} has the shape {tuple(found.shape)}; the file's metadata asks for {wanted}.", tensor=name
        )
    return b.graph.weight(ranged(name, first, first + shape[0], wanted[0]), shape, found.type)


def linear(b: Build, x: Tensor, name: str, out: int, width: int, first: int = 0, of: int = 0) -> Tensor:
    """x @ w.T, and the bias when the file has one. `first`, `of`: where in a fused matrix of how many rows the `out` rows begin."""
    part = {"first": first, "of": of}
    bias = weight(b, f"{name}.bias", out, **part) if b.has(f"{name}.bias") else None
    w = weight(b, f"{name}.weight", out, width, **part)
    return b.adapted(b.graph.matmul(x, w, bias), x, w.name.replace(".weight", ""))


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
        parts = ((q, 0), (kv, q), (kv, q + kv))
        return tuple(linear(b, x, f"{at}attn_qkv", rows, c.width, first, q + 2 * kv) for rows, first in parts)
    return tuple(linear(b, x, f"{at}attn_{part}", rows, c.width) for part, rows in (("q", q), ("k", kv), ("v", kv)))


def turned(b: Build, x: Tensor, heads: int, style: str) -> Tensor:
    """Rotary positions on each head's first `rotary` values."""
    rates, magnitude = b.rope
    return b.graph.rope(
        x, b.ids("positions"), rates, heads=heads, head_dim=b.config.head, style=style, magnitude=magnitude
    )


def attention(b: Build, x: Tensor, layer: int, style: str, window: int = 0, scale: float = 0.0) -> Tensor:
    """Causal attention of one layer over rows x, with its output matrix. `window` 0: sees all; `scale` 0: the configuration's."""
    c, at = b.config, f"blk.{layer}."
    q, k, v = projections(b, x, at)
    if b.has(f"{at}attn_q_norm.weight"):
        q, k = rms(b, q, f"{at}attn_q_norm", c.head, c.heads), rms(b, k, f"{at}attn_k_norm", c.head, c.kv_heads)
    q, k = turned(b, q, c.heads, style), turned(b, k, c.kv_heads, style)
    y = b.attend(q, k, v, layer, scale=scale or c.scale, window=window, softcap=c.score_cap)
    return linear(b, y, f"{at}attn_output", c.width, c.heads * c.head)


# --- feed-forward
def gated(b: Build, x: Tensor, at: str, act: str) -> Tensor:
    """down(act(gate x) * (up x)); without a matrix of its own the gate is the first half of `ffn_up`'s rows."""
    c, of = b.config, 2 * b.config.ffn if _holds_gate(b, at) else 0
    gate = linear(b, x, f"{at}ffn_up" if of else f"{at}ffn_gate", c.ffn, c.width, of=of)
    up = linear(b, x, f"{at}ffn_up", c.ffn, c.width, of // 2, of)
    return linear(b, b.graph.glu(gate, up, act), f"{at}ffn_down", c.width, c.ffn)


def _holds_gate(b: Build, at: str) -> bool:
    """Whether `ffn_up` is gate and up in one. Of the size of one, it is not: then a gate that is not there is missing."""
    up = b.header.tensors.get(f"{at}ffn_up.weight")
    return not b.has(f"{at}ffn_gate.weight") and (up is None or up.shape[:1] != (b.config.ffn,))


def plain(b: Build, x: Tensor, at: str, act: str) -> Tensor:
    """down(act(up x))."""
    c = b.config
    return linear(
        b, b.graph.activation(linear(b, x, f"{at}ffn_up", c.ffn, c.width), act), f"{at}ffn_down", c.width, c.ffn
    )


# --- the whole
def wanted_rows(b: Build, x: Tensor, layer: int) -> Tensor:
    """After the last layer's attention only the rows whose output is wanted go on: the rest of a prefill is not worth computing."""
    return b.wanted(x) if layer == b.config.layers - 1 else x


def logits(b: Build, x: Tensor, name: str, out: int, first: int = 0) -> Tensor:
    """Logits of `out` tokens of the vocabulary from `first` on, capped where the model caps them."""
    y = linear(b, x, name, out, b.config.width, first, b.config.vocabulary)
    return b.graph.softcap(y, b.config.logit_cap) if b.config.logit_cap else y


def decoder(b: Build, layer: Callable[[Build, Tensor, int], Tensor], norm: Norm = rms, scale: float = 1.0) -> None:
    """Embedding (times `scale`), the layers, the last norm and the head, which is the embedding itself when the file has no `output`."""
    c, g = b.config, b.graph
    x = g.embed(weight(b, "token_embd.weight", c.vocabulary, c.width), b.ids("tokens"), scale)
    for i in range(c.layers):
        b.stream.append(x)
        x = layer(b, x, i)
    b.stream.append(x)
    b.head(norm(b, x, "output_norm"), "output" if b.has("output.weight") else "token_embd")
