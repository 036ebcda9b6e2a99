"""The browser host: clock, randomness, Ed25519 by WebCrypto, HTTP by fetch. Pyodide only.

The one door to JavaScript in this package, with `browser_engine.py` for kernels. What is kept leaves Pyodide as messages
(`browser_teach.py`).
"""

import time
from contextlib import asynccontextmanager

import js
from pyodide.ffi import JsException, to_js

from ..errors import FeatureMissing, HttpStatusError, NetworkError
from .answer import Answer, Opens


class BrowserHost:
    """A page's or worker's Python. Implements `base.Host`."""

    name = "browser"

    # --- clock and randomness ---
    def now(self) -> float:
        return time.time()

    def random_bytes(self, size: int) -> bytes:
        out = bytearray()
        while len(out) < size:  # getRandomValues gives at most 65,536 bytes at a time
            out += js.crypto.getRandomValues(js.Uint8Array.new(min(65536, size - len(out)))).to_bytes()
        return bytes(out)

    # --- Ed25519 ---
    async def verify_ed25519(self, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """As the protocol says. Raises FeatureMissing where WebCrypto has no Ed25519."""
        if len(public_key) != 32 or len(signature) != 64:
            return False
        subtle = js.crypto.subtle
        try:
            key = await subtle.importKey("raw", to_js(public_key), "Ed25519", False, to_js(["verify"]))
            return bool(await subtle.verify("Ed25519", key, to_js(signature), to_js(message)))
        except JsException as error:
            if error.name == "NotSupportedError":
                raise FeatureMissing(
                    "This browser's WebCrypto has no Ed25519. Use a current Chromium, Firefox or Safari."
                ) from error
            return False  # 32 bytes that are no point of the curve


class BrowserHttp(Opens):
    """The face of `http.Http`, by fetch: http and https only. Cross-origin addresses need CORS."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *exc):
        pass

    @asynccontextmanager
    async def open(self, url: str, span: tuple[int, int] | None = None):
        """Answer for an address, or for its bytes span[0] to span[1] (exclusive). Raises HttpStatusError or NetworkError."""
        headers = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
        controller = js.AbortController.new()
        try:
            options = to_js({"headers": headers}, dict_converter=js.Object.fromEntries)
            options.signal = controller.signal
            response = await js.fetch(url, options)
            if response.status not in (200, 206):
                raise HttpStatusError(
                    f"{url} answered with status {response.status}. Check the address.", url=url, status=response.status
                )
            yield Answer(response.url, span if response.status == 206 else None, None, _blocks(response))
        except JsException as error:
            why = f"{url} could not be fetched: {error.message}. Is the site running, and does it allow CORS?"
            raise NetworkError(why, url=url) from error
        finally:
            controller.abort()


async def _blocks(response):
    reader = response.body.getReader()
    while not (step := await reader.read()).done:
        yield step.value.to_bytes()
