"""BERT-like encoders: texts to unit vectors. Learned positions (BERT: MiniLM, BGE, E5, GTE) or rotary ones (Nomic). Runs anywhere."""

from ..graph import Tensor
from .blocks import Build, gated, layer_norm, linear, plain, projections, turned, weight


def embeddings(b: Build) -> Tensor:
    """Tokens, their types and, where the file has them, positions: summed and normalised. Hosts leave `types` zero ("sentence A")."""
    c, g, places = b.config, b.graph, min(b.context, b.config.context)
    x = g.embed(weight(b, "token_embd.weight", c.vocabulary, c.width), b.ids("tokens"))
    if b.has("token_types.weight"):
        kinds = max((1, *b.header.tensors["token_types.weight"].shape[:1]))
        x = g.add(x, g.embed(weight(b, "token_types.weight", kinds, c.width), b.ids("types")))
    if b.has("position_embd.weight"):
        x = g.add(x, g.embed(weight(b, "position_embd.weight", places, c.width, of=c.context), b.ids("positions")))
    return layer_norm(b, x, "token_embd_norm")


def attend(b: Build, x: Tensor, at: str, style: str) -> Tensor:
    """Attention both ways within each sequence, with its output matrix; `style` "": positions do not turn."""
    c = b.config
    q, k, v = projections(b, x, at)
    if style:
        q, k = turned(b, q, c.heads, style), turned(b, k, c.kv_heads, style)
    y = b.graph.attention_packed(
        q, k, v, b.ids("sequences"), heads=c.heads, kv_heads=c.kv_heads, head_dim=c.head, scale=c.scale
    )
    return linear(b, y, f"{at}attn_output", c.width, c.heads * c.head)


def encoder(b: Build, style: str, feed_forward, act: str) -> None:
    """Layers that normalise after each part, then one pooled unit vector per sequence."""
    c, g = b.config, b.graph
    x = embeddings(b)
    for i in range(c.layers):
        at = f"blk.{i}."
        x = layer_norm(b, g.add(x, attend(b, x, at, style)), f"{at}attn_output_norm")
        x = layer_norm(b, g.add(x, feed_forward(b, x, at, act)), f"{at}layer_output_norm")
    g.output("embedding", g.pool(x, b.ids("sequences"), mode=c.pooling, normalize=True))


def bert(b: Build) -> None:
    encoder(b, "", plain, "gelu_erf")


def nomic_bert(b: Build) -> None:
    encoder(b, "neox", gated, "silu")
