"""Training graphs of every architecture: losses are those of generation, gradients those of finite differences and of torch's autograd."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import numpy as np
import pytest

from edgenet import errors
from edgenet.formats.gguf import TensorInfo
from edgenet.formats.types import row_bytes
from edgenet.kernels.lm.optimizer import hyper
from edgenet.lora.config import LoraConfig
from edgenet.models.sites import PARTS, modules_of, sites_of
from edgenet.models.training import CHUNK, training_programs
from edgenet.run import GraphEngine, NumpyEngine
from tests.unit.graph_models import ask, now
from tests.unit.small_model_runs import DECODERS, opened, unpacked
from tests.unit.training_runs import CAPACITY, ROWS, close, gradients, graphs, programs, step, taught
from tools.oracles import small_models
from tools.oracles.lora_batch import LENGTHS, LORA, batch, parameters
from tools.oracles.small_models import MODELS, Small

VECTORS = Path(__file__).parents[1] / "vectors" / "gradients"
RECORDED = sorted(p.stem for p in VECTORS.glob("*.json"))
STEP = 1e-5


def exact(name, dtype="f64", **more):
    """A GraphEngine with a small model's training graphs. `name-masked`: those in which a token sees what is behind it too."""
    more |= {"causal": False} if name.endswith("-masked") else {}
    name = name.removesuffix("-masked")
    made = graphs(name, **more)
    return taught(GraphEngine(CAPACITY, dtype), name, "f32", {"loaded": made["evaluate"], **made})


@pytest.mark.parametrize("name", RECORDED)
def test_losses_and_gradients_are_those_of_torch(name):
    engine, recorded = exact(name), json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    close(step(engine), unpacked(recorded["losses"], -1), 1e-5)
    close(gradients(engine), unpacked(recorded["gradients"], -1), 1e-4)  # its norms are f32 even in an f64 model


@pytest.mark.parametrize("name", DECODERS)
def test_gradients_are_the_slope_of_the_loss(name):
    """Along random directions through all factors at once, dropout included."""
    engine = exact(name, dropout=0.3)
    step(engine)
    found, at = gradients(engine), now(engine.read("parameters", "train"))
    for seed in range(3):
        way = np.random.default_rng(seed).standard_normal(len(at))
        way /= np.sqrt(way @ way)
        sides = []
        for sign in (1, -1):
            now(engine.write("parameters", at + sign * STEP * way, "train"))
            sides.append(step(engine).sum())
        assert found @ way == pytest.approx((sides[0] - sides[1]) / (2 * STEP), rel=1e-5)


@pytest.mark.parametrize("name", DECODERS)
def test_without_factors_the_losses_are_those_of_generation(name):
    engine, model, rows = exact(name), opened(name, "f32"), batch()
    now(engine.write("parameters", np.zeros_like(parameters(model.header)), "train"))
    losses, generation, first = step(engine, "evaluate"), GraphEngine(model.capacity), np.arange(4)
    now(generation.load(model.graph, model.weights))
    for s in range(len(LENGTHS)):
        here = np.flatnonzero(rows["sequences"] == s)
        inputs = {n: rows[n][here] for n in ("tokens", "positions", "sequences")}
        logits = now(ask(generation, "logits", **inputs, wanted=first, s=len(LENGTHS)))
        scores = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        targets = rows["targets"][here[first]]
        close(losses[here[first]], -scores[first, targets] * (targets >= 0) * rows["weights"][here[first]], 1e-9)


@pytest.mark.parametrize("name", DECODERS)
def test_recomputed_layers_give_the_same_bits(name):
    kept, again = exact(name, "f32", dropout=0.3), exact(name, "f32", dropout=0.3, checkpoint=True)
    np.testing.assert_array_equal(step(kept), step(again))
    np.testing.assert_array_equal(gradients(kept), gradients(again))


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_recomputing_layers_saves_memory(name):
    """Of two and three layers; what is kept per layer falls to one row of the stream."""
    model, arenas = opened(name, "f32"), []
    for checkpoint in (False, True):
        made = training_programs(model.header, LORA, rows=24, sequences=3, dots="f32", checkpoint=checkpoint)
        arenas.append(made.programs["train"].regions["arena"])
    assert made.parameters == len(parameters(model.header)) and list(made.programs) == ["train", "update", "evaluate"]
    assert arenas[1] < {"llama": 0.6, "gemma2": 0.45}[name] * arenas[0]


def half_a_billion(monkeypatch):
    """The header of a model of Qwen2's size, 0.5 billion weights in q4_0."""
    monkeypatch.setattr(small_models, "VOCABULARY", 151_936)
    sizes = {"block_count": 24, "embedding_length": 896, "attention.head_count": 14, "feed_forward_length": 4864}
    small = Small("qwen2", MODELS["qwen2"].changes | sizes | {"vocab_size": 151_936}, "its size")
    tensors, end = {}, 0
    for name, shape in small.shapes().items():
        kind = "q4_0" if len(shape) == 2 else "f32"
        tensors[name] = TensorInfo(name, kind, shape, end, prod(shape[:-1]) * row_bytes(kind, shape[-1]))
        end += tensors[name].bytes
    return replace(opened("qwen2", "f32").header, metadata=small.metadata, tensors=tensors)


def test_a_step_of_half_a_billion_weights_needs_little_memory_beside_them(monkeypatch):
    header, lora = half_a_billion(monkeypatch), LoraConfig(r=4, target_modules=("q", "k", "v", "o"))
    arenas = []
    for checkpoint in (False, True):
        made = training_programs(header, lora, rows=128, sequences=8, checkpoint=checkpoint).programs
        arenas.append(round(made["train"].regions["arena"] / 2**20))
        assert {c.op for c in made["train"].code} >= {"matmul_t_int8"} and max(
            _logits(made["train"])
        ) * 128 * 4 <= CHUNK
    assert arenas[0] < 265 and arenas[1] < 44  # MiB, of which 74 and 30 are logits


def _logits(program):
    """Tokens of each chunk of the vocabulary, which are all there."""
    ends = [w.shape[0] for w in program.weights if w.name.startswith("token_embd.weight[")]
    assert sum(ends) == 151_936 and all(end % 32 == 0 for end in ends)
    return ends


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_program_of_f32_dots_gives_the_graphs_losses_and_gradients(name, checkpoint):
    wanted, made = exact(name), programs(name, checkpoint=checkpoint, dots="f32")
    engine = taught(NumpyEngine(), name, "f32", {"loaded": opened(name, "f32").program, **made})
    close(step(engine), step(wanted), 1e-4)
    close(gradients(engine), gradients(wanted), 1e-4)


@pytest.mark.parametrize(
    ("optimizer", "rate", "momentum"), [("adamw", 0.02, 0.0), ("sgd", 0.5, 0.0), ("sgd", 0.2, 0.9)]
)
def test_steps_lower_the_loss_and_leave_no_gradient(optimizer, rate, momentum):
    engine, losses = exact("llama", optimizer=optimizer), []
    for t in range(1, 9):
        losses.append(step(engine).sum())
        words = hyper(rate, step=t, clip=1.0, factor=1 / ROWS, momentum=momentum)
        now(engine.write("hyper", words, "update"))
        now(engine.run("update"))
        assert now(engine.read("norm", "update")) > 0 and not gradients(engine).any()
    assert losses[-1] < 0.8 * losses[0]


def test_gradients_of_several_runs_add_up():
    engine = exact("llama")
    step(engine)
    once = gradients(engine)
    step(engine, "evaluate")  # which adds none
    step(engine)
    np.testing.assert_allclose(gradients(engine), 2 * once)


def test_a_target_that_is_no_token_is_refused():
    engine, targets = exact("llama"), batch()["targets"]
    for wrong in (300, -2):
        now(engine.write("targets", np.where(targets == -1, wrong, targets), "train"))
        with pytest.raises(errors.KernelTrap):
            step(engine)


TARGETS = {  # target modules -> parts that are trained, by architecture
    ("q", "v"): {"llama": "attn_q attn_v", "phi2": "attn_q attn_v", "phi3": "attn_q attn_v"},
    ("o_proj", "down"): {
        "llama": "attn_output ffn_down",
        "phi2": "attn_output ffn_down",
        "phi3": "attn_output ffn_down",
    },
    ("dense", "fc1"): {"phi2": "attn_output ffn_up"},
    ("qkv_proj",): {"phi3": "attn_q attn_k attn_v"},
    ("layers.1.self_attn.q_proj",): {"llama": "attn_q"},
    "all-linear": {"llama": " ".join(PARTS), "phi2": "attn_q attn_k attn_v attn_output ffn_up ffn_down"},
}


@pytest.mark.parametrize("targets", TARGETS)
def test_target_modules_are_found_by_every_name_that_people_give_them(targets):
    for name, parts in TARGETS[targets].items():
        header = opened(name, "f32").header
        modules = modules_of(header)
        assert {modules[s.site].part for s in sites_of(header, LoraConfig(target_modules=targets))} == set(
            parts.split()
        )


def test_factors_lie_one_behind_the_other():
    end = 0
    for s in sites_of(opened("phi3", "f32").header, LoraConfig(r=3, target_modules="all-linear")):
        assert (s.a, s.b) == (end, end + 3 * s.width)
        end += 3 * (s.width + s.out)
    assert s.site == "blk.1.ffn_down" and end == 3 * sum(
        m.width + m.out for m in modules_of(opened("phi3", "f32").header).values()
    )


REFUSED = {
    "no such module": (
        "phi2",
        {"target_modules": ("gate",)},
        errors.UnknownTargetModule,
        "gate_proj .* has dense, fc1",
    ),
    "an encoder": ("bert", {}, errors.NotSupported, "bert is an encoder"),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_cannot_be_trained_is_refused(title):
    name, fields, error, says = REFUSED[title]
    with pytest.raises(error, match=says):
        training_programs(opened(name, "f32").header, LoraConfig(**fields), rows=8, sequences=1)
