"""`edgenet.open_model` in CPython: by the configuration of `edge-net-models`, its cache and its site."""

from contextlib import AsyncExitStack
from pathlib import Path

from ..host.files import sha256_of
from ..opened import Language, Opened
from .embedding import open_session
from .fetching import complete_model
from .language import open_engine
from .shell import Shell


async def open_here(name: str, context: int, shell: Shell | None = None):
    """As `edgenet.open_model` says."""
    shell, sha256 = shell or Shell(quiet=True), ""
    if Path(name).is_file():
        sha256 = sha256_of(name)
    elif not name.endswith(".gguf"):
        model = await complete_model(shell, name)
        if model.manifest["type"] == "embedding":
            return await open_session(shell, model)
        sha256 = model.manifest["artifacts"]["model"]["sha256"]
    return await _language(shell, name, context, sha256)


async def _language(shell: Shell, name: str, context: int, sha256: str) -> Language:
    async with AsyncExitStack() as stack:
        it = await stack.enter_async_context(open_engine(shell, name, context))
        close = stack.pop_all().aclose  # from here on the session frees it

        def seed() -> int:
            return int.from_bytes(shell.host.random_bytes(4))

        return Language(
            Opened(it.engine, it.source.header, it.made, it.tokenizer, it.values, seed, sha256=sha256, close=close)
        )
