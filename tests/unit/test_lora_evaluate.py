"""What a model costs on texts: against the definition, from logits of the exact graph, with an adapter and without."""

from dataclasses import fields, replace

import numpy as np
import pytest

from edgenet.errors import AdapterMismatch, TooLittleData
from edgenet.graph import Capacity
from edgenet.lora.adapter import Adapter, base_id
from edgenet.lora.config import LoraConfig
from edgenet.lora.data import Row
from edgenet.lora.evaluate import Evaluation, Evaluator, windows
from edgenet.lora.examples import Tokens
from edgenet.models import build
from edgenet.run import GraphEngine
from tests.unit.lora_runs import loaded, run, trained, trainer
from tests.unit.small_model_runs import opened
from tests.unit.training_runs import values_of, weights_of
from tools.oracles.lora_course import TRAINING, dataset, texts
from tools.oracles.small_models import uniform

NAME = "llama"


async def evaluated(examples, adapter=None, like=None, length=64, kind="f32", **more):
    async with Evaluator(
        await loaded(NAME, kind),
        opened(NAME, kind).header,
        like=like or adapter,
        length=length,
        **{"dots": "f32", **more},
    ) as made:
        return await made.evaluate(examples, adapter)


async def exact_nats(examples, adapter=None) -> float:
    """The sum of -log p of every token that counts: f64, each text in one piece through the graph as it is written."""
    model, total = opened(NAME, "f32"), 0.0
    kept = weights_of(model) if adapter is None else merged(model, adapter)
    for tokens in examples:
        n = len(tokens.ids) - 1
        engine = GraphEngine(Capacity(rows=n, wanted=n, sequences=1, context=64, page=16, sample=False))
        await engine.load(build(model.header, values_of(model), 64), kept)
        for name, values in (
            ("tokens", tokens.ids[:-1]),
            ("positions", np.arange(n)),
            ("sequences", np.zeros(n)),
            ("wanted", np.arange(n)),
        ):
            await engine.write(name, values.astype(np.int32))
        await engine.run(n=n, m=n, s=1)
        logits = await engine.read("logits")
        best = logits.max(axis=1)
        costs = best + np.log(np.exp(logits - best[:, None]).sum(axis=1)) - logits[np.arange(n), tokens.ids[1:]]
        total += costs[tokens.counts[1:]].sum()
    return total


def merged(model, adapter):
    """The weights with the adapter's deltas added to them."""
    from edgenet.lora.bound import bind

    added = {f"{site}.weight": B @ A for site, A, B in bind(adapter, model.header)}
    plain = weights_of(model)

    def weights(name):
        kind, raw = plain(name)
        if name not in added:
            return kind, raw
        return kind, (np.frombuffer(raw, "<f4").reshape(added[name].shape) + added[name]).astype("<f4").tobytes()

    return weights


def drawn(r=3, modules=("q_proj", "k_proj", "down_proj"), **more):
    """An adapter that changes much."""
    header = opened(NAME, "f32").header
    from edgenet.lora.names import places

    tensors = {}
    config = LoraConfig(r=r, lora_alpha=2 * r, target_modules=modules, **more)
    for path, parts in places(header).items():
        if path.endswith(tuple(modules)):
            rank = config.rank_of(path)
            out = sum(p.last - p.first for p in parts)
            pair = (uniform(path + "A", (rank, parts[0].width)), uniform(path + "B", (out, rank)))
            tensors[path] = tuple(np.float32(0.1) * values for values in pair)
    return Adapter(config, tensors, base_id=base_id(header), family=NAME)


EXAMPLES = texts()[3:6]


def test_the_costs_are_those_of_the_exact_graph():
    found, want = run(evaluated(EXAMPLES)), run(exact_nats(EXAMPLES))
    assert found.nats == pytest.approx(want, rel=1e-4)
    assert found.tokens == sum(len(t.ids) - 1 for t in EXAMPLES)


@pytest.mark.parametrize("adapter", [drawn(), drawn(2, rank_pattern={"k_proj": 5}, alpha_pattern={"q_proj": 9})],
                         ids=["one rank", "ranks and alphas by module"])  # fmt: skip
def test_an_adapter_costs_what_its_merged_weights_cost(adapter):
    found, want = run(evaluated(EXAMPLES, adapter)), run(exact_nats(EXAMPLES, adapter))
    assert found.nats == pytest.approx(want, rel=1e-4) and abs(want / run(exact_nats(EXAMPLES)) - 1) > 0.005


def test_one_evaluator_measures_with_and_without():
    async def both():
        adapter = drawn()
        async with Evaluator(
            await loaded(NAME), opened(NAME, "f32").header, like=adapter, length=64, dots="f32"
        ) as made:
            return [(await made.evaluate(EXAMPLES, a)).nats for a in (None, adapter, None)]

    first, changed, again = run(both())
    assert first == again != changed


@pytest.mark.parametrize("strength", [1.0, 0.6])
def test_what_was_trained_and_validated_is_what_is_evaluated(strength):
    async def after():
        config = replace(TRAINING, max_steps=4, strength=strength, validation=0.3, max_length=64)
        engine = await loaded(NAME)
        made = trainer(engine, NAME, config=config)
        events = await trained(made)
        adapter, held = made.adapter(), [e["loss"] for e in events if e["kind"] == "validation"]
        await made.dispose()
        rows = [
            Tokens(np.array([r.tokens[0], *r.targets], np.int32), np.arange(len(r) + 1) > 0, 1) for r in singles(config)
        ]
        async with Evaluator(engine, opened(NAME, "f32").header, like=adapter, length=64, dots="f32") as it:
            return (
                min(held),
                (await it.evaluate(rows, adapter)).loss,
                await exact_nats(rows, adapter) / sum(len(r.ids) - 1 for r in rows),
            )

    validated, evaluated_, want = run(after())
    assert validated == pytest.approx(want, rel=1e-4) and evaluated_ == pytest.approx(want, rel=1e-4)


def singles(config):
    """The validated sequences, one by one."""
    for row in dataset(config).validation:
        for n in range(row.last_sequence + 1):
            yield Row(*(getattr(row, f.name)[row.sequences == n] for f in fields(Row)))


def test_windows_count_every_token_once_and_give_it_half_a_window_before_it():
    (long,) = [Tokens(np.arange(100, dtype=np.int32), np.arange(100) > 0, 100)]
    rows = windows([long], 16)
    counted = np.concatenate([row.targets[row.weights > 0] for row in rows])
    assert sorted(counted.tolist()) == list(range(1, 100))
    assert all(row.positions[row.weights > 0].min() in (0, 8) for row in rows)


def test_the_figures_of_an_evaluation():
    one = Evaluation(nats=np.log(2) * 30, tokens=10, size=20)
    assert (one.bits_per_byte, one.perplexity, one.loss) == pytest.approx((1.5, 8.0, 3 * np.log(2)))
    assert Evaluation(1e9, 1, 1).perplexity < float("inf")


def test_nothing_to_evaluate_and_a_foreign_adapter_are_named():
    with pytest.raises(TooLittleData):
        run(evaluated([]))
    with pytest.raises(AdapterMismatch):
        run(evaluated(EXAMPLES, replace(drawn(), base_id="ab" * 32)))
