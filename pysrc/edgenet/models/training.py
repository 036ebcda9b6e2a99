"""The Programs that teach a model, and the one that runs it with adapters: the same architectures, built for other purposes than to
generate. Reads no weight. Runs anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

from ..errors import NotSupported
from ..formats.gguf_info import is_encoder
from ..graph import Capacity, Graph, Program, Tensor, compile
from ..graph.gradients import grad
from ..kernels.lm.layouts import BLOCK
from ..kernels.lm.training_table import HYPER
from ..lora.config import LoraConfig
from . import config
from .blocks import Build, logits
from .compiled import PAGE, default_capacity, locate
from .sites import Site, modules_of, parameters_of, sites_of
from .table import built

CHUNK = 16 << 20  # bytes of logits at once
Values = Mapping[str, Sequence[float]]


class TrainingPrograms(NamedTuple):
    """`programs`: train, update, evaluate; `parameters`: values of the flat state."""

    programs: dict[str, Program]
    sites: tuple[Site, ...]
    parameters: int


class AdaptedProgram(NamedTuple):
    """`sites`: (site, in, out) in the order of the table's rows."""

    program: Program
    sites: tuple[tuple[str, int, int], ...]


# --- training
STATES = {"adamw": ("parameters", "gradients", "first", "second"), "sgd": ("parameters", "gradients", "first")}


def states(g: Graph, sites: Sequence[Site], optimizer: str) -> dict[str, Tensor]:
    """The states that train, update and evaluate share, in the same order in each. SGD's momentum is `first`."""
    return {name: g.state(name, (parameters_of(sites),)) for name in STATES[optimizer]}


@dataclass
class Teaching(Build):
    """A model without cache whose output is a loss for every row, with LoRA factors beside its weights. `chunk`: tokens of the
    vocabulary whose logits are there at once. Not `causal`, a row sees all of its sequence, and no window holds.
    """

    lora: LoraConfig = field(default_factory=LoraConfig)
    optimizer: str = "adamw"
    dropout: float = 0.0
    causal: bool = True
    chunk: int = 1 << 14

    def __post_init__(self):
        self.sites = {s.site: s for s in sites_of(self.header, self.lora)}
        self.modules = modules_of(self.header)
        self.states = states(self.graph, list(self.sites.values()), self.optimizer)
        for name in ("tokens", "sequences", "positions", "targets"):
            self.ids(name)
        self.weights = self.graph.input("weights", "f32", ("n",))
        self.seeds = self.graph.input("seeds", "u32", (4,))

    def factors(self, s: Site, state: str) -> tuple[Tensor, Tensor]:
        """A and B of a site in one of the states."""
        part = partial(self.graph.part, self.states[state])
        shapes = {"lora_a": (s.a, (s.rank, s.width)), "lora_b": (s.b, (s.out, s.rank))}
        return tuple(part(*shape, f"{s.site}.{name}.{state}") for name, shape in shapes.items())

    def adapted(self, y: Tensor, x: Tensor, site: str) -> Tensor:
        if site not in self.sites:
            return y
        if self.dropout:
            x = self.graph.dropout(x, self.seeds, self.dropout, list(self.sites).index(site))
        factors, scale = self.factors(self.sites[site], "parameters"), self.lora.scale_of(self.modules[site].path)
        return self.graph.lora(y, x, *factors, scale)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, layer: int, window: int = 0, **scores) -> Tensor:
        c, form = self.config, {"causal": self.causal, "window": window if self.causal else 0}
        form |= {"heads": c.heads, "kv_heads": c.kv_heads, "head_dim": c.head}
        return self.graph.attention_rows(q, k, v, self.ids("sequences"), **form, **scores)

    def wanted(self, x: Tensor) -> Tensor:
        return x

    def head(self, x: Tensor, name: str) -> None:
        """The loss, in chunks of the vocabulary: all logits at once would be the largest array by far."""
        g, vocabulary, targets, stats = self.graph, self.config.vocabulary, self.ids("targets"), None
        for first in range(0, vocabulary, self.chunk):
            chunk = logits(self, x, name, min(self.chunk, vocabulary - first), first)
            stats = g.token_stats(chunk, targets, first, stats)
        g.output("losses", g.cross_entropy(stats, targets, self.weights))

    def backward(self, checkpoint: bool) -> None:
        """Adds the factors' gradients to the state. With `checkpoint` only what passes from layer to layer is kept for it."""
        of = {n: self.factors(s, "parameters") for n, s in self.sites.items()}
        into = {n: self.factors(s, "gradients") for n, s in self.sites.items()}
        keep = {t.name for t in self.stream} if checkpoint else None
        found = grad(self.graph, self.graph.outputs["losses"], [t for pair in of.values() for t in pair], keep)
        for name, pair in of.items():
            for factor, state in zip(pair, into[name], strict=True):
                self.graph.accumulate(state, found[factor.name])


def training_graphs(
    header,
    lora: LoraConfig,
    *,
    checkpoint: bool = False,
    values: Values | None = None,
    dropout: float | None = None,
    optimizer: str = "adamw",
    strength: float = 1.0,
    causal: bool = True,
    chunk: int = 1 << 14,
) -> dict[str, Graph]:
    """What `training_programs` compiles: the Graphs train, update, evaluate."""
    if is_encoder(header.architecture):
        raise NotSupported(f"Training is for models that generate text; {header.architecture} is an encoder.")
    context = default_capacity(header).context
    rate = lora.lora_dropout if dropout is None else dropout
    made = partial(Teaching, optimizer=optimizer, causal=causal, chunk=chunk)
    train, evaluate = (
        built(partial(made, lora=like, dropout=r), header, values, context)
        for like, r in ((lora, rate), (lora.weakened(strength), 0.0))
    )
    train.backward(checkpoint)
    return {"train": train.graph, "update": update_graph(sites_of(header, lora), optimizer), "evaluate": evaluate.graph}


def update_graph(sites: Sequence[Site], optimizer: str) -> Graph:
    """One step of the optimiser over the whole state; the norm of the gradients is its output."""
    g = Graph("update")
    own, hyper = states(g, sites, optimizer), g.input("hyper", "f32", (HYPER,))
    norm = g.output("norm", g.norm(own["gradients"]))
    getattr(g, optimizer)(*own.values(), norm, hyper)
    return g


def training_programs(
    header,
    lora: LoraConfig,
    *,
    rows: int,
    sequences: int,
    dots: str = "int8",
    checkpoint: bool = False,
    values: Values | None = None,
    dropout: float | None = None,
    optimizer: str = "adamw",
    strength: float = 1.0,
    causal: bool = True,
) -> TrainingPrograms:
    """Programs that train LoRA factors beside a GGUF header's weights: runs of up to `rows` tokens of up to `sequences` texts.

    `train` gives losses and adds to the gradients, `update` takes a step with them, `evaluate` gives losses alone. `dots`: "int8" or
    "f32"; `checkpoint`: layers are computed again for the backward pass, which takes a third more time and far less memory; `values`: as
    `models.build` takes them; `dropout`: in place of the configuration's; `optimizer`: "adamw" or "sgd";
    `strength`: what `evaluate` multiplies the adapter by; not `causal`: a token sees those behind it too, as the masked objective asks.

    Raises UnknownTargetModule, NotSupported for encoders, and what `build` and `graph.compile` raise.
    """
    vocabulary = config.read(header).vocabulary
    graphs = training_graphs(
        header,
        lora,
        checkpoint=checkpoint,
        values=values,
        dropout=dropout,
        optimizer=optimizer,
        strength=strength,
        causal=causal,
        chunk=_chunk(vocabulary, rows),
    )
    capacity = Capacity(rows=rows, wanted=1, sequences=sequences, context=PAGE, page=PAGE, sample=False, dots=dots)
    programs = {name: compile(graph, capacity, lambda n: locate(header, n)) for name, graph in graphs.items()}
    sites = sites_of(header, lora)
    return TrainingPrograms(programs, sites, parameters_of(sites))


def _chunk(vocabulary: int, rows: int) -> int:
    """Tokens of each chunk of the vocabulary: as even as can be, whole blocks, so that the logits' gradients can be quantised."""
    chunks = -(-vocabulary * rows * 4 // CHUNK)
    return -(-vocabulary // chunks // BLOCK) * BLOCK


# --- running with adapters
@dataclass
class Adapted(Build):
    """A model as it runs, `adapters` after every matrix that can have them. `slots`: adapters at once; `room`: values of their pool."""

    slots: int = 1
    room: int = 1

    def __post_init__(self):
        self.sites = {site: (site, m.width, m.out) for site, m in modules_of(self.header).items()}
        self.pool = self.graph.state("pool", (self.room,))
        self.table = self.graph.input("table", "i32", (len(self.sites), 4 * self.slots))
        self.mixes = {"n": self.graph.input("mix", "f32", ("n", self.slots))}

    def adapted(self, y: Tensor, x: Tensor, site: str) -> Tensor:
        if site not in self.sites:
            return y
        if x.shape[0] not in self.mixes:  # the last layer goes on with the rows that are wanted
            self.mixes[x.shape[0]] = self.wanted(self.mixes["n"])
        mix = self.mixes[x.shape[0]]
        return self.graph.adapters(y, x, self.pool, self.table, mix, list(self.sites).index(site))


def adapted_program(
    header, capacity: Capacity, slots: int, values: int, numbers: Values | None = None
) -> AdaptedProgram:
    """The Program of a header that runs up to `slots` adapters whose factors have up to `values` values in all.

    `capacity`: that of the Program it runs beside; `numbers`: as `models.build` takes them. Raises what `build` and `compile` raise.
    """
    b = built(partial(Adapted, slots=slots, room=values), header, numbers, capacity.context)
    with_pool = replace(capacity, adapters={"slots": slots, "values": values})
    return AdaptedProgram(compile(b.graph, with_pool, lambda n: locate(header, n)), tuple(b.sites.values()))
