"""A language model made ready in CPython: a GGUF file or a cached model, compiled, its weights read into the engine in wasmtime."""

from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path

from ..errors import NotSupported
from .fetching import complete_model
from .progress import progress

ENGINE = "engine.relaxed.wasm"  # beside the tables of its kernels; put there by the build


@asynccontextmanager
async def open_language(shell, model: str, context: int = 0, kv: str = "f32"):
    """A LanguageSession on `model`: the path of a GGUF file, or the id of a model as for `pull`. Freed at the end.

    Raises ModelNotFound, NotCached, NotSupported for a model that generates nothing, and what compiling and loading raise.
    """
    from ..host.wasmtime_engine import WasmtimeRuntime
    from ..models.compiled import compile_gguf, default_capacity, read_values

    source = await _source(shell, model)
    made = compile_gguf(
        source.header, default_capacity(source.header, context, kv), read_values(source.header, source.read)
    )
    if not made.program.capacity.sample:
        raise NotSupported(f"{model} is an encoder: it turns texts into vectors and generates none. Use `embed`.")
    with WasmtimeRuntime() as runtime:
        session = await _session(shell, runtime, made, source)
        try:
            yield session
        finally:
            await session.dispose()


async def _source(shell, model: str):
    from ..host.gguf_files import GgufFiles

    if Path(model).is_file() or model.endswith(".gguf") and not model.startswith("hf:"):
        return GgufFiles(model)
    paths = shell.store.paths(await complete_model(shell, model))
    return GgufFiles(paths["model"])


async def _session(shell, runtime, made, source):
    from ..host.tokenizer import text_tokenizer
    from ..host.wasmtime_lm import WasmtimeLm
    from ..language import LanguageSession

    engine = WasmtimeLm(runtime, (files("edgenet.kernels") / ENGINE).read_bytes())
    with progress(shell, "Loading") as show:
        await engine.load(made.program, _weights(made.program, source, show))
    tokenizer = text_tokenizer(made.tokenizer)
    return LanguageSession(
        engine, made.program, tokenizer, made.generation, lambda: int.from_bytes(shell.host.random_bytes(4))
    )


def _weights(program, source, show):
    """The engine's question for a weight, answered from the file; tells `show` how far it is."""
    by_name, total, read = {w.name: w for w in program.weights}, sum(w.bytes for w in program.weights), 0

    def weights(name: str) -> tuple[str, bytes]:
        nonlocal read
        weight = by_name[name]
        part = int(weight.artifact.partition("-")[2] or 1) - 1
        data = source.read(part, weight.offset, weight.bytes)
        read += len(data)
        show(read, total)
        return weight.type, data

    return weights
