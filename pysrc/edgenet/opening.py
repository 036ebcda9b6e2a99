"""A model by its name, with the same calls in CPython and in a page: what a script begins with. Runs anywhere.

Only where weights are computed differs: in CPython an engine of this process, in a page the worker of the site's SDK.
"""

from __future__ import annotations

import sys

from .opened import Language
from .session import InferenceSession


async def open_model(name: str, *, context: int = 0) -> Language | InferenceSession:
    """A session on a model of the site (in CPython: of the cache, else pulled as `edge-net-models pull` does) or on a GGUF file: its path,
    in a page its address. `context`: tokens of prompt and answer together, of a file; 0: what it was made for, at most 2048.

    A model that generates gives a Language, an encoder of the site an InferenceSession. Raises ModelNotFound, NotCached, InvalidGguf and
    what fetching, verifying and compiling raise. Trap: free it with `dispose`, or its memory stays taken.
    """
    if sys.platform == "emscripten":
        from .host.browser_models import open_here
    else:
        from .cli.opening import open_here
    return await open_here(name, context)
