"""Training steps and adapted rows on the engine module itself, in wasmtime, against the graphs. CPython."""

import numpy as np
import pytest

from edgenet.host.wasmtime_engine import WasmtimeRuntime
from edgenet.host.wasmtime_lm import WasmtimeLm
from edgenet.kernels.lm.optimizer import hyper
from edgenet.models.training import adapted_program
from edgenet.run import GraphEngine
from tests.unit.graph_models import now
from tests.unit.small_model_runs import DECODERS, MIXED, cosine, opened
from tests.unit.test_models_adapted import ROOM, SLOTS, adapted, inputs, logits
from tests.unit.training_runs import CAPACITY, ROWS, close, gradients, graphs, programs, step, taught, values_of


@pytest.fixture(scope="module")
def runtime():
    with WasmtimeRuntime(tick_ms=5, budget=4000) as it:
        yield it


@pytest.fixture(scope="module", params=["simd", "relaxed"])
def engine(request, runtime, lm_modules):
    """Makes engines of one build."""
    return lambda: WasmtimeLm(runtime, lm_modules[request.param])


def exact(name, kind="f32", **more):
    made = graphs(name, kind, **more)
    return taught(GraphEngine(CAPACITY, "f64"), name, kind, {"loaded": made["evaluate"], **made})


def trained(engine, name, kind="f32", **more):
    return taught(engine, name, kind, {"loaded": opened(name, kind).program, **programs(name, kind, **more)})


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("checkpoint", [False, True])
def test_f32_dots_give_the_graphs_losses_and_gradients(engine, name, checkpoint):
    it, wanted = trained(engine(), name, dots="f32", checkpoint=checkpoint), exact(name)
    close(step(it), step(wanted), 1e-4)
    close(gradients(it), gradients(wanted), 1e-4)
    close(step(it, "evaluate"), step(wanted, "evaluate"), 1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen2", "gemma2"])
def test_rows_that_see_both_ways_too(engine, name):
    it, wanted = trained(engine(), name, dots="f32", causal=False), exact(name, causal=False)
    close(step(it), step(wanted), 1e-4)
    close(gradients(it), gradients(wanted), 1e-4)
    close(step(it, "evaluate"), step(wanted, "evaluate"), 1e-4)


QUANTISED = {("llama", "q8_0"): 1e-5, ("qwen2", "q4_0"): 1e-5, ("gemma2", "q8_0"): 1e-4}
QUANTISED |= {(name, "f32"): 0.02 for name in MIXED}  # K-quants, whose scales lose bits when they are repacked


@pytest.mark.parametrize(("name", "kind"), QUANTISED)
def test_f32_dots_of_quantised_weights_too(engine, name, kind):
    it, wanted = trained(engine(), name, kind, dots="f32"), exact(name, kind)
    close(step(it), step(wanted), 1e-3)
    close(gradients(it), gradients(wanted), QUANTISED[name, kind])


# (loss, gradients): 8-bit weights are taken with 7 bits, which shows where scores are large and a width of 64 averages little
COARSE = {("gemma2", "q8_0"): (3e-3, 0.98)}


@pytest.mark.parametrize(("name", "kind"), QUANTISED)
def test_int8_dots_change_little(engine, name, kind):
    it, wanted = trained(engine(), name, kind), exact(name, kind)
    loss, alike = COARSE.get((name, kind), (1e-3, 0.997))
    assert step(it).sum() == pytest.approx(step(wanted).sum(), rel=loss)
    assert cosine(gradients(it), gradients(wanted)) >= alike


def test_dropout_leaves_out_what_it_does_in_the_graph(engine):
    it, wanted = trained(engine(), "llama", dots="f32", dropout=0.3), exact("llama", dropout=0.3)
    close(step(it), step(wanted), 1e-4)
    close(gradients(it), gradients(wanted), 1e-4)
    assert np.abs(step(it) - step(it, "evaluate")).max() > 0.1


def test_steps_of_adamw_are_those_of_the_graph(engine):
    it, wanted = trained(engine(), "llama", dots="f32"), exact("llama")
    for t in range(1, 4):
        for one in (it, wanted):
            step(one)
            now(one.write("hyper", hyper(0.01, step=t, clip=1.0, factor=1 / ROWS), "update"))
            now(one.run("update"))
        close(now(it.read("parameters", "train")), now(wanted.read("parameters", "train")), 1e-3)


@pytest.mark.parametrize("name", ["llama", "phi3", "gemma2", "phi2"])
def test_adapted_rows_are_the_graphs_and_a_row_without_adapters_has_the_plain_programs_bits(engine, name):
    model, b = opened(name, "f32"), adapted(name)
    extra, made = inputs(b.sites.values()), adapted_program(model.header, model.capacity, SLOTS, ROOM, values_of(model))
    found = logits(engine(), made.program, model.weights, extra)
    wanted = logits(GraphEngine(model.capacity), b.graph, model.weights, extra)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(found[1], logits(engine(), model.program, model.weights, {})[1])
