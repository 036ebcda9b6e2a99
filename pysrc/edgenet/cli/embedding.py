"""An embedding model made ready for texts: session, splitter, and the index of a folder kept in the cache. CPython."""
import time
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import numpy as np

from ..documents import Document, line_of
from ..search import BATCH, Index, load_index, search, update
from .fetching import complete_model
from .progress import progress
from .vectors import Part

SAVE_EVERY_S = 10.0


class Embedder:
    """`session` as in `session.py`; `name` is id@version."""

    def __init__(self, shell, model, session):
        self._shell, self._model, self._session = shell, model, session
        self.name = model.key

    @classmethod
    @asynccontextmanager
    async def open(cls, shell, model_id: str):
        """The model, complete and loaded; freed at the end. Raises NotCached, ModelInvalid and what pulling raises."""
        model = await complete_model(shell, model_id)
        session = await open_session(shell, model)
        try:
            yield cls(shell, model, session)
        finally:
            await session.dispose()
