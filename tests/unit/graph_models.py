"""Small random models for the tests of graphs and Programs, built by hand here so that they do not depend on `edgenet.models`."""

from dataclasses import dataclass

import numpy as np

from edgenet.formats.blocks import quantize
from edgenet.graph import Graph, capacity, judge, schedule
from edgenet.graph.gradients import grad
from edgenet.kernels.lm import table


@dataclass(frozen=True)
class Form:
    """A decoder's features. `dtype`: of its matrices; `norm`: rms or layer."""

    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 16
    ffn: int = 96
    vocabulary: int = 50
    dtype: str = "f32"
    norm: str = "rms"
    style: str = "neox"
    half: int = 8
    window: int = 0
    softcap: float = 0.0
    logit_cap: float = 0.0
    bias: bool = False
    qk_norm: bool = False
    post_norm: bool = False
    parallel: bool = False
    gated: bool = True
    tied: bool = False

    @property
    def width(self):
        return self.heads * self.head_dim


FORMS = {
    "llama": Form(style="norm"),
    "qwen2": Form(bias=True, tied=True),
    "qwen3": Form(qk_norm=True, kv_heads=1),
    "gemma2": Form(post_norm=True, window=5, softcap=30.0, logit_cap=20.0, tied=True),
    "phi2": Form(norm="layer", parallel=True, gated=False, half=3, bias=True, kv_heads=4),
}


class Builder:
    """Layers of one form on one graph."""

    def __init__(self, form: Form):
        self.f, self.g = form, Graph("small")
        self.tokens, self.positions, self.sequences = (
            self.g.input(n, "i32", ("n",)) for n in ("tokens", "positions", "sequences")
        )
        self.rates = self.g.constant("rates", [10.0 ** -(i / form.half) for i in range(form.half)])

    def norm(self, x, name, width=0, heads=1):
        weight = self.g.weight(name, (width or self.f.width,), "f32")
        if self.f.norm == "layer":
            return self.g.layer_norm(x, weight, self.g.weight(name + ".b", (self.f.width,), "f32"), eps=1e-5)
        return self.g.rms_norm(x, weight, eps=1e-6, heads=heads)

    def linear(self, x, name, out, width):
        bias = self.g.weight(name + ".bias", (out,), "f32") if self.f.bias else None
        return self.g.matmul(x, self.g.weight(name, (out, width), self.f.dtype), bias)

    def attention(self, x, i):
        f, g, places = self.f, self.g, (self.positions, self.sequences)
        q = self.linear(x, f"{i}.q", f.width, f.width)
        k, v = (self.linear(x, f"{i}.{n}", f.kv_heads * f.head_dim, f.width) for n in "kv")
        if f.qk_norm:
            q, k = self.norm(q, f"{i}.qn", f.head_dim, f.heads), self.norm(k, f"{i}.kn", f.head_dim, f.kv_heads)
        shape = {"style": f.style, "head_dim": f.head_dim}
        q = g.rope(q, self.positions, self.rates, heads=f.heads, **shape)
        k = g.rope(k, self.positions, self.rates, heads=f.kv_heads, **shape)
        cache = {"layer": i, "kv_heads": f.kv_heads, "head_dim": f.head_dim}
        g.kv_store(k, v, *places, **cache)
        y = g.attention(q, *places, heads=f.heads, scale=f.head_dim**-0.5, window=f.window, softcap=f.softcap, **cache)
        return self.linear(y, f"{i}.o", f.width, f.width)

    def feed_forward(self, x, i):
        up = self.linear(x, f"{i}.up", self.f.ffn, self.f.width)
        if self.f.gated:
            gate = self.g.matmul(x, self.g.weight(f"{i}.gate", (self.f.ffn, self.f.width), self.f.dtype))
            h = self.g.glu(gate, up, "silu")
        else:
            h = self.g.activation(up, "gelu")
        return self.linear(h, f"{i}.down", self.f.width, self.f.ffn)

    def layer(self, x, i):
        g, h = self.g, self.norm(x, f"{i}.n1")
        if self.f.parallel:
            return g.add(g.add(x, self.attention(h, i)), self.feed_forward(h, i))
        y = self.attention(h, i)
        x = g.add(x, self.norm(y, f"{i}.p1") if self.f.post_norm else y)
        y = self.feed_forward(self.norm(x, f"{i}.n2"), i)
        return g.add(x, self.norm(y, f"{i}.p2") if self.f.post_norm else y)


def decoder(form: Form) -> Graph:
    b = Builder(form)
    f, g = form, b.g
    table = g.weight("table", (f.vocabulary, f.width), f.dtype)
    x = g.embed(table, b.tokens, scale=0.5)
    for i in range(f.layers):
        x = b.layer(x, i)
    x = b.norm(g.rows(x, g.input("wanted", "i32", ("m",))), "last")
    logits = g.matmul(x, table if f.tied else g.weight("head", (f.vocabulary, f.width), f.dtype))
    g.output("logits", g.softcap(logits, f.logit_cap) if f.logit_cap else logits)
    return g


class Learner(Builder):
    """A decoder without cache, with LoRA at q and down, whose factors lie side by side in one state."""

    def __init__(self, form: Form, rank: int):
        super().__init__(form)
        self.rank, self.parts = rank, []
        self.count = form.layers * rank * (3 * form.width + form.ffn)
        self.parameters, self.gradients, self.first, self.second = (
            self.g.state(name, (self.count,)) for name in ("parameters", "gradients", "first", "second")
        )

    def taught(self, y, x, name, out, width):
        a, b = (self.part(f"{name}.{n}", shape) for n, shape in (("a", (self.rank, width)), ("b", (out, self.rank))))
        return self.g.add(y, self.g.dense(self.g.dense(x, a), b, factor=2.0))

    def part(self, name, shape):
        offset = sum(p.shape[0] * p.shape[1] for p, _ in self.parts)
        pair = [self.g.part(s, offset, shape, f"{s.name}.{name}") for s in (self.parameters, self.gradients)]
        self.parts.append(pair)
        return pair[0]

    def attention(self, x, i):
        f, g = self.f, self.g
        q = self.taught(self.linear(x, f"{i}.q", f.width, f.width), x, f"{i}.q", f.width, f.width)
        k, v = (self.linear(x, f"{i}.{n}", f.kv_heads * f.head_dim, f.width) for n in "kv")
        q, k = self.norm(q, f"{i}.qn", f.head_dim, f.heads), self.norm(k, f"{i}.kn", f.head_dim, f.kv_heads)
        q, k = (
            g.rope(x, self.positions, self.rates, heads=n, head_dim=f.head_dim, style=f.style)
            for x, n in ((q, f.heads), (k, f.kv_heads))
        )
        form = {"heads": f.heads, "kv_heads": f.kv_heads, "head_dim": f.head_dim, "scale": f.head_dim**-0.5}
        return self.linear(g.attention_rows(q, k, v, self.sequences, **form), f"{i}.o", f.width, f.width)

    def feed_forward(self, x, i):
        g, f = self.g, self.f
        gate, up = (g.matmul(x, g.weight(f"{i}.{n}", (f.ffn, f.width), f.dtype)) for n in ("gate", "up"))
        h = g.glu(gate, up, "silu")
        return self.taught(self.linear(h, f"{i}.down", f.width, f.ffn), h, f"{i}.down", f.width, f.ffn)

    def losses(self, chunk):
        """Of each row; the vocabulary in two chunks, rows of the table's matrix."""
        f, g = self.f, self.g
        targets, weights = g.input("targets", "i32", ("n",)), g.input("weights", "f32", ("n",))
        x = g.embed(g.weight("table", (f.vocabulary, f.width), f.dtype), self.tokens, scale=0.5)
        for i in range(f.layers):
            x = self.layer(x, i)
        x, stats = self.norm(x, "last"), None
        for first, last in ((0, chunk), (chunk, f.vocabulary)):
            part = g.weight(f"table[{first}:{last}]", (last - first, f.width), f.dtype)
            stats = g.token_stats(g.matmul(x, part), targets, first, stats)
        return g.output("losses", g.cross_entropy(stats, targets, weights))


def learner(form: Form, rank=4, chunk=32) -> dict[str, Graph]:
    """`train` adds to the gradients and `update` makes a step of AdamW with them, over the same states."""
    train, update = Learner(form, rank), Learner(form, rank)
    found = grad(train.g, train.losses(chunk), [p for p, _ in train.parts])
    for parameter, gradient in train.parts:
        train.g.accumulate(gradient, found[parameter.name])
    g = update.g
    norm = g.norm(update.gradients)
    hyper = g.input("hyper", "f32", (16,))
    g.adamw(update.parameters, update.gradients, update.first, update.second, norm, hyper)
    g.output("norm", norm)
    return {"train": train.g, "update": g}


def encoder(mode="mean", dtype="f32", layers=2, heads=2, head_dim=16, ffn=96) -> Graph:
    """A BERT-like encoder: learned positions, post-norms, GELU, pooled."""
    b = Builder(Form(norm="layer", bias=True, dtype=dtype, heads=heads, head_dim=head_dim, ffn=ffn, gated=False))
    g, f = b.g, b.f
    x = g.embed(g.weight("table", (f.vocabulary, f.width), dtype), b.tokens)
    x = g.add(x, g.embed(g.weight("places", (32, f.width), dtype), b.positions))
    x = b.norm(x, "first")
    for i in range(layers):
        q, k, v = (b.linear(x, f"{i}.{n}", f.width, f.width) for n in "qkv")
        shape = {"heads": heads, "kv_heads": heads, "head_dim": head_dim, "scale": head_dim**-0.5}
        y = g.attention_packed(q, k, v, b.sequences, **shape)
        x = b.norm(g.add(x, b.linear(y, f"{i}.o", f.width, f.width)), f"{i}.n1")
        up = g.activation(b.linear(x, f"{i}.up", ffn, f.width), "gelu_erf")
        x = b.norm(g.add(x, b.linear(up, f"{i}.down", f.width, ffn)), f"{i}.n2")
    g.output("embedding", g.pool(x, b.sequences, mode))
    return g


def tangle(rng, ops=30) -> Graph:
    """Random ops on random earlier results, many of them read twice or kept: what tempts a planner to overwrite too early."""
    g = Graph("tangle")
    x, positions = g.input("x", "f32", ("n", 16)), g.input("positions", "i32", ("n",))
    rates = g.constant("rates", [1.0, 0.3])
    factors = g.input("a", "f32", (2, 16)), g.input("b", "f32", (16, 2))
    pool = [x, g.scale(x, 0.5)]

    def one():
        return (
            pool[rng.integers(max(0, len(pool) - 5), len(pool))]
            if rng.random() < 0.8
            else pool[rng.integers(len(pool))]
        )

    def product():
        return g.matmul(one(), g.weight(f"w{len(pool)}", (16, 16), "f32"))

    make = (
        product,
        lambda: g.add(product(), one()),
        lambda: g.activation(product(), "silu"),
        lambda: g.glu(product(), product(), "gelu"),
        lambda: g.add(one(), one()),
        lambda: g.mul(g.softcap(one(), 2.0), one()),
        lambda: g.scale(one(), float(rng.normal())),
        lambda: g.softcap(one(), 3.0),
        lambda: g.activation(one(), "relu"),
        lambda: g.glu(one(), one(), "silu"),
        lambda: g.rms_norm(one(), eps=1e-3),
        lambda: g.rope(one(), positions, rates, heads=2, head_dim=8),
        lambda: g.lora(one(), one(), *factors, 0.5),
    )
    for _ in range(ops):
        pool.append(make[rng.integers(len(make))]())
    for i in {len(pool) - 1, *rng.integers(2, len(pool), 3).tolist()}:
        g.output(f"y{i}", pool[i])
    return g


def weights(graph: Graph, seed=0):
    """name -> (type, bytes): random, norms near 1, the same for one seed and name."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, leaf in graph.leaves.items():
        if leaf.kind == "weight":
            t = leaf.tensor
            values = rng.standard_normal(t.shape).astype(np.float32) * (
                0.1 if len(t.shape) == 1 else t.shape[-1] ** -0.5
            )
            values += len(t.shape) == 1 and not name.endswith((".b", ".bias"))
            made[name] = t.dtype, quantize(t.dtype, values.reshape(-1, t.shape[-1]))
    return made.__getitem__


def now(coroutine):
    """The result of a coroutine of an engine in this process, which never suspends (and so needs no event loop)."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


async def ask(engine, output, **rows):
    """Write the inputs, run with their lengths, read the output. `s` defaults to 1 + the last sequence."""
    sizes = {
        "n": len(rows["tokens"]),
        "m": len(rows.get("wanted", ())),
        "s": rows.pop("s", int(max(rows["sequences"])) + 1),
    }
    for name, values in rows.items():
        await engine.write(name, np.asarray(values, np.int32))
    await engine.run(**sizes)
    return await engine.read(output)


def rules() -> dict:
    """The tables by which Programs are judged; their twins are in web/engine/lm/judge.js."""
    names = ("memory", "elements", "instructions", "weights", "buffers", "pending")
    return {
        "slots": [*capacity.SLOTS],
        "bounds": [*capacity.SLOTS.values()],
        "regions": [*judge.REGIONS],
        "kv": [*table.KV_NAMES],
        "dots": [*capacity.DOTS],
        "most": {name: getattr(judge, f"MAX_{name.upper()}") for name in names},
        "capacity": {name: most for name, (_, most) in capacity.LIMITS.items()},
        "adapters": {name: most for name, (_, most) in capacity.ADAPTER_LIMITS.items()},
        "inPlace": {op: [*ports] for op, ports in schedule.IN_PLACE.items()},
    }
