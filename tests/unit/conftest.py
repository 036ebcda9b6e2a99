"""Fixtures of the unit tests. Runs in CPython and in Pyodide; what needs the real model is skipped there, and says so."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

# Small matrices: a second BLAS thread only waits for the first, and ten times longer on a busy machine.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def helper(name):
    """A module beside the tests (no package)."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


@pytest.fixture(scope="session")
def embed():
    """The real model: `embed(texts, tokens=256)` gives float32 (n, 384), unit rows."""
    if sys.platform == "emscripten":
        pytest.skip("the real model runs by onnxruntime, which Pyodide lacks")
    embedding = helper("embedding")
    if not (embedding.model_folder() / "model.onnx").exists():
        pytest.fail(f"no model in {embedding.model_folder()}: run `python build.py test`, which builds it first")
    return embedding.Embedder(embedding.model_folder())


@pytest.fixture(scope="session")
def ordinary_pairs():
    """(source, [(one-line description, page text)]) of this machine: see ordinary.py."""
    return helper("ordinary").ordinary_pairs()


@pytest.fixture(scope="session")
def lm_modules(tmp_path_factory):
    """The engine module's bytes by build, "relaxed" and "simd", compiled now."""
    from tools.steps.wasm import build_engine

    out = tmp_path_factory.mktemp("engine")
    return {name: build_engine(name, out).read_bytes() for name in ("relaxed", "simd")}


@pytest.fixture(scope="module")
def kernels(lm_modules):
    """{build: LmKernels}: single kernels in wasmtime; a module's own, as tests change what its memory is filled with."""
    from edgenet.host.wasmtime_engine import WasmtimeRuntime
    from edgenet.host.wasmtime_lm import LmKernels

    with WasmtimeRuntime(tick_ms=5, budget=4000) as runtime:
        yield {name: LmKernels(runtime, data) for name, data in lm_modules.items()}
