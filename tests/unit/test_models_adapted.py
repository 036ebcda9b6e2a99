"""The adapted graph of every architecture: each row has what its own adapters add to the weights, whatever its neighbours have."""

from functools import partial

import numpy as np
import pytest

from edgenet.errors import KernelTrap
from edgenet.models.table import built
from edgenet.models.training import Adapted, adapted_program
from edgenet.run import GraphEngine, NumpyEngine
from tests.unit.graph_models import ask, now
from tests.unit.small_model_runs import CONTEXT, DECODERS, give_pages, opened
from tests.unit.training_runs import values_of, weights_of
from tools.oracles.small_models import PROMPTS, uniform

SLOTS, RANKS = 3, (2, 0, 3)  # a slot in the middle that holds nothing
MIXES = [(1, 0, 0), (0, 0, 0), (0.5, 0, -0.7)]  # of each sequence
LENGTHS = 3, 5, 4
ROOM = 20_000


def adapted(name):
    model = opened(name, "f32")
    return built(partial(Adapted, slots=SLOTS, room=ROOM), model.header, values_of(model), CONTEXT)


def filled(sites):
    """(pool, table, {site: its deltas by slot}); every slot has factors at every other site."""
    pool, table, deltas, end = np.zeros(ROOM, np.float32), np.zeros((len(sites), SLOTS, 4), np.int32), {}, 1
    for row, (site, width, out) in enumerate(sites):
        for slot, rank in enumerate(RANKS):
            if rank and (row + slot) % 2:
                a, b = 0.2 * uniform(f"{site}{slot}a", (rank, width)), 0.2 * uniform(f"{site}{slot}b", (out, rank))
                table[row, slot] = end, end + a.size, rank, 0
                pool[end : end + a.size + b.size] = np.concatenate([a.ravel(), b.ravel()])
                end += a.size + b.size
                deltas.setdefault(site, {})[slot] = b @ a
    return pool, table.reshape(len(sites), -1), deltas


def merged(model, deltas, mix):
    """The weights with what a mix of the slots adds."""
    plain = weights_of(model)

    def weights(name):
        kind, raw = plain(name)
        site, own = name.replace(".weight", ""), np.frombuffer(raw, "<f4")
        for slot, delta in deltas.get(site, {}).items() if ".weight" in name else ():
            own = own + np.float32(mix[slot]) * delta.ravel()
        return kind, own.astype("<f4").tobytes()

    return weights


def inputs(sites):
    """What the adapted graph takes beside tokens: rows of three texts, each with its mix."""
    pool, table, _ = filled(sites)
    return {"pool": pool, "table": table, "mix": np.repeat(np.array(MIXES, np.float32), LENGTHS, axis=0)}


def rows_of(texts):
    """The inputs of the first rows of some texts together, the last row of each wanted."""
    lengths = [len(t) for t in texts]
    rows = {"tokens": np.concatenate(texts), "positions": np.concatenate([np.arange(n) for n in lengths])}
    return rows | {"sequences": np.repeat(np.arange(len(texts)), lengths), "wanted": np.cumsum(lengths) - 1}


def logits(engine, what, weights, extra):
    now(engine.load(what, weights))
    now(give_pages(engine, opened("llama", "f32").capacity))
    for name, array in extra.items():
        now(engine.write(name, array))
    texts = [prompt[:length] for prompt, length in zip((PROMPTS[0], *PROMPTS), LENGTHS, strict=False)]
    return now(ask(engine, "logits", **rows_of(texts), s=len(texts)))


@pytest.mark.parametrize("name", DECODERS)
def test_each_row_has_the_logits_of_weights_with_its_own_adapters(name):
    model, b = opened(name, "f32"), adapted(name)
    _, _, deltas = filled(b.sites.values())
    found = logits(GraphEngine(model.capacity), b.graph, model.weights, inputs(b.sites.values()))
    for s, own in enumerate(MIXES):
        wanted = logits(GraphEngine(model.capacity), model.graph, merged(model, deltas, own), {})
        np.testing.assert_allclose(found[s], wanted[s], rtol=1e-5, atol=1e-5)
    assert np.abs(found[2] - logits(GraphEngine(model.capacity), model.graph, model.weights, {})[2]).max() > 0.01


@pytest.mark.parametrize("name", ["llama", "phi3", "gemma2"])
def test_the_program_gives_the_graphs_logits(name):
    model, b = opened(name, "f32"), adapted(name)
    extra, made = inputs(b.sites.values()), adapted_program(model.header, model.capacity, SLOTS, ROOM, values_of(model))
    assert made.sites == tuple(b.sites.values())
    found = logits(NumpyEngine(), made.program, model.weights, extra)
    wanted = logits(GraphEngine(model.capacity), b.graph, model.weights, extra)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_factors_that_do_not_lie_in_the_pool_are_refused():
    model, b = opened("llama", "f32"), adapted("llama")
    extra = inputs(b.sites.values())
    for entry in ([ROOM, 0, 1, 0], [0, ROOM - 1, 1, 0], [-1, 0, 1, 0], [0, 0, -1, 0]):
        extra["table"][2, :4] = entry
        with pytest.raises(KernelTrap):
            logits(GraphEngine(model.capacity), b.graph, model.weights, extra)
