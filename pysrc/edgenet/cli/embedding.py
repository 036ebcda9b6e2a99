"""An embedding model made ready for texts: session, splitter, and the index of a folder kept in the cache. CPython."""

import time
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from ..documents import Document, line_of
from ..search import BATCH, Index, load_index, search, update
from .fetching import complete_model
from .language import kernels, stored, weights_of
from .progress import progress
from .vectors import Part

SAVE_EVERY_S = 10.0  # at most this much work is lost when the program is stopped
SPLITTER = 1  # version of the passages' form; another one makes indexes anew


async def open_session(shell, model):
    """A session on a complete cached model: on the engine where it has a Program, else on onnxruntime. Raises NotCached, ModelInvalid."""
    from ..session import InferenceSession

    return InferenceSession(await (_program if "program" in model.manifest["artifacts"] else _onnx)(shell, model))


async def _onnx(shell, model):
    from ..host.onnx import OnnxModel

    return OnnxModel({name: shell.disk.read(path) for name, path in shell.store.paths(model).items()})


async def _program(shell, model):
    """Compiled from the file's header, as `run` does it: what the site compiled is for engines without Python."""
    from ..host.program import ProgramModel
    from ..models.compiled import compile_gguf

    source = stored(shell, model)
    made = compile_gguf(source.header)
    found = ProgramModel(made, kernels())
    with progress(shell, "Loading") as show:
        await found.load(weights_of(made.program, source, show))
    return found


class Embedder:
    """`session` as in `session.py`; `name` is id@version."""

    def __init__(self, shell, model, session):
        self._shell, self._model, self._session = shell, model, session
        self.name = model.key

    @classmethod
    @asynccontextmanager
    async def open(cls, shell, model_id: str, version: str | None = None):
        """The model, complete and loaded, of this version if one is given; freed at the end.

        Raises NotCached, ModelInvalid and what pulling raises.
        """
        model = await complete_model(shell, model_id, version)
        session = await open_session(shell, model)
        try:
            yield cls(shell, model, session)
        finally:
            await session.dispose()

    # --- texts -------------------------------------------------------------------------------------------------------
    def parts(self, documents: list[Document], lines: bool) -> list[Part]:
        """The texts to embed: passages of the documents, or each of their lines that is not empty."""
        if lines:
            return [
                Part(d.name, n, line)
                for d in documents
                for n, line in enumerate(d.text.splitlines(), 1)
                if line.strip()
            ]
        return [
            Part(d.name, line_of(d.text, p.start), p.text)
            for d in documents
            for p in self._session.split(d.text)
            if p.text.strip()
        ]

    async def vectors(self, texts: list[str]) -> np.ndarray:
        """Unit vectors f32 (n, d) of the texts, with progress."""
        found = []
        with progress(self._shell, "Embedding", "text") as show:
            for start in range(0, len(texts), BATCH):
                show(start, len(texts))
                found.append(await self._embed(texts[start : start + BATCH]))
            show(len(texts), len(texts))
        return np.concatenate(found)

    async def _embed(self, texts: list[str]) -> np.ndarray:
        return await self._session.embed_batch(texts)

    # --- folders -----------------------------------------------------------------------------------------------------
    async def index(self, folder: str, documents: list[Document], anew: bool) -> tuple[Index, int]:
        """The folder's index brought up to date, and how many documents were embedded for it; saved now and then, and at the end."""
        path, model = self._index_path(folder), self._model.manifest["artifacts"]["model"]["merkleRoot"]
        index = load_index(None if anew else self._shell.disk.read(path), f"{model} split {SPLITTER}")
        saved = time.monotonic()

        def checkpoint():
            nonlocal saved
            if time.monotonic() - saved > SAVE_EVERY_S:
                self._shell.disk.write(path, index.dump())
                saved = time.monotonic()

        gone = index.prune(documents)
        with progress(self._shell, "Indexing", "character") as show:
            embedded = await self._update(index, documents, show, checkpoint)
        if embedded or gone:
            self._shell.disk.write(path, index.dump())
        return index, embedded

    async def _update(self, index: Index, documents, show, checkpoint) -> int:
        if not index.stale(documents):
            return 0
        return await update(index, documents, self._session.split, self._embed, show, checkpoint)

    def _index_path(self, folder: str) -> Path:
        place = f"{Path(folder).expanduser().resolve()}\n{self.name}"
        return self._shell.store.folder / "index" / f"{sha256(place.encode()).hexdigest()[:32]}.npz"

    async def search(self, index: Index, query: str, documents: list[Document], top: int):
        """The best passages; see `search.search`."""
        return await search(index, query, documents, self._embed, top)
