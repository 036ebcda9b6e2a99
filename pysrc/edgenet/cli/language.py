"""A language model made ready in CPython: a GGUF file or a cached model, compiled, its weights read into the engine in wasmtime."""

from collections.abc import Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path

from ..errors import KernelNotFound, NotSupported
from .fetching import complete_model
from .progress import progress

ENGINE = "engine.relaxed.wasm"  # beside the tables of its kernels; put there by the build


@dataclass(frozen=True)
class Loaded:
    """An engine that holds a model. `source`: its files, with the `header`; `values`: numbers that its graphs depend on."""

    engine: object
    source: object
    made: object
    tokenizer: object
    values: dict

    @cached_property
    def sha256(self) -> str:
        """Of the model's file, the first of several; it is read for it."""
        from ..host.files import sha256_of

        return sha256_of(self.source.paths[0])


@asynccontextmanager
async def open_engine(shell, model: str, context: int = 0, kv: str = "f32"):
    """A Loaded of `model`: the path of a GGUF file, or the id of a model as for `pull`. Freed at the end.

    Raises ModelNotFound, NotCached, NotSupported for a model that generates nothing, and what compiling and loading raise.
    """
    from ..host.wasmtime_engine import WasmtimeRuntime
    from ..models.compiled import compile_gguf, default_capacity, read_values

    source = await source_of(shell, model)
    values = read_values(source.header, source.read)
    made = compile_gguf(source.header, default_capacity(source.header, context, kv), values)
    if not made.program.capacity.sample:
        raise NotSupported(f"{model} is an encoder: it turns texts into vectors and generates none. Use `embed`.")
    with WasmtimeRuntime() as runtime:
        loaded = await _load(shell, runtime, made, source, values)
        try:
            yield loaded
        finally:
            await loaded.engine.dispose()


@asynccontextmanager
async def open_language(shell, model: str, context: int = 0, kv: str = "f32", adapters: Sequence[str] = ()):
    """A LanguageSession on `model`, freed at the end. `adapters`: names or paths of those that it uses, each perhaps with `:scale`.

    Raises as `open_engine`, and AdapterNotFound, InvalidAdapter, AdapterMismatch.
    """
    from ..language import LanguageSession
    from ..run.adapters import EngineAdapters

    async with open_engine(shell, model, context, kv) as it:
        session = LanguageSession(
            it.engine,
            it.made.program,
            it.tokenizer,
            it.made.generation,
            lambda: int.from_bytes(shell.host.random_bytes(4)),
            EngineAdapters(it.engine, it.source.header, it.made.program.capacity, it.values),
        )
        await use_adapters(shell, session, it, adapters)
        yield session


async def use_adapters(shell, session, loaded: Loaded, given: Sequence[str]) -> None:
    """Load these adapters and run with them from now on."""
    from .adapter_pool import find_fitting

    used = {}
    for text in given:
        ref, scale = name_and_scale(text)
        used[await session.load_adapter(await find_fitting(shell, ref, loaded), ref)] = scale
    if used:
        session.use(used)


def name_and_scale(text: str) -> tuple[str, float]:
    """`NAME` or `NAME:scale`; what lies there as it is, is a path."""
    name, _, scale = text.rpartition(":")
    try:
        return (name, float(scale)) if name and not Path(text).exists() else (text, 1.0)
    except ValueError:
        return text, 1.0


async def source_of(shell, model: str):
    """The files of `model`, with their `header`: of a GGUF file by its path, else of a cached or pulled model. Raises as `open_engine`."""
    from ..host.gguf_files import GgufFiles

    if Path(model).is_file() or model.endswith(".gguf") and not model.startswith("hf:"):
        return GgufFiles(model)
    return stored(shell, await complete_model(shell, model))


def stored(shell, model):
    """The weights of a complete cached model. Raises NotCached, InvalidGguf."""
    from ..host.gguf_files import GgufFiles

    named = model.manifest["artifacts"]["model"]["filename"]
    return GgufFiles(shell.store.paths(model)[named])


def kernels() -> bytes:
    """The engine module that comes with this package. Raises KernelNotFound where it was installed before one was built."""
    try:
        return (files("edgenet.kernels") / ENGINE).read_bytes()
    except FileNotFoundError as error:
        raise KernelNotFound(
            f"This installation has no {ENGINE}, which a build makes. Run `python build.py build` in the checkout, then install it again: "
            '`pip install ".[cli]"`.'
        ) from error


async def _load(shell, runtime, made, source, values) -> Loaded:
    from ..host.tokenizer import text_tokenizer
    from ..host.wasmtime_lm import WasmtimeLm

    engine = WasmtimeLm(runtime, kernels())
    with progress(shell, "Loading") as show:
        await engine.load(made.program, weights_of(made.program, source, show))
    return Loaded(engine, source, made, text_tokenizer(made.tokenizer), values)


def weights_of(program, source, show):
    """The engine's question for a weight, answered from the file; tells `show` how far it is."""
    from ..models.compiled import part_of

    by_name, total, read = {w.name: w for w in program.weights}, sum(w.bytes for w in program.weights), 0
    show(0, total)

    def weights(name: str) -> tuple[str, bytes]:
        nonlocal read
        weight = by_name[name]
        data = source.read(part_of(weight.artifact), weight.offset, weight.bytes)
        read += len(data)
        show(read, total)
        return weight.type, data

    return weights
